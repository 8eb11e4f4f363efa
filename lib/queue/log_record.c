/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/log_record.h"

#include "io/crypto.h"

#include <string.h>

enum { PREFIX = 12, EVENTS_SLACK = 64 };
static const char magic[] = "MLR1";

/* ---- numbers and hashes ------------------------------------------------------------------------------------------- */

static void put_number(unsigned char *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (unsigned char)(value >> (8 * i));
}

static void append_number(struct buf *out, uint64_t value, size_t bytes)
{
    unsigned char text[8];
    put_number(text, value, bytes);
    buf_append(out, text, bytes);
}

static uint64_t number_of(const char *at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)(unsigned char)at[i] << (8 * i);
    return value;
}

static struct record_hash chain(const struct record_hash *before, struct str prefix, struct str content)
{
    struct record_hash hash;
    struct sha256_state *state = sha256_begin();
    sha256_add(state, (struct str){(const char *)before->bytes, RECORD_HASH_LEN});
    sha256_add(state, prefix);
    sha256_add(state, content);
    struct sha256 whole = sha256_end(state);
    memcpy(hash.bytes, whole.bytes, RECORD_HASH_LEN);
    return hash;
}

void record_hash_hex(const struct record_hash *hash, char ret_hex[RECORD_HASH_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < RECORD_HASH_LEN; i++) {
        ret_hex[2 * i] = digits[hash->bytes[i] >> 4];
        ret_hex[2 * i + 1] = digits[hash->bytes[i] & 15];
    }
    ret_hex[RECORD_HASH_HEX] = '\0';
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum err record_hash_parse(struct str hex, struct record_hash *ret_hash)
{
    struct record_hash hash;
    if (hex.n != RECORD_HASH_HEX)
        return ERR_INVALID;
    for (size_t i = 0; i < RECORD_HASH_LEN; i++) {
        int high = digit_of(hex.p[2 * i]), low = digit_of(hex.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return ERR_INVALID;
        hash.bytes[i] = (unsigned char)(high << 4 | low);
    }
    *ret_hash = hash;
    return ERR_OK;
}

/* ---- writing -------------------------------------------------------------------------------------------------------- */

static void write_block(struct record_writer *w, enum record_type type, struct str content)
{
    unsigned char prefix[PREFIX] = {0};
    memcpy(prefix, magic, sizeof magic);
    prefix[4] = (unsigned char)type;
    put_number(prefix + 8, content.n, 4);
    w->hash = chain(&w->hash, (struct str){(const char *)prefix, PREFIX}, content);
    buf_append(w->out, prefix, PREFIX);
    buf_append(w->out, w->hash.bytes, RECORD_HASH_LEN);
    buf_append_str(w->out, content);
}

void record_begin(struct record_writer *w, struct buf *out, struct str head_json)
{
    *w = (struct record_writer){.out = out, .events = BUF_INIT(RECORD_BLOCK_MAX)};
    write_block(w, RECORD_HEAD, head_json);
}

void record_add_request(struct record_writer *w, struct str piece)
{
    write_block(w, RECORD_REQUEST, piece);
}

static void flush_events(struct record_writer *w)
{
    if (w->events.len)
        write_block(w, RECORD_EVENTS, buf_str(&w->events));
    buf_reset(&w->events);
}

static size_t entry_size(const struct record_entry *entry)
{
    size_t size = 2 + entry->id.n;
    for (size_t i = 0; i < entry->pairs; i++)
        size += 5 + entry->fields[2 * i].n + entry->fields[2 * i + 1].n;
    return size;
}

static bool fits(const struct record_entry *entry)
{
    bool good = entry->id.n <= UINT8_MAX && entry->pairs <= RECORD_FIELDS_MAX;
    for (size_t i = 0; good && i < entry->pairs; i++)
        good = entry->fields[2 * i].n <= UINT8_MAX && entry->fields[2 * i + 1].n <= RECORD_BLOCK_MAX;
    return good && entry_size(entry) <= RECORD_BLOCK_MAX - EVENTS_SLACK;
}

enum err record_add_entry(struct record_writer *w, const struct record_entry *entry)
{
    struct buf *out = &w->events;
    if (!fits(entry))
        return ERR_FULL;
    if (out->len && out->len + entry_size(entry) > RECORD_BLOCK_TARGET)
        flush_events(w);
    append_number(out, entry_size(entry), 4);
    append_number(out, entry->id.n, 1);
    buf_append_str(out, entry->id);
    append_number(out, entry->pairs, 1);
    for (size_t i = 0; i < entry->pairs; i++) {
        append_number(out, entry->fields[2 * i].n, 1);
        buf_append_str(out, entry->fields[2 * i]);
        append_number(out, entry->fields[2 * i + 1].n, 4);
        buf_append_str(out, entry->fields[2 * i + 1]);
    }
    w->count++;
    return buf_status(out);
}

void record_finish(struct record_writer *w, struct record_hash *ret_hash)
{
    unsigned char count[8];
    flush_events(w);
    put_number(count, w->count, sizeof count);
    write_block(w, RECORD_END, (struct str){(const char *)count, sizeof count});
    *ret_hash = w->hash;
    record_abandon(w);
}

void record_abandon(struct record_writer *w)
{
    buf_free(&w->events);
}

/* ---- reading -------------------------------------------------------------------------------------------------------- */

void record_reader_init(struct record_reader *r)
{
    *r = (struct record_reader){.in = BUF_INIT(2 * RECORD_BLOCK_MAX + 2 * RECORD_HEADER)};
}

void record_reader_free(struct record_reader *r)
{
    buf_free(&r->in);
}

void record_feed(struct record_reader *r, struct str bytes)
{
    buf_append_str(&r->in, bytes);
}

static enum record_step spoilt(struct record_reader *r, const char *why)
{
    r->bad = true;
    r->why = why;
    return RECORD_BAD;
}

/* A view of the next `n` bytes; false when there are not so many. */
static bool take(struct str *rest, size_t n, struct str *ret_part)
{
    if (rest->n < n)
        return false;
    *ret_part = (struct str){rest->p, n};
    *rest = (struct str){rest->p + n, rest->n - n};
    return true;
}

static bool take_sized(struct str *rest, size_t bytes, struct str *ret_part)
{
    struct str size;
    return take(rest, bytes, &size) && take(rest, (size_t)number_of(size.p, bytes), ret_part);
}

static bool take_entry(struct str *rest, struct record_entry *ret_entry)
{
    struct str entry, pairs;
    struct record_entry e = {.pairs = 0};
    if (!take_sized(rest, 4, &entry) || !take_sized(&entry, 1, &e.id) || !take(&entry, 1, &pairs))
        return false;
    e.pairs = (size_t)number_of(pairs.p, 1);
    if (e.pairs > RECORD_FIELDS_MAX)
        return false;
    for (size_t i = 0; i < e.pairs; i++)
        if (!take_sized(&entry, 1, &e.fields[2 * i]) || !take_sized(&entry, 4, &e.fields[2 * i + 1]))
            return false;
    *ret_entry = e;
    return entry.n == 0;
}

static enum record_step next_entry(struct record_reader *r, struct record_entry *ret_entry)
{
    if (!take_entry(&r->rest, ret_entry))
        return spoilt(r, "an entry does not fit its block");
    r->count++;
    return RECORD_EVENT;
}

/* RECORD_MORE: nothing of it is told (a piece of the request, or a type of a newer build). */
static enum record_step take_block(struct record_reader *r, unsigned type, struct str content,
                                   struct record_entry *ret_entry)
{
    if ((type == RECORD_HEAD) == r->begun)
        return spoilt(r, r->begun ? "a second head" : "no head");
    r->begun = true;
    if (type == RECORD_HEAD) {
        r->head = content;
        return RECORD_TOLD;
    }
    if (type == RECORD_EVENTS && content.n) {
        r->rest = content;
        return next_entry(r, ret_entry);
    }
    if (type != RECORD_END)
        return RECORD_MORE;
    if (content.n != 8 || number_of(content.p, 8) != r->count)
        return spoilt(r, "entries are missing");
    if (r->in.len > r->taken)
        return spoilt(r, "more follows the end");
    r->over = true;
    return RECORD_DONE;
}

/* The next whole block, its hash checked. False: it is not there yet, or spoilt. */
static bool next_block(struct record_reader *r, unsigned *ret_type, struct str *ret_content)
{
    struct str in = {r->in.data, r->in.len}, prefix, hash;
    if (r->taken)
        in = (struct str){in.p + r->taken, in.n - r->taken};
    if (!take(&in, PREFIX, &prefix))
        return false;
    size_t length = (size_t)number_of(prefix.p + 8, 4);
    if (memcmp(prefix.p, magic, 4) != 0 || memcmp(prefix.p + 5, "\0\0\0", 3) != 0)
        spoilt(r, "it is not a block of this version");
    else if (length > RECORD_BLOCK_MAX)
        spoilt(r, "a block is too large");
    if (r->bad || !take(&in, RECORD_HASH_LEN, &hash) || !take(&in, length, ret_content))
        return false;
    struct record_hash found = chain(&r->hash, prefix, *ret_content);
    if (memcmp(found.bytes, hash.p, RECORD_HASH_LEN) != 0)
        return spoilt(r, "the hash of a block is wrong"), false;
    r->hash = found;
    r->taken = r->in.len - in.n;
    *ret_type = (unsigned char)prefix.p[4];
    return true;
}

enum record_step record_next(struct record_reader *r, struct record_entry *ret_entry)
{
    unsigned type;
    struct str content;
    enum record_step step = RECORD_MORE;
    if (!r->bad && buf_status(&r->in) != ERR_OK)
        spoilt(r, "out of memory");
    if (r->bad)
        return RECORD_BAD;
    if (r->over)
        return r->in.len > r->taken ? spoilt(r, "more follows the end") : RECORD_DONE;
    if (r->rest.n)
        return next_entry(r, ret_entry);
    while (step == RECORD_MORE && next_block(r, &type, &content))
        step = take_block(r, type, content, ret_entry);
    if (step == RECORD_MORE && r->bad)
        return RECORD_BAD;
    if (step == RECORD_MORE) { /* no view is out any more */
        buf_consume(&r->in, r->taken);
        r->taken = 0;
    }
    return step;
}

enum err record_event(const struct record_entry *entry, struct id job, struct event *ret_event)
{
    return event_decode(entry->id, job, entry->fields, entry->pairs, ret_event);
}
