// The rows of a scan as an array of Arrow's C data interface, copied to one piece of memory
// (https://arrow.apache.org/docs/format/CDataInterface.html).
#include "scan.h"
#include <stdlib.h>

typedef struct ArrowArray ArrowArray;
struct ArrowArray {
  i64 length, null_count, offset, n_buffers, n_children;
  const void **buffers;
  ArrowArray **children, *dictionary;
  void (*release)(ArrowArray *);
  void *private_data;
};

// The begin of the memory; the last array that is released frees it.
typedef struct {
  i64 arrays;
} Owner;

enum { ALIGNMENT = 64, MOST_BUFFERS = 3 };

static void release(ArrowArray *array) {
  Owner *owner = array->private_data;
  for (i64 i = 0; i < array->n_children; i++)
    if (array->children[i]->release) array->children[i]->release(array->children[i]);
  array->release = NULL;
  if (!__atomic_sub_fetch(&owner->arrays, 1, __ATOMIC_ACQ_REL)) free(owner);
}

// The lowest bits of bytes as bits; returns how many are 1. Places that are null hold any byte.
static i64 pack_bits(const u8 *bytes, i64 count, u8 *bits) {
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

static inline i64 aligned(i64 size) {
  return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

// Bytes of a value; 0 for kinds without values of a fixed width, and for bits.
static i64 width(const Node *n) {
  switch (n->kind) {
  case INTEGER: return n->digits / 8;
  case FLOAT:
  case DATE: return 4;
  case DOUBLE:
  case TIMESTAMP: return 8;
  case DECIMAL: return 16;
  default: return 0;
  }
}

static inline int has_bytes(const Node *n) {
  return n->kind == STRING || n->kind == BINARY || n->kind == ONLY_TEXT;
}

static inline int has_ends(const Node *n) {
  return has_bytes(n) || n->kind == LIST || n->kind == MAP;
}

// Whether a node is a column or a part of one.
static inline int has_array(const Node *n) {
  return n->kind != NOTHING && n->kind != SPLIT && n->kind != LEFT;
}

static i64 data_size(const Node *n) {
  i64 bits = aligned((n->length + 7) / 8), size = bits + aligned(n->length * width(n));
  if (n->kind == BOOLEAN) size += bits;
  if (has_ends(n)) size += aligned((n->length + 1) * 4);
  if (has_bytes(n)) size += aligned(n->ends[n->length]);
  return size;
}

static const void *put(u8 **data, const void *from, i64 size) {
  void *to = *data;
  memcpy(to, from, (size_t)size);
  *data += aligned(size);
  return to;
}

static const void *put_bits(u8 **data, const u8 *from, i64 length, i64 *ones) {
  u8 *to = *data;
  *ones = pack_bits(from, length, to);
  *data += aligned((length + 7) / 8);
  return to;
}

// The buffers of a node, without those of the nodes below it.
static void put_node(const Node *n, ArrowArray *array, u8 **data) {
  i64 ones;
  array->length = n->length;
  if (n->kind == EXACT_ONLY) { // an array of nulls, which has no buffers
    array->null_count = n->length;
    return;
  }
  const void **buffer = array->buffers, *validity = put_bits(data, n->valid, n->length, &ones);
  array->null_count = n->length - ones;
  *buffer++ = array->null_count ? validity : NULL;
  if (has_ends(n)) *buffer++ = put(data, n->ends, (n->length + 1) * 4);
  if (has_bytes(n)) *buffer++ = put(data, n->bytes, n->ends[n->length]);
  if (n->kind == BOOLEAN) *buffer++ = put_bits(data, n->values, n->length, &ones);
  if (width(n)) *buffer++ = put(data, n->values, n->length * width(n));
  array->n_buffers = buffer - array->buffers;
}

// What is not yet in use of the memory.
typedef struct {
  Owner *owner;
  ArrowArray *arrays, **children, **by_node; // by_node: the array of each node from the root on
  const void **buffers;
  u8 *data;
} Memory;

static ArrowArray *add_array(Memory *m) {
  ArrowArray *array = m->arrays++;
  *array = (ArrowArray){.release = release, .private_data = m->owner, .buffers = m->buffers};
  m->buffers += MOST_BUFFERS;
  m->owner->arrays++;
  return array;
}

// Memory for the nodes from `root` on. The entries of a map are an array, too.
static int allocate(Memory *m, const Scan *s, i64 root) {
  i64 nodes = s->node_count - root, arrays = nodes, size = ALIGNMENT;
  for (const Node *n = s->nodes + root; n < s->nodes + s->node_count; n++) {
    arrays += n->kind == MAP;
    if (has_array(n)) size += data_size(n);
  }
  i64 pointers = arrays + nodes + MOST_BUFFERS * arrays;
  size += (i64)sizeof(Owner) + arrays * (i64)sizeof(ArrowArray) + pointers * (i64)sizeof(void *);
  Owner *owner = malloc((size_t)size);
  if (!owner) return 0;
  owner->arrays = 0;
  m->owner = owner;
  m->arrays = (ArrowArray *)(owner + 1);
  m->children = (ArrowArray **)(m->arrays + arrays);
  m->by_node = m->children + arrays;
  m->buffers = (const void **)(m->by_node + nodes);
  m->data = (u8 *)(m->buffers + MOST_BUFFERS * arrays);
  m->data += -(uintptr_t)m->data % ALIGNMENT;
  return 1;
}

// Room for the children of an array, of which there are so many so far as it has counted.
static void take_children(Memory *m, const Scan *s, const Node *n, ArrowArray *array) {
  if (n->kind == MAP) {
    ArrowArray *entries = add_array(m);
    entries->length = s->nodes[n->key].length;
    entries->buffers[0] = NULL;
    entries->n_buffers = 1;
    entries->children = m->children;
    m->children += array->n_children;
    array->n_children = 1;
    array->children = m->children++;
    array->children[0] = entries;
    return;
  }
  array->children = m->children;
  m->children += array->n_children;
  array->n_children = 0;
}

// The node `root` and those below it, which are all nodes from it on, after fill_columns; places of
// the root itself are rows and have no nulls. Returns 0 if there is no memory.
i64 export_rows(const Scan *s, i64 root, ArrowArray *result) {
  Memory m;
  if (!allocate(&m, s, root)) return 0;
  ArrowArray **arrays = m.by_node;
  const Node *nodes = s->nodes + root;
  i64 count = s->node_count - root;
  for (i64 i = 0; i < count; i++) {
    if (!has_array(nodes + i)) continue;
    arrays[i] = add_array(&m);
    put_node(nodes + i, arrays[i], &m.data);
    if (i) arrays[nodes[i].parent - root]->n_children++;
  }
  for (i64 i = 0; i < count; i++)
    if (has_array(nodes + i)) take_children(&m, s, nodes + i, arrays[i]);
  for (i64 i = 1; i < count; i++) {
    if (!has_array(nodes + i)) continue;
    ArrowArray *above = arrays[nodes[i].parent - root];
    if (nodes[nodes[i].parent - root].kind == MAP) above = above->children[0];
    above->children[above->n_children++] = arrays[i];
  }
  arrays[0]->null_count = 0;
  arrays[0]->buffers[0] = NULL;
  *result = *arrays[0];
  return 1;
}
