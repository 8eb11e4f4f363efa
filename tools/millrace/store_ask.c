/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/millrace/store_ask.h"

#include "io/config_load.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ARGS_MAX = 16, ASK_TIMEOUT_MS = 60000 };

/* ---- the connection ---------------------------------------------------------------------------------------------- */

static void on_state(void *arg, bool up, const char *why)
{
    struct store *s = arg;
    s->lost = s->lost || !up;
    s->up = up;
    snprintf(s->why, sizeof s->why, "%s", why ? why : "");
}

static enum err connect_store(struct store *s, struct errinfo *info)
{
    auto_buf url = BUF_INIT(4096);
    struct redis_options options = {.connect_timeout_ms = (int)s->config.redis_connect_timeout_ms,
                                    .command_timeout_ms = ASK_TIMEOUT_MS,
                                    .ca_file = text_or_null(s->config.redis_ca_file),
                                    .on_state = on_state,
                                    .arg = s};
    config_redis_url(&s->config, &url);
    enum err e = redis_url_parse(str_of(buf_cstr(&url)), &options.url, info);
    e = e ? e : redis_open(&s->loop, &options, &s->redis, info);
    while (!e && !s->up && !s->lost)
        uv_run(&s->loop, UV_RUN_ONCE);
    return !e && !s->up ? errinfo_set(info, ERR_IO, 0, "Redis: %.200s", s->why) : e;
}

enum err store_open(struct store *s, const char *file, const char *const *sets, size_t set_count)
{
    struct errinfo info = {0};
    struct config_request request = {.file = file, .set_count = set_count};
    *s = (struct store){0};
    for (size_t i = 0; i < set_count; i++)
        request.sets[i] = sets[i];
    if (uv_loop_init(&s->loop))
        return ERR_NOMEM;
    enum err e = config_load(&config_table, &s->config.base, &request, &info);
    e = e ? e : connect_store(s, &info);
    if (e) {
        fprintf(stderr, "millrace: %s\n", info.text);
        store_close(s);
    }
    return e;
}

void store_close(struct store *s)
{
    if (s->redis)
        redis_close(s->redis, NULL, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    uv_loop_close(&s->loop);
    config_release(&s->config.base);
}

/* ---- one question ------------------------------------------------------------------------------------------------ */

struct question {
    struct arena *memory;
    struct redis_value *answer;
    bool done;
};

static bool copy_value(struct arena *memory, const struct redis_value *from, struct redis_value *to)
{
    *to = *from;
    if (from->text.p)
        to->text.p = arena_cstr(memory, from->text); /* a NUL may be in it: the length stays */
    to->items = from->count ? arena_array(memory, from->count, sizeof *to) : NULL;
    for (size_t i = 0; to->items && i < from->count; i++)
        if (!copy_value(memory, &from->items[i], &to->items[i]))
            return false;
    return !arena_status(memory);
}

static void on_answer(void *arg, const struct redis_value *v)
{
    struct question *question = arg;
    struct redis_value *copy = v ? arena_alloc(question->memory, sizeof *copy) : NULL;
    question->done = true;
    if (copy && copy_value(question->memory, v, copy))
        question->answer = copy;
}

const struct redis_value *store_ask(struct store *s, struct arena *memory, ...)
{
    struct str args[ARGS_MAX];
    struct question question = {.memory = memory};
    size_t count = 0;
    va_list ap;
    va_start(ap, memory);
    for (const char *text; count < ARGS_MAX && (text = va_arg(ap, const char *)); count++)
        args[count] = str_of(text);
    va_end(ap);
    enum err e = redis_command(s->redis, args, count, 0, on_answer, &question);
    while (!e && !question.done)
        uv_run(&s->loop, UV_RUN_ONCE);
    if (!question.answer)
        fprintf(stderr, "millrace: Redis: %s\n", arena_status(memory) ? "an answer is too large" : s->why);
    if (question.answer && question.answer->type == REDIS_ERROR) {
        fprintf(stderr, "millrace: Redis: " STR_FMT "\n", STR_ARG(question.answer->text));
        return NULL;
    }
    return question.answer;
}
