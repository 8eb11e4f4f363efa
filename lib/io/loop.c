/* SPDX-License-Identifier: Apache-2.0 */
#include "io/loop.h"

#include "base/clock.h"
#include "base/log.h"

#include <signal.h>

static void force(struct loop *l, const char *why)
{
    log_warn("ending at once", F_STR("why", why));
    l->forced = true;
    loop_end(l);
}

static void on_grace(uv_timer_t *timer)
{
    force(timer->data, "the grace for ending in order is over");
}

void loop_stop(struct loop *l)
{
    if (l->stopping)
        return;
    l->stopping = true;
    uv_timer_start(&l->grace, on_grace, (uint64_t)l->grace_ms, 0);
    l->on_stop(l->arg);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct loop *l = handle->data;
    if (l->stopping) {
        force(l, "a second signal");
        return;
    }
    log_info("asked to end", F_STR("signal", number == SIGINT ? "SIGINT" : "SIGTERM"));
    loop_stop(l);
}

enum err loop_open(struct loop *l, int grace_ms, void (*on_stop)(void *arg), void *arg, struct errinfo *info)
{
    *l = (struct loop){.grace_ms = grace_ms, .on_stop = on_stop, .arg = arg};
    int failed = uv_loop_init(&l->uv);
    if (failed != 0)
        return errinfo_set(info, ERR_SYSTEM, -failed, "cannot make an event loop: %s", uv_strerror(failed));
    signal(SIGPIPE, SIG_IGN);
    uv_signal_init(&l->uv, &l->term);
    uv_signal_init(&l->uv, &l->interrupt);
    uv_timer_init(&l->uv, &l->grace);
    l->term.data = l->interrupt.data = l->grace.data = l;
    uv_signal_start(&l->term, on_signal, SIGTERM);
    uv_signal_start(&l->interrupt, on_signal, SIGINT);
    return ERR_OK;
}

void loop_run(struct loop *l)
{
    uv_run(&l->uv, UV_RUN_DEFAULT);
}

void loop_end(struct loop *l)
{
    uv_stop(&l->uv);
}

bool loop_forced(const struct loop *l)
{
    return l->forced;
}

static void name_open_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        log_warn("a handle was left open", F_STR("type", uv_handle_type_name(handle->type)));
}

bool loop_close(struct loop *l)
{
    uv_close((uv_handle_t *)&l->term, NULL);
    uv_close((uv_handle_t *)&l->interrupt, NULL);
    uv_close((uv_handle_t *)&l->grace, NULL);
    int64_t until = clock_mono_ns() + 1000000000;
    while (uv_run(&l->uv, UV_RUN_NOWAIT) != 0 && clock_mono_ns() < until)
        ;
    if (uv_loop_close(&l->uv) == 0)
        return true;
    uv_walk(&l->uv, name_open_handle, NULL);
    return false;
}
