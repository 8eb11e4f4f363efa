/* SPDX-License-Identifier: Apache-2.0 */
#include "api/view.h"

#include "base/base64.h"
#include "base/utf8.h"
#include "json/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { VIEW_FACTS_MAX = 16 * 1024, VIEW_FILES_MAX = 4 << 20, VIEW_STATE_MAX = 512 * 1024 };

void view_init(struct view *v, struct id job, struct id session, size_t max_output)
{
    *v = (struct view){.job = job, .session = session};
    buf_init(&v->output[0], max_output);
    buf_init(&v->output[1], max_output);
    buf_init(&v->usage, VIEW_FACTS_MAX);
    buf_init(&v->started, VIEW_FACTS_MAX);
    buf_init(&v->end, VIEW_FACTS_MAX);
    buf_init(&v->files, VIEW_FILES_MAX);
    buf_init(&v->state, VIEW_STATE_MAX);
}

void view_free(struct view *v)
{
    buf_free(&v->output[0]);
    buf_free(&v->output[1]);
    buf_free(&v->usage);
    buf_free(&v->started);
    buf_free(&v->end);
    buf_free(&v->files);
    buf_free(&v->state);
}

const char *view_status_name(enum view_status status)
{
    static const char *const names[] = {"queued",    "running",   "completed", "failed",
                                        "timed_out", "cancelled", "dead"};
    return names[status];
}

/* ---- the fold ---- */

static void keep(struct buf *where, struct str data)
{
    buf_reset(where);
    buf_append_str(where, data);
    if (buf_status(where) != ERR_OK)
        buf_reset(where);
}

static void reset(struct view *v)
{
    buf_reset(&v->output[0]);
    buf_reset(&v->output[1]);
    buf_reset(&v->usage);
    buf_reset(&v->started);
    buf_reset(&v->files);
    buf_reset(&v->state);
    v->cut = false;
    v->status = VIEW_QUEUED;
}

/* Keeps what fits. */
static void add_output(struct view *v, const struct event *event)
{
    bool is_stderr = event->data.n > 0 && memmem(event->data.p, event->data.n, "\"stderr\"", 8) != NULL;
    struct buf *to = &v->output[is_stderr];
    size_t room = to->max - to->len;
    size_t n = event->bytes.n < room ? event->bytes.n : room;
    v->cut |= n < event->bytes.n;
    if (n > 0)
        buf_append(to, event->bytes.p, n);
}

static void add_file(struct view *v, const struct event *event)
{
    if (v->files.len > 0)
        buf_append_char(&v->files, ',');
    buf_append_str(&v->files, event->data);
}

static void end(struct view *v, const struct event *event)
{
    static const enum view_status of[EV_COUNT] = {
        [EV_COMPLETED] = VIEW_COMPLETED, [EV_FAILED] = VIEW_FAILED, [EV_TIMED_OUT] = VIEW_TIMED_OUT,
        [EV_CANCELLED] = VIEW_CANCELLED, [EV_DEAD] = VIEW_DEAD,
    };
    v->status = of[event->type];
    v->ended_ms = event->time_ms;
    keep(&v->end, event->data);
}

void view_apply(struct view *v, const struct event *event)
{
    memcpy(v->last_id, event->id, sizeof v->last_id);
    if (event->attempt > v->attempt)
        v->attempt = event->attempt;
    if (event->type == EV_SUBMITTED) {
        v->created_ms = event->time_ms;
    } else if (event->type == EV_CLAIMED) {
        v->status = VIEW_RUNNING;
        v->claimed_ms = event->time_ms;
    } else if (event->type == EV_STARTED) {
        keep(&v->started, event->data);
    } else if (event->type == EV_OUTPUT) {
        add_output(v, event);
    } else if (event->type == EV_FILE) {
        add_file(v, event);
    } else if (event->type == EV_USAGE) {
        keep(&v->usage, event->data);
    } else if (event->type == EV_STATE_SAVED || event->type == EV_STATE_KEPT) {
        keep(&v->state, event->data);
        v->state_saved = event->type == EV_STATE_SAVED;
    } else if (event->type == EV_RETRIED) {
        reset(v);
    } else if (event_is_terminal(event->type)) {
        end(v, event);
    }
}

/* ---- the result ---- */

static json_t *object_of(const struct buf *text)
{
    json_t *value = NULL;
    if (text->len == 0 || json_parse(buf_str(text), &value, NULL) != ERR_OK)
        return NULL;
    return value;
}

/* The facts of the end that the writer needs. */
struct facts {
    const struct view *view;
    const json_t *end, *usage, *started; /* or NULL */
    const char *reason, *limit, *signal;
    char message[400];
};

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static bool is_reason(const struct facts *f, enum reason reason)
{
    return f->reason != NULL && strcmp(f->reason, reason_row(reason)->name) == 0;
}

/* The contract's `status` and `message`, which clients compare: they say no more than this. */
struct contract_end {
    const char *status, *message;
};

static struct contract_end contract_end(const struct facts *f)
{
    if (f->view->status == VIEW_TIMED_OUT)
        return (struct contract_end){"TO", "Time limit exceeded"};
    if (is_reason(f, REASON_OOM))
        return (struct contract_end){"SG", "Out of memory"};
    if (is_reason(f, REASON_OUTPUT_LIMIT))
        return (struct contract_end){"OL", "stdout length exceeded"};
    return (struct contract_end){NULL, NULL};
}

/* What the row of `reason` says, and what the event adds to it. */
static void describe_failure(struct facts *f)
{
    enum reason reason;
    const char *told = text_of(f->end, "message");
    bool known = f->reason != NULL && reason_parse(str_of(f->reason), &reason) == ERR_OK;
    const char *text = known ? reason_row(reason)->text : "The run failed.";
    bool adds = told != NULL && strcmp(told, text) != 0;
    snprintf(f->message, sizeof f->message, "%s%s%.300s", text, adds ? " " : "", adds ? told : "");
}

static void describe(struct facts *f)
{
    enum view_status status = f->view->status;
    const char *contract = contract_end(f).message;
    if (contract != NULL)
        snprintf(f->message, sizeof f->message, "%s", contract);
    else if (status == VIEW_CANCELLED)
        snprintf(f->message, sizeof f->message, "The run was cancelled.");
    else if (status == VIEW_DEAD)
        snprintf(f->message, sizeof f->message, "The program was tried several times and gave no result.");
    else if (status == VIEW_FAILED)
        describe_failure(f);
}

static void write_text(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, ",\"%s\":", name);
    if (value == NULL || !utf8_valid(str_of(value)))
        buf_append_cstr(out, "null");
    else
        json_write_string(out, str_of(value));
}

static void write_flag(struct buf *out, const char *name, bool value)
{
    buf_printf(out, ",\"%s\":%s", name, value ? "true" : "false");
}

static void write_number(struct buf *out, const char *name, const json_t *value)
{
    if (json_is_integer(value))
        buf_printf(out, ",\"%s\":%" JSON_INTEGER_FORMAT, name, json_integer_value(value));
    else
        buf_printf(out, ",\"%s\":null", name);
}

/* `text` when the bytes are UTF-8; else with U+FFFD, and the exact bytes in `name`_base64. `note` goes on a
   line of its own behind it. */
static void write_output(struct buf *out, const char *name, struct str bytes, const char *note)
{
    buf_printf(out, ",\"%s\":", name);
    bool good = utf8_valid(bytes);
    if (good && note == NULL) {
        json_write_string(out, bytes);
        return;
    }
    auto_buf text = BUF_INIT(3 * bytes.n + 1024);
    utf8_sanitize(&text, bytes);
    if (note != NULL)
        buf_printf(&text, "%s[sandbox] %s\n", text.len > 0 && text.data[text.len - 1] != '\n' ? "\n" : "",
                   note);
    json_write_string(out, buf_str(&text));
    if (good)
        return;
    buf_printf(out, ",\"%s_base64\":\"", name);
    base64_encode(out, bytes);
    buf_append_char(out, '"');
}

static void write_usage(struct buf *out, const struct facts *f)
{
    buf_append_cstr(out, ",\"usage\":{");
    struct str inner = {f->view->usage.data != NULL ? f->view->usage.data + 1 : NULL, 0};
    if (f->usage != NULL && f->view->usage.len > 2)
        inner.n = f->view->usage.len - 2;
    buf_append_str(out, inner);
    const json_t *queue = json_object_get(f->started, "queue_ms");
    const json_t *warm = json_object_get(f->started, "warm");
    if (json_is_integer(queue))
        buf_printf(out, "%s\"queue_ms\":%" JSON_INTEGER_FORMAT, inner.n > 0 ? "," : "",
                   json_integer_value(queue));
    buf_append_char(out, '}');
    if (json_is_boolean(warm))
        write_flag(out, "warm", json_is_true(warm));
}

/* The defences that were missing where it ran, as somebody had accepted. */
static void write_gaps(struct buf *out, const json_t *gaps)
{
    size_t before = out->len;
    if (!json_is_array(gaps))
        return;
    buf_append_cstr(out, ",\"accepted_gaps\":");
    if (json_write(gaps, out) != ERR_OK)
        out->len = before;
}

static void write_end(struct buf *out, const struct facts *f)
{
    const char *status = contract_end(f).status;
    const char *signal = f->signal != NULL ? f->signal : status != NULL ? "SIGKILL" : NULL;
    write_number(out, "exit_code", json_object_get(f->end, "exit_code"));
    write_number(out, "code", json_object_get(f->end, "exit_code"));
    write_text(out, "signal", signal);
    write_flag(out, "timed_out", f->view->status == VIEW_TIMED_OUT);
    write_flag(out, "oom", is_reason(f, REASON_OOM));
    write_flag(out, "truncated", f->view->cut || json_is_true(json_object_get(f->usage, "truncated")));
    write_text(out, "status", status);
    write_text(out, "job_status", view_status_name(f->view->status));
    write_text(out, "reason", f->reason);
    write_text(out, "limit", f->limit);
    write_text(out, "stage", text_of(f->end, "stage"));
    write_text(out, "message", f->message[0] != '\0' ? f->message : NULL);
    if (text_of(f->end, "verdict") != NULL)
        write_text(out, "verdict", text_of(f->end, "verdict"));
    write_gaps(out, json_object_get(f->end, "accepted_gaps"));
    write_number(out, "wall_time", json_object_get(f->usage, "wall_ms"));
}

/* Where the run had a workspace: what the client calls its machine (CONTRACT 5.2). */
static void write_workspace(const struct view *v, struct buf *out, const json_t *started)
{
    const char *status = text_of(started, "workspace");
    if (status == NULL)
        return;
    buf_printf(out, ",\"runtime_session_id\":\"%s\"", v->session.text);
    write_text(out, "runtime_status", status);
}

/* What the script that ends a run says of a state that it did not take. */
static struct str why_kept(const char *reason)
{
    static const struct {
        const char *reason, *text;
    } rows[] = {
        {"conflict", "the session's state was changed meanwhile; what this run left was not saved"},
        {"session_gone", "the session is gone; what this run left was not saved"},
        {"damaged", "the stored session is damaged; what this run left was not saved"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(reason, rows[i].reason) == 0)
            return str_of(rows[i].text);
    return STR("what this run left was not saved");
}

static void write_warnings(struct buf *out, const json_t *warnings, const char *reason)
{
    if (json_array_size(warnings) > 0) {
        buf_append_cstr(out, ",\"state_warnings\":");
        if (json_write(warnings, out) != ERR_OK)
            buf_append_cstr(out, "[]");
    } else if (reason != NULL) {
        buf_append_cstr(out, ",\"state_warnings\":[{\"name\":\"*\",\"reason\":");
        json_write_string(out, why_kept(reason));
        buf_append_cstr(out, "}]");
    }
}

/* It was refused because of if_state_version. */
static bool is_conflict(const struct view *v)
{
    return v->status == VIEW_FAILED && !v->state_saved && v->state.len > 0 &&
           memmem(v->state.data, v->state.len, "\"state_conflict\"", 16) != NULL;
}

/* What the session's state is after the run: the version that it saved, else the one that it began with, unless that went with
   its session. */
static void write_state(const struct view *v, struct buf *out, const json_t *started)
{
    auto_json told = object_of(&v->state);
    bool saved = v->state_saved && told != NULL;
    const char *kept = saved ? NULL : text_of(told, "reason");
    bool gone = kept != NULL && strcmp(kept, "session_gone") == 0;
    bool given = !gone && json_is_integer(json_object_get(started, "state_version"));
    write_flag(out, "has_state", saved || given);
    if (saved || given) {
        const json_t *from = saved ? told : started;
        write_number(out, "state_version", json_object_get(from, saved ? "version" : "state_version"));
        write_number(out, "state_size", json_object_get(from, saved ? "size" : "state_size"));
        write_text(out, "state_hash", text_of(from, saved ? "hash" : "state_hash"));
    }
    if (told != NULL && !is_conflict(v))
        write_warnings(out, json_object_get(told, "warnings"), kept);
}

bool view_state_conflict(const struct view *v, uint64_t *ret_version)
{
    auto_json told = is_conflict(v) ? object_of(&v->state) : NULL;
    const json_t *version = json_object_get(told, "version");
    if (!json_is_integer(version))
        return false;
    *ret_version = (uint64_t)json_integer_value(version);
    return true;
}

static struct facts facts_of(const struct view *v, const json_t *end_facts, const json_t *usage,
                             const json_t *started)
{
    struct facts f = {.view = v, .end = end_facts, .usage = usage, .started = started};
    f.reason = text_of(f.end, "reason");
    f.limit = text_of(f.end, "limit");
    f.signal = text_of(f.end, "signal");
    describe(&f);
    return f;
}

/* What stands in stderr for the model, where we ended the program. */
static const char *note_of(const struct facts *f)
{
    return f->view->status != VIEW_COMPLETED && f->message[0] != '\0' ? f->message : NULL;
}

void view_write_result(const struct view *v, struct buf *out)
{
    auto_json end_facts = object_of(&v->end);
    auto_json usage = object_of(&v->usage);
    auto_json started = object_of(&v->started);
    struct facts f = facts_of(v, end_facts, usage, started);
    buf_printf(out, "{\"session_id\":\"%s\",\"storage_session_id\":\"%s\"", v->session.text, v->session.text);
    write_output(out, "stdout", buf_str(&v->output[0]), NULL);
    write_output(out, "stderr", buf_str(&v->output[1]), note_of(&f));
    view_write_files(v, out);
    write_end(out, &f);
    buf_printf(out, ",\"job_id\":\"%s\",\"attempt\":%u", v->job.text, v->attempt);
    write_usage(out, &f);
    write_workspace(v, out, started);
    write_state(v, out, started);
    buf_append_char(out, '}');
}

void view_write_partial(const struct view *v, struct buf *out)
{
    static const char *const names[] = {"partial_stdout", "partial_stderr"};
    for (int i = 0; i < 2; i++) {
        if (v->output[i].len == 0)
            continue;
        auto_buf text = BUF_INIT(3 * v->output[i].len + 16);
        utf8_sanitize(&text, buf_str(&v->output[i]));
        buf_printf(out, ",\"%s\":", names[i]);
        json_write_string(out, buf_str(&text));
    }
}

static void write_programmatic_error(const struct facts *f, struct buf *out)
{
    const json_t *code = json_object_get(f->end, "exit_code");
    const char *known = contract_end(f).message;
    buf_append_cstr(out, ",\"error\":\"");
    if (f->view->status == VIEW_COMPLETED && json_is_integer(code))
        buf_printf(out, "Sandbox exited with code %" JSON_INTEGER_FORMAT, json_integer_value(code));
    else if (f->view->status == VIEW_COMPLETED)
        buf_append_cstr(out, "Sandbox exited with code unknown");
    else
        buf_append_cstr(out, known != NULL ? known : "Execution failed or timed out");
    buf_append_char(out, '"');
}

void view_write_programmatic(const struct view *v, struct buf *out)
{
    auto_json end_facts = object_of(&v->end);
    struct facts f = facts_of(v, end_facts, NULL, NULL);
    const json_t *code = json_object_get(end_facts, "exit_code");
    bool good = v->status == VIEW_COMPLETED && json_is_integer(code) && json_integer_value(code) == 0;
    buf_printf(out, "{\"status\":\"%s\",\"session_id\":\"%s\",\"storage_session_id\":\"%s\"",
               good ? "completed" : "error", v->session.text, v->session.text);
    if (!good)
        write_programmatic_error(&f, out);
    write_output(out, "stdout", buf_str(&v->output[0]), NULL);
    write_output(out, "stderr", buf_str(&v->output[1]), note_of(&f));
    view_write_files(v, out);
    buf_append_char(out, '}');
}
