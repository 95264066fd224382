// Texts, binary, numbers and times to the buffers of a node.
#ifndef DDB_PIPELINE_SCALARS_H
#define DDB_PIPELINE_SCALARS_H

#include "scan.h"

// ---- Texts

static inline u8 *put_utf8(u8 *d, u32 code) {
  if (code < 0x80) *d++ = (u8)code;
  else if (code < 0x800) {
    *d++ = (u8)(0xC0 | code >> 6);
    *d++ = (u8)(0x80 | (code & 63));
  } else if (code < 0x10000) {
    *d++ = (u8)(0xE0 | code >> 12);
    *d++ = (u8)(0x80 | (code >> 6 & 63));
    *d++ = (u8)(0x80 | (code & 63));
  } else {
    *d++ = (u8)(0xF0 | code >> 18);
    *d++ = (u8)(0x80 | (code >> 12 & 63));
    *d++ = (u8)(0x80 | (code >> 6 & 63));
    *d++ = (u8)(0x80 | (code & 63));
  }
  return d;
}

static inline u8 *room(Scan *s, Node *n, u8 *d, i64 size) {
  if (n->bytes + n->bytes_capacity - d >= size) return d;
  full(s, n, FULL_BYTES, d - n->bytes + size);
  return NULL;
}

// Behind the opening quote: copies the text to `*to`, without escapes.
static inline const u8 *copy_text(Scan *s, const u8 *p, Node *n, u8 **to) {
  u8 *d = *to;
  const u8 *limit = n->bytes + n->bytes_capacity;
  for (;;) {
    int words = FEW_WORDS;
    while (s->end - p >= 8 && limit - d >= 8) {
      u64 word = load8(p), found = special_bytes(word);
      memcpy(d, &word, 8);
      if (found) {
        int before = __builtin_ctzll(found) >> 3;
        p += before, d += before;
        goto special;
      }
      p += 8, d += 8;
      if (!--words)
        for (; s->end - p >= 32 && limit - d >= 32 && !has_special32(p); p += 32, d += 32)
          memcpy(d, p, 32);
    }
    const u8 *stop = find_special(p, s->end);
    if (!room(s, n, d, stop - p)) return NULL;
    memcpy(d, p, (size_t)(stop - p));
    d += stop - p;
    p = stop;
  special:
    if (LIKELY(*p == '"')) {
      *to = d;
      return p + 1;
    }
    u32 code;
    if (*p != '\\' || !room(s, n, d, 4)) return NULL;
    if (LIKELY(p[1] == '"')) {
      *d++ = '"';
      p += 2;
      continue;
    }
    if (!(p = read_escape(p, &code))) return NULL;
    d = put_utf8(d, code);
  }
}

// The position in the node's bytes where its last place's begin.
static inline u8 *text_start(Node *n, i64 place) {
  return n->bytes + n->ends[place];
}

static inline void end_text(Node *n, i64 place, const u8 *d) {
  n->ends[place + 1] = (i32)(d - n->bytes);
  n->valid[place] = 1;
}

static inline int has_few_characters(const u8 *p, const u8 *end, i64 most) {
  if (end - p <= most) return 1;
  i64 count = 0;
  for (; p < end; p++) count += (*p & 0xC0) != 0x80;
  return count <= most;
}

// ---- Base64

static const signed char BASE64[256] = {
#define N4 -1, -1, -1, -1
#define N16 N4, N4, N4, N4
    N16, N16, N4, N4, -1, -1, -1, 62, -1, -1, -1, 63, 52,  53,  54,  55,  56,  57,  58,  59,
    60,  61,  -1, -1, -1, -1, -1, -1, -1, 0,  1,  2,  3,   4,   5,   6,   7,   8,   9,   10,
    11,  12,  13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,  24,  25,  -1,  -1,  -1,  -1,  -1,
    -1,  26,  27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37,  38,  39,  40,  41,  42,  43,  44,
    45,  46,  47, 48, 49, 50, 51, -1, -1, -1, -1, -1, N16, N16, N16, N16, N16, N16, N16, N16};

// Base64 up to its closing quote; bits left over after the last byte must be 0.
static inline const u8 *binary(Scan *s, const u8 *p, Node *n, i64 place) {
  u8 *d = text_start(n, place);
  for (;;) {
    if (*p == '"') break;
    if (!room(s, n, d, 3)) return NULL;
    int a = BASE64[p[0]], b, c, e;
    if (a < 0 || (b = BASE64[p[1]]) < 0) return NULL;
    *d++ = (u8)(a << 2 | b >> 4);
    if ((c = BASE64[p[2]]) < 0) {
      if (b & 15 || p[2] != '=' || p[3] != '=' || p[4] != '"') return NULL;
      p += 4;
      break;
    }
    *d++ = (u8)(b << 4 | c >> 2);
    if ((e = BASE64[p[3]]) < 0) {
      if (c & 3 || p[3] != '=' || p[4] != '"') return NULL;
      p += 4;
      break;
    }
    *d++ = (u8)(c << 6 | e);
    p += 4;
  }
  end_text(n, place, d);
  return p + 1;
}

static inline const u8 *skip_base64(const u8 *p) {
  for (;;) {
    if (*p == '"') return p + 1;
    if (BASE64[p[0]] < 0 || BASE64[p[1]] < 0) return NULL;
    if (BASE64[p[2]] < 0) return p[2] == '=' && p[3] == '=' && p[4] == '"' ? p + 5 : NULL;
    if (BASE64[p[3]] < 0) return p[3] == '=' && p[4] == '"' ? p + 5 : NULL;
    p += 4;
  }
}

// ---- Numbers and times, behind the opening quote

// Leaves a scalar to Python; a text with an escape makes the line irregular.
static inline const u8 *defer(Scan *s, const u8 *start, const Node *n, i64 place, int tag) {
  const u8 *end = find_special(start, s->end);
  if (*end != '"') return NULL;
  if (s->deferred_count == s->deferred_capacity) return full(s, n, FULL_LIST, DEFERRED);
  Deferred *d = s->deferred + s->deferred_count++;
  *d = (Deferred){n - s->nodes, place, start - s->block, end - start, s->rows, tag};
  return end + 1;
}

static inline const u8 *integer(Scan *s, const u8 *start, Node *n, i64 place) {
  const u8 *p = start;
  int negative = *p == '-';
  p += negative;
  const u8 *first = p;
  u64 number = 0;
  while (is_digit(*p)) number = number * 10 + (u64)(*p++ - '0');
  if (*p != '"' || p == first || p - first > 19) return defer(s, start, n, place, TAG_N);
  if (number > (1ull << (n->digits - 1)) - 1 + (u64)negative)
    return defer(s, start, n, place, TAG_N);
  number = negative ? 0 - number : number;
  switch (n->digits) {
  case 8: ((u8 *)n->values)[place] = (u8)number; break;
  case 16: ((uint16_t *)n->values)[place] = (uint16_t)number; break;
  case 32: ((u32 *)n->values)[place] = (u32)number; break;
  default: ((u64 *)n->values)[place] = number;
  }
  n->valid[place] = 1;
  return p + 1;
}

// Reads digits with at most one point between them; no exponent. NULL for another form. `count` is
// the number of digits from the first one that is not 0; with more than 19 `digits` means nothing.
static inline const u8 *read_decimal(const u8 *p, int *negative, u64 *digits, i64 *count,
                                     i64 *scale) {
  *negative = *p == '-';
  p += *negative;
  if (!is_digit(*p)) return NULL;
  while (*p == '0') p++;
  const u8 *first = p;
  u64 number = 0;
  while (is_digit(*p)) number = number * 10 + (u64)(*p++ - '0');
  *count = p - first;
  *scale = 0;
  if (*p == '.') {
    const u8 *fraction = ++p;
    if (!*count) {
      while (*p == '0') p++;
    }
    first = p;
    while (is_digit(*p)) number = number * 10 + (u64)(*p++ - '0');
    *count += p - first;
    *scale = p - fraction;
    if (!*scale) return NULL;
  }
  *digits = number;
  return *p == '"' ? p + 1 : NULL;
}

static inline const u8 *floating(Scan *s, const u8 *start, Node *n, i64 place) {
  int negative;
  u64 digits;
  i64 count, scale;
  double number;
  const u8 *p = read_decimal(start, &negative, &digits, &count, &scale);
  if (!p || count > 19) return defer(s, start, n, place, TAG_N);
  for (; scale && digits && digits % 10 == 0; scale--) digits /= 10;
  if (n->kind == FLOAT) {
    // Up to 6 digits are exact (FLT_DIG), as is their quotient in double precision.
    if (digits >= 1000000 || scale > 20) return defer(s, start, n, place, TAG_N);
    float narrow = (float)((double)digits / POWERS_OF_TEN[scale]);
    ((float *)n->values)[place] = negative ? -narrow : narrow;
  } else {
    if (digits >= 100000000000000000ull || exact_double(digits, scale, &number) != EXACT)
      return defer(s, start, n, place, TAG_N);
    ((double *)n->values)[place] = negative ? -number : number;
  }
  n->valid[place] = 1;
  return p;
}

static inline const u8 *decimal(Scan *s, const u8 *start, Node *n, i64 place) {
  const u8 *p = start;
  int negative = *p == '-';
  p += negative;
  const u8 *first = p;
  u128 number = 0;
  u64 part = 0;
  while (is_digit(*p)) p++;
  i64 whole = p - first, scale = 0;
  if (*p == '.') {
    const u8 *fraction = ++p;
    while (is_digit(*p)) p++;
    scale = p - fraction;
    if (!scale) return defer(s, start, n, place, TAG_N);
  }
  if (*p != '"' || whole < 1 || scale > n->scale || whole > n->digits - n->scale)
    return defer(s, start, n, place, TAG_N);
  // At most 38 digits: 19 of them at a time.
  i64 taken = 0;
  for (const u8 *q = first; q < p; q++) {
    if (*q == '.') continue;
    part = part * 10 + (u64)(*q - '0');
    if (++taken == 19) {
      number = part;
      part = 0;
    }
  }
  u64 power = 1;
  for (i64 i = taken >= 19 ? taken - 19 : 0; i > 0; i--) power *= 10;
  number = number * power + part;
  for (i64 i = scale; i < n->scale; i++) number *= 10;
  if (negative) number = -number;
  memcpy((u8 *)n->values + 16 * place, &number, 16);
  n->valid[place] = 1;
  return p + 1;
}

static inline i64 digits_at(const u8 *p, int count) {
  i64 number = 0;
  for (int i = 0; i < count; i++) {
    if (!is_digit(p[i])) return -1;
    number = number * 10 + (p[i] - '0');
  }
  return number;
}

// YYYY-MM-DD as days since 1970, or INT64_MIN.
static inline i64 read_day(const u8 *p) {
  static const i64 days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  i64 year = digits_at(p, 4), month, day;
  if (year < 1 || p[4] != '-' || (month = digits_at(p + 5, 2)) < 1 || month > 12) return INT64_MIN;
  if (p[7] != '-' || (day = digits_at(p + 8, 2)) < 1) return INT64_MIN;
  int leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  if (day > days[month - 1] + (month == 2 && leap)) return INT64_MIN;
  // The year begins in March, so that the day that some years have is their last.
  i64 y = year - (month <= 2), of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return y * 365 + y / 4 - y / 100 + y / 400 + of_year - 719468;
}

static inline const u8 *date(Scan *s, const u8 *start, Node *n, i64 place) {
  i64 day = read_day(start);
  if (day == INT64_MIN || start[10] != '"') return defer(s, start, n, place, TAG_S);
  ((i32 *)n->values)[place] = (i32)day;
  n->valid[place] = 1;
  return start + 11;
}

// YYYY-MM-DD, alone or with HH:MM:SS, up to six digits after the second, and Z.
static inline const u8 *timestamp(Scan *s, const u8 *start, Node *n, i64 place) {
  const u8 *p = start;
  i64 day = read_day(p), micros = 0;
  if (day == INT64_MIN) return defer(s, start, n, place, TAG_S);
  p += 10;
  if (*p == 'T' || *p == ' ') {
    i64 hour = digits_at(p + 1, 2), minute, second;
    if (hour < 0 || hour > 23 || p[3] != ':' || (minute = digits_at(p + 4, 2)) < 0 || minute > 59 ||
        p[6] != ':' || (second = digits_at(p + 7, 2)) < 0 || second > 59)
      return defer(s, start, n, place, TAG_S);
    p += 9;
    micros = ((hour * 60 + minute) * 60 + second) * 1000000;
    if (*p == '.' && is_digit(p[1])) {
      i64 unit = 100000;
      for (p++; is_digit(*p) && unit; p++, unit /= 10) micros += unit * (*p - '0');
    }
    if (*p == 'Z') p++;
  }
  if (*p != '"') return defer(s, start, n, place, TAG_S);
  ((i64 *)n->values)[place] = day * 86400000000 + micros;
  n->valid[place] = 1;
  return p + 1;
}

// A whole number of seconds or milliseconds.
static inline const u8 *epoch(Scan *s, const u8 *start, Node *n, i64 place) {
  const i64 first = -62135596800000000, last = 253402300799999999;
  const u8 *p = start;
  int negative = *p == '-';
  p += negative;
  const u8 *digits = p;
  i64 number = 0;
  while (is_digit(*p) && p - digits < 15) number = number * 10 + (*p++ - '0');
  if (*p != '"' || p == digits) return defer(s, start, n, place, TAG_N);
  if (number < s->milliseconds_from && number > 1000000000000)
    return defer(s, start, n, place, TAG_N);
  i64 micros = number * (number >= s->milliseconds_from ? 1000 : 1000000);
  micros = negative ? -micros : micros;
  if (micros < first || micros > last) return defer(s, start, n, place, TAG_N);
  ((i64 *)n->values)[place] = micros;
  n->valid[place] = 1;
  return p + 1;
}

#endif
