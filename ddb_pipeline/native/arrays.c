// What Python needs besides the walks: bits, UTF-8, the table of names, the digest of the sources.
#include "scan.h"

// The lowest bits of bytes as bits; returns how many are 1. Places that are null hold any byte.
i64 pack_bits(const u8 *bytes, i64 count, u8 *bits) {
  i64 ones = 0, i = 0;
  for (; i + 8 <= count; i += 8) {
    u64 word = load8(bytes + i) & 0x0101010101010101ull;
    ones += (i64)((word * 0x0101010101010101ull) >> 56);
    *bits++ = (u8)((word * 0x0102040810204080ull) >> 56);
  }
  if (i < count) {
    u8 rest = 0;
    for (int bit = 0; i < count; i++, bit++) {
      rest |= (u8)((bytes[i] & 1) << bit);
      ones += bytes[i] & 1;
    }
    *bits = rest;
  }
  return ones;
}

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

// Whether a block is UTF-8. Behind it is a NUL, which ends an incomplete character.
i64 is_utf8(const u8 *p, i64 size) {
  const u64 high = 0x8080808080808080ull;
  const u8 *end = p + size;
  while (p < end) {
    if (end - p >= 32 && !((load8(p) | load8(p + 8) | load8(p + 16) | load8(p + 24)) & high)) {
      p += 32;
      continue;
    }
    if (end - p >= 8) {
      u64 found = load8(p) & high;
      p += found ? __builtin_ctzll(found) >> 3 : 8;
      if (!found) continue;
    } else if (*p < 0x80) {
      p++;
      continue;
    }
    do {
      int length = utf8_length(p);
      if (!length) return 0;
      p += length;
    } while (*p >= 0x80);
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
