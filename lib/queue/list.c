/* SPDX-License-Identifier: Apache-2.0 */
/* Projections for readers: one job, and a tenant's jobs over all partitions. */
#include "queue/internal.h"

#include <string.h>

#define HEAD_FIELDS                                                                                          \
    "tenant", "user", "session", "lang", "status", "prio", "attempt", "seq", "created", "started",           \
        "finished", "class"
enum {
    F_TENANT,
    F_USER,
    F_SESSION,
    F_LANG,
    F_STATUS,
    F_PRIO,
    F_ATTEMPT,
    F_SEQ,
    F_CREATED,
    F_STARTED,
    F_FINISHED,
    F_CLASS
};

static struct call *head_call(struct queue *q, struct str job)
{
    static const char *const fields[] = {HEAD_FIELDS};
    struct keyset keys = {.partition = id_partition(job, q->partitions), .job = job};
    struct call *c = call_plain(q, "HMGET");
    call_key(c, &keys, "JOB");
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        call_cstr(c, fields[i]);
    return c;
}

static bool head_read(struct str job, const struct redis_value *v, struct queue_job *ret_job)
{
    struct str status = redis_text(redis_item(v, F_STATUS));
    if (status.n == 0)
        return false;
    *ret_job = (struct queue_job){
        .tenant = redis_text(redis_item(v, F_TENANT)),
        .user = redis_text(redis_item(v, F_USER)),
        .lang = redis_text(redis_item(v, F_LANG)),
        .status = status,
        .priority = (enum queue_priority)redis_integer(redis_item(v, F_PRIO)),
        .attempt = (uint32_t)redis_integer(redis_item(v, F_ATTEMPT)),
        .last_seq = (uint64_t)redis_integer(redis_item(v, F_SEQ)),
        .created_ms = redis_integer(redis_item(v, F_CREATED)),
        .started_ms = redis_integer(redis_item(v, F_STARTED)),
        .finished_ms = redis_integer(redis_item(v, F_FINISHED)),
    };
    return id_parse(job, &ret_job->job) == ERR_OK &&
           id_parse(redis_text(redis_item(v, F_SESSION)), &ret_job->session) == ERR_OK;
}

/* ---- one ----------------------------------------------------------------------------------------------------------- */

struct get {
    struct queue *q;
    struct id job;
    struct buf tenant;
    queue_job_cb cb;
    void *arg;
    /* while the place in the queue is asked */
    struct buf texts;
    struct queue_job found;
};

static void get_end(struct get *g, enum queue_answer answer, const struct queue_job *job)
{
    g->cb(g->arg, answer, job);
    buf_free(&g->tenant);
    buf_free(&g->texts);
    free(g);
}

static void on_place(void *arg, const struct redis_value *v)
{
    struct get *g = arg;
    int64_t place = v ? redis_integer(v) : 0;
    g->found.position = place > 0 ? (uint64_t)place : 1; /* a claim came between: the next */
    get_end(g, QUEUE_OK, &g->found);
}

/* The views of `found` are moved to memory of our own, to outlive the reply. */
static void keep_texts(struct get *g)
{
    struct str *views[] = {&g->found.tenant, &g->found.user, &g->found.lang, &g->found.status};
    enum { VIEWS = sizeof views / sizeof *views };
    size_t at[VIEWS];
    for (size_t i = 0; i < VIEWS; i++) {
        at[i] = g->texts.len;
        buf_append_str(&g->texts, *views[i]);
        buf_append_char(&g->texts, '\0');
    }
    for (size_t i = 0; i < VIEWS; i++)
        *views[i] = buf_status(&g->texts) == ERR_OK ? (struct str){g->texts.data + at[i], views[i]->n}
                                                    : (struct str){0};
}

static void ask_place(struct get *g, const struct redis_value *v)
{
    struct keyset keys = {.partition = id_partition(str_of(g->job.text), g->q->partitions),
                          .job = str_of(g->job.text),
                          .session = redis_text(redis_item(v, F_SESSION)),
                          .class_name = redis_text(redis_item(v, F_CLASS))};
    struct call *c = call_script(g->q, SCRIPT_place, &keys, false);
    call_cstr(c, g->job.text);
    keep_texts(g);
    call_go(c, on_place, g);
}

static void on_head(void *arg, const struct redis_value *v)
{
    struct get *g = arg;
    if (!v || v->type != REDIS_ARRAY)
        get_end(g, QUEUE_UNAVAILABLE, NULL);
    else if (!head_read(str_of(g->job.text), v, &g->found) || !str_eq(g->found.tenant, buf_str(&g->tenant)))
        get_end(g, QUEUE_NOT_FOUND, NULL);
    else if (str_eq(g->found.status, STR("queued")))
        ask_place(g, v);
    else
        get_end(g, QUEUE_OK, &g->found);
}

void queue_get(struct queue *q, struct str tenant, struct id job, queue_job_cb cb, void *arg)
{
    struct get *g = call_memory(sizeof *g);
    *g = (struct get){
        .q = q, .job = job, .cb = cb, .arg = arg, .tenant = BUF_INIT(512), .texts = BUF_INIT(4096)};
    buf_append_str(&g->tenant, tenant);
    call_go(q->partitions ? head_call(q, str_of(job.text)) : call_plain(q, "PING"), on_head, g);
}

/* ---- many ---------------------------------------------------------------------------------------------------------- */

enum { LIST_MAX = 200, SCAN_BATCH = 256, SCAN_ROUNDS = 8 };

struct found {
    int64_t ms;
    struct id job;
};

struct list_query {
    struct queue *q;
    struct buf tenant, status;
    unsigned limit, rounds;
    struct found from; /* everything listed lies behind this */
    struct found *found;
    size_t found_count, found_cap;
    bool failed, partial; /* partial: some partition had more than a batch */
    struct found horizon; /* nothing before it is known completely, where partial */
    unsigned left;
    size_t asked; /* of found: their heads are being read */
    struct queue_job *jobs;
    struct buf *texts; /* of each job */
    size_t job_count;
    bool more;
    struct found last;
    queue_list_cb cb;
    void *arg;
};

static void scan(struct list_query *l);

static void list_end(struct list_query *l, enum queue_answer answer)
{
    char cursor[64] = "";
    if (answer == QUEUE_OK && l->more)
        snprintf(cursor, sizeof cursor, "%lld.%s", (long long)l->last.ms, l->last.job.text);
    l->cb(l->arg, answer, answer == QUEUE_OK ? l->jobs : NULL, answer == QUEUE_OK ? l->job_count : 0, cursor);
    for (size_t i = 0; i < l->job_count; i++)
        buf_free(&l->texts[i]);
    buf_free(&l->tenant);
    buf_free(&l->status);
    free(l->jobs);
    free(l->texts);
    free(l->found);
    free(l);
}

/* Newest first; among the same millisecond by id. */
static int newer_first(const void *pa, const void *pb)
{
    const struct found *a = pa, *b = pb;
    if (a->ms != b->ms)
        return a->ms > b->ms ? -1 : 1;
    return -strcmp(a->job.text, b->job.text);
}

static void keep_job(struct list_query *l, const struct queue_job *job)
{
    struct queue_job *to = &l->jobs[l->job_count];
    struct buf *texts = &l->texts[l->job_count];
    *to = *job;
    *texts = BUF_INIT(8192);
    struct str *views[] = {&to->tenant, &to->user, &to->lang, &to->status};
    size_t at[4];
    for (size_t i = 0; i < 4; i++) {
        at[i] = texts->len;
        buf_append_str(texts, *views[i]);
        buf_append_char(texts, '\0');
    }
    for (size_t i = 0; i < 4; i++)
        *views[i] =
            buf_status(texts) == ERR_OK ? (struct str){texts->data + at[i], views[i]->n} : (struct str){0};
    l->job_count++;
}

static void heads_done(struct list_query *l)
{
    bool rest = l->asked < l->found_count || l->partial;
    if (l->failed) {
        list_end(l, QUEUE_UNAVAILABLE);
    } else if (l->job_count == l->limit || !rest || ++l->rounds == SCAN_ROUNDS) {
        l->more = l->more || rest;
        list_end(l, QUEUE_OK);
    } else {
        l->from = l->last;
        scan(l);
    }
}

struct head_query {
    struct list_query *l;
    struct found of;
};

static void on_list_head(void *arg, const struct redis_value *v)
{
    auto_free struct head_query *h = arg;
    struct list_query *l = h->l;
    struct queue_job job;
    l->failed = l->failed || !v || v->type != REDIS_ARRAY;
    if (!l->failed && l->job_count == l->limit)
        l->more = true; /* this one is listed next time */
    else if (!l->failed) {
        l->last = h->of;
        if (head_read(str_of(h->of.job.text), v, &job) && str_eq(job.tenant, buf_str(&l->tenant)) &&
            (l->status.len == 0 || str_eq(job.status, buf_str(&l->status))))
            keep_job(l, &job);
    }
    if (--l->left == 0)
        heads_done(l);
}

/* All partitions answered: the newest of all are looked at. What lies behind the shortest answer is not yet known. */
static void read_heads(struct list_query *l)
{
    if (l->found_count > 0) /* an empty list has no memory, which qsort must not be given */
        qsort(l->found, l->found_count, sizeof *l->found, newer_first);
    size_t known = l->found_count;
    while (l->partial && known > 0 && newer_first(&l->horizon, &l->found[known - 1]) < 0)
        known--;
    size_t enough = l->limit - l->job_count + 1;
    if (l->status.len == 0 && known > enough)
        known = enough;
    l->asked = known;
    l->left = (unsigned)known;
    if (known == 0) {
        list_end(l, l->failed ? QUEUE_UNAVAILABLE : QUEUE_OK);
        return;
    }
    for (size_t i = 0; i < known; i++) {
        struct head_query *h = malloc(sizeof *h);
        if (!h)
            abort(); /* a few bytes: nothing can go on without */
        *h = (struct head_query){.l = l, .of = l->found[i]};
        call_go(head_call(l->q, str_of(h->of.job.text)), on_list_head, h);
    }
}

static bool add_found(struct list_query *l, const struct found *f)
{
    if (l->found_count == l->found_cap) {
        size_t cap = l->found_cap ? l->found_cap * 2 : 256;
        struct found *more = realloc(l->found, cap * sizeof *more);
        if (!more)
            return false;
        l->found = more;
        l->found_cap = cap;
    }
    l->found[l->found_count++] = *f;
    return true;
}

static void on_scanned(void *arg, const struct redis_value *v)
{
    struct list_query *l = arg;
    struct found f = {0};
    l->failed = l->failed || !v || v->type != REDIS_ARRAY;
    for (size_t i = 0; !l->failed && i + 1 < v->count; i += 2) {
        f.ms = redis_integer(&v->items[i + 1]);
        if (id_parse(redis_text(&v->items[i]), &f.job) == ERR_OK && newer_first(&l->from, &f) < 0)
            l->failed = !add_found(l, &f);
    }
    if (!l->failed && v->count == 2 * SCAN_BATCH) {
        if (!l->partial || newer_first(&f, &l->horizon) < 0)
            l->horizon = f;
        l->partial = true;
    }
    if (--l->left == 0)
        read_heads(l);
}

static void scan(struct list_query *l)
{
    char most[32];
    snprintf(most, sizeof most, "%lld", (long long)l->from.ms);
    l->found_count = 0;
    l->partial = false;
    l->left = l->q->partitions;
    for (unsigned p = 0; p < l->q->partitions; p++) {
        struct keyset keys = {.partition = p, .tenant = buf_str(&l->tenant)};
        struct call *c = call_plain(l->q, "ZREVRANGEBYSCORE");
        call_key(c, &keys, "TENANT");
        call_cstr(c, l->from.ms == INT64_MAX ? "+inf" : most);
        call_cstr(c, "-inf");
        call_cstr(c, "WITHSCORES");
        call_cstr(c, "LIMIT");
        call_int(c, 0);
        call_int(c, SCAN_BATCH);
        call_go(c, on_scanned, l);
    }
}

static bool cursor_parse(struct str text, struct found *ret_from)
{
    struct found from = {.ms = INT64_MAX};
    if (text.n) {
        struct str id = text;
        struct str ms = str_split(&id, '.');
        if (str_to_i64(ms, &from.ms) != ERR_OK || from.ms < 0 || id_parse(id, &from.job) != ERR_OK)
            return false;
    }
    *ret_from = from;
    return true;
}

static void on_refused(void *arg, const struct redis_value *v)
{
    (void)v; /* nothing was asked */
    struct list_query *l = arg;
    list_end(l, l->failed ? QUEUE_CONFLICT : QUEUE_UNAVAILABLE);
}

void queue_list(struct queue *q, struct str tenant, struct str status, unsigned limit, struct str cursor,
                queue_list_cb cb, void *arg)
{
    struct list_query *l = call_memory(sizeof *l);
    l->q = q;
    l->cb = cb;
    l->arg = arg;
    l->limit = limit == 0 || limit > LIST_MAX ? LIST_MAX : limit;
    l->tenant = BUF_INIT(512);
    l->status = BUF_INIT(64);
    buf_append_str(&l->tenant, tenant);
    buf_append_str(&l->status, status);
    l->jobs = calloc(l->limit, sizeof *l->jobs);
    l->texts = calloc(l->limit, sizeof *l->texts);
    l->failed = !cursor_parse(cursor, &l->from);
    if (l->failed || !q->ready || !l->jobs || !l->texts)
        call_go(call_plain(q, "PING"), on_refused, l);
    else
        scan(l);
}
