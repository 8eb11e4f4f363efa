/* SPDX-License-Identifier: Apache-2.0 */
/* millrace-archiver: moves finished logs from Redis to the object store, and deletes there what is over. */
#include "archiver/archiver.h"

#include "base/clock.h"
#include "base/log.h"
#include "io/program.h"
#include "json/json.h"

#include <stdio.h>
#include <unistd.h>

enum { TICK_MS = 100, PRESSURE_EVERY_MS = 2000, GRACE_MS = 20000 };

/* Nothing is under way. */
static bool archiver_idle(const struct archiver *a)
{
    bool busy = a->packs_busy > 0;
    for (size_t i = 0; i < ARCHIVER_MOVERS; i++)
        busy = busy || mover_busy(a->movers[i]) || state_mover_busy(a->state_movers[i]);
    return !busy;
}

/* ---- when to look ------------------------------------------------------------------------------------------------------ */

static struct state_mover *free_state_mover(struct archiver *a)
{
    for (size_t i = 0; i < ARCHIVER_MOVERS; i++)
        if (!state_mover_busy(a->state_movers[i]))
            return a->state_movers[i];
    return NULL;
}

static struct mover *free_mover(struct archiver *a)
{
    for (size_t i = 0; i < ARCHIVER_MOVERS; i++)
        if (!mover_busy(a->movers[i]))
            return a->movers[i];
    return NULL;
}

struct pressure {
    struct archiver *a;
    unsigned partition;
};

static void on_pressed(void *arg, bool pressed)
{
    struct pressure *ask = arg;
    struct partition *p = &ask->a->partitions[ask->partition];
    p->asking = false;
    p->pressed = p->pressed || pressed;
    if (pressed && !p->failures)
        p->logs_at = 0;
    free(ask);
}

static void ask_pressure(struct archiver *a, unsigned partition)
{
    struct pressure *ask = a->partitions[partition].asking ? NULL : malloc(sizeof *ask);
    if (!ask)
        return;
    *ask = (struct pressure){a, partition};
    a->partitions[partition].asking = true;
    archive_pressed(a->queue, partition, on_pressed, ask);
}

static void look_at(struct archiver *a, unsigned partition, uint64_t now)
{
    struct partition *p = &a->partitions[partition];
    struct mover *m = p->logs_at <= now ? free_mover(a) : NULL;
    if (m) {
        p->logs_at = now + (uint64_t)a->config.archive_interval_ms;
        mover_start(m, partition, p->pressed);
    }
    if (p->packs_at <= now) {
        p->packs_at = now + (uint64_t)a->config.archive_interval_ms;
        packs_start(a, partition);
    }
    if (p->sessions_at <= now) {
        p->sessions_at = now + (uint64_t)a->config.session_cleanup_minutes * 60000;
        sessions_start(a, partition);
    }
    struct state_mover *s =
        p->states_at <= now && a->config.state_archive_enabled ? free_state_mover(a) : NULL;
    if (s) {
        p->states_at = now + (uint64_t)a->config.archive_interval_ms;
        state_mover_start(s, partition);
    }
}

/* ---- ending ------------------------------------------------------------------------------------------------------------- */

static void on_objects_closed(void *arg)
{
    struct archiver *a = arg;
    loop_end(&a->loop);
}

static void on_queue_closed(void *arg)
{
    struct archiver *a = arg;
    objects_close(&a->objects, on_objects_closed, a);
}

static void close_when_idle(struct archiver *a)
{
    if (!archiver_idle(a) || a->closing)
        return;
    a->closing = true;
    uv_timer_stop(&a->tick);
    http_server_drain(a->http);
    queue_close(a->queue, on_queue_closed, a);
}

static void on_stop(void *arg)
{
    struct archiver *a = arg;
    a->stopping = true;
    log_info("drains: takes no more");
}

static void on_tick(uv_timer_t *timer)
{
    struct archiver *a = timer->data;
    uint64_t now = uv_now(&a->loop.uv);
    if (a->stopping) {
        close_when_idle(a);
        return;
    }
    if (!archiver_ready(a, NULL))
        return;
    orphans_sweep(a);
    unsigned count = queue_partitions(a->queue);
    bool ask = a->pressure_at <= now;
    if (ask)
        a->pressure_at = now + PRESSURE_EVERY_MS;
    for (unsigned p = 0; p < count && p < ARCHIVER_PARTITIONS_MAX; p++) {
        look_at(a, p, now);
        if (ask)
            ask_pressure(a, p);
    }
}

/* ---- opening -------------------------------------------------------------------------------------------------------------- */

static void on_queue_state(void *arg, bool ready, const char *why)
{
    struct archiver *a = arg;
    snprintf(a->redis_why, sizeof a->redis_why, "%s", why ? why : "");
    if (ready)
        log_info("Redis is there", F_STR("store", queue_store_text(a->queue)));
    else
        log_limited(LOG_WARN, "Redis cannot be used", F_STR("why", a->redis_why));
}

static enum err open_all(struct archiver *a, struct errinfo *info)
{
    enum err e = loop_open(&a->loop, GRACE_MS, on_stop, a, info);
    if (e == ERR_OK)
        e = metrics_open(METRICS_ARCHIVER, archiver_routes, &a->metrics);
    for (size_t i = 0; e == ERR_OK && i < ARCHIVER_MOVERS; i++)
        e = mover_open(a, &a->movers[i]);
    for (size_t i = 0; e == ERR_OK && i < ARCHIVER_MOVERS; i++)
        e = state_mover_open(a, &a->state_movers[i]);
    if (e == ERR_OK)
        e = objects_open(&a->objects, &a->loop.uv, &a->config, info);
    if (e == ERR_OK)
        e = queue_open_configured(&a->loop.uv, &a->config, on_queue_state, a, &a->queue, info);
    if (e == ERR_OK)
        e = archiver_http_open(a, info);
    if (e == ERR_OK)
        e = program_write_port(a->args.port_file, http_server_port(a->http), info);
    if (e != ERR_OK)
        return e;
    uv_timer_init(&a->loop.uv, &a->tick);
    a->tick.data = a;
    uv_timer_start(&a->tick, on_tick, 0, TICK_MS);
    return ERR_OK;
}

int main(int argc, char **argv)
{
    static struct archiver a = {
        .args = {
            .name = "millrace-archiver",
            .about =
                "moves finished logs and idle states from Redis to the object store, and deletes there what is over.\n"
                "Any number of them share the work.\n"}};
    struct errinfo info = {0};
    program_harden();
    json_start();
    enum err e = program_configure(&a.args, argc, argv, &config_table, &a.config.base);
    if (e != ERR_OK)
        return e == ERR_CLOSED ? 0 : 2;
    config_open_log(&a.config, "archiver");
    if (open_all(&a, &info) != ERR_OK) {
        log_error("cannot start", F_STR("why", info.text));
        return 1;
    }
    metrics_set(a.metrics, METRIC_START_TIME, 0, clock_wall_ms() / 1000);
    log_info("archiver started", F_INT("port", http_server_port(a.http)));
    loop_run(&a.loop);
    for (size_t i = 0; i < ARCHIVER_MOVERS; i++) {
        mover_close(a.movers[i]);
        state_mover_close(a.state_movers[i]);
    }
    log_info("archiver ended");
    return 0;
}
