// What the lines of an export tell of types: at each place in the items, how many values of each
// type tag there are, and the range of the numbers.
//
// A place is a path in the items: of an attribute, a member of a map, or the elements of lists. A
// line is walked twice in one: what it tells is stored in `events`, and counted when the whole line
// was regular. Unusual lines are listed in `irregular`, numbers that only Python can decide about
// in `deferred`.
#include "scan.h"

typedef struct {
  u64 counts[TAG_BS + 1]; // by type tag; [0]: maps with at least one key
  i64 whole_digits, scale;
  i64 numbers; // whether there was one
  i64 not_bigint, not_double;
  i64 element;    // the place of the elements of lists; -1 if there is none yet
  i64 any_member; // the place of members of any name, where keys are data; -1 otherwise
  i64 object;     // the object that had the place last
} Place;

typedef struct {
  i32 place;
  u8 tag, whole_digits, scale, flags;
} Event;

enum { NO_NUMBER = 1, NOT_BIGINT = 2, NOT_DOUBLE = 4, WITH_KEYS = 8 };

typedef struct {
  Place *places;
  Names names;
  Event *events;
  i64 event_count, event_capacity;
  Deferred *deferred;
  i64 deferred_count, deferred_capacity;
  Line *irregular;
  i64 irregular_count, irregular_capacity;
  Key *keys;
  i32 *key_order;
  i64 key_count, key_capacity;
  i64 items, line_count, longest_line;
  i64 status, place, name_at, name_length, needed;
  i64 level, object;
  i64 max_level;
  const u8 *member;
  i64 member_length;
  const u8 *block, *end;
} Observation;

// The lists that can be full, in `needed`; the order is that of native/observer.py.
enum ObservedList { EVENTS, OBSERVED_IRREGULAR, OBSERVED_DEFERRED, OBSERVED_KEYS };

static const u8 *observe_value(Observation *o, const u8 *p, i32 place);

static const u8 *full_list(Observation *o, enum ObservedList list) {
  o->status = FULL_LIST;
  o->needed = list;
  return NULL;
}

static inline int add_event(Observation *o, i32 place, int tag, i64 whole, i64 scale, int flags) {
  if (o->event_count == o->event_capacity) {
    full_list(o, EVENTS);
    return 0;
  }
  o->events[o->event_count++] = (Event){place, (u8)tag, (u8)whole, (u8)scale, (u8)flags};
  return 1;
}

// A number whose range Python finds out. What hive.numbers does not take for one is irregular.
static const u8 *defer_number(Observation *o, const u8 *start, i32 place) {
  const u8 *end = start + (*start == '-');
  if (!is_digit(*end)) return NULL;
  while (is_digit(*end)) end++;
  if (*end == '.')
    for (end++; is_digit(*end);) end++;
  if (*end == 'e' || *end == 'E') {
    end++;
    if (*end == '+' || *end == '-') end++;
    const u8 *exponent = end;
    while (is_digit(*end)) end++;
    if (end == exponent || end - exponent > 9) return NULL;
  }
  if (*end != '"') return NULL;
  if (o->deferred_count == o->deferred_capacity) return full_list(o, OBSERVED_DEFERRED);
  o->deferred[o->deferred_count++] =
      (Deferred){place, o->items, start - o->block, end - start, o->line_count, TAG_N};
  return add_event(o, place, TAG_N, 0, 0, NO_NUMBER) ? end + 1 : NULL;
}

// Behind the opening quote. The range is that of hive.numbers.number_range.
static const u8 *observe_number(Observation *o, const u8 *start, i32 place) {
  const u8 *p = start;
  int negative = *p == '-';
  p += negative;
  if (!is_digit(*p)) return defer_number(o, start, place);
  while (*p == '0') p++;
  const u8 *first = p;
  u64 digits = 0;
  while (is_digit(*p)) digits = digits * 10 + (u64)(*p++ - '0');
  i64 whole = p - first, scale = 0, significant = whole;
  if (*p == '.') {
    const u8 *fraction = ++p, *last;
    while (is_digit(*p)) p++;
    for (last = p; last > fraction && last[-1] == '0';) last--;
    if (p == fraction) return defer_number(o, start, place);
    scale = last - fraction;
    const u8 *q = fraction;
    while (!whole && q < last && *q == '0') q++;
    significant += last - q;
    if (significant <= 17)
      for (; q < last; q++) digits = digits * 10 + (u64)(*q - '0');
  }
  if (!scale)
    while (significant && first[significant - 1] == '0') significant--;
  if (*p != '"' || whole > 200 || scale > 200) return defer_number(o, start, place);
  if (!whole && !scale) whole = 1;
  int flags = 0;
  u64 most = (1ull << 63) - 1 + (u64)negative;
  if (scale || whole > 19 || (whole == 19 && digits > most)) flags |= NOT_BIGINT;
  if (significant > 17) flags |= NOT_DOUBLE;
  else if (significant > 15) {
    double number;
    int exact = whole > 18 ? UNDECIDED : exact_double(digits, scale, &number);
    if (exact == UNDECIDED) return defer_number(o, start, place);
    if (exact == INEXACT) flags |= NOT_DOUBLE;
  }
  return add_event(o, place, TAG_N, whole, scale, flags) ? p + 1 : NULL;
}

static inline const u8 *observe_text(Observation *o, const u8 *p) {
  return (p = expect(p, '"')) ? skip_text(p, o->end) : NULL;
}

static int push_name(Observation *o, const u8 *name, i64 length) {
  if (o->key_count == o->key_capacity) {
    full_list(o, OBSERVED_KEYS);
    return 0;
  }
  u64 hash = hash_name(0, name, length, o->end);
  o->keys[o->key_count++] = (Key){hash, name - o->block, length};
  return 1;
}

// The place of a member, or -1: the line is irregular, or its name is not known.
static inline i32 member_place(Observation *o, i32 place, const u8 *name, i64 length, i64 object) {
  i64 any = o->places[place].any_member;
  if (any >= 0) return push_name(o, name, length) ? (i32)any : -1;
  i32 child = find_name(&o->names, place, name, length, o->end);
  if (child < 0) {
    o->status = UNKNOWN_NAME;
    o->place = place;
    o->name_at = name - o->block;
    o->name_length = length;
    return -1;
  }
  // Two spellings of a column name, or one name twice.
  if (o->places[child].object == object) return -1;
  o->places[child].object = object;
  return child;
}

static const u8 *observe_map(Observation *o, const u8 *p, i32 place) {
  int more;
  i64 first = o->key_count, object = ++o->object;
  if (!(p = expect(p, '{'))) return NULL;
  p = skip_spaces(p);
  if (*p == '}') return add_event(o, place, TAG_M, 0, 0, 0) ? p + 1 : NULL;
  if (!add_event(o, place, TAG_M, 0, 0, WITH_KEYS)) return NULL;
  do {
    if (!(p = expect(p, '"'))) return NULL;
    const u8 *name = p;
    p = find_special(p, o->end);
    if (*p != '"') return NULL;
    i32 child = member_place(o, place, name, p - name, object);
    if (child < 0 || !(p = expect(p + 1, ':')) || !(p = observe_value(o, p, child))) return NULL;
    if ((more = another(&p, '}')) < 0) return NULL;
  } while (more);
  if (has_equal_keys(o->keys + first, o->key_count - first, o->block, o->key_order)) return NULL;
  o->key_count = first;
  return p;
}

static const u8 *observe_list(Observation *o, const u8 *p, i32 place, int tag) {
  int inside = element_tag(tag), more;
  if (!(p = expect(p, '[')) || !add_event(o, place, tag, 0, 0, 0)) return NULL;
  p = skip_spaces(p);
  if (*p == ']') return p + 1;
  i32 element = (i32)o->places[place].element;
  if (element < 0) {
    o->status = UNKNOWN_NAME;
    o->place = place;
    o->name_length = -1;
    return NULL;
  }
  do {
    if (!inside) p = observe_value(o, p, element);
    else if (inside == TAG_N) p = (p = expect(p, '"')) ? observe_number(o, p, element) : NULL;
    else p = add_event(o, element, inside, 0, 0, 0) ? observe_text(o, p) : NULL;
    if (!p || (more = another(&p, ']')) < 0) return NULL;
  } while (more);
  return p;
}

static const u8 *observe_value(Observation *o, const u8 *p, i32 place) {
  int tag;
  u8 truth;
  if (++o->level > o->max_level || !(p = open_value(p, &tag))) return NULL;
  switch (tag) {
  case TAG_M: p = observe_map(o, p, place); break;
  case TAG_S:
  case TAG_B: p = add_event(o, place, tag, 0, 0, 0) ? observe_text(o, p) : NULL; break;
  case TAG_N: p = (p = expect(p, '"')) ? observe_number(o, p, place) : NULL; break;
  case TAG_BOOL:
  case TAG_NULL: p = add_event(o, place, tag, 0, 0, 0) ? read_boolean(p, &truth) : NULL; break;
  default: p = observe_list(o, p, place, tag);
  }
  if (!p) return NULL;
  o->level--;
  return expect(p, '}');
}

static const u8 *observe_line(Observation *o, const u8 *p) {
  if (!(p = expect(p, '{')) || !(p = expect(p, '"'))) return NULL;
  for (i64 i = 0; i < o->member_length; i++)
    if (*p++ != o->member[i]) return NULL;
  if (!(p = expect(p, '"')) || !(p = expect(p, ':')) || !(p = observe_map(o, p, 0))) return NULL;
  if (!(p = expect(p, '}'))) return NULL;
  p = skip_spaces(p);
  return *p == '\n' || p == o->end ? p : NULL;
}

static void count_events(Observation *o) {
  const Event *end = o->events + o->event_count;
  for (const Event *e = o->events; e < end; e++) {
    Place *place = o->places + e->place;
    place->counts[e->tag]++;
    if (e->flags & WITH_KEYS) place->counts[0]++;
    if (e->tag != TAG_N || e->flags & NO_NUMBER) continue;
    place->numbers = 1;
    if (e->whole_digits > place->whole_digits) place->whole_digits = e->whole_digits;
    if (e->scale > place->scale) place->scale = e->scale;
    if (e->flags & NOT_BIGINT) place->not_bigint = 1;
    if (e->flags & NOT_DOUBLE) place->not_double = 1;
  }
}

// Observes from byte `start` and returns where it stopped, as scan_lines does.
i64 observe_lines(Observation *o, i64 start) {
  const u8 *p = o->block + start;
  while (p < o->end) {
    const u8 *begin = p, *after = NULL;
    p = skip_blank(p);
    if (*p == '\n') {
      p++;
      continue;
    }
    if (p >= o->end) break;
    i64 deferred = o->deferred_count;
    o->status = IRREGULAR;
    o->level = o->key_count = o->event_count = 0;
    if (o->irregular_count == o->irregular_capacity) full_list(o, OBSERVED_IRREGULAR);
    else if (!is_longer(p, o->end, o->longest_line)) after = observe_line(o, begin);
    if (after) {
      count_events(o);
      o->items++;
      o->line_count++;
      p = after < o->end ? after + 1 : after;
      continue;
    }
    o->deferred_count = deferred;
    if (o->status != IRREGULAR) return begin - o->block;
    const u8 *end = end_of_line(begin, o->end);
    o->irregular[o->irregular_count++] = (Line){begin - o->block, end - o->block, o->line_count++};
    p = end < o->end ? end + 1 : end;
  }
  o->status = AT_END;
  return o->end - o->block;
}

i64 size_of_observation(void) {
  return sizeof(Observation);
}
i64 size_of_place(void) {
  return sizeof(Place);
}
