/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/pool.h"

#include "base/log.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS_NS 1000000LL
/* Asking is cheap where it fails at once; a template that is starting should not be found late. */
enum {
    BUSY_CONCURRENCY = 1,
    BACKOFF_FIRST_MS = 50,
    BACKOFF_MAX_MS = 1000,
    FAILURES_A_LINE = 64,
    /* A claimed pod's successor is asked for when a short run has its answer: asking takes this worker, and the cluster, from it.
       Not from the newest claim but from the first that waits so, so that no load puts it off. */
    SUCCESSOR_PAUSE_MS = 25,
};

struct pool {
    struct pools *pools;
    struct pool_kind kind;
    struct pool *fallback;
    struct list in_state[POD_STATES];
    unsigned count[POD_STATES];
    struct list waits;
    unsigned waiting;
    unsigned failures; /* in a row */
    int64_t retry_ns;  /* no creation before */
    bool proved;       /* a pod of it became ready once */
    char why[160];
    enum reason reason;
    struct pool_stats stats;
};

struct pools {
    struct pools_options options;
    struct pool pool[POOL_KINDS_MAX];
    size_t n;
    int64_t background_ns; /* nothing is made in the background before; 0: no claim put it off */
    bool stopped, filling;
};

/* ---- states ---- */

/* What may follow each: bits of enum pod_state. */
static const unsigned may_follow[POD_STATES] = {
    [POD_ST_STARTING] = 1u << POD_ST_IDLE | 1u << POD_ST_DOOMED,
    [POD_ST_IDLE] = 1u << POD_ST_CLAIMED | 1u << POD_ST_DOOMED,
    [POD_ST_CLAIMED] = 1u << POD_ST_RUNNING | 1u << POD_ST_DOOMED,
    [POD_ST_RUNNING] = 1u << POD_ST_DOOMED,
    [POD_ST_DOOMED] = 1u << POD_ST_DEAD,
};

static int64_t now_ns(const struct pools *pools)
{
    return pools->options.now_ns();
}

static void pod_set_state(struct pool_pod *pp, enum pod_state to)
{
    struct pool *pool = pp->pool;
    assert(may_follow[pp->state] & 1u << to);
    list_remove(&pp->link);
    pool->count[pp->state]--;
    pp->state = to;
    pp->since_ns = now_ns(pool->pools);
    pool->count[to]++;
    list_append(&pool->in_state[to], &pp->link);
}

static unsigned total(const struct pools *pools, enum pod_state state)
{
    unsigned sum = 0;
    for (size_t i = 0; i < pools->n; i++)
        sum += pools->pool[i].count[state];
    return sum;
}

size_t pools_count(const struct pools *pools)
{
    size_t sum = 0;
    for (int state = 0; state < POD_ST_DEAD; state++)
        sum += total(pools, (enum pod_state)state);
    return sum;
}

static void tell_changed(struct pools *pools)
{
    if (pools->options.changed)
        pools->options.changed(pools->options.arg);
}

/* ---- one pod ---- */

static void on_pod_event(void *arg, const struct pod_event *event);
static void fill(struct pools *pools);

static void doom(struct pool_pod *pp)
{
    pod_set_state(pp, POD_ST_DOOMED);
    pp->on_event = NULL;
    pp->pool->pools->options.backend->ops->destroy(pp->pod);
}

static int64_t pause_max_ms(const struct pool *pool)
{
    int64_t ms = pool->pools->options.pause_max_ms;
    return ms ? ms : BACKOFF_MAX_MS;
}

/* A pod of the pool could not be made: later tries are further apart. */
static void pool_failed(struct pool *pool, enum reason reason, const char *why)
{
    int64_t most = pause_max_ms(pool);
    int64_t pause = (int64_t)BACKOFF_FIRST_MS << (pool->failures < 12 ? pool->failures : 12);
    pool->failures++;
    pool->reason = reason;
    pool->stats.failed++;
    pool->retry_ns = now_ns(pool->pools) + (pause < most ? pause : most) * MS_NS;
    snprintf(pool->why, sizeof pool->why, "%s", why && *why ? why : "no reason told");
    if (pool->failures % FAILURES_A_LINE == 1)
        log_warn("a pod could not be made", F_STR("kind", pool->kind.name), F_STR("why", pool->why),
                 F_INT("in_a_row", pool->failures));
}

static enum err create_one(struct pool *pool)
{
    struct pools *pools = pool->pools;
    struct pool_pod *pp = calloc(1, sizeof *pp);
    if (!pp)
        return ERR_NOMEM;
    pp->pool = pool;
    pp->state = POD_ST_STARTING;
    pp->since_ns = now_ns(pools);
    pp->pod = pools->options.backend->ops->create(pools->options.backend, pool->kind.name,
                                                  &pools->options.limits, on_pod_event, pp);
    if (!pp->pod) {
        free(pp);
        pool->retry_ns = now_ns(pools) + BACKOFF_FIRST_MS * MS_NS;
        return ERR_AGAIN;
    }
    pool->stats.created++;
    pool->count[POD_ST_STARTING]++;
    list_append(&pool->in_state[POD_ST_STARTING], &pp->link);
    return ERR_OK;
}

static void put_off_background(struct pools *pools)
{
    if (pools->options.remote && pools->background_ns == 0)
        pools->background_ns = now_ns(pools) + SUCCESSOR_PAUSE_MS * MS_NS;
}

static struct pool_pod *claim_idle(struct pool *pool)
{
    struct pool_pod *pp = list_first(&pool->in_state[POD_ST_IDLE], struct pool_pod, link);
    if (!pp)
        return NULL;
    pod_set_state(pp, POD_ST_CLAIMED);
    put_off_background(pool->pools);
    return pp;
}

/* ---- those who wait ---- */

static void wait_remove(struct pool *pool, struct pool_wait *wait)
{
    list_remove(&wait->link);
    wait->waiting = false;
    pool->waiting--;
    pool->stats.waited_ns += now_ns(pool->pools) - wait->since_ns;
}

static void serve_waits(struct pool *pool)
{
    while (!list_empty(&pool->waits)) {
        struct pool_pod *pp = claim_idle(pool);
        if (!pp)
            return;
        struct pool_wait *wait = list_first(&pool->waits, struct pool_wait, link);
        wait_remove(pool, wait);
        wait->got(wait->arg, pp, NULL);
    }
}

static bool can_make(const struct pool *pool)
{
    return !pool->kind.missing &&
           (pool->failures == 0 || pool->count[POD_ST_STARTING] > 0 || pool->count[POD_ST_IDLE] > 0);
}

static struct pool *fallback_for(const struct pool *pool, const struct pool_wait *wait)
{
    bool good = pool->fallback && (!wait->never || strcmp(pool->fallback->kind.name, wait->never) != 0);
    return good ? pool->fallback : NULL;
}

/* While the cluster does not answer its jobs wait: no other worker could do more. */
static int64_t patience_of(const struct pool *pool, const struct pool_wait *wait)
{
    int64_t ms = pool->reason == REASON_CLUSTER_UNAVAILABLE ? pool->pools->options.cluster_ms
                 : wait->never                              ? POOL_PATIENCE_SECONDS * 1000
                                                            : 0;
    return ms * MS_NS;
}

/* Waits of a pool that cannot be filled go to its fallback, or are told. */
static void divert_waits(struct pool *pool)
{
    if (can_make(pool))
        return;
    list_each(wait, &pool->waits, struct pool_wait, link)
    {
        bool alone = !fallback_for(pool, wait);
        int64_t patience = patience_of(pool, wait);
        if (alone && (pool->failures < POOL_GIVE_UP || now_ns(pool->pools) - wait->since_ns < patience))
            continue;
        wait_remove(pool, wait);
        if (alone) {
            wait->reason = pool->reason;
            wait->got(wait->arg, NULL, pool->why);
            continue;
        }
        pool->stats.fallbacks++;
        wait->waiting = true;
        list_append(&pool->fallback->waits, &wait->link);
        pool->fallback->waiting++;
    }
    if (pool->fallback)
        serve_waits(pool->fallback);
}

/* ---- filling ---- */

static bool may_create(const struct pool *pool)
{
    return !pool->kind.missing && pool->retry_ns <= now_ns(pool->pools);
}

/* Interpreters take a processor for a while: in the background one starts at a time. */
static bool must_wait(const struct pool *pool)
{
    const struct pools *pools = pool->pools;
    const struct pool *first = &pools->pool[0];
    if (pool->kind.later && !first->proved && first->failures == 0 && first->kind.size > 0)
        return true;
    if (!pool->kind.heavy)
        return false;
    for (size_t i = 0; i < pools->n; i++)
        if (pools->pool[i].kind.heavy && pools->pool[i].count[POD_ST_STARTING] > 0)
            return true;
    return false;
}

static bool wants_for_waits(const struct pool *pool)
{
    return may_create(pool) && pool->waiting > pool->count[POD_ST_STARTING];
}

static unsigned ready_or_starting(const struct pool *pool)
{
    return pool->count[POD_ST_STARTING] + pool->count[POD_ST_IDLE];
}

static struct pool *neediest(struct pools *pools, bool background)
{
    struct pool *best = NULL;
    for (size_t i = 0; i < pools->n; i++) {
        struct pool *p = &pools->pool[i];
        if (wants_for_waits(p))
            return p;
        if (!background || !may_create(p) || ready_or_starting(p) >= p->kind.size + p->waiting ||
            must_wait(p))
            continue;
        /* The emptiest by share: a * size(b) < b * size(a). */
        if (!best || ready_or_starting(p) * best->kind.size < ready_or_starting(best) * p->kind.size)
            best = p;
    }
    return best;
}

static bool nearly_empty(const struct pools *pools)
{
    for (size_t i = 0; i < pools->n; i++)
        if (pools->pool[i].kind.size > 0 && 2 * pools->pool[i].count[POD_ST_IDLE] < pools->pool[i].kind.size)
            return true;
    return false;
}

static void fill(struct pools *pools)
{
    if (pools->stopped || pools->filling)
        return;
    pools->filling = true;
    bool background = pools->background_ns <= now_ns(pools);
    if (background)
        pools->background_ns = 0;
    for (;;) {
        unsigned starting = total(pools, POD_ST_STARTING);
        /* Beside running jobs the background makes one at a time, two when a pool is nearly empty: what it makes takes the
           processors from the jobs (p50 of one client 8 ms with two at a time, 5 to 6 with one; all else alike). */
        bool busy = total(pools, POD_ST_RUNNING) + total(pools, POD_ST_CLAIMED) > 0;
        unsigned background_limit = !busy || pools->options.remote ? pools->options.create_concurrency
                                    : nearly_empty(pools)          ? 2 * BUSY_CONCURRENCY
                                                                   : BUSY_CONCURRENCY;
        if (starting >= pools->options.create_concurrency || pools_count(pools) >= pools->options.max_pods)
            break;
        struct pool *pool = neediest(pools, background && starting < background_limit);
        if (!pool || create_one(pool) != ERR_OK)
            break;
    }
    pools->filling = false;
}

/* ---- events ---- */

static void pod_ready(struct pool_pod *pp)
{
    struct pool *pool = pp->pool;
    pool->stats.ready++;
    pool->stats.made_ns += now_ns(pool->pools) - pp->since_ns;
    pod_set_state(pp, POD_ST_IDLE);
    pool->failures = 0;
    pool->retry_ns = 0;
    pool->proved = true;
    pool->why[0] = 0;
    serve_waits(pool);
    fill(pool->pools);
    tell_changed(pool->pools);
}

/* There was no program that could lose its pod. */
static enum reason unmade(const struct pod_event *event)
{
    return event->type == POD_LOST && event->reason != REASON_POD_LOST ? event->reason : REASON_NO_POD;
}

static void pod_lost_unheld(struct pool_pod *pp, const struct pod_event *event)
{
    struct pool *pool = pp->pool;
    if (pp->state == POD_ST_STARTING)
        pool_failed(pool, unmade(event), event->text);
    else
        pool->stats.lost++;
    doom(pp);
    divert_waits(pool);
    fill(pool->pools);
    tell_changed(pool->pools);
}

static void pod_gone(struct pool_pod *pp)
{
    struct pools *pools = pp->pool->pools;
    pod_set_state(pp, POD_ST_DEAD);
    list_remove(&pp->link);
    pp->pool->count[POD_ST_DEAD]--;
    free(pp);
    fill(pools);
    tell_changed(pools);
}

static void on_pod_event(void *arg, const struct pod_event *event)
{
    struct pool_pod *pp = arg;
    if (event->type == POD_GONE)
        pod_gone(pp);
    else if (pp->on_event)
        pp->on_event(pp->arg, event);
    else if (event->type == POD_READY && pp->state == POD_ST_STARTING)
        pod_ready(pp);
    else if ((event->type == POD_LOST || event->type == POD_REFUSED) && pp->state < POD_ST_CLAIMED)
        pod_lost_unheld(pp, event);
}

/* ---- for jobs ---- */

static struct pool *find(struct pools *pools, const char *kind)
{
    for (size_t i = 0; i < pools->n; i++)
        if (strcmp(pools->pool[i].kind.name, kind) == 0)
            return &pools->pool[i];
    return NULL;
}

struct pool_pod *pools_take(struct pools *pools, const char *kind, struct pool_wait *wait)
{
    struct pool *pool = find(pools, kind);
    assert(pool && !wait->waiting);
    while (!can_make(pool) && fallback_for(pool, wait)) {
        pool->stats.fallbacks += pool->kind.missing ? 0 : 1;
        pool = pool->fallback;
    }
    struct pool_pod *pp = pools->stopped ? NULL : claim_idle(pool);
    if (!pp && pool->kind.slow && fallback_for(pool, wait)) {
        pool->stats.misses++;
        pool->stats.fallbacks++;
        pool = pool->fallback;
        pp = pools->stopped ? NULL : claim_idle(pool);
    }
    if (pp) {
        pool->stats.hits++;
        return pp;
    }
    pool->stats.misses++;
    wait->since_ns = now_ns(pools);
    wait->waiting = true;
    list_append(&pool->waits, &wait->link);
    pool->waiting++;
    fill(pools);
    return NULL;
}

void pools_cancel(struct pools *pools, struct pool_wait *wait)
{
    if (!wait->waiting)
        return;
    for (size_t i = 0; i < pools->n; i++)
        list_each(it, &pools->pool[i].waits, struct pool_wait, link) if (it == wait)
        {
            wait_remove(&pools->pool[i], wait);
            return;
        }
}

void pool_pod_hold(struct pool_pod *pp, pod_event_cb on_event, void *arg)
{
    pp->on_event = on_event;
    pp->arg = arg;
}

void pool_pod_running(struct pool_pod *pp)
{
    pod_set_state(pp, POD_ST_RUNNING);
}

void pool_pod_release(struct pool_pod *pp, bool dead)
{
    struct pools *pools = pp->pool->pools;
    if (dead)
        pp->pool->stats.replaced++;
    doom(pp);
    fill(pools);
}

const struct pod_backend_ops *pool_pod_ops(const struct pool_pod *pp)
{
    return pp->pool->pools->options.backend->ops;
}

bool pool_pod_is(const struct pool_pod *pp, const char *kind)
{
    return strcmp(pp->pool->kind.name, kind) == 0;
}

bool pool_pod_is_fallback(const struct pool_pod *pp, const char *wanted)
{
    return !pool_pod_is(pp, wanted) && !find(pp->pool->pools, wanted)->kind.missing;
}

/* ---- the whole ---- */

enum err pools_open(const struct pools_options *options, struct pools **ret_pools)
{
    if (options->kind_count > POOL_KINDS_MAX)
        return ERR_RANGE;
    struct pools *pools = calloc(1, sizeof *pools);
    if (!pools)
        return ERR_NOMEM;
    pools->options = *options;
    pools->n = options->kind_count;
    for (size_t i = 0; i < pools->n; i++) {
        struct pool *pool = &pools->pool[i];
        pool->pools = pools;
        pool->kind = options->kinds[i];
        list_init(&pool->waits);
        for (int state = 0; state < POD_STATES; state++)
            list_init(&pool->in_state[state]);
    }
    for (size_t i = 0; i < pools->n; i++)
        if (pools->pool[i].kind.fallback)
            pools->pool[i].fallback = find(pools, pools->pool[i].kind.fallback);
    *ret_pools = pools;
    return ERR_OK;
}

static void doom_hung(struct pool *pool)
{
    int64_t start_ms = pool->pools->options.start_ms;
    int64_t oldest = now_ns(pool->pools) - (start_ms ? start_ms : POOL_START_SECONDS * 1000) * MS_NS;
    list_each(pp, &pool->in_state[POD_ST_STARTING], struct pool_pod, link)
    {
        if (pp->since_ns > oldest)
            continue;
        pool_failed(pool, REASON_NO_POD, "it did not become ready in time");
        doom(pp);
    }
}

/* Nobody asks for a pod of it any more, so nothing else would show that the cluster is back: other pools know. Of the first kind
   nobody asks while it fails (pools_take_jobs), so there whatever it was may be over. */
static void forget_outage(struct pool *pool)
{
    bool first = pool == &pool->pools->pool[0];
    if (pool->failures == 0 || (pool->reason != REASON_CLUSTER_UNAVAILABLE && !first) ||
        pool->kind.size > 0 || pool->waiting > 0 || pool->count[POD_ST_STARTING] > 0 ||
        now_ns(pool->pools) - pool->retry_ns < pause_max_ms(pool) * MS_NS)
        return;
    pool->failures = 0;
    pool->why[0] = '\0';
}

void pools_tick(struct pools *pools)
{
    if (pools->stopped)
        return;
    for (size_t i = 0; i < pools->n; i++) {
        doom_hung(&pools->pool[i]);
        divert_waits(&pools->pool[i]);
        forget_outage(&pools->pool[i]);
    }
    fill(pools);
}

void pools_stop(struct pools *pools)
{
    pools->stopped = true;
    for (size_t i = 0; i < pools->n; i++)
        for (int state = 0; state < POD_ST_DOOMED; state++)
            list_each(pp, &pools->pool[i].in_state[state], struct pool_pod, link) doom(pp);
}

void pools_free(struct pools *pools)
{
    if (!pools)
        return;
    assert(pools_count(pools) == 0);
    free(pools);
}

bool pools_idle(const struct pools *pools, const char *kind)
{
    for (size_t i = 0; i < pools->n; i++) {
        const struct pool *p = &pools->pool[i];
        if (strcmp(p->kind.name, kind) != 0)
            continue;
        if (p->count[POD_ST_IDLE] > 0 || ((p->proved || p->kind.size == 0) && p->failures == 0))
            return true;
        return !can_make(p) && p->kind.fallback && pools_idle(pools, p->kind.fallback);
    }
    return false;
}

bool pools_take_jobs(const struct pools *pools)
{
    const struct pool *first = &pools->pool[0];
    if (pools_idle(pools, first->kind.name))
        return true;
    if (first->reason != REASON_IMAGE_UNAVAILABLE || first->failures < POOL_GIVE_UP)
        return false;
    for (size_t i = 1; i < pools->n; i++) {
        const struct pool *p = &pools->pool[i];
        if (p->count[POD_ST_IDLE] > 0 || (p->proved && p->failures == 0))
            return true;
    }
    return false;
}

unsigned pools_room(const struct pools *pools, const char *kind)
{
    for (size_t i = 0; i < pools->n; i++) {
        const struct pool *p = &pools->pool[i];
        if (strcmp(p->kind.name, kind) == 0 && p->kind.size > 0 && p->failures == 0)
            return p->waiting > 0 ? 0 : p->count[POD_ST_IDLE] + 1;
    }
    return UINT_MAX;
}

size_t pools_stats(const struct pools *pools, struct pool_stats *ret_stats, size_t max)
{
    size_t n = pools->n < max ? pools->n : max;
    for (size_t i = 0; i < n; i++) {
        const struct pool *pool = &pools->pool[i];
        ret_stats[i] = pool->stats;
        ret_stats[i].kind = pool->kind.name;
        ret_stats[i].size = pool->kind.size;
        ret_stats[i].why = pool->why;
        ret_stats[i].reason = pool->reason;
        ret_stats[i].failures = pool->failures;
        ret_stats[i].missing = pool->kind.missing;
        memcpy(ret_stats[i].pods, pool->count, sizeof pool->count);
    }
    return n;
}
