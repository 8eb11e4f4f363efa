/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/jobrun_tools.h"

#include "base/clock.h"
#include "base/log.h"
#include "worker/jobrun_internal.h"
#include "json/raw.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_LEN = 16, ID_MAX = 16, RESULT_PIECE = FRAME_PAYLOAD_MAX - FRAME_TOOL_HEAD, MESSAGE_MAX = 1 << 20 };

enum call_state { CALL_NEW, CALL_TOLD, CALL_ANSWERED };

/* A call of this attempt. */
struct call {
    struct list link;
    enum call_state state;
    uint32_t connection;
    json_int_t local; /* the program's number for it */
    char id[ID_MAX], key[KEY_LEN + 1];
    struct buf text; /* of its event */
};

/* A result of an earlier attempt, or one that came before its call was made again. */
struct recorded {
    struct list link;
    char id[ID_MAX], key[KEY_LEN + 1];
    struct buf text; /* {"call_id", "key", "result" | "error"} */
};

struct run_tools {
    struct list calls, recorded;
    unsigned call_count, fresh, waiting, last_number;
    size_t bytes;
    uint32_t messages;   /* whole ones that came */
    struct buf message;  /* the pieces of one */
    uint64_t need_input; /* client events up to this one belong to earlier attempts */
    uint64_t seen_input;
    int64_t first_ns, due_ns; /* of the fresh ones */
};

enum err run_tools_open(uint64_t last_input, struct run_tools **ret_tools)
{
    struct run_tools *t = calloc(1, sizeof *t);
    if (!t)
        return ERR_NOMEM;
    list_init(&t->calls);
    list_init(&t->recorded);
    buf_init(&t->message, MESSAGE_MAX);
    t->need_input = last_input;
    *ret_tools = t;
    return ERR_OK;
}

static void free_recorded(struct recorded *r)
{
    list_remove(&r->link);
    buf_free(&r->text);
    free(r);
}

void run_tools_free(struct run_tools *t)
{
    if (!t)
        return;
    list_each(call, &t->calls, struct call, link)
    {
        list_remove(&call->link);
        buf_free(&call->text);
        free(call);
    }
    list_each(r, &t->recorded, struct recorded, link) free_recorded(r);
    buf_free(&t->message);
    free(t);
}

bool run_tools_waiting(const struct run_tools *t)
{
    return t && t->waiting > 0;
}

static bool caught_up(const struct run_tools *t)
{
    return t->seen_input >= t->need_input;
}

int64_t run_tools_due_ns(const struct run_tools *t, int64_t now_ns)
{
    if (!t || t->fresh == 0 || !caught_up(t))
        return -1;
    return t->due_ns > now_ns ? t->due_ns - now_ns : 0;
}

/* ---- results ---- */

/* To the program, in pieces of a frame each: {u32 length, JSON}. */
static void send_result(struct jobrun *run, const struct call *call, struct str member, const char *name)
{
    struct run_tools *t = run->tools;
    char prefix[96];
    int n = snprintf(prefix + 4, sizeof prefix - 4, "{\"id\":%" JSON_INTEGER_FORMAT ",\"%s\":", call->local,
                     name);
    size_t length = (size_t)n + member.n + 1;
    for (int i = 0; i < 4; i++)
        prefix[i] = (char)(length >> (8 * i));
    auto_buf message = BUF_INIT(length + 4);
    buf_append(&message, prefix, (size_t)n + 4);
    buf_append_str(&message, member);
    buf_append_char(&message, '}');
    enum err e = buf_status(&message);
    for (size_t at = 0; e == ERR_OK && at < message.len; at += RESULT_PIECE) {
        size_t left = message.len - at, piece = left < RESULT_PIECE ? left : RESULT_PIECE;
        auto_buf frame = BUF_INIT(FRAME_PAYLOAD_MAX);
        uint8_t head[FRAME_TOOL_HEAD];
        struct frame_tool tool = {.connection = call->connection,
                                  .seen = t->waiting == 0 && at + piece == message.len ? t->messages : 0};
        frame_put_tool(head, &tool);
        buf_append(&frame, head, sizeof head);
        buf_append(&frame, message.data + at, piece);
        e = jobrun_ops(run)->input(run->pod->pod, FRAME_TOOL_RESULT, buf_str(&frame));
    }
    if (e != ERR_OK)
        log_warn("a tool's result did not reach its program", F_JOB(run->job.text, run->attempt),
                 F_STR("why", err_text(e)));
}

static void answer(struct jobrun *run, struct call *call, struct str result)
{
    struct str value = json_raw_member(result, "result"), error = json_raw_member(result, "error");
    bool failed = error.n > 0;
    if (call->state == CALL_TOLD && --run->tools->waiting == 0)
        jobrun_set_deadline(run, (int64_t)run->request.limits.wall_ms + WALL_GRACE_MS);
    call->state = CALL_ANSWERED;
    send_result(run, call, failed ? error : value.n > 0 ? value : STR("null"), failed ? "error" : "result");
}

static struct call *told_call(struct run_tools *t, const char *id)
{
    list_each(call, &t->calls, struct call, link) if (strcmp(call->id, id) == 0) return call;
    return NULL;
}

static void record(struct run_tools *t, const char *id, const char *key, struct str text)
{
    struct recorded *r = calloc(1, sizeof *r);
    if (!r)
        return; /* the program waits until its pause is over */
    buf_init(&r->text, text.n);
    buf_append_str(&r->text, text);
    snprintf(r->id, sizeof r->id, "%s", id);
    snprintf(r->key, sizeof r->key, "%s", key);
    list_append(&t->recorded, &r->link);
    unsigned number = (unsigned)strtoul(strncmp(id, "call_", 5) == 0 ? id + 5 : id, NULL, 10);
    if (number > t->last_number && number <= TOOLS_CALLS_MAX)
        t->last_number = number;
}

/* A plain string of the envelope that the api wrote. */
static void copy_text(struct str item, const char *name, char *out, size_t size)
{
    struct str raw = json_raw_member(item, name);
    out[0] = '\0';
    if (raw.n >= 2 && raw.p[0] == '"' && raw.n - 2 < size)
        snprintf(out, size, "%.*s", (int)(raw.n - 2), raw.p + 1);
}

static bool program_runs(const struct jobrun *run)
{
    return run->pod && run->released && (run->state == JR_STARTING || run->state == JR_RUNNING);
}

/* The first answer to a call counts. */
static void take_result(struct jobrun *run, struct str item)
{
    char id[ID_MAX], key[KEY_LEN + 1];
    copy_text(item, "call_id", id, sizeof id);
    copy_text(item, "key", key, sizeof key);
    struct call *call = told_call(run->tools, id);
    if (id[0] == '\0' || (call && call->state == CALL_ANSWERED))
        return;
    bool fits = call && call->state == CALL_TOLD && strcmp(call->key, key) == 0;
    if (fits && program_runs(run)) {
        answer(run, call, item);
    } else if (fits && run->state == JR_PARKED) { /* the log has it for the next attempt */
        call->state = CALL_ANSWERED;
        run->tools->waiting--;
    } else {
        record(run->tools, id, key, item);
    }
}

void jobrun_on_tool_result(struct jobrun *run, const struct event *event)
{
    struct run_tools *t = run->tools;
    if (!t)
        return;
    struct str rest = json_raw_member(event->data, "results"), item;
    while (json_raw_next(&rest, &item))
        take_result(run, item);
    t->seen_input = event->seq;
    if (run->state == JR_PARKED && t->waiting == 0)
        jobrun_return(run, REASON_TOOLS_PARKED);
    else
        jobrun_flush_soon(run);
}

/* ---- calls ---- */

/* FNV-1a of name and input: what a later attempt is compared by. */
static void write_key(struct str name, struct str input, char ret_key[KEY_LEN + 1])
{
    uint64_t hash = str_hash(str_hash(str_hash(STR_HASH, name), STR(" ")), input);
    snprintf(ret_key, KEY_LEN + 1, "%016" PRIx64, hash);
}

static struct recorded *find_recorded(struct run_tools *t, const char *key)
{
    list_each(r, &t->recorded, struct recorded, link) if (strcmp(r->key, key) == 0) return r;
    return NULL;
}

static struct call *add_call(struct run_tools *t, uint32_t connection, json_int_t local, struct str name,
                             struct str input)
{
    struct call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->connection = connection;
    call->local = local;
    write_key(name, input, call->key);
    buf_init(&call->text, name.n + input.n + 128);
    list_append(&t->calls, &call->link);
    t->call_count++;
    t->bytes += name.n + input.n;
    return call;
}

/* Without the end, which says whether it is the last of those that wait together. */
static void write_call(struct run_tools *t, struct call *call, struct str name, struct str input)
{
    snprintf(call->id, sizeof call->id, "call_%03u", ++t->last_number);
    buf_printf(&call->text, "{\"call_id\":\"%s\",\"key\":\"%s\",\"name\":", call->id, call->key);
    buf_append_str(&call->text, name);
    buf_append_cstr(&call->text, ",\"input\":");
    buf_append_str(&call->text, input);
    t->fresh++;
}

/* False: the message is not what the protocol says, or too much. */
static bool take_call(struct jobrun *run, uint32_t connection, const json_t *parsed, struct str raw)
{
    struct run_tools *t = run->tools;
    const json_t *id = json_object_get(parsed, "id");
    struct str name = json_raw_member(raw, "name"), input = json_raw_member(raw, "input");
    if (!json_is_integer(id) || !json_is_string(json_object_get(parsed, "name")) ||
        !json_is_object(json_object_get(parsed, "input")) || name.n == 0 || name.n > 512 || input.n == 0 ||
        t->call_count == TOOLS_CALLS_MAX || t->bytes + raw.n > TOOLS_BYTES_MAX)
        return false;
    struct call *call = add_call(t, connection, json_integer_value(id), name, input);
    if (!call)
        return false;
    struct recorded *before = find_recorded(t, call->key);
    if (before) {
        memcpy(call->id, before->id, sizeof call->id);
        answer(run, call, buf_str(&before->text));
        free_recorded(before);
        return true;
    }
    write_call(t, call, name, input);
    return buf_status(&call->text) == ERR_OK;
}

static void plan(struct run_tools *t, bool more)
{
    int64_t now = clock_mono_ns(), most = t->first_ns + TOOLS_GATHER_MAX_MS * MS_NS;
    t->due_ns = more ? now + TOOLS_QUIET_MS * MS_NS : now;
    if (more && t->due_ns > most)
        t->due_ns = most;
}

static bool take_message(struct jobrun *run, uint32_t connection, struct str text)
{
    struct run_tools *t = run->tools;
    auto_json root = NULL;
    if (json_parse(text, &root, NULL) != ERR_OK)
        return false;
    const json_t *calls = json_object_get(root, "calls");
    struct str rest = json_raw_member(text, "calls"), raw;
    bool first = t->fresh == 0;
    if (!json_is_array(calls) || json_array_size(calls) == 0)
        return false;
    for (size_t i = 0; i < json_array_size(calls); i++)
        if (!json_raw_next(&rest, &raw) || !take_call(run, connection, json_array_get(calls, i), raw))
            return false;
    if (first)
        t->first_ns = clock_mono_ns();
    plan(t, json_is_true(json_object_get(root, "more")));
    return true;
}

void jobrun_on_tool_call(struct jobrun *run, struct str payload)
{
    struct run_tools *t = run->tools;
    struct frame_tool head;
    struct str bytes;
    if (!t || run->state != JR_RUNNING || run->facts.killed != PE_OWN)
        return;
    bool good = frame_get_tool(payload, &head, &bytes) == ERR_OK;
    if (good)
        buf_append_str(&t->message, bytes);
    good = good && buf_status(&t->message) == ERR_OK;
    if (good && !head.last)
        return;
    t->messages++;
    good = good && take_message(run, head.connection, buf_str(&t->message));
    buf_reset(&t->message);
    if (!good)
        jobrun_kill(run, PE_TOOLS);
    else
        jobrun_flush_soon(run);
}

bool jobrun_tools_diverged(struct jobrun *run)
{
    struct run_tools *t = run->tools;
    if (!t || run->state != JR_RUNNING || list_empty(&t->recorded) ||
        run_tools_due_ns(t, clock_mono_ns()) != 0)
        return false;
    log_warn("run again, the program made other tool calls", F_JOB(run->job.text, run->attempt));
    jobrun_kill(run, PE_DIVERGED);
    t->fresh = 0;
    return true;
}

static void park(struct jobrun *run)
{
    int64_t until = run->deadline_ns;
    log_info("a program waits for its tools without a pod", F_JOB(run->job.text, run->attempt));
    run->facts.wall_ns = clock_mono_ns() - run->released_ns;
    jobrun_drop_pod(run, false);
    jobrun_set_state(run, JR_PARKED);
    run->deadline_ns = until;
}

static void park_oldest(const struct jobrun *run)
{
    struct jobrun *oldest = NULL;
    unsigned count = 0;
    list_each(other, &run->runs->runs, struct jobrun, link)
    {
        if (!run_tools_waiting(other->tools) || other->state != JR_RUNNING || other->facts.killed != PE_OWN ||
            !str_eq(other->owner.tenant, run->owner.tenant))
            continue;
        oldest = oldest ? oldest : other;
        count++;
    }
    if (count <= run->runs->options.tools_paused_max)
        return;
    if (oldest->retry)
        park(oldest);
    else
        jobrun_kill(oldest, PE_TOOLS);
}

void jobrun_tools_drafts(struct jobrun *run)
{
    struct run_tools *t = run->tools;
    unsigned room = TOOLS_DRAFTS_MAX;
    if (run_tools_due_ns(t, clock_mono_ns()) != 0)
        return;
    list_each(call, &t->calls, struct call, link)
    {
        if (call->state != CALL_NEW || room == 0)
            continue;
        room--;
        t->fresh--;
        buf_append_cstr(&call->text, t->fresh == 0 ? ",\"waits\":true}" : "}");
        call->state = CALL_TOLD;
        t->waiting++;
        run->drafts[run->draft_count++] =
            (struct event_draft){.type = EV_TOOL_CALL, .data = buf_str(&call->text)};
    }
    jobrun_set_deadline(run, run->runs->options.tools_pause_ms);
    park_oldest(run);
}
