// Lines of an export, {"Item":{"a":{"S":"x"},...}}, to the buffers of typed Arrow columns.
//
// A line that holds anything unusual is taken back and listed in `irregular`; a scalar that cannot
// be proved to be exact here is listed in `deferred` and left null. Each node has buffers of its
// own, and each write is checked against their capacity: if it does not suffice, the line is taken
// back and the scan stops, for Python to enlarge the buffer and resume at the line.
#include "json_text.h"

static const u8 *value(Scan *s, const u8 *p, i32 node, i64 place);

// Any value as text.
static const u8 *string(Scan *s, const u8 *p, Node *n, i64 place, int tag) {
  u8 *start = text_start(n, place), *d = start;
  if (tag == TAG_S || tag == TAG_B) {
    if (!(p = expect(p, '"')) || !(p = copy_text(s, p, n, &d))) return NULL;
  } else if (!(p = json_content(s, p, tag, n, &d))) return NULL;
  if (n->digits && !has_few_characters(start, d, n->digits)) return NULL;
  end_text(n, place, d);
  return p;
}

// ---- Values

static const u8 *list(Scan *s, const u8 *p, Node *n, i64 place, int tag);
static const u8 *data_keys(Scan *s, const u8 *p, Node *n, i64 place);
static const u8 *members(Scan *s, const u8 *p, i32 node, i64 place);

// Content that leaves its place null: empty lists, sets and maps.
static const u8 *nothing(const u8 *p, int tag) {
  int map = tag == TAG_M;
  if (!map && tag != TAG_L && !element_tag(tag)) return NULL;
  if (!(p = expect(p, map ? '{' : '['))) return NULL;
  return expect(p, map ? '}' : ']');
}

static const u8 *decided(Scan *s, const u8 *p, Node *n, i64 place, int tag);

static const u8 *content(Scan *s, const u8 *p, i32 node, i64 place, int tag) {
  Node *n = s->nodes + node;
  switch (n->kind) {
  case STRING: return string(s, p, n, place, tag);
  case INTEGER: return tag == TAG_N && (p = expect(p, '"')) ? integer(s, p, n, place) : NULL;
  case DOUBLE:
  case FLOAT: return tag == TAG_N && (p = expect(p, '"')) ? floating(s, p, n, place) : NULL;
  case DECIMAL: return tag == TAG_N && (p = expect(p, '"')) ? decimal(s, p, n, place) : NULL;
  case BOOLEAN:
    if (tag != TAG_BOOL) return NULL;
    if ((p = read_boolean(p, (u8 *)n->values + place))) n->valid[place] = 1;
    return p;
  case BINARY: return tag == TAG_B && (p = expect(p, '"')) ? binary(s, p, n, place) : NULL;
  case DATE: return tag == TAG_S && (p = expect(p, '"')) ? date(s, p, n, place) : NULL;
  case TIMESTAMP:
    if ((tag != TAG_S && tag != TAG_N) || !(p = expect(p, '"'))) return NULL;
    return tag == TAG_S ? timestamp(s, p, n, place) : epoch(s, p, n, place);
  case LIST: return list(s, p, n, place, tag);
  case MAP: return tag == TAG_M ? data_keys(s, p, n, place) : NULL;
  case STRUCT:
    if (tag != TAG_M) return NULL;
    n->valid[place] = 1;
    return members(s, p, node, place);
  case NOTHING: return nothing(p, tag);
  default: return decided(s, p, n, place, tag);
  }
}

// What few tables have. In a function of its own it costs the others nothing.
static __attribute__((noinline)) const u8 *decided(Scan *s, const u8 *p, Node *n, i64 place,
                                                   int tag) {
  if (n->kind == ONLY_TEXT) {
    if (tag != TAG_S && tag != TAG_B) return NULL;
    // With a second caller, `string` would be a function of its own and slower for all.
    n->kind = STRING;
    p = content(s, p, (i32)(n - s->nodes), place, tag);
    n->kind = ONLY_TEXT;
    return p;
  }
  if (n->kind != SPLIT) return NULL;
  i32 half = tag == TAG_N ? n->key : n->element;
  return open_place(s, s->nodes + half, place) ? content(s, p, half, place, tag) : NULL;
}

// A typed value, {"TAG":content}, in a place that is open.
static const u8 *value(Scan *s, const u8 *p, i32 node, i64 place) {
  int tag;
  if (++s->level > MAX_LEVELS || !(p = open_value(p, &tag))) return NULL;
  if (tag == TAG_NULL) {
    u8 truth;
    p = read_boolean(p, &truth);
  } else p = content(s, p, node, place, tag);
  if (!p) return NULL;
  s->level--;
  return expect(p, '}');
}

static const u8 *list(Scan *s, const u8 *p, Node *n, i64 place, int tag) {
  int inside = element_tag(tag), more;
  i32 element = n->element;
  if ((tag != TAG_L && !inside) || !(p = expect(p, '['))) return NULL;
  p = skip_spaces(p);
  if (*p == ']') p++;
  else do {
      Node *e = s->nodes + element;
      i64 at = e->length;
      if (!open_place(s, e, at)) return NULL;
      p = inside ? content(s, p, element, at, inside) : value(s, p, element, at);
      if (!p || (more = another(&p, ']')) < 0) return NULL;
    } while (more);
  n->ends[place + 1] = (i32)s->nodes[element].length;
  n->valid[place] = 1;
  return p;
}

static int push_key(Scan *s, const Node *n, u64 hash, i64 at, i64 length) {
  if (s->key_count == s->key_capacity) {
    full(s, n, FULL_LIST, KEYS);
    return 0;
  }
  s->keys[s->key_count++] = (Key){hash, at, length};
  return 1;
}

// A map whose keys are data: an entry for each member.
static const u8 *data_keys(Scan *s, const u8 *p, Node *n, i64 place) {
  i32 key = n->key, element = n->element;
  i64 first = s->key_count;
  int more;
  if (!(p = expect(p, '{'))) return NULL;
  p = skip_spaces(p);
  if (*p == '}') p++;
  else do {
      Node *k = s->nodes + key, *e = s->nodes + element;
      i64 at = k->length;
      if (!(p = expect(p, '"')) || !open_place(s, k, at) || !open_place(s, e, at)) return NULL;
      u8 *start = text_start(k, at), *d = start;
      if (!(p = copy_text(s, p, k, &d))) return NULL;
      if (k->digits && !has_few_characters(start, d, k->digits)) return NULL;
      end_text(k, at, d);
      if (!push_key(s, n, hash_name(0, start, d - start, d), start - k->bytes, d - start))
        return NULL;
      if (!(p = expect(p, ':')) || !(p = value(s, p, element, at))) return NULL;
      if ((more = another(&p, '}')) < 0) return NULL;
    } while (more);
  Node *k = s->nodes + key;
  if (has_equal_keys(s->keys + first, s->key_count - first, k->bytes, s->key_order)) return NULL;
  s->key_count = first;
  n->ends[place + 1] = (i32)k->length;
  n->valid[place] = 1;
  return p;
}

static const u8 *members(Scan *s, const u8 *p, i32 node, i64 place) {
  int more;
  if (!(p = expect(p, '{'))) return NULL;
  p = skip_spaces(p);
  if (*p == '}') return p + 1;
  do {
    if (!(p = expect(p, '"'))) return NULL;
    const u8 *name = p;
    p = find_special(p, s->end);
    if (*p != '"') return NULL;
    i32 child = find_name(&s->names, node, name, p - name, s->end);
    if (child < 0) return unknown_name(s, node, name, p - name);
    if (!open_place(s, s->nodes + child, place)) return NULL;
    if (!(p = expect(p + 1, ':')) || !(p = value(s, p, child, place))) return NULL;
    if ((more = another(&p, '}')) < 0) return NULL;
  } while (more);
  return p;
}

// ---- Lines

// A line: the children of node 0 are the members of its object, maps without a type tag.
static const u8 *line(Scan *s, const u8 *p) {
  int more;
  if (!(p = expect(p, '{'))) return NULL;
  do {
    if (!(p = expect(p, '"'))) return NULL;
    const u8 *name = p;
    p = find_special(p, s->end);
    if (*p != '"') return NULL;
    i32 child = find_name(&s->names, 0, name, p - name, s->end);
    if (child < 0) return unknown_name(s, 0, name, p - name);
    Node *n = s->nodes + child;
    if (!open_place(s, n, s->rows) || !(p = expect(p + 1, ':'))) return NULL;
    n->valid[s->rows] = 1;
    if (!(p = members(s, p, child, s->rows)) || (more = another(&p, '}')) < 0) return NULL;
  } while (more);
  p = skip_spaces(p);
  return *p == '\n' || p == s->end ? p : NULL;
}

// Scans from byte `start` and returns where it stopped. `status` says why: at the end, or at the
// begin of a line that is to be scanned again once `node` knows the name or has a larger buffer.
i64 scan_lines(Scan *s, i64 start) {
  const u8 *p = s->block + start;
  while (p < s->end) {
    const u8 *begin = p;
    p = skip_blank(p);
    if (*p == '\n') {
      p++;
      continue;
    }
    if (p >= s->end) break;
    i64 deferred = s->deferred_count;
    const u8 *after = NULL;
    s->status = IRREGULAR;
    s->level = s->key_count = 0;
    if (s->rows == s->row_capacity) full(s, s->nodes, FULL_LIST, ROWS);
    else if (s->irregular_count == s->irregular_capacity)
      full(s, s->nodes, FULL_LIST, IRREGULAR_LINES);
    else if (!is_longer(p, s->end, s->longest_line)) after = line(s, begin);
    if (after) {
      s->row_lines[s->rows++] = (Line){begin - s->block, after - s->block, s->line_count++};
      s->nodes[0].length = s->rows;
      p = after < s->end ? after + 1 : after;
      continue;
    }
    take_back(s);
    s->deferred_count = deferred;
    if (s->status != IRREGULAR) return begin - s->block;
    const u8 *end = end_of_line(begin, s->end);
    s->irregular[s->irregular_count++] = (Line){begin - s->block, end - s->block, s->line_count++};
    p = end < s->end ? end + 1 : end;
  }
  s->status = AT_END;
  return s->end - s->block;
}

// At the end of a block: fills the places that no row wrote. To be called again if it stopped.
void fill_columns(Scan *s) {
  s->status = AT_END;
  for (i64 i = 1; i < s->node_count; i++) {
    Node *n = s->nodes + i;
    i64 wanted = wanted_length(s, n);
    if (wanted > n->capacity) {
      full(s, n, FULL_PLACES, wanted);
      return;
    }
    if (n->length < wanted) fill_places(n, wanted);
  }
}
