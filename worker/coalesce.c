/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/coalesce.h"

#include <assert.h>

void coalesce_batch_init(struct coalesce_batch *batch)
{
    *batch = (struct coalesce_batch){.bytes = BUF_INIT(COALESCE_BYTES_MAX)};
}

void coalesce_batch_reset(struct coalesce_batch *batch)
{
    buf_reset(&batch->bytes);
    batch->count = 0;
}

void coalesce_batch_free(struct coalesce_batch *batch)
{
    buf_free(&batch->bytes);
    batch->count = 0;
}

void coalesce_init(struct coalescer *c)
{
    *c = (struct coalescer){0};
    coalesce_batch_init(&c->pending);
}

void coalesce_free(struct coalescer *c)
{
    coalesce_batch_free(&c->pending);
}

/* How much of `n` fresh bytes goes to an event that already has `have` bytes; 0: it is full. */
static size_t event_share(struct str fresh, size_t have)
{
    size_t room = COALESCE_EVENT_MAX - have;
    if (fresh.n <= room)
        return fresh.n;
    return utf8_complete((struct str){.p = fresh.p, .n = room});
}

/* Gives the bytes behind `from` in the buffer to events of `stream`. */
static enum err assign(struct coalesce_batch *batch, enum pod_stream stream, size_t from)
{
    while (from < batch->bytes.len) {
        struct str fresh = {.p = batch->bytes.data + from, .n = batch->bytes.len - from};
        size_t share = 0;
        if (batch->count > 0 && batch->events[batch->count - 1].stream == stream)
            share = event_share(fresh, batch->events[batch->count - 1].length);
        if (share == 0) {
            if (batch->count == COALESCE_EVENTS_MAX)
                return ERR_FULL;
            batch->events[batch->count].stream = stream;
            batch->events[batch->count++].length = 0;
            share = event_share(fresh, 0);
        }
        batch->events[batch->count - 1].length += (uint32_t)share;
        from += share;
    }
    return ERR_OK;
}

enum err coalesce_add(struct coalescer *c, enum pod_stream stream, struct str bytes, int64_t now_ns)
{
    size_t from = c->pending.bytes.len;
    if (coalesce_empty(c))
        c->first_ns = now_ns;
    c->total[stream] += bytes.n;
    utf8_join(&c->carry[stream], bytes, &c->pending.bytes);
    if (buf_status(&c->pending.bytes) != ERR_OK)
        return buf_status(&c->pending.bytes);
    return assign(&c->pending, stream, from);
}

enum err coalesce_end(struct coalescer *c)
{
    for (int stream = 0; stream < POD_STREAMS; stream++) {
        struct utf8_carry *carry = &c->carry[stream];
        size_t from = c->pending.bytes.len;
        buf_append(&c->pending.bytes, carry->bytes, carry->n);
        carry->n = 0;
        if (buf_status(&c->pending.bytes) != ERR_OK)
            return buf_status(&c->pending.bytes);
        enum err e = assign(&c->pending, (enum pod_stream)stream, from);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

bool coalesce_empty(const struct coalescer *c)
{
    return c->pending.bytes.len == 0;
}

bool coalesce_full(const struct coalescer *c)
{
    return c->pending.bytes.len >= COALESCE_HIGH || c->pending.count >= COALESCE_EVENTS_HIGH;
}

int64_t coalesce_wait_ns(const struct coalescer *c, int64_t now_ns)
{
    if (coalesce_empty(c))
        return -1;
    if ((c->sent_ns != 0 || c->at_end) && c->pending.bytes.len >= COALESCE_EVENT_MAX)
        return 0;
    int64_t next = c->at_end ? COALESCE_END_NS : COALESCE_NEXT_NS;
    int64_t due = c->first_ns + (c->at_end ? COALESCE_END_NS : COALESCE_FIRST_NS);
    if (c->sent_ns != 0 && c->sent_ns + next > due)
        due = c->sent_ns + next;
    return due > now_ns ? due - now_ns : 0;
}

void coalesce_take(struct coalescer *c, struct coalesce_batch *batch, int64_t now_ns)
{
    assert(batch->count == 0 && batch->bytes.len == 0);
    struct coalesce_batch empty = *batch;
    *batch = c->pending;
    c->pending = empty;
    c->sent_ns = now_ns;
}

size_t coalesce_drafts(const struct coalesce_batch *batch, struct event_draft *drafts)
{
    static const struct str data[POD_STREAMS] = {
        [POD_STDOUT] = {.p = "{\"stream\":\"stdout\"}", .n = 19},
        [POD_STDERR] = {.p = "{\"stream\":\"stderr\"}", .n = 19},
    };
    size_t from = 0;
    for (size_t i = 0; i < batch->count; i++) {
        drafts[i] = (struct event_draft){.type = EV_OUTPUT, .data = data[batch->events[i].stream]};
        drafts[i].bytes = (struct str){.p = batch->bytes.data + from, .n = batch->events[i].length};
        from += batch->events[i].length;
    }
    return batch->count;
}
