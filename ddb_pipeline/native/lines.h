// What both walks over lines of DynamoDB JSON share: texts, numbers, names, type tags.
//
// C99 with __int128, GCC or Clang, little-endian; no libc but memcpy, memset, memchr and memcmp.
// All memory is the caller's, but for what arrow.c hands over. A block may be read up to and with
// block[size], which is NUL: a byte is read only if the byte before it was none that ends a token.
// Functions that read return the position behind what they read, or NULL, the line being irregular:
// then the exact path reads it.
#ifndef DDB_PIPELINE_LINES_H
#define DDB_PIPELINE_LINES_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "little-endian only"
#endif

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t i32;
typedef int64_t i64;
typedef unsigned __int128 u128;
typedef __int128 i128;

#define LIKELY(condition) __builtin_expect(!!(condition), 1)

// DynamoDB's type tags; the order is that of native/library.py.
enum Tag { TAG_S = 1, TAG_N, TAG_B, TAG_BOOL, TAG_NULL, TAG_M, TAG_L, TAG_SS, TAG_NS, TAG_BS };

// Levels of values in values, more than DynamoDB's 32, and the most that the exact path accepts:
// two levels of JSON each, in a line of at most 100 (arrow_json.MAX_DEPTH).
enum { MAX_LEVELS = 49 };

static inline int is_digit(u8 c) {
  return (u8)(c - '0') < 10;
}

static inline u64 load8(const u8 *p) {
  u64 word;
  memcpy(&word, p, 8);
  return word;
}

// The first of the bytes that are a quote, a backslash or a control character is the lowest one
// whose high bit is set in the result; bits above it mean nothing.
static inline u64 special_bytes(u64 word) {
  const u64 ones = 0x0101010101010101ull, high = 0x8080808080808080ull;
  u64 quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');
  return (((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
          ((word - ones * 0x20) & ~word)) &
         high;
}

// 16 bytes at a time, as the vector extensions of GCC and Clang compile them for each processor.
typedef u8 Bytes16 __attribute__((vector_size(16)));
typedef int8_t Mask16 __attribute__((vector_size(16)));
typedef u64 Words16 __attribute__((vector_size(16)));

static inline Bytes16 load16(const u8 *p) {
  Bytes16 bytes;
  memcpy(&bytes, p, 16);
  return bytes;
}

static inline int any16(Mask16 mask) {
  Words16 words = (Words16)mask;
  return (words[0] | words[1]) != 0;
}

static inline Mask16 special16(Bytes16 bytes) {
  return (bytes == '"') | (bytes == '\\') | (bytes < 0x20);
}

// Whether one of 32 bytes is special.
static inline int has_special32(const u8 *p) {
  return any16(special16(load16(p)) | special16(load16(p + 16)));
}

// Most texts are short: so many words are read one by one before 32 bytes at a time.
enum { FEW_WORDS = 4 };

// The position of the first special byte; the NUL behind the block is one.
static inline const u8 *find_special(const u8 *p, const u8 *end) {
  int words = FEW_WORDS;
  while (end - p >= 8) {
    u64 found = special_bytes(load8(p));
    if (found) return p + (__builtin_ctzll(found) >> 3);
    p += 8;
    if (!--words)
      while (end - p >= 32 && !has_special32(p)) p += 32;
  }
  while (*p != '"' && *p != '\\' && *p >= 0x20) p++;
  return p;
}

static inline const u8 *skip_spaces(const u8 *p) {
  while (*p == ' ' || *p == '\t' || *p == '\r') p++;
  return p;
}

static inline const u8 *expect(const u8 *p, u8 mark) {
  if (LIKELY(*p == mark)) return p + 1;
  p = skip_spaces(p);
  return *p == mark ? p + 1 : NULL;
}

// Four hexadecimal digits, or -1.
static inline i32 hex4(const u8 *p) {
  i32 value = 0;
  for (int i = 0; i < 4; i++) {
    u8 c = p[i];
    if (is_digit(c)) value = value * 16 + (c - '0');
    else if ((c | 32) >= 'a' && (c | 32) <= 'f') value = value * 16 + ((c | 32) - 'a' + 10);
    else return -1;
  }
  return value;
}

// Reads an escape at its backslash. Half a surrogate pair is irregular.
static inline const u8 *read_escape(const u8 *p, u32 *code) {
  switch (p[1]) {
  case '"':
  case '\\':
  case '/': *code = p[1]; return p + 2;
  case 'b': *code = 8; return p + 2;
  case 'f': *code = 12; return p + 2;
  case 'n': *code = 10; return p + 2;
  case 'r': *code = 13; return p + 2;
  case 't': *code = 9; return p + 2;
  case 'u': break;
  default: return NULL;
  }
  i32 high = hex4(p + 2), low;
  if (high < 0) return NULL;
  p += 6;
  *code = (u32)high;
  if (high < 0xD800 || high > 0xDFFF) return p;
  if (high > 0xDBFF || p[0] != '\\' || p[1] != 'u') return NULL;
  low = hex4(p + 2);
  if (low < 0xDC00 || low > 0xDFFF) return NULL;
  *code = 0x10000 + (((u32)high - 0xD800) << 10) + ((u32)low - 0xDC00);
  return p + 6;
}

// Behind the opening quote; returns the position behind the closing one.
static inline const u8 *skip_text(const u8 *p, const u8 *end) {
  for (;;) {
    u32 code;
    p = find_special(p, end);
    if (*p == '"') return p + 1;
    if (*p != '\\' || !(p = read_escape(p, &code))) return NULL;
  }
}

// What Python's strip() takes for a blank line.
static inline const u8 *skip_blank(const u8 *p) {
  while (*p == ' ' || (*p >= '\t' && *p <= '\r' && *p != '\n')) p++;
  return p;
}

static inline const u8 *end_of_line(const u8 *p, const u8 *end) {
  const u8 *found = memchr(p, '\n', (size_t)(end - p));
  return found ? found : end;
}

static inline int is_longer(const u8 *line, const u8 *end, i64 length) {
  return end - line > length && end_of_line(line, end) - line > length;
}

// A number in JSON's grammar.
static inline const u8 *skip_json_number(const u8 *p) {
  if (*p == '-') p++;
  if (!is_digit(*p)) return NULL;
  if (*p == '0') p++;
  else
    while (is_digit(*p)) p++;
  if (*p == '.') {
    if (!is_digit(*++p)) return NULL;
    while (is_digit(*p)) p++;
  }
  if (*p == 'e' || *p == 'E') {
    p++;
    if (*p == '+' || *p == '-') p++;
    if (!is_digit(*p)) return NULL;
    while (is_digit(*p)) p++;
  }
  return p;
}

static inline const u8 *read_boolean(const u8 *p, u8 *value) {
  p = skip_spaces(p);
  if (p[0] == 't' && p[1] == 'r' && p[2] == 'u' && p[3] == 'e') {
    *value = 1;
    return p + 4;
  }
  if (p[0] == 'f' && p[1] == 'a' && p[2] == 'l' && p[3] == 's' && p[4] == 'e') {
    *value = 0;
    return p + 5;
  }
  return NULL;
}

// Reads {"TAG": of a typed value.
static inline const u8 *open_value(const u8 *p, int *tag) {
  if (!(p = expect(p, '{')) || !(p = expect(p, '"'))) return NULL;
  u8 c = p[0];
  if (c < 'A') return NULL;
  if (LIKELY(p[1] == '"')) {
    switch (c) {
    case 'S': *tag = TAG_S; break;
    case 'N': *tag = TAG_N; break;
    case 'B': *tag = TAG_B; break;
    case 'M': *tag = TAG_M; break;
    case 'L': *tag = TAG_L; break;
    default: return NULL;
    }
    p += 2;
  } else if (p[1] == 'S' && p[2] == '"') {
    switch (c) {
    case 'S': *tag = TAG_SS; break;
    case 'N': *tag = TAG_NS; break;
    case 'B': *tag = TAG_BS; break;
    default: return NULL;
    }
    p += 3;
  } else if (c == 'B' && p[1] == 'O' && p[2] == 'O' && p[3] == 'L' && p[4] == '"') {
    *tag = TAG_BOOL;
    p += 5;
  } else if (c == 'N' && p[1] == 'U' && p[2] == 'L' && p[3] == 'L' && p[4] == '"') {
    *tag = TAG_NULL;
    p += 5;
  } else return NULL;
  return expect(p, ':');
}

// The tag of a set's elements; 0 for a tag of another kind.
static inline int element_tag(int tag) {
  return tag == TAG_SS ? TAG_S : tag == TAG_NS ? TAG_N : tag == TAG_BS ? TAG_B : 0;
}

// After a member or an element: 1 if a comma follows, 0 at the closing mark, -1 for anything else.
static inline int another(const u8 **at, u8 closing) {
  const u8 *p = *at;
  if (*p != ',' && *p != closing) p = skip_spaces(p);
  *at = p + 1;
  return *p == ',' ? 1 : *p == closing ? 0 : -1;
}

// Names: one hash table of the names under all owners (nodes or places). Python grows it.
typedef struct {
  i32 owner, child; // child: what the name leads to; -1 for a free slot
  i32 at, length;   // the name in `bytes`
} Slot;

typedef struct {
  Slot *slots;
  u64 mask; // number of slots, a power of two, less one
  const u8 *bytes;
} Names;

static inline u64 hash_name(u64 owner, const u8 *name, i64 length, const u8 *end) {
  u64 head = 0, tail = 0;
  if (length >= 8) {
    head = load8(name);
    tail = load8(name + length - 8);
  } else if (end - name >= 8) head = load8(name) & ((1ull << (8 * length)) - 1);
  else memcpy(&head, name, (size_t)length);
  // Both halves of the product, as the names' differences may be in any byte.
  u128 product = (u128)(head ^ 0x9E3779B97F4A7C15ull ^ owner << 32) *
                 (tail ^ 0xC4CEB9FE1A85EC53ull ^ (u64)length << 56);
  return (u64)product ^ (u64)(product >> 64);
}

static inline int same_bytes(const u8 *one, const u8 *other, i64 length) {
  while (length >= 8) {
    if (load8(one) != load8(other)) return 0;
    one += 8, other += 8, length -= 8;
  }
  while (length-- > 0)
    if (*one++ != *other++) return 0;
  return 1;
}

// What a name leads to, or -1.
static inline i32 find_name(const Names *names, i32 owner, const u8 *name, i64 length,
                            const u8 *end) {
  u64 slot = hash_name((u64)owner, name, length, end) & names->mask;
  for (;; slot = (slot + 1) & names->mask) {
    const Slot *s = names->slots + slot;
    if (s->child < 0) return -1;
    if (s->owner == owner && s->length == length && same_bytes(names->bytes + s->at, name, length))
      return s->child;
  }
}

// Distinct keys of a map whose keys are data.
typedef struct {
  u64 hash;
  i64 at, length; // in the block, or in the bytes of a node
} Key;

enum { FEW_KEYS = 24 };

// Whether two of the keys are equal. `order` has room for 4 * count + 4 numbers.
static inline int has_equal_keys(const Key *keys, i64 count, const u8 *bytes, i32 *order) {
  if (count <= FEW_KEYS) {
    for (i64 i = 1; i < count; i++)
      for (i64 j = 0; j < i; j++)
        if (keys[i].hash == keys[j].hash && keys[i].length == keys[j].length &&
            same_bytes(bytes + keys[i].at, bytes + keys[j].at, keys[i].length))
          return 1;
    return 0;
  }
  u64 size = 4;
  while (size < 2 * (u64)count) size *= 2;
  memset(order, 0xFF, size * sizeof *order);
  for (i64 i = 0; i < count; i++) {
    u64 slot = keys[i].hash & (size - 1);
    for (; order[slot] >= 0; slot = (slot + 1) & (size - 1)) {
      const Key *other = keys + order[slot];
      if (other->hash == keys[i].hash && other->length == keys[i].length &&
          same_bytes(bytes + other->at, bytes + keys[i].at, keys[i].length))
        return 1;
    }
    order[slot] = (i32)i;
  }
  return 0;
}

static const double POWERS_OF_TEN[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                       1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                       1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

enum Exactness { INEXACT = 0, EXACT = 1, UNDECIDED = 2 };

// Whether digits / 10^scale is what the shortest text of its double states, and that double.
//
// Numbers of up to 15 digits are exact (IEEE 754, DBL_DIG), and both operands of the division are,
// too, so that it rounds correctly. With 16 and 17 digits, zeros at the end of whole numbers aside,
// the double is m * 2^-q, and integers of up to 124 bits decide: it is the nearest double, no
// shorter number reads as the same double, and no other one of as many digits is nearer to it.
static inline int exact_double(u64 digits, i64 scale, double *result) {
  if (scale > 22) return UNDECIDED;
  double value = (double)digits / POWERS_OF_TEN[scale];
  *result = value;
  u64 zeros = 1, significant = digits;
  for (; significant >= 1000000000000000ull && significant % 10 == 0; zeros *= 10)
    significant /= 10;
  if (significant < 1000000000000000ull && (zeros == 1 || !scale)) return EXACT;
  u64 bits;
  memcpy(&bits, &value, 8);
  i64 q = 1075 - (i64)(bits >> 52), q_of_integer = q < 0 ? 0 : q;
  u64 m = (bits & 0xFFFFFFFFFFFFFull) | 1ull << 52;
  if (q < -8 || q > 66 || scale > 20 || digits > 1000000000000000000ull) return UNDECIDED;
  // A double of this size is an integer, and nearest to itself: its shortest text is no other
  // integer that does not end with 0.
  if (q <= 0 && !scale && zeros == 1 && (u64)value != digits) return INEXACT;
  u128 number = (u128)digits << q_of_integer;
  if (number >> q_of_integer != digits || number >> 124) return UNDECIDED;
  // The distance of two doubles, and that of two numbers of as many digits, in the same units.
  u128 power = q < 0 ? (u128)1 << -q : 1;
  for (i64 i = 0; i < scale; i++) power *= 10;
  i128 unit = (i128)zeros << q_of_integer;
  i128 off = 0;
  for (int step = 0;; step++) {
    off = (i128)(number - (u128)m * power);
    i128 twice = off < 0 ? -2 * off : 2 * off;
    if (twice < (i128)power) break;
    if (twice == (i128)power || step == 2) return UNDECIDED;
    if (off > 0) m++;
    else m--;
  }
  // At a power of two the doubles below are nearer.
  if (m <= 1ull << 52 || m >= (1ull << 53) - 1) return UNDECIDED;
  bits = (u64)(1075 - q) << 52 | (m & 0xFFFFFFFFFFFFFull);
  memcpy(result, &bits, 8);
  // Shorter are multiples of ten units: whether one of those around reads as this double, too.
  i128 last = (i128)(significant % 10), below = last * unit - off, above = (10 - last) * unit + off;
  if (below < 0) below = -below;
  if (above < 0) above = -above;
  i128 nearer = below < above ? below : above;
  if (2 * nearer <= (i128)power) return 2 * nearer == (i128)power ? UNDECIDED : INEXACT;
  i128 distance = off < 0 ? -off : off;
  if (2 * distance >= unit) return 2 * distance == unit ? UNDECIDED : INEXACT;
  return EXACT;
}

#endif
