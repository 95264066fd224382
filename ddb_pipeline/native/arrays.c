// What Python needs besides the walks: bits, the table of names, and what this was built from.
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
