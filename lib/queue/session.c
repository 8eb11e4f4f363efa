/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/session.h"

#include "base/arena.h"
#include "queue/internal.h"
#include "json/json.h"

#include <string.h>

enum { TEXTS_MAX = 8 << 20, RECORD_MAX = 64 << 10 };

/* What session_look.lua answers behind `ok`. */
enum {
    L_TENANT = 1,
    L_USER,
    L_SHARED,
    L_STATUS,
    L_CREATED,
    L_CHANGED,
    L_DUE,
    L_FILES,
    L_BYTES,
    L_SEQ,
    L_VERSION,
    L_NOW,
    L_REST,
};

struct session_call {
    struct id session;
    session_cb look;
    session_change_cb change;
    void *arg;
    struct buf tenant;
    bool listed, workspace; /* all files; also those that are gone */
};

static struct session_call *state_new(struct id session, struct str tenant, void *arg)
{
    struct session_call *x = call_memory(sizeof *x);
    *x = (struct session_call){.session = session, .arg = arg, .tenant = BUF_INIT(NAME_MAX_LEN * 4)};
    buf_append_str(&x->tenant, tenant);
    return x;
}

static void state_free(struct session_call *x)
{
    buf_free(&x->tenant);
    free(x);
}

struct id session_draw(const struct queue *q)
{
    unsigned partitions = q->partitions ? q->partitions : 1;
    struct id any = id_new();
    return id_new_in(id_partition(str_of(any.text), partitions), partitions);
}

struct id session_draw_file(const struct queue *q, struct id session)
{
    unsigned partitions = q->partitions ? q->partitions : 1;
    return id_new_in(id_partition(str_of(session.text), partitions), partitions);
}

static struct call *session_call(struct queue *q, enum script s, struct id session, struct id job)
{
    struct keyset keys = {.partition = id_partition(str_of(session.text), q->partitions),
                          .session = str_of(session.text),
                          .job = str_of(job.text)};
    return call_script(q, s, &keys, true);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

/* Pairs of id and record from `from` on. Damaged ones are left out and said. */
static struct session_file *files_read(const struct redis_value *v, size_t from, struct arena *texts,
                                       size_t *ret_count)
{
    size_t pairs = v->count > from ? (v->count - from) / 2 : 0, n = 0;
    struct session_file *files = calloc(pairs ? pairs : 1, sizeof *files);
    if (!files)
        abort(); /* a few kilobytes: nothing can go on without */
    for (size_t i = 0; i < pairs; i++) {
        struct str id = redis_text(&v->items[from + 2 * i]), record = redis_text(&v->items[from + 2 * i + 1]);
        if (session_file_read(id, record, texts, &files[n]) == ERR_OK)
            n++;
        else
            log_warn("a file's record cannot be read", F_STR("file", id.p));
    }
    *ret_count = n;
    return files;
}

static size_t leave_out_gone(struct session_file *files, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (files[i].gone.n == 0)
            files[n++] = files[i];
    return n;
}

static int by_arrival(const void *pa, const void *pb)
{
    const struct session_file *a = pa, *b = pb;
    if (a->added_ms != b->added_ms)
        return a->added_ms < b->added_ms ? -1 : 1;
    return strcmp(a->id.text, b->id.text);
}

static uint64_t count_at(const struct redis_value *v, size_t i)
{
    return (uint64_t)redis_integer(redis_item(v, i));
}

static void on_look(void *arg, const struct redis_value *v)
{
    struct session_call *x = arg;
    enum queue_answer answer = answer_of(v);
    if (answer != QUEUE_OK) {
        x->look(x->arg, answer, NULL);
        state_free(x);
        return;
    }
    auto_arena texts = ARENA_INIT(TEXTS_MAX);
    struct session_view view = {
        .id = x->session,
        .tenant = redis_text(redis_item(v, L_TENANT)),
        .user = redis_text(redis_item(v, L_USER)),
        .shared = str_eq(redis_text(redis_item(v, L_SHARED)), STR("1")),
        .cold = str_eq(redis_text(redis_item(v, L_STATUS)), STR("cold")),
        .created_ms = redis_integer(redis_item(v, L_CREATED)),
        .changed_ms = redis_integer(redis_item(v, L_CHANGED)),
        .due_ms = redis_integer(redis_item(v, L_DUE)),
        .now_ms = redis_integer(redis_item(v, L_NOW)),
        .file_count = count_at(v, L_FILES),
        .bytes = count_at(v, L_BYTES),
        .seq = count_at(v, L_SEQ),
        .version = count_at(v, L_VERSION),
    };
    auto_free struct session_file *files = files_read(v, L_REST, &texts, &view.count);
    if (x->listed && !x->workspace)
        view.count = leave_out_gone(files, view.count);
    qsort(files, view.count, sizeof *files, by_arrival);
    view.files = files;
    x->look(x->arg, QUEUE_OK, &view);
    state_free(x);
}

/* ok, created, pairs */
static void on_change(void *arg, const struct redis_value *v)
{
    struct session_call *x = arg;
    enum queue_answer answer = answer_of(v);
    auto_arena texts = ARENA_INIT(TEXTS_MAX);
    auto_free struct session_file *files = NULL;
    struct session_removed removed = {.tenant = buf_str(&x->tenant)};
    if (answer == QUEUE_OK) {
        files = files_read(v, 2, &texts, &removed.count);
        removed.files = files;
    }
    x->change(x->arg, answer == QUEUE_DUP ? QUEUE_OK : answer, &removed);
    state_free(x);
}

/* ok, created, tenant, pairs */
static void on_closed(void *arg, const struct redis_value *v)
{
    struct session_call *x = arg;
    enum queue_answer answer = answer_of(v);
    auto_arena texts = ARENA_INIT(TEXTS_MAX);
    auto_free struct session_file *files = NULL;
    struct session_removed removed = {.tenant = redis_text(redis_item(v, 2))};
    if (answer == QUEUE_OK) {
        files = files_read(v, 3, &texts, &removed.count);
        removed.files = files;
    }
    x->change(x->arg, answer, &removed);
    state_free(x);
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

/* `files` NULL: all. */
static void look(struct queue *q, struct session_owner owner, struct id session, const struct id *files,
                 size_t count, struct session_call *x)
{
    if (!q->ready || q->partitions == 0 || count > SESSION_FILES_MAX) {
        call_go(call_plain(q, "PING"), on_look, x); /* answered with QUEUE_UNAVAILABLE in the next turn */
        return;
    }
    struct call *c = session_call(q, SCRIPT_session_look, session, (struct id){0});
    call_hasty(c);
    call_str(c, owner.tenant);
    call_str(c, owner.user);
    if (!files)
        call_cstr(c, "*");
    for (size_t i = 0; files && i < count; i++)
        call_cstr(c, files[i].text);
    call_go(c, on_look, x);
}

void session_look(struct queue *q, struct session_owner owner, struct id session, const struct id *files,
                  size_t count, session_cb cb, void *arg)
{
    static const struct id none;
    struct session_call *x = state_new(session, owner.tenant, arg);
    x->look = cb;
    look(q, owner, session, files ? files : &none, count, x);
}

void session_list(struct queue *q, struct session_owner owner, struct id session, session_cb cb, void *arg)
{
    struct session_call *x = state_new(session, owner.tenant, arg);
    x->look = cb;
    x->listed = true;
    look(q, owner, session, NULL, 0, x);
}

void session_list_workspace(struct queue *q, struct session_owner owner, struct id session, session_cb cb,
                            void *arg)
{
    struct session_call *x = state_new(session, owner.tenant, arg);
    x->look = cb;
    x->listed = x->workspace = true;
    look(q, owner, session, NULL, 0, x);
}

static void add_created(struct call *c, const struct session_add *add)
{
    auto_buf d = BUF_INIT(NAME_MAX_LEN * 16);
    buf_append_cstr(&d, "{\"tenant\":");
    json_write_string(&d, add->owner.tenant);
    buf_append_cstr(&d, ",\"user\":");
    json_write_string(&d, add->owner.user);
    if (add->shared)
        buf_append_cstr(&d, ",\"shared\":true");
    buf_append_char(&d, '}');
    call_str(c, buf_str(&d));
}

static bool add_records(struct call *c, const struct session_add *add)
{
    auto_buf record = BUF_INIT(RECORD_MAX);
    for (size_t i = 0; i < add->count; i++) {
        buf_reset(&record);
        session_file_write(&add->files[i], &record);
        call_cstr(c, add->files[i].id.text);
        call_int(c, (int64_t)add->files[i].size);
        call_str(c, buf_str(&record));
        if (buf_status(&record) != ERR_OK)
            return false;
    }
    return (add->count > 0 || add->workspace) && add->count <= SESSION_FILES_MAX;
}

static struct call *add_call(struct queue *q, const struct session_add *add)
{
    struct call *c = session_call(q, add->workspace ? SCRIPT_session_workspace : SCRIPT_session_add_file,
                                  add->session, add->job);
    call_cstr(c, add->session.text);
    call_str(c, add->owner.tenant);
    call_str(c, add->owner.user);
    call_cstr(c, add->shared ? "1" : "0");
    if (add->must_exist)
        call_cstr(c, "");
    else
        add_created(c, add);
    call_int(c, add->ttl_ms);
    call_int(c, (int64_t)add->max_files);
    call_int(c, (int64_t)add->max_bytes);
    call_cstr(c, add->job.text);
    call_int(c, add->attempt);
    call_str(c, add->count ? add->files[0].source : STR(""));
    if (!add->workspace)
        return c;
    call_int(c, add->created_ms);
    call_int(c, (int64_t)add->drop_count);
    for (size_t i = 0; i < add->drop_count; i++)
        call_cstr(c, add->drops[i].text);
    return c;
}

void session_add_files(struct queue *q, const struct session_add *add, session_change_cb cb, void *arg)
{
    struct session_call *x = state_new(add->session, add->owner.tenant, arg);
    x->change = cb;
    bool client = !add->job.text[0];
    struct call *c = NULL;
    if (q->ready && q->partitions && !(client && q->memory_pressed)) {
        c = add_call(q, add);
        if (client)
            call_hasty(c);
        if (!add_records(c, add)) {
            call_drop(c);
            c = NULL;
        }
    }
    call_go(c ? c : call_plain(q, "PING"), on_change, x);
}

void session_remove_file(struct queue *q, struct session_owner owner, struct id session, struct id file,
                         session_change_cb cb, void *arg)
{
    struct session_call *x = state_new(session, owner.tenant, arg);
    x->change = cb;
    if (!q->ready || q->partitions == 0) {
        call_go(call_plain(q, "PING"), on_change, x);
        return;
    }
    struct call *c = session_call(q, SCRIPT_session_remove_file, session, (struct id){0});
    call_hasty(c);
    call_cstr(c, session.text);
    call_str(c, owner.tenant);
    call_str(c, owner.user);
    call_cstr(c, file.text);
    call_go(c, on_change, x);
}

void session_remove(struct queue *q, struct session_owner owner, struct id session, struct str by,
                    int64_t keep_ms, session_change_cb cb, void *arg)
{
    struct session_call *x = state_new(session, owner.tenant, arg);
    x->change = cb;
    if (!q->ready || q->partitions == 0) {
        call_go(call_plain(q, "PING"), on_closed, x);
        return;
    }
    auto_buf d = BUF_INIT(NAME_MAX_LEN * 8);
    buf_append_cstr(&d, "{\"by\":");
    json_write_string(&d, by);
    buf_append_char(&d, '}');
    struct call *c = session_call(q, SCRIPT_session_remove, session, (struct id){0});
    call_hasty(c);
    call_cstr(c, session.text);
    call_int(c, keep_ms);
    call_str(c, owner.tenant);
    call_str(c, owner.user);
    call_str(c, buf_str(&d));
    call_go(c, on_closed, x);
}

void session_expire(struct queue *q, struct id session, int64_t keep_ms, session_change_cb cb, void *arg)
{
    struct session_call *x = state_new(session, STR(""), arg);
    x->change = cb;
    if (!q->ready || q->partitions == 0) {
        call_go(call_plain(q, "PING"), on_closed, x);
        return;
    }
    struct call *c = session_call(q, SCRIPT_session_expire, session, (struct id){0});
    call_cstr(c, session.text);
    call_int(c, keep_ms);
    call_go(c, on_closed, x);
}
