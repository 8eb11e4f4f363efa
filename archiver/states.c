/* SPDX-License-Identifier: Apache-2.0 */
/* Idle states: for each version of a session whose blob is in Redis: read, told to Redis as an object that will be deleted,
   put, read back, and only then moved by compare-and-set. A session whose versions are all objects already is only told as
   archived. One session at a time in each slot. */
#include "archiver/archiver.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum { VERSIONS_MAX = 1000, RECORD_MAX = 1024 };

struct version {
    char number[24], record[RECORD_MAX];
};

struct state_mover {
    struct archiver *a;
    bool busy, failed;
    unsigned partition;
    int64_t now_ms;
    struct archive_job sessions[ARCHIVE_TAKE_MAX];
    size_t count, at;
    struct version *versions; /* of the present session, `left` of them not moved */
    size_t left;
    struct buf blob;
    struct sha256 hash;
    char key[ARCHIVE_STATE_KEY_MAX];
};

static void next_session(struct state_mover *m);
static void next_version(struct state_mover *m);

static void end(struct state_mover *m)
{
    free(m->versions);
    m->versions = NULL;
    buf_free(&m->blob);
    m->busy = false;
    states_looked(m->a, m->partition, m->failed, false);
}

/* The session is idle again when the lease is over; until then it waits, though no look finds it. */
static void fail(struct state_mover *m, const char *what, const char *why)
{
    log_limited(LOG_WARN, "a state cannot be archived now", F_STR("what", what), F_STR("why", why));
    metrics_add(m->a->metrics, METRIC_ARCHIVE_FAILURES, METRIC_MOVED_STATE, 0, 1);
    m->failed = true;
    if (m->at < m->count)
        m->a->partitions[m->partition].states_left_ms = m->now_ms + 2 * ARCHIVER_LEASE_MS;
    end(m);
}

static const struct version *present(const struct state_mover *m)
{
    return &m->versions[m->left - 1];
}

static int64_t ttl_of(const struct state_mover *m)
{
    return m->a->config.state_archive_ttl_days * 24 * 3600 * 1000;
}

static void on_moved(void *arg, enum queue_answer answer)
{
    struct state_mover *m = arg;
    if (answer == QUEUE_UNAVAILABLE) {
        fail(m, "commit", "Redis cannot be reached");
        return;
    }
    if (answer == QUEUE_OK) {
        metrics_add(m->a->metrics, METRIC_ARCHIVED, METRIC_MOVED_STATE, 0, 1);
        metrics_add(m->a->metrics, METRIC_ARCHIVED_BYTES, METRIC_MOVED_STATE, 0, m->blob.len);
    }
    test_point("state-committed");
    m->left--;
    next_version(m);
}

static void on_verified(void *arg, const struct object_result *result)
{
    struct state_mover *m = arg;
    if (result->e != ERR_OK) {
        fail(m, "read back", result->why);
        return;
    }
    test_point("state-verified");
    archive_state(m->a->queue, m->sessions[m->at].job, str_of(present(m)->number), str_of(present(m)->record),
                  m->key, ttl_of(m), on_moved, m);
}

static void ignore(void *arg, struct str bytes)
{
    (void)arg;
    (void)bytes; /* its hash is what counts */
}

static void on_put(void *arg, const struct object_result *result)
{
    struct state_mover *m = arg;
    if (result->e != ERR_OK) {
        fail(m, "put", result->why);
        return;
    }
    test_point("state-put");
    struct object_get get = {.key = m->key, .sha256 = &m->hash, .data = ignore};
    if (object_get(m->a->objects.store, &get, on_verified, m, NULL) != ERR_OK)
        fail(m, "read back", "out of memory");
}

static void on_registered(void *arg, enum queue_answer answer)
{
    struct state_mover *m = arg;
    if (answer != QUEUE_OK) {
        fail(m, "register", "Redis cannot be reached");
        return;
    }
    test_point("state-registered");
    struct object_put put = {.key = m->key, .bytes = buf_str(&m->blob), .sha256 = &m->hash};
    if (object_put(m->a->objects.store, &put, on_put, m, NULL) != ERR_OK)
        fail(m, "put", "it is too large");
}

static void on_blob(void *arg, enum queue_answer answer, struct str blob)
{
    struct state_mover *m = arg;
    if (answer == QUEUE_UNAVAILABLE) {
        fail(m, "read", "Redis cannot be reached");
    } else if (answer != QUEUE_OK) { /* another was quicker */
        m->left--;
        next_version(m);
    } else {
        buf_reset(&m->blob);
        buf_append_str(&m->blob, blob);
        m->hash = sha256_of(blob);
        archive_state_key(m->sessions[m->at].job, &m->hash, m->key);
        archive_register(m->a->queue, m->partition, str_of(m->key), m->now_ms + ARCHIVER_PACK_SPARE_MS,
                         on_registered, m);
    }
}

static void on_nothing_left(void *arg, enum queue_answer answer)
{
    struct state_mover *m = arg;
    (void)answer; /* without it, it is looked at again when the lease is over */
    m->at++;
    next_session(m);
}

static void next_version(struct state_mover *m)
{
    if (m->left)
        archive_blob(m->a->queue, m->sessions[m->at].job, str_of(present(m)->number), on_blob, m);
    else
        archive_state(m->a->queue, m->sessions[m->at].job, STR(""), STR(""), "", ttl_of(m), on_nothing_left,
                      m);
}

static void on_versions(void *arg, enum queue_answer answer, const struct archive_version *versions,
                        size_t count)
{
    struct state_mover *m = arg;
    if (answer != QUEUE_OK) {
        fail(m, "read", "Redis cannot be reached");
        return;
    }
    free(m->versions);
    count = count < VERSIONS_MAX ? count : VERSIONS_MAX;
    m->versions = calloc(count ? count : 1, sizeof *m->versions);
    m->left = m->versions ? count : 0;
    for (size_t i = 0; i < m->left; i++) {
        snprintf(m->versions[i].number, sizeof m->versions[i].number, STR_FMT, STR_ARG(versions[i].version));
        snprintf(m->versions[i].record, sizeof m->versions[i].record, STR_FMT, STR_ARG(versions[i].record));
    }
    next_version(m);
}

static void next_session(struct state_mover *m)
{
    if (m->at == m->count && m->count)
        m->a->partitions[m->partition].states_left_ms = 0;
    if (m->at == m->count || m->a->stopping)
        end(m);
    else
        archive_versions(m->a->queue, m->sessions[m->at].job, on_versions, m);
}

static void on_taken(void *arg, enum queue_answer answer, const struct archive_taken *taken)
{
    struct state_mover *m = arg;
    if (answer != QUEUE_OK) {
        fail(m, "take", "Redis cannot be reached");
        return;
    }
    m->now_ms = taken->now_ms;
    m->count = taken->count;
    archiver_found(m->a, m->partition, METRIC_MOVED_STATE,
                   taken->count ? taken->jobs[0].due_ms + m->a->config.state_archive_after_ms : 0,
                   taken->now_ms);
    if (taken->count) {
        memcpy(m->sessions, taken->jobs, taken->count * sizeof *m->sessions);
        test_point("state-taken");
    }
    if (taken->count == ARCHIVE_TAKE_MAX) /* there may be more, for another slot */
        states_looked(m->a, m->partition, false, true);
    next_session(m);
}

void state_mover_start(struct state_mover *m, unsigned partition)
{
    m->busy = true;
    m->failed = false;
    m->partition = partition;
    m->count = m->at = 0;
    m->blob = BUF_INIT(OBJECT_PUT_BYTES_MAX);
    archive_idle(m->a->queue, partition, ARCHIVE_TAKE_MAX, m->a->config.state_archive_after_ms,
                 ARCHIVER_LEASE_MS, on_taken, m);
}

bool state_mover_busy(const struct state_mover *m)
{
    return m->busy;
}

enum err state_mover_open(struct archiver *a, struct state_mover **ret_mover)
{
    struct state_mover *m = calloc(1, sizeof *m);
    if (!m)
        return ERR_NOMEM;
    m->a = a;
    *ret_mover = m;
    return ERR_OK;
}

void state_mover_close(struct state_mover *m)
{
    if (!m)
        return;
    free(m->versions);
    buf_free(&m->blob);
    free(m);
}
