/* SPDX-License-Identifier: Apache-2.0 */
/* One batch of finished logs:  take -> for each: head, request, entries -> pack (a spool, so memory stays flat) -> put ->
   read back against its hash -> commit each. Whatever fails, nothing has left Redis yet, and what was taken is given
   back. */
#include "archiver/archiver.h"

#include "base/clock.h"
#include "base/log.h"
#include "json/json.h"

#include <stdlib.h>
#include <string.h>

enum {
    OUT_MAX = 2 * RECORD_BLOCK_MAX + (1 << 20),
    PUSH_MAX = 512 << 10,
    PACK_ENOUGH = 32 << 20, /* a pack ends behind the log that passes this */
    TENANT_MAX = 300
};
static const uint64_t pack_max = (uint64_t)8 << 30;

struct row {
    struct archive_commit commit;
    char last[EVENT_ID_MAX];
    int64_t due_ms;
    bool packed, settled; /* settled: nothing is to be given back */
};

struct mover {
    struct archiver *a;
    bool busy, failed, registered, pressed;
    unsigned partition;
    enum look look;
    int64_t began_ns, now_ms; /* now_ms: the store's clock when it began */
    struct row rows[ARCHIVE_TAKE_MAX];
    size_t count, at;

    struct id pack;
    struct spool *spool;
    struct sha256 hash;
    uint64_t written; /* bytes pushed into the spool */

    /* the record that is being written */
    struct record_writer writer;
    bool writing;
    struct buf out, head;
    char after[EVENT_ID_MAX];
    uint64_t request_at, record_from;
    size_t pushed;                 /* of out */
    void (*then)(struct mover *m); /* when all of out is in the spool */
    size_t commits;                /* not answered yet */
};

static void next_job(struct mover *m);

/* ---- the end ----------------------------------------------------------------------------------------------------------- */

static void on_given_back(void *arg, enum queue_answer answer)
{
    (void)arg;
    (void)answer; /* without it they are due again when the lease is over */
}

static void give_back(struct mover *m)
{
    struct archive_job jobs[ARCHIVE_TAKE_MAX];
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++)
        if (!m->rows[i].settled)
            jobs[n++] = (struct archive_job){m->rows[i].commit.job, m->rows[i].due_ms};
    if (n)
        archive_give_back(m->a->queue, m->partition, jobs, n, on_given_back, NULL);
}

static void end(struct mover *m, bool failed)
{
    if (m->writing)
        record_abandon(&m->writer);
    m->writing = false;
    spool_drop(m->spool);
    m->spool = NULL;
    buf_reset(&m->out);
    give_back(m);
    m->busy = false;
    if (failed)
        metrics_add(m->a->metrics, METRIC_ARCHIVE_FAILURES, METRIC_MOVED_LOG, 0, 1);
    archiver_looked(m->a, m->partition, failed ? LOOK_FAILED : m->look);
}

static void fail(struct mover *m, const char *what, const char *why)
{
    log_limited(LOG_WARN, "logs cannot be archived now", F_STR("what", what), F_STR("why", why));
    end(m, true);
}

static bool late(const struct mover *m)
{
    return clock_mono_ns() - m->began_ns > (int64_t)ARCHIVER_WORK_MS * 1000000;
}

/* ---- leaving Redis -------------------------------------------------------------------------------------------------- */

static void on_committed(void *arg, enum queue_answer answer);

struct committing {
    struct mover *m;
    struct row *row;
};

static void on_committed(void *arg, enum queue_answer answer)
{
    struct committing *c = arg;
    struct mover *m = c->m;
    bool good = answer == QUEUE_OK || answer == QUEUE_DUP;
    if (good) {
        metrics_add(m->a->metrics, METRIC_ARCHIVED, METRIC_MOVED_LOG, 0, 1);
        metrics_add(m->a->metrics, METRIC_ARCHIVED_BYTES, METRIC_MOVED_LOG, 0, c->row->commit.place.length);
    }
    /* A conflict is another archiver's pack, or the job is gone: nothing to give back, its score is right already. */
    c->row->settled = good || answer == QUEUE_CONFLICT || answer == QUEUE_NOT_FOUND;
    m->failed = m->failed || !c->row->settled;
    free(c);
    if (--m->commits == 0) {
        test_point("committed");
        end(m, m->failed);
    }
}

static void commit_all(struct mover *m)
{
    test_point("verified");
    if (late(m)) {
        fail(m, "commit", "it took longer than the lease");
        return;
    }
    m->commits = 1;
    for (size_t i = 0; i < m->count; i++) {
        struct row *row = &m->rows[i];
        struct committing *c = row->packed ? malloc(sizeof *c) : NULL;
        if (!c)
            continue;
        *c = (struct committing){m, row};
        row->commit.last = row->last;
        m->commits++;
        archive_commit(m->a->queue, &row->commit, on_committed, c);
        test_point("commit-sent");
    }
    if (--m->commits == 0)
        end(m, false);
}

/* ---- the object ------------------------------------------------------------------------------------------------------ */

static void on_verified(void *arg, const struct object_result *result)
{
    struct mover *m = arg;
    if (result->e != ERR_OK)
        fail(m, "read back", result->why);
    else
        commit_all(m);
}

static void ignore(void *arg, struct str bytes)
{
    (void)arg;
    (void)bytes; /* its hash is what counts */
}

static void on_put(void *arg, const struct object_result *result)
{
    struct mover *m = arg;
    char key[ARCHIVE_KEY_MAX];
    if (result->e != ERR_OK) {
        fail(m, "put", result->why);
        return;
    }
    test_point("put");
    archive_pack_key(m->partition, &m->pack, key);
    struct object_get get = {.key = key, .sha256 = &m->hash, .data = ignore};
    if (object_get(m->a->objects.store, &get, on_verified, m, NULL) != ERR_OK)
        fail(m, "read back", "out of memory");
}

static void on_spooled(void *arg, enum err e, const char *why)
{
    struct mover *m = arg;
    char key[ARCHIVE_KEY_MAX];
    if (e != ERR_OK) {
        fail(m, "spool", why);
        return;
    }
    test_point("spooled");
    m->hash = *spool_sha256(m->spool);
    archive_pack_key(m->partition, &m->pack, key);
    struct object_put put = {.key = key, .spool = m->spool, .sha256 = &m->hash};
    if (object_put(m->a->objects.store, &put, on_put, m, NULL) != ERR_OK)
        fail(m, "put", "out of memory");
}

static void finish_pack(struct mover *m)
{
    bool any = false;
    if (m->at < m->count)
        m->look = LOOK_MORE;
    for (size_t i = 0; i < m->count; i++)
        any = any || m->rows[i].packed;
    if (any)
        spool_end(m->spool, on_spooled, m);
    else
        end(m, false);
}

/* ---- one record -------------------------------------------------------------------------------------------------------- */

static void push(struct mover *m)
{
    enum err e = ERR_OK;
    while (e == ERR_OK && m->pushed < m->out.len) {
        size_t n = m->out.len - m->pushed < PUSH_MAX ? m->out.len - m->pushed : PUSH_MAX;
        e = spool_push(m->spool, (struct str){m->out.data + m->pushed, n});
        if (e == ERR_OK || e == ERR_AGAIN) {
            m->pushed += n;
            m->written += n;
        }
    }
    if (e == ERR_AGAIN)
        return; /* on_room */
    if (e != ERR_OK || buf_status(&m->out) != ERR_OK) {
        fail(m, "spool", "a pack cannot be written");
        return;
    }
    buf_reset(&m->out);
    m->pushed = 0;
    void (*then)(struct mover * m) = m->then;
    m->then = NULL;
    then(m);
}

static void on_room(void *arg)
{
    struct mover *m = arg;
    if (m->busy && m->then)
        push(m);
}

static void push_then(struct mover *m, void (*then)(struct mover *m))
{
    m->then = then;
    m->pushed = 0;
    push(m);
}

static void record_done(struct mover *m)
{
    struct row *row = &m->rows[m->at];
    row->packed = true;
    row->commit.place.length = m->written - m->record_from;
    m->at++;
    next_job(m);
}

/* This one stays in Redis; its bytes in the pack are nobody's. */
static void give_up_job(struct mover *m, const char *why)
{
    log_limited(LOG_ERROR, "a log cannot be archived", F_STR("job", m->rows[m->at].commit.job.text),
                F_STR("why", why));
    metrics_add(m->a->metrics, METRIC_ARCHIVE_FAILURES, METRIC_MOVED_LOG, 0, 1);
    if (m->writing)
        record_abandon(&m->writer);
    m->writing = false;
    m->rows[m->at].settled = true; /* not before its lease is over */
    m->at++;
    push_then(m, next_job);
}

static void read_entries(struct mover *m);

static void end_record(struct mover *m)
{
    struct row *row = &m->rows[m->at];
    if (strcmp(m->after, row->last) != 0) {
        give_up_job(m, "its log does not end where its projection says");
        return;
    }
    record_finish(&m->writer, &row->commit.place.hash);
    m->writing = false;
    push_then(m, record_done);
}

static void on_page(void *arg, enum queue_answer answer, const struct record_entry *entries, size_t count)
{
    struct mover *m = arg;
    enum err e = ERR_OK;
    if (answer == QUEUE_UNAVAILABLE) {
        fail(m, "read", "Redis cannot be reached");
        return;
    }
    for (size_t i = 0; !e && i < count; i++) {
        e = record_add_entry(&m->writer, &entries[i]);
        snprintf(m->after, sizeof m->after, STR_FMT, STR_ARG(entries[i].id));
    }
    if (e || answer != QUEUE_OK)
        give_up_job(m, "an entry is too large");
    else if (count == 0)
        end_record(m);
    else
        push_then(m, read_entries);
}

static void read_entries(struct mover *m)
{
    archive_page(m->a->queue, m->rows[m->at].commit.job, m->after, on_page, m);
}

static void read_request(struct mover *m);

static void on_request(void *arg, enum queue_answer answer, struct str piece)
{
    struct mover *m = arg;
    if (answer != QUEUE_OK) {
        fail(m, "read", "Redis cannot be reached");
        return;
    }
    m->request_at += piece.n;
    if (piece.n)
        record_add_request(&m->writer, piece);
    push_then(m, piece.n < RECORD_REQUEST_PIECE ? read_entries : read_request);
}

static void read_request(struct mover *m)
{
    archive_request(m->a->queue, m->rows[m->at].commit.job, m->request_at, on_request, m);
}

static void begin_record(struct mover *m)
{
    struct row *row = &m->rows[m->at];
    row->commit.place.pack = m->pack;
    row->commit.place.offset = m->record_from = m->written;
    row->commit.ttl_ms = m->a->config.job_archive_ttl_days * 24 * 3600 * 1000;
    row->commit.spare_ms = ARCHIVER_PACK_SPARE_MS;
    m->after[0] = '\0';
    m->request_at = 0;
    record_begin(&m->writer, &m->out, buf_str(&m->head));
    m->writing = true;
    read_request(m);
}

/* ---- a job --------------------------------------------------------------------------------------------------------------- */

static void on_registered(void *arg, enum queue_answer answer)
{
    struct mover *m = arg;
    if (answer != QUEUE_OK) {
        fail(m, "register", "Redis cannot be reached");
        return;
    }
    m->registered = true;
    test_point("registered");
    begin_record(m);
}

/* A pack is told to Redis before the first byte is written, so that it can never be forgotten. */
static void want_pack(struct mover *m)
{
    if (m->registered) {
        begin_record(m);
        return;
    }
    if (object_spool(m->a->objects.store, pack_max, on_room, m, &m->spool) != ERR_OK) {
        fail(m, "spool", "out of memory");
        return;
    }
    m->pack = id_new();
    archive_register(m->a->queue, m->partition, str_of(m->pack.text), m->now_ms + ARCHIVER_PACK_SPARE_MS,
                     on_registered, m);
}

static void write_head(struct mover *m, const struct archive_head *head)
{
    auto_json root = json_pack("{s:s, s:s%, s:s%, s:s, s:s%, s:s%, s:I, s:I, s:I, s:I, s:I}", "job",
                               m->rows[m->at].commit.job.text, "tenant", head->tenant.p, head->tenant.n,
                               "user", head->user.p ? head->user.p : "", head->user.n, "session",
                               head->session.text, "status", head->status.p, head->status.n, "lang",
                               head->lang.p, head->lang.n, "attempt", (json_int_t)head->attempt, "seq",
                               (json_int_t)head->seq, "created", (json_int_t)head->created_ms, "started",
                               (json_int_t)head->started_ms, "finished", (json_int_t)head->finished_ms);
    buf_reset(&m->head);
    if (!root || json_write(root, &m->head) != ERR_OK)
        buf_append_cstr(&m->head, "{}");
}

static void on_expired(void *arg, enum queue_answer answer)
{
    struct mover *m = arg;
    if (answer == QUEUE_UNAVAILABLE) {
        fail(m, "expire", "Redis cannot be reached");
        return;
    }
    if (answer == QUEUE_OK)
        metrics_add(m->a->metrics, METRIC_EXPIRED, METRIC_MOVED_LOG, 0, 1);
    m->rows[m->at].settled = true;
    m->at++;
    next_job(m);
}

static void on_head(void *arg, enum queue_answer answer, const struct archive_head *head)
{
    struct mover *m = arg;
    struct row *row = &m->rows[m->at];
    static const struct archive_head none;
    if (answer == QUEUE_UNAVAILABLE) {
        fail(m, "read", "Redis cannot be reached");
    } else if (!head || head->archived || !m->a->config.job_archive_enabled) {
        const struct archive_head *h = head ? head : &none;
        archive_expire(m->a->queue, row->commit.job, h->tenant, h->idem, on_expired, m);
    } else if (!head->finished_ms || head->last.n >= sizeof row->last) {
        give_up_job(m, "it is due and has not ended");
    } else {
        snprintf(row->last, sizeof row->last, STR_FMT, STR_ARG(head->last));
        write_head(m, head);
        want_pack(m);
    }
}

static void next_job(struct mover *m)
{
    bool enough = m->written >= PACK_ENOUGH || m->a->stopping || late(m);
    if (m->at == m->count || enough)
        finish_pack(m);
    else
        archive_head(m->a->queue, m->rows[m->at].commit.job, on_head, m);
}

/* ---- beginning -------------------------------------------------------------------------------------------------------- */

static void on_taken(void *arg, enum queue_answer answer, const struct archive_taken *taken)
{
    struct mover *m = arg;
    if (answer != QUEUE_OK) {
        fail(m, "take", "Redis cannot be reached");
        return;
    }
    if (taken->count == 0 && m->pressed) { /* nothing is due: the oldest of the others */
        m->pressed = false;
        archive_take(m->a->queue, m->partition, ARCHIVE_TAKE_MAX, true, ARCHIVER_LEASE_MS, on_taken, m);
        return;
    }
    archiver_found(m->a, m->partition, METRIC_MOVED_LOG, taken->count ? taken->jobs[0].due_ms : 0,
                   taken->now_ms);
    m->now_ms = taken->now_ms;
    m->count = taken->count;
    m->look = taken->count == ARCHIVE_TAKE_MAX ? LOOK_MORE : LOOK_DONE;
    for (size_t i = 0; i < taken->count; i++)
        m->rows[i] = (struct row){.commit = {.job = taken->jobs[i].job}, .due_ms = taken->jobs[i].due_ms};
    if (taken->count)
        test_point("taken");
    next_job(m);
}

void mover_start(struct mover *m, unsigned partition, bool pressed)
{
    m->busy = true;
    m->failed = m->registered = false;
    m->partition = partition;
    m->began_ns = clock_mono_ns();
    m->count = m->at = m->pushed = 0;
    m->written = 0;
    m->then = NULL;
    m->look = LOOK_DONE;
    m->pressed = pressed;
    archive_take(m->a->queue, partition, ARCHIVE_TAKE_MAX, false, ARCHIVER_LEASE_MS, on_taken, m);
}

bool mover_busy(const struct mover *m)
{
    return m->busy;
}

enum err mover_open(struct archiver *a, struct mover **ret_mover)
{
    struct mover *m = calloc(1, sizeof *m);
    if (!m)
        return ERR_NOMEM;
    m->a = a;
    m->out = BUF_INIT(OUT_MAX);
    m->head = BUF_INIT(64 << 10);
    *ret_mover = m;
    return ERR_OK;
}

void mover_close(struct mover *m)
{
    if (!m)
        return;
    if (m->writing)
        record_abandon(&m->writer);
    spool_drop(m->spool);
    buf_free(&m->out);
    buf_free(&m->head);
    free(m);
}
