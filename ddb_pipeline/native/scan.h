// The state of a scan, and the places of its nodes.
#ifndef DDB_PIPELINE_SCAN_H
#define DDB_PIPELINE_SCAN_H

#include "lines.h"

// Kinds of nodes; the order is that of native/library.py.
enum Kind {
  STRING,
  INTEGER,
  DOUBLE,
  FLOAT,
  DECIMAL,
  BOOLEAN,
  BINARY,
  DATE,
  TIMESTAMP,
  LIST,
  MAP,
  STRUCT,
  NOTHING, // no column: only values without content are regular
  EXACT_ONLY,
  ONLY_TEXT, // a text that neither numbers nor containers become
  SPLIT,     // numbers go to the node `key`, everything else to `element`, beside this node
  LEFT       // no column: every line with a value is irregular
};

// Why a scan stopped; the order is that of native/library.py.
enum Status { AT_END, IRREGULAR, UNKNOWN_NAME, FULL_PLACES, FULL_BYTES, FULL_LIST };

typedef struct {
  u8 *valid;    // by place: 1 if it has a value
  void *values; // by place, of the type's width
  i32 *ends;    // ends[0] is 0, ends[1 + place] is where the place's bytes or elements end
  u8 *bytes;    // of texts and binary
  i64 capacity, bytes_capacity; // places; bytes
  i64 length;                   // places in use
  i32 kind, parent;
  i32 element, key; // nodes of a list's or map's elements and of a map's keys; halves of SPLIT
  i32 digits;       // bits of integers, precision of decimals, most characters of texts (0: any)
  i32 scale;        // of decimals
} Node;

typedef struct {
  i64 node, place, start, length, row, tag;
} Deferred;

typedef struct {
  i64 start, end;
  i64 number; // of the line in the block, from 0; blank lines are not counted
} Line;

typedef struct {
  i32 at, length; // a column name in the bytes of the names
} ColumnName;

typedef struct {
  Node *nodes;
  i64 node_count;
  Names names;
  const ColumnName *column_names; // by what a name under TEXT_NAMES leads to
  i64 rows;
  Line *row_lines; // the line of each row
  i64 row_capacity;
  Deferred *deferred;
  i64 deferred_count, deferred_capacity;
  Line *irregular;
  i64 irregular_count, irregular_capacity;
  Key *keys; // a stack, for objects in objects
  i32 *key_order;
  i64 key_count, key_capacity; // key_order has room for 4 * key_capacity + 4
  i64 line_count;
  i64 longest_line;
  i64 milliseconds_from; // epoch numbers of at least this size are milliseconds
  // Why the scan stopped.
  i64 status, node, name_at, name_length, needed;
  i64 level;
  const u8 *block, *end;
} Scan;

// The lists that can be full, in `needed`; the order is that of native/library.py.
enum List { ROWS, IRREGULAR_LINES, DEFERRED, KEYS };

// The owner, in `names`, of the names of maps that become JSON text.
enum { TEXT_NAMES = -1, MAX_TEXT_NAMES = 64 };

static inline const u8 *full(Scan *s, const Node *n, enum Status status, i64 needed) {
  s->status = status;
  s->node = n - s->nodes;
  s->needed = needed;
  return NULL;
}

static inline const u8 *unknown_name(Scan *s, i64 owner, const u8 *name, i64 length) {
  s->status = UNKNOWN_NAME;
  s->node = owner;
  s->name_at = name - s->block;
  s->name_length = length;
  return NULL;
}

// ---- Places

static inline void fill_places(Node *n, i64 to) {
  if (LIKELY(n->length + 1 == to)) {
    n->valid[n->length++] = 0;
    if (n->ends) n->ends[to] = n->ends[to - 1];
    return;
  }
  memset(n->valid + n->length, 0, (size_t)(to - n->length));
  if (n->ends) {
    i32 end = n->ends[n->length];
    for (i64 i = n->length; i < to; i++) n->ends[i + 1] = end;
  }
  n->length = to;
}

// Makes `place` the node's last one, null until it is written; those before it become null.
static inline int open_place(Scan *s, Node *n, i64 place) {
  if (n->length > place) return 0; // the second value for the column in one object
  if (place >= n->capacity) {
    full(s, n, FULL_PLACES, place + 1);
    return 0;
  }
  fill_places(n, place + 1);
  return 1;
}

// Where a node's places have to end, its parent's places being right.
static inline i64 wanted_length(const Scan *s, const Node *n) {
  const Node *parent = s->nodes + n->parent;
  return parent->kind == LIST || parent->kind == MAP ? parent->ends[parent->length]
                                                     : parent->length;
}

// Takes back what a line wrote. Parents come before their children.
static inline void take_back(Scan *s) {
  if (s->nodes[0].length > s->rows) s->nodes[0].length = s->rows;
  for (i64 i = 1; i < s->node_count; i++) {
    Node *n = s->nodes + i;
    i64 wanted = wanted_length(s, n);
    if (n->length > wanted) n->length = wanted;
  }
}

#endif
