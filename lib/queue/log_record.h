/* SPDX-License-Identifier: Apache-2.0 */
/* A finished job's log outside Redis: one record of blocks, each bound to those before it by its hash, so that what was
   read so far may be used and nothing that was changed, cut or swapped is. Pure. Format (all numbers little-endian):

     block   "MLR" and the version '1' | type, one byte | three zero bytes | length of the content, 4 bytes |
             hash, 16 bytes | content
     hash    the first 16 bytes of SHA-256(hash of the block before, or 16 zero bytes | the first 12 bytes | content)
     HEAD    first: JSON object {"job", "tenant", "session", "attempt", "seq", "status", ...}; members are only added
     REQUEST any number: a piece of the job's request (PROTOCOL.md 11), in order
     EVENTS  any number: entries of the stream, whole ones: length (4) of what follows | length of the stream id (1), id |
             number of fields (1) | for each: length of the name (1), name, length of the value (4), value
     END     last: how many entries there were (8)

   Unknown types are skipped, so that new ones may be added; the version rises when an old reader would misread. The hash
   of END is the record's: whoever points at a record keeps it. */
#ifndef MILLRACE_QUEUE_LOG_RECORD_H
#define MILLRACE_QUEUE_LOG_RECORD_H

#include "base/buf.h"
#include "schema/event.h"

enum {
    RECORD_HASH_LEN = 16,
    RECORD_HASH_HEX = 2 * RECORD_HASH_LEN,
    RECORD_HEADER = 12 + RECORD_HASH_LEN,
    RECORD_BLOCK_TARGET = 64 << 10, /* an EVENTS block ends when it is so long */
    RECORD_BLOCK_MAX = 17 << 20, /* content of a block; a larger one is refused before room is made for it */
    RECORD_REQUEST_PIECE = 256 << 10,
    RECORD_FIELDS_MAX = 32
};

enum record_type { RECORD_HEAD = 1, RECORD_REQUEST = 2, RECORD_EVENTS = 3, RECORD_END = 4 };

struct record_hash {
    unsigned char bytes[RECORD_HASH_LEN];
};
void record_hash_hex(const struct record_hash *hash, char ret_hex[RECORD_HASH_HEX + 1]);
MUST_CHECK enum err record_hash_parse(struct str hex, struct record_hash *ret_hash); /* ERR_INVALID */

/* One entry as the stream has it: fields are name, value, name, value ... */
struct record_entry {
    struct str id;
    struct str fields[2 * RECORD_FIELDS_MAX];
    size_t pairs;
};

/* ---- writing: blocks are appended to `out`, which the caller empties as he likes ---- */

struct record_writer {
    struct buf *out;
    struct record_hash hash;
    struct buf events; /* of the block that is being filled */
    uint64_t count;
};
void record_begin(struct record_writer *w, struct buf *out, struct str head_json);
void record_add_request(struct record_writer *w, struct str piece);
/* ERR_FULL: an entry larger than a block can be. */
MUST_CHECK enum err record_add_entry(struct record_writer *w, const struct record_entry *entry);
/* Closes and frees. Check buf_status(out) at last. */
void record_finish(struct record_writer *w, struct record_hash *ret_hash);
void record_abandon(struct record_writer *w);

/* ---- reading: bytes are fed in pieces of any length ---- */

enum record_step {
    RECORD_MORE,  /* feed more */
    RECORD_TOLD,  /* the head is there (reader->head) */
    RECORD_EVENT, /* an entry, views into the reader until the next call */
    RECORD_DONE,  /* the record ended as it should */
    RECORD_BAD    /* sticky: reader->why */
};

struct record_reader {
    struct buf in;
    size_t taken;    /* of `in`: done with */
    struct str rest; /* of an EVENTS block that is being told */
    struct record_hash hash;
    const char *why;
    struct str head; /* view, valid while RECORD_TOLD is told */
    uint64_t count;
    bool begun, over, bad;
};
void record_reader_init(struct record_reader *r);
void record_reader_free(struct record_reader *r);
/* Copies. More than one block's worth must not be fed ahead: call record_next() until it says RECORD_MORE. */
void record_feed(struct record_reader *r, struct str bytes);
enum record_step record_next(struct record_reader *r, struct record_entry *ret_entry);
/* As an event; as event_decode(). */
MUST_CHECK enum err record_event(const struct record_entry *entry, struct id job, struct event *ret_event);

#endif
