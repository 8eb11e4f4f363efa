/* SPDX-License-Identifier: Apache-2.0 */
#include "api/tool_results.h"

#include "json/raw.h"

#include <stdlib.h>
#include <string.h>

enum { ID_MAX = 24 };

struct made {
    struct list link;
    char id[ID_MAX];
    uint32_t attempt;  /* that told it last */
    struct buf event;  /* its data */
    struct buf answer; /* {"call_id", "key", "result" | "error"}, empty: none yet */
};

void tool_calls_init(struct tool_calls *calls)
{
    *calls = (struct tool_calls){.count = 0};
    list_init(&calls->list);
}

void tool_calls_free(struct tool_calls *calls)
{
    if (calls->list.next == NULL)
        return;
    list_each(m, &calls->list, struct made, link)
    {
        list_remove(&m->link);
        buf_free(&m->event);
        buf_free(&m->answer);
        free(m);
    }
}

/* The inside of a JSON string without escapes; {NULL, 0} otherwise. */
static struct str plain_text(struct str raw)
{
    if (raw.n < 2 || raw.p[0] != '"' || memchr(raw.p, '\\', raw.n) != NULL)
        return (struct str){NULL, 0};
    return (struct str){raw.p + 1, raw.n - 2};
}

static struct made *find(const struct tool_calls *calls, struct str id)
{
    list_each(m, &calls->list, struct made, link) if (str_eq(str_of(m->id), id)) return m;
    return NULL;
}

static struct made *add(struct tool_calls *calls, struct str id)
{
    struct made *m = id.n > 0 && id.n < ID_MAX ? calloc(1, sizeof *m) : NULL;
    if (m == NULL)
        return NULL;
    memcpy(m->id, id.p, id.n);
    list_append(&calls->list, &m->link);
    calls->count++;
    return m;
}

static void keep(struct buf *where, struct str text)
{
    buf_free(where);
    buf_init(where, text.n);
    buf_append_str(where, text);
}

bool tool_calls_add(struct tool_calls *calls, const struct event *event)
{
    struct str id = plain_text(json_raw_member(event->data, "call_id"));
    struct made *m = find(calls, id);
    if (m == NULL && (m = add(calls, id)) == NULL)
        return false;
    m->attempt = event->attempt;
    keep(&m->event, event->data);
    return str_eq(json_raw_member(event->data, "waits"), STR("true"));
}

void tool_calls_answered(struct tool_calls *calls, struct str data)
{
    struct str rest = json_raw_member(data, "results"), item;
    while (json_raw_next(&rest, &item)) {
        struct made *m = find(calls, plain_text(json_raw_member(item, "call_id")));
        if (m != NULL && m->answer.len == 0)
            keep(&m->answer, item);
    }
}

unsigned tool_calls_count(const struct tool_calls *calls)
{
    return calls->count;
}

static bool pending(const struct made *m, uint32_t attempt)
{
    return m->attempt == attempt && m->answer.len == 0;
}

unsigned tool_calls_pending(const struct tool_calls *calls, uint32_t attempt)
{
    unsigned count = 0;
    list_each(m, &calls->list, struct made, link) count += pending(m, attempt);
    return count;
}

void tool_calls_write_pending(const struct tool_calls *calls, uint32_t attempt, struct buf *out)
{
    const char *comma = "";
    buf_append_char(out, '[');
    list_each(m, &calls->list, struct made, link)
    {
        if (!pending(m, attempt))
            continue;
        buf_printf(out, "%s{\"id\":\"%s\",\"name\":", comma, m->id);
        buf_append_str(out, json_raw_member(buf_str(&m->event), "name"));
        buf_append_cstr(out, ",\"input\":");
        buf_append_str(out, json_raw_member(buf_str(&m->event), "input"));
        buf_append_char(out, '}');
        comma = ",";
    }
    buf_append_char(out, ']');
}

/* ---- what a client brings ---- */

static enum err bad(struct api_fault *fault, size_t place, const char *what)
{
    return api_fault_set(fault, CE_BAD_REQUEST, "tool_results[%zu].%s", place, what);
}

static bool brought_before(const struct tool_answers *answers, struct str id)
{
    for (size_t i = 0; i < answers->count; i++)
        if (str_eq(answers->list[i].id, id))
            return true;
    return false;
}

static enum err read_answer(struct tool_answers *answers, const json_t *parsed, struct str raw, size_t *total,
                            struct api_fault *fault)
{
    size_t place = answers->count;
    struct tool_answer a = {.id = plain_text(json_raw_member(raw, "call_id")),
                            .failed = json_is_true(json_object_get(parsed, "is_error"))};
    if (a.id.n == 0 || a.id.n >= ID_MAX)
        return bad(fault, place, "call_id is not that of a call");
    if (brought_before(answers, a.id))
        return bad(fault, place, "call_id is there twice");
    a.value = json_raw_member(raw, a.failed ? "error_message" : "result");
    if (a.failed && !json_is_string(json_object_get(parsed, "error_message")))
        a.value = STR("\"Tool execution failed\"");
    if (a.value.n == 0)
        a.value = STR("null"); /* a tool that returned nothing */
    *total += a.value.n;
    if (a.value.n > TOOL_RESULT_BYTES || *total > TOOL_RESULTS_BYTES)
        return bad(fault, place, "result is too large: 5 MB each, 40 MB in all");
    answers->list[answers->count++] = a;
    return ERR_OK;
}

static enum err read_list(const json_t *list, struct str raw, struct tool_answers *answers,
                          struct api_fault *fault)
{
    struct str item;
    size_t total = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (!json_raw_next(&raw, &item) || !json_is_object(json_array_get(list, i)))
            return api_fault_set(fault, CE_BAD_REQUEST, "tool_results[%zu] must be an object", i);
        if (read_answer(answers, json_array_get(list, i), item, &total, fault) != ERR_OK)
            return ERR_INVALID;
    }
    return ERR_OK;
}

enum err tool_answers_read(const json_t *root, struct str body, struct tool_answers *ret_answers,
                           struct api_fault *fault)
{
    const json_t *list = json_object_get(root, "tool_results");
    if (!json_is_array(list) || json_array_size(list) == 0)
        return api_fault_set(fault, CE_BAD_REQUEST, "tool_results must be a non-empty array");
    if (json_array_size(list) > TOOL_RESULTS_MAX)
        return api_fault_set(fault, CE_BAD_REQUEST, "tool_results: %zu items; at most %d are taken",
                             json_array_size(list), TOOL_RESULTS_MAX);
    struct tool_answers answers = {.list = calloc(json_array_size(list), sizeof *answers.list)};
    if (answers.list == NULL)
        return api_fault_set(fault, CE_INTERNAL, "out of memory");
    enum err e = read_list(list, json_raw_member(body, "tool_results"), &answers, fault);
    if (e == ERR_OK)
        *ret_answers = answers;
    else
        tool_answers_free(&answers);
    return e;
}

void tool_answers_free(struct tool_answers *answers)
{
    free(answers->list);
    *answers = (struct tool_answers){.list = NULL};
}

static bool same_answer(const struct made *m, const struct tool_answer *a)
{
    struct str had = json_raw_member(buf_str(&m->answer), a->failed ? "error" : "result");
    return had.n > 0 && str_eq(had, a->value);
}

static void write_answer(const struct made *m, const struct tool_answer *a, struct buf *out)
{
    buf_append_cstr(out, out->len == 0 ? "{\"results\":[" : ",");
    buf_printf(out, "{\"call_id\":\"%s\",\"key\":", m->id);
    buf_append_str(out, json_raw_member(buf_str(&m->event), "key"));
    buf_printf(out, ",\"%s\":", a->failed ? "error" : "result");
    buf_append_str(out, a->value);
    buf_append_char(out, '}');
}

enum err tool_answers_match(const struct tool_answers *answers, const struct tool_calls *calls,
                            struct buf *out, struct api_fault *fault)
{
    for (size_t i = 0; i < answers->count; i++) {
        const struct tool_answer *a = &answers->list[i];
        const struct made *m = find(calls, a->id);
        if (m == NULL)
            return bad(fault, i, "call_id was not issued by this execution");
        if (m->answer.len == 0)
            write_answer(m, a, out);
        else if (!same_answer(m, a))
            return api_fault_set(fault, CE_TOOL_ANSWERED,
                                 "tool_results[%zu].call_id has another result already", i);
    }
    if (out->len > 0)
        buf_append_cstr(out, "]}");
    return buf_status(out) == ERR_OK ? ERR_OK : api_fault_set(fault, CE_TOO_LARGE, "tool_results: too large");
}
