/* SPDX-License-Identifier: Apache-2.0 */
/* What workers say that they can do, for the apis. */
#include "queue/internal.h"

enum { OFFERS_MAX = 1024, OFFER_HOLDS_MS = 3 * QUEUE_OFFER_MS };

static struct call *offer_call(struct queue *q, struct str worker, struct str text)
{
    struct keyset keys = {.partition = 0};
    struct call *c = call_script(q, SCRIPT_offer, &keys, false);
    call_str(c, worker);
    call_str(c, text);
    call_int(c, OFFER_HOLDS_MS);
    return c;
}

void queue_offer(struct queue *q, struct str worker, struct str text)
{
    if (q->ready)
        call_go(offer_call(q, worker, text), NULL, NULL);
}

struct asking {
    queue_offers_cb cb;
    void *arg;
};

static void on_offers(void *arg, const struct redis_value *v)
{
    auto_free struct asking *a = arg;
    static struct queue_offered offers[OFFERS_MAX]; /* only until the callback returns */
    size_t count = 0;
    enum queue_answer answer = answer_of(v);
    for (size_t i = 1; answer == QUEUE_OK && i + 1 < v->count && count < OFFERS_MAX; i += 2)
        offers[count++] =
            (struct queue_offered){.worker = redis_text(&v->items[i]), .text = redis_text(&v->items[i + 1])};
    a->cb(a->arg, answer, offers, count);
}

void queue_offers(struct queue *q, queue_offers_cb cb, void *arg)
{
    struct asking *a = call_memory(sizeof *a);
    *a = (struct asking){.cb = cb, .arg = arg};
    call_go(offer_call(q, STR(""), STR("")), on_offers, a);
}
