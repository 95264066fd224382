// Values of mixed types as JSON text, as dynamodb.values.json_text writes it.
#ifndef DDB_PIPELINE_JSON_TEXT_H
#define DDB_PIPELINE_JSON_TEXT_H

#include "scalars.h"

static const u8 *json_value(Scan *s, const u8 *p, Node *n, u8 **to);

static inline const u8 *put_raw(Scan *s, const u8 *from, const u8 *to, Node *n, u8 **d) {
  if (!room(s, n, *d, to - from)) return NULL;
  memcpy(*d, from, (size_t)(to - from));
  *d += to - from;
  return to;
}

static inline int put_mark(Scan *s, Node *n, u8 **d, u8 mark) {
  if (!room(s, n, *d, 1)) return 0;
  *(*d)++ = mark;
  return 1;
}

// Behind the opening quote: the text with its quotes and the escapes that Python's json writes.
static const u8 *json_string(Scan *s, const u8 *p, Node *n, u8 **d) {
  if (!put_mark(s, n, d, '"')) return NULL;
  for (;;) {
    const u8 *stop = find_special(p, s->end);
    if (!put_raw(s, p, stop, n, d)) return NULL;
    if (*stop == '"') return put_mark(s, n, d, '"') ? stop + 1 : NULL;
    u32 code;
    if (*stop != '\\' || !(p = read_escape(stop, &code)) || !room(s, n, *d, 6)) return NULL;
    u8 letter = 0;
    switch (code) {
    case '"':
    case '\\': letter = (u8)code; break;
    case '\n': letter = 'n'; break;
    case '\r': letter = 'r'; break;
    case '\t': letter = 't'; break;
    case '\f': letter = 'f'; break;
    case '\b': letter = 'b'; break;
    }
    if (letter) {
      *(*d)++ = '\\';
      *(*d)++ = letter;
    } else if (code < 0x20) {
      memcpy(*d, "\\u00", 4);
      (*d)[4] = (u8)('0' + (code >> 4));
      (*d)[5] = (u8) "0123456789abcdef"[code & 15];
      *d += 6;
    } else *d = put_utf8(*d, code);
  }
}

static const u8 *json_members(Scan *s, const u8 *p, Node *n, u8 **d) {
  i32 seen[MAX_TEXT_NAMES];
  int count = 0, more;
  if (!(p = expect(p, '{')) || !put_mark(s, n, d, '{')) return NULL;
  p = skip_spaces(p);
  if (*p == '}') return put_mark(s, n, d, '}') ? p + 1 : NULL;
  do {
    if (!(p = expect(p, '"'))) return NULL;
    const u8 *name = p;
    p = find_special(p, s->end);
    if (*p != '"' || count == MAX_TEXT_NAMES) return NULL;
    i32 found = find_name(&s->names, TEXT_NAMES, name, p - name, s->end);
    if (found < 0) return unknown_name(s, TEXT_NAMES, name, p - name);
    // Two spellings of one column name: the exact path knows their names.
    for (int i = 0; i < count; i++)
      if (seen[i] == found) return NULL;
    seen[count++] = found;
    const u8 *column = s->names.bytes + s->column_names[found].at;
    if (!put_mark(s, n, d, '"')) return NULL;
    if (!put_raw(s, column, column + s->column_names[found].length, n, d)) return NULL;
    if (!put_mark(s, n, d, '"') || !put_mark(s, n, d, ':')) return NULL;
    if (!(p = expect(p + 1, ':')) || !(p = json_value(s, p, n, d))) return NULL;
    if ((more = another(&p, '}')) < 0) return NULL;
    if (!put_mark(s, n, d, more ? ',' : '}')) return NULL;
  } while (more);
  return p;
}

// The content under a type tag.
static const u8 *json_content(Scan *s, const u8 *p, int tag, Node *n, u8 **d) {
  const u8 *start;
  switch (tag) {
  case TAG_S: return (p = expect(p, '"')) ? json_string(s, p, n, d) : NULL;
  case TAG_N:
    if (!(start = expect(p, '"')) || !(p = skip_json_number(start)) || *p != '"') return NULL;
    return put_raw(s, start, p, n, d) ? p + 1 : NULL;
  case TAG_B:
    if (!(start = expect(p, '"')) || !(p = skip_base64(start))) return NULL;
    return put_raw(s, start - 1, p, n, d);
  case TAG_M: return json_members(s, p, n, d);
  default: break;
  }
  if (tag == TAG_BOOL || tag == TAG_NULL) {
    u8 truth;
    if (!(p = read_boolean(p, &truth)) || (tag == TAG_NULL && !truth)) return NULL;
    if (!room(s, n, *d, 5)) return NULL;
    memcpy(*d, tag == TAG_NULL ? "null" : truth ? "true" : "false", 5);
    *d += tag == TAG_NULL || truth ? 4 : 5;
    return p;
  }
  int inside = element_tag(tag), more;
  if (!(p = expect(p, '[')) || !put_mark(s, n, d, '[')) return NULL;
  p = skip_spaces(p);
  if (*p == ']') return put_mark(s, n, d, ']') ? p + 1 : NULL;
  do {
    p = inside ? json_content(s, p, inside, n, d) : json_value(s, p, n, d);
    if (!p || (more = another(&p, ']')) < 0) return NULL;
    if (!put_mark(s, n, d, more ? ',' : ']')) return NULL;
  } while (more);
  return p;
}

static const u8 *json_value(Scan *s, const u8 *p, Node *n, u8 **d) {
  int tag;
  if (++s->level > MAX_LEVELS || !(p = open_value(p, &tag))) return NULL;
  if (!(p = json_content(s, p, tag, n, d))) return NULL;
  s->level--;
  return expect(p, '}');
}

#endif
