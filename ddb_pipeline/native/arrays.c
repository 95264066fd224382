// What Python needs besides the walks: UTF-8, the table of names, the digest of the sources.
#include "scan.h"

static inline int continues(u8 c) {
  return (c & 0xC0) == 0x80;
}

// Bytes of the character that begins with `p[0]`, which is not ASCII; 0 if it is none (RFC 3629).
static inline int utf8_length(const u8 *p) {
  u8 c = p[0];
  if (c < 0xC2 || c > 0xF4 || !continues(p[1])) return 0;
  if (c < 0xE0) return 2;
  if (!continues(p[2])) return 0;
  if (c < 0xF0) return (c == 0xE0 && p[1] < 0xA0) || (c == 0xED && p[1] > 0x9F) ? 0 : 3;
  return !continues(p[3]) || (c == 0xF0 && p[1] < 0x90) || (c == 0xF4 && p[1] > 0x8F) ? 0 : 4;
}

// Bytes less 128, which keeps their order as signed numbers: SSE2 compares no others.
static inline Mask16 load_less128(const u8 *p) {
  return (Mask16)(load16(p) ^ 0x80);
}

#define LESS128(byte) ((int8_t)((byte) - 0x80))

// Which of 16 bytes cannot be where they are in UTF-8, by the three bytes before each: a byte
// continues a character if, and only if, one of them begins one that is long enough.
static inline Mask16 misplaced(const u8 *p) {
  Mask16 c = load_less128(p), before = load_less128(p - 1);
  Mask16 second = load_less128(p - 2), third = load_less128(p - 3);
  Mask16 wanted = (before >= LESS128(0xC0)) | (second >= LESS128(0xE0)) | (third >= LESS128(0xF0));
  Mask16 wrong = wanted ^ ((c >= LESS128(0x80)) & (c < LESS128(0xC0)));
  wrong |= ((c >= LESS128(0xC0)) & (c < LESS128(0xC2))) | (c >= LESS128(0xF5));
  wrong |= (before == LESS128(0xE0)) & (c < LESS128(0xA0));
  wrong |= (before == LESS128(0xED)) & (c >= LESS128(0xA0));
  wrong |= (before == LESS128(0xF0)) & (c < LESS128(0x90));
  return wrong | ((before == LESS128(0xF4)) & (c >= LESS128(0x90)));
}

enum { UTF8_STEP = 64 };

static inline int is_ascii(const u8 *p) {
  Bytes16 both = load16(p) | load16(p + 16), others = load16(p + 32) | load16(p + 48);
  return !any16((Mask16)((both | others) & 0x80));
}

// From a character's begin, with at least 3 bytes before it, to one behind it; NULL if it is not
// UTF-8. Stops behind a step of ASCII, or where there is no step left.
static const u8 *skip_utf8(const u8 *p, const u8 *end) {
  Mask16 wrong = {0};
  do {
    wrong |= misplaced(p) | misplaced(p + 16) | misplaced(p + 32) | misplaced(p + 48);
    p += UTF8_STEP;
  } while (end - p >= UTF8_STEP && !is_ascii(p - UTF8_STEP));
  if (any16(wrong)) return NULL;
  // A character may go on behind these bytes.
  for (int i = 1; i <= 3; i++)
    if (p[-i] >= 0xC0) return p[-i] >= (i == 1 ? 0xC0 : i == 2 ? 0xE0 : 0xF0) ? p - i : p;
  return p;
}

// Whether a block is UTF-8. Behind it is a NUL, which ends an incomplete character.
i64 is_utf8(const u8 *p, i64 size) {
  const u8 *begin = p, *end = p + size;
  while (p < end) {
    if (end - p >= UTF8_STEP && is_ascii(p)) p += UTF8_STEP;
    else if (end - p >= UTF8_STEP && p - begin >= 3) {
      if (!(p = skip_utf8(p, end))) return 0;
    } else if (*p < 0x80) p++;
    else {
      int length = utf8_length(p);
      if (!length) return 0;
      p += length;
    }
  }
  return 1;
}

// Puts a name into the table, which has a free slot.
void add_name(const Names *names, i64 owner, i64 child, i64 at, i64 length) {
  const u8 *name = names->bytes + at;
  u64 slot = hash_name((u64)(i32)owner, name, length, name + length) & names->mask;
  while (names->slots[slot].child >= 0) slot = (slot + 1) & names->mask;
  names->slots[slot] = (Slot){(i32)owner, (i32)child, (i32)at, (i32)length};
}

i64 size_of_scan(void) {
  return sizeof(Scan);
}
i64 size_of_node(void) {
  return sizeof(Node);
}

const char *digest_of_sources(void) {
  return DIGEST_OF_SOURCES;
}
