/* SPDX-License-Identifier: Apache-2.0 */
/* golden_record DIR: plays a few lives of jobs against a real store with this build, and writes each log as one JSON
   file: {"job":, "status":, "attempt":, "entries":[[id, {field: text or {"base64":}}], ...]}. Done once a release;
   the files are committed and never changed. */
#include "support/queue_world.h"

#include "base/base64.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "queue/internal.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct recording {
    struct world w;
    struct worker k;
    struct buf out;
    bool done;
};

static void wait_for(struct recording *r, const bool *flag)
{
    while (!*flag)
        world_step(&r->w);
}

static void write_value(struct buf *out, struct str s)
{
    if (utf8_valid(s)) {
        json_write_string(out, s);
        return;
    }
    buf_append_cstr(out, "{\"base64\":\"");
    base64_encode(out, s);
    buf_append_cstr(out, "\"}");
}

static void on_entries(void *arg, const struct redis_value *v)
{
    struct recording *r = arg;
    for (size_t i = 0; i < v->count; i++) {
        const struct redis_value *fields = redis_item(&v->items[i], 1);
        buf_append_cstr(&r->out, i ? ",\n  [" : "\n  [");
        json_write_string(&r->out, redis_text(redis_item(&v->items[i], 0)));
        for (size_t k = 0; k + 1 < fields->count; k += 2) {
            buf_append_cstr(&r->out, k ? ", " : ", {");
            json_write_string(&r->out, redis_text(&fields->items[k]));
            buf_append_cstr(&r->out, ": ");
            write_value(&r->out, redis_text(&fields->items[k + 1]));
        }
        buf_append_cstr(&r->out, "}]");
    }
    r->done = true;
}

static void on_head(void *arg, const struct redis_value *v)
{
    struct recording *r = arg;
    buf_printf(&r->out, "\"status\":\"" STR_FMT "\",\"attempt\":%lld,\"entries\":[",
               STR_ARG(redis_text(redis_item(v, 0))), (long long)redis_integer(redis_item(v, 1)));
}

static void save(struct recording *r, const char *dir, const char *name, struct id job)
{
    struct keyset keys = {.job = str_of(job.text)};
    char path[512];
    r->out = BUF_INIT(1 << 20);
    buf_printf(&r->out, "{\"job\":\"%s\",", job.text);
    struct call *c = call_plain(r->w.api, "HMGET");
    call_key(c, &keys, "JOB");
    call_cstr(c, "status");
    call_cstr(c, "attempt");
    call_go(c, on_head, r);
    c = call_plain(r->w.api, "XRANGE");
    call_key(c, &keys, "LOG");
    call_cstr(c, "-");
    call_cstr(c, "+");
    r->done = false;
    call_go(c, on_entries, r);
    wait_for(r, &r->done);
    buf_append_cstr(&r->out, "]}\n");
    snprintf(path, sizeof path, "%s/%s.json", dir, name);
    FILE *file = fopen(path, "we");
    if (!file || fwrite(r->out.data, 1, r->out.len, file) != r->out.len || fclose(file) != 0)
        abort();
    buf_free(&r->out);
}

static struct id claim(struct recording *r, const struct queue_submit *more)
{
    struct submitted s;
    size_t before = r->k.count;
    world_submit(r->w.api, "t", &s, more);
    queue_consume_slots(r->k.q, 1);
    wait_for(r, &s.done);
    while (r->k.count == before)
        world_step(&r->w);
    return s.job;
}

static void end(struct recording *r, struct id job, uint32_t attempt, const struct event_draft *drafts,
                size_t count)
{
    struct answer a = {0};
    queue_finish(r->k.q, job, attempt, 1, drafts, count, 5, on_answer, &a);
    wait_for(r, &a.done);
    if (a.value != QUEUE_OK)
        abort();
}

static void completed(struct recording *r, const char *dir)
{
    struct id job = claim(r, NULL);
    struct answer a = {0};
    struct event_draft input = {.type = EV_INPUT, .bytes = STR("line\n")}, eof = {.type = EV_EOF};
    queue_send(r->w.api, STR("t"), job, 0, &input, NULL, NULL);
    queue_send(r->w.api, STR("t"), job, 0, &eof, on_answer, &a);
    wait_for(r, &a.done);
    end(r, job, 1,
        (struct event_draft[]){
            {.type = EV_STARTED,
             .data = STR("{\"pod\":\"p1\",\"backend\":\"local\",\"warm\":true,\"queue_ms\":1}")},
            {.type = EV_OUTPUT, .data = STR("{\"stream\":\"stdout\"}"), .bytes = STR("caf\xc3\xa9\n")},
            {.type = EV_OUTPUT, .data = STR("{\"stream\":\"stderr\"}"), .bytes = STR("\xff\x00\xfe")},
            {.type = EV_USAGE, .data = STR("{\"wall_ms\":12,\"cpu_ms\":9,\"memory_peak_bytes\":9000000}")},
            {.type = EV_COMPLETED, .data = STR("{\"exit_code\":3}")}},
        5);
    save(r, dir, "completed", job);
}

static void retried_and_cancelled(struct recording *r, const char *dir)
{
    struct id job = claim(r, NULL);
    struct answer a = {0}, b = {0};
    queue_requeue(r->k.q, job, 1, STR("pod_lost"), true, on_answer, &a);
    wait_for(r, &a.done);
    size_t before = r->k.count;
    queue_consume_slots(r->k.q, 1);
    while (r->k.count == before)
        world_step(&r->w);
    queue_cancel(r->w.api, STR("t"), job, STR("user"), on_answer, &b);
    wait_for(r, &b.done);
    end(r, job, 2, &(struct event_draft){.type = EV_CANCELLED, .data = STR("{\"reason\":\"user\"}")}, 1);
    save(r, dir, "retried_and_cancelled", job);
}

static void dead(struct recording *r, const char *dir)
{
    struct id job = claim(r, NULL);
    for (uint32_t attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
        struct answer a = {0};
        size_t before = r->k.count;
        queue_requeue(r->k.q, job, attempt, STR("could_not_start"), false, on_answer, &a);
        wait_for(r, &a.done);
        queue_consume_slots(r->k.q, 1);
        while (attempt < MAX_ATTEMPTS && r->k.count == before)
            world_step(&r->w);
    }
    save(r, dir, "dead", job);
}

int main(int argc, char **argv)
{
    static struct recording r;
    if (argc != 2) {
        fprintf(stderr, "usage: golden_record DIR\n");
        return 2;
    }
    world_init(&r.w, "no", false);
    world_open(&r.w);
    worker_open(&r.k, world_queue(&r.w), "golden", 1);
    completed(&r, argv[1]);
    retried_and_cancelled(&r, argv[1]);
    dead(&r, argv[1]);
    redis_server_stop(&r.w.redis);
    return 0;
}
