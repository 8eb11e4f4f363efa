/* SPDX-License-Identifier: Apache-2.0 */
/* POST /upload and /upload/batch: the body is never held. Each file goes into a spool beside the object store while it is
   hashed, then into the store; when all are there, the session's table gets them in one step. Until then nothing is to be
   seen, and a client that goes away, or a refusal, takes back what was stored. */
#include "api/app.h"
#include "api/file_text.h"
#include "api/upload_form.h"

#include "base/log.h"
#include "io/http/multipart.h"
#include "queue/session.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PARTS_MAX = 2048,       /* fields and files; more is a bomb */
    OVERHEAD_MAX = 4 << 20, /* of the form around the files' bytes */
    OPEN_MAX = 4,           /* files that are being spooled or stored; then the client waits */
    ANSWER_MAX = 4 << 20,
};

enum item_state { ITEM_SPOOLING, ITEM_ENDING, ITEM_PUTTING, ITEM_STORED, ITEM_FAILED };

struct item {
    struct upload *upload;
    enum item_state state;
    char error[128];
    struct id id;
    char *name, *type;
    char hash[SHA256_HEX_LEN + 1];
    uint64_t size;
    struct spool *spool;
    struct object_op *op;
};

struct upload {
    struct api *api;
    struct call *call; /* NULL once the client is gone or was answered */
    bool batch;
    struct multipart multipart;
    struct upload_form form;
    struct id session;
    struct item **items;
    size_t count, cap, active;
    unsigned over; /* files beyond the batch's limit */
    struct item *current;
    char field[MULTIPART_NAME_MAX + 1];
    struct buf value;
    bool in_field, skipping, ended, paused, adding;
    bool abandoned;    /* goes as soon as no put is under way: what one writes has to be deleted behind it */
    struct item *full; /* its spool takes no more at present */
    struct api_fault fault; /* of a callback of the parser */
    bool refused;
    char tenant[256], user[AUTH_USER_MAX + 1];
};

/* ---- the end ---- */

static void release(struct upload *u)
{
    for (size_t i = 0; i < u->count; i++) {
        free(u->items[i]->name);
        free(u->items[i]->type);
        free(u->items[i]);
    }
    multipart_free(&u->multipart);
    buf_free(&u->value);
    free(u->items);
    free(u);
}

static struct session_file record_of(const struct upload *u, const struct item *item)
{
    return (struct session_file){.id = item->id,
                                 .path = str_of(item->name),
                                 .hash = str_of(item->hash),
                                 .size = item->size,
                                 .source = STR("upload"),
                                 .type = str_of(item->type),
                                 .read_only = u->form.read_only};
}

static void on_taken_back(void *arg, const struct object_result *result)
{
    (void)arg;
    if (result->e != ERR_OK) /* nothing names it: the sweeper finds it */
        log_warn("an object could not be taken back", F_STR("why", result->why ? result->why : ""));
}

static void take_back(struct upload *u, struct item *item)
{
    spool_drop(item->spool);
    item->spool = NULL;
    auto_buf key = BUF_INIT(OBJECT_KEY_MAX);
    struct session_file file = record_of(u, item);
    if (item->state == ITEM_STORED &&
        session_object_name(str_of(u->tenant), u->session, &file, &key) == ERR_OK)
        (void)!object_delete(u->api->objects.store, buf_cstr(&key), on_taken_back, NULL, NULL); /* as above */
}

static bool has_puts(const struct upload *u)
{
    for (size_t i = 0; i < u->count; i++)
        if (u->items[i]->op)
            return true;
    return false;
}

/* Nothing of it is to stay. */
static void abandon(struct upload *u)
{
    u->abandoned = true;
    for (size_t i = 0; i < u->count; i++)
        if (!u->items[i]->op)
            take_back(u, u->items[i]);
    if (!u->adding && !has_puts(u))
        release(u);
}

static struct call *take_call(struct upload *u)
{
    struct call *c = u->call;
    u->call = NULL;
    c->context = NULL;
    c->gone = NULL;
    return c;
}

static void on_gone(struct call *c)
{
    struct upload *u = c->context;
    u->call = NULL;
    if (!u->adding) /* else the table's answer decides */
        abandon(u);
}

static void fail(struct upload *u, enum client_error error, const char *text)
{
    call_fail(take_call(u), error, "%s", text);
    abandon(u);
}

/* ---- the answer ---- */

static void write_item(struct buf *out, const struct item *item, bool batch)
{
    bool good = item->state == ITEM_STORED;
    buf_append_cstr(out, batch ? (good ? "{\"status\":\"success\"," : "{\"status\":\"error\",") : "{");
    buf_append_cstr(out, "\"filename\":");
    json_write_string(out, str_of(item->name));
    if (good) {
        buf_printf(out, ",\"fileId\":\"%s\"", item->id.text);
    } else {
        buf_append_cstr(out, ",\"error\":");
        json_write_string(out, str_of(item->error));
    }
    buf_append_char(out, '}');
}

static size_t count_stored(const struct upload *u)
{
    size_t n = 0;
    for (size_t i = 0; i < u->count; i++)
        n += u->items[i]->state == ITEM_STORED;
    return n;
}

static void answer(struct upload *u)
{
    auto_buf body = BUF_INIT(ANSWER_MAX);
    size_t good = count_stored(u), bad = u->count - good;
    const char *message = bad == 0 ? "success" : good > 0 ? "partial_success" : "error";
    buf_printf(&body, "{\"message\":\"%s\",\"storage_session_id\":\"%s\",\"session_id\":\"%s\",\"files\":[",
               message, u->session.text, u->session.text);
    for (size_t i = 0; i < u->count; i++) {
        if (i > 0)
            buf_append_char(&body, ',');
        write_item(&body, u->items[i], u->batch);
    }
    buf_append_char(&body, ']');
    if (u->batch)
        buf_printf(&body, ",\"succeeded\":%zu,\"failed\":%zu", good, bad);
    if (u->over > 0)
        buf_printf(&body, ",\"filesLimitReached\":true,\"maxFiles\":%lld",
                   (long long)u->api->config.max_upload_files);
    buf_append_char(&body, '}');
    call_json(take_call(u), good > 0 ? 200 : 400, &body);
    release(u);
}

static void on_added(void *arg, enum queue_answer added, const struct session_removed *removed)
{
    struct upload *u = arg;
    (void)removed;
    u->adding = false;
    if (added == QUEUE_OK && u->call) {
        answer(u);
        return;
    }
    if (added == QUEUE_OK) { /* it is there; who sent it does not know: it lives as long as any */
        release(u);
        return;
    }
    if (u->call && added == QUEUE_FULL)
        call_fail(take_call(u), CE_TOO_LARGE,
                  "the session would hold more files or bytes than it may; see docs/LIMITS.md");
    else if (u->call && added == QUEUE_NOT_FOUND)
        call_fail(take_call(u), CE_NOT_FOUND, "session_id: there is no such session, or it is not yours");
    else if (u->call)
        call_queue_failed(take_call(u), added, 0);
    abandon(u);
}

static void add_all(struct upload *u)
{
    const struct config *cfg = &u->api->config;
    struct session_file *files = calloc(u->count, sizeof *files);
    size_t n = 0;
    if (!files) {
        fail(u, CE_INTERNAL, "out of memory");
        return;
    }
    for (size_t i = 0; i < u->count; i++)
        if (u->items[i]->state == ITEM_STORED)
            files[n++] = record_of(u, u->items[i]);
    struct session_add add = {
        .owner = {str_of(u->tenant), str_of(u->user)},
        .session = u->session,
        .must_exist = u->form.session.text[0] != '\0',
        .shared = upload_form_shared(&u->form),
        .ttl_ms = config_session_ttl_ms(cfg),
        .max_files = (uint64_t)(u->batch ? cfg->max_upload_files : cfg->max_session_files),
        .max_bytes = (uint64_t)cfg->max_upload_bytes,
        .files = files,
        .count = n,
    };
    u->adding = true;
    session_add_files(u->api->queue, &add, on_added, u);
    free(files);
}

static void check_end(struct upload *u)
{
    struct api_fault fault;
    if (!u->ended || u->active > 0 || u->adding || !u->call)
        return;
    if (u->count == 0) {
        fail(u, CE_BAD_REQUEST, u->batch ? "No files provided" : "No file provided");
    } else if (upload_form_check(&u->form, &fault) != ERR_OK) {
        call_refuse(take_call(u), &fault);
        abandon(u);
    } else if (count_stored(u) > 0) {
        add_all(u);
    } else if (u->batch) {
        answer(u);
    } else {
        bool large = strcmp(u->items[0]->error, "File size limit exceeded") == 0;
        fail(u, large ? CE_TOO_LARGE : CE_UNAVAILABLE, u->items[0]->error);
    }
}

/* ---- one file ---- */

static void set_paused(struct upload *u, bool paused)
{
    if (!u->call || u->paused == paused || (u->ended && paused))
        return;
    u->paused = paused;
    http_body_pause(u->call->request, paused);
}

/* The client may go on when every spool takes more and few files are under way. The last thing to do: it may end in the
   upload's end. */
static void go_on(struct upload *u)
{
    if (!u->full && u->active < OPEN_MAX)
        set_paused(u, false);
}

static void settle(struct item *item, enum item_state state, const char *error)
{
    struct upload *u = item->upload;
    u->full = u->full == item ? NULL : u->full;
    item->state = state;
    snprintf(item->error, sizeof item->error, "%s", error);
    spool_drop(item->spool);
    item->spool = NULL;
    item->op = NULL;
    u->active--;
    if (u->ended)
        check_end(u);
    else
        go_on(u);
}

static void on_room(void *arg)
{
    struct item *item = arg;
    struct upload *u = item->upload;
    u->full = u->full == item ? NULL : u->full;
    go_on(u);
}

static void on_put(void *arg, const struct object_result *result)
{
    struct item *item = arg;
    item->op = NULL;
    if (item->upload->abandoned) {
        item->state = result->e == ERR_OK ? ITEM_STORED : ITEM_FAILED;
        take_back(item->upload, item);
        if (!item->upload->adding && !has_puts(item->upload))
            release(item->upload);
        return;
    }
    if (result->e != ERR_OK)
        log_warn("an upload could not be stored", F_STR("why", result->why ? result->why : ""));
    settle(item, result->e == ERR_OK ? ITEM_STORED : ITEM_FAILED,
           result->e == ERR_OK ? "" : "the file could not be stored");
}

static void on_spooled(void *arg, enum err e, const char *why)
{
    struct item *item = arg;
    struct upload *u = item->upload;
    auto_buf key = BUF_INIT(OBJECT_KEY_MAX);
    if (e == ERR_OK) {
        sha256_hex(spool_sha256(item->spool), item->hash);
        item->size = spool_size(item->spool);
        struct session_file file = record_of(u, item);
        e = session_object_name(str_of(u->tenant), u->session, &file, &key);
    }
    item->state = ITEM_PUTTING;
    if (e == ERR_OK)
        e = object_put(u->api->objects.store,
                       &(struct object_put){.key = buf_cstr(&key), .spool = item->spool}, on_put, item,
                       &item->op);
    if (e == ERR_OK)
        return;
    log_warn("an upload could not be kept", F_STR("why", why ? why : err_text(e)));
    settle(item, ITEM_FAILED, "the file could not be stored");
}

static struct item *add_item(struct upload *u, const struct multipart_part *part)
{
    if (u->count == u->cap) {
        size_t cap = u->cap ? u->cap * 2 : 16;
        struct item **more = realloc(u->items, cap * sizeof *more);
        if (!more)
            return NULL;
        u->items = more;
        u->cap = cap;
    }
    struct item *item = calloc(1, sizeof *item);
    if (!item)
        return NULL;
    *item = (struct item){.upload = u,
                          .id = session_draw_file(u->api->queue, u->session),
                          .name = strdup(part->filename),
                          .type = strdup(part->type)};
    u->items[u->count++] = item;
    return item->name && item->type ? item : NULL;
}

static enum err refuse(struct upload *u, enum client_error error, const char *text)
{
    u->refused = true;
    (void)!api_fault_set(&u->fault, error, "%s", text); /* says ERR_INVALID, as this does */
    return ERR_INVALID;
}

/* A batch tells of each file by itself; a single upload is refused as a whole. */
static enum err cannot_take(struct upload *u, struct item *item, enum client_error error, const char *text)
{
    item->state = ITEM_FAILED;
    snprintf(item->error, sizeof item->error, "%s", text);
    u->skipping = true;
    return u->batch ? ERR_OK : refuse(u, error, text);
}

static enum err begin_file(struct upload *u, const struct multipart_part *part)
{
    struct errinfo info;
    const struct config *cfg = &u->api->config;
    int64_t most = u->batch ? cfg->max_upload_files : cfg->max_session_files;
    if ((int64_t)u->count >= most) {
        u->over++;
        u->skipping = true;
        return u->batch ? ERR_OK : refuse(u, CE_TOO_LARGE, "more files than a session may hold");
    }
    if (!u->session.text[0])
        u->session = u->form.session.text[0] ? u->form.session : session_draw(u->api->queue);
    struct item *item = add_item(u, part);
    if (!item)
        return refuse(u, CE_INTERNAL, "out of memory");
    if (file_name_check(str_of(item->name), &info) != ERR_OK) {
        char text[96];
        snprintf(text, sizeof text, "filename: %.80s", info.text);
        return cannot_take(u, item, CE_BAD_REQUEST, text);
    }
    if (object_spool(u->api->objects.store, (uint64_t)cfg->max_upload_bytes, on_room, item, &item->spool) !=
        ERR_OK)
        return cannot_take(u, item, CE_UNAVAILABLE, "the file could not be stored");
    u->current = item;
    u->active++;
    return ERR_OK;
}

/* ---- the form's parts ---- */

static enum err on_part(void *arg, const struct multipart_part *part)
{
    struct upload *u = arg;
    u->skipping = u->in_field = false;
    if (part->has_filename)
        return begin_file(u, part);
    u->in_field = true;
    snprintf(u->field, sizeof u->field, "%s", part->name);
    buf_reset(&u->value);
    return ERR_OK;
}

static enum err on_part_data(void *arg, struct str bytes)
{
    struct upload *u = arg;
    if (u->in_field) {
        buf_append_str(&u->value, bytes);
        return buf_status(&u->value) == ERR_OK ? ERR_OK
                                               : refuse(u, CE_TOO_LARGE, "a field of the form is too long");
    }
    if (!u->current)
        return ERR_OK; /* skipped */
    enum err e = spool_push(u->current->spool, bytes);
    if (e == ERR_AGAIN) {
        u->full = u->current;
        u->paused = true;
    }
    if (e != ERR_FULL)
        return ERR_OK; /* what could not be written is told at the spool's end */
    struct item *item = u->current;
    u->current = NULL;
    u->full = u->full == item ? NULL : u->full;
    u->active--;
    spool_drop(item->spool);
    item->spool = NULL;
    return cannot_take(u, item, CE_TOO_LARGE, "File size limit exceeded");
}

static enum err on_part_end(void *arg)
{
    struct upload *u = arg;
    if (u->in_field) {
        enum err e = upload_form_take(&u->form, u->field, buf_str(&u->value), &u->fault);
        u->refused = e != ERR_OK;
        return e;
    }
    struct item *item = u->current;
    u->current = NULL;
    if (!item)
        return ERR_OK;
    item->state = ITEM_ENDING;
    u->full = u->full == item ? NULL : u->full;
    spool_end(item->spool, on_spooled, item);
    if (u->active >= OPEN_MAX)
        u->paused = true;
    return ERR_OK;
}

/* ERR_OK and ERR_AGAIN are no answers. Others: the client was answered and `u` is gone. */
static bool stopped(struct upload *u, enum err e)
{
    if (e == ERR_OK || e == ERR_AGAIN)
        return false;
    if (u->refused) {
        call_refuse(take_call(u), &u->fault);
        abandon(u);
    } else {
        char text[200];
        snprintf(text, sizeof text, "%s", u->multipart.why[0] ? u->multipart.why : "the form is malformed");
        fail(u, e == ERR_FULL ? CE_TOO_LARGE : CE_BAD_REQUEST, text);
    }
    return true;
}

static void on_body(void *user, struct http_request *r, struct str bytes)
{
    (void)user;
    struct call *c = http_user(r);
    struct upload *u = c->context;
    if (stopped(u, multipart_feed(&u->multipart, bytes)))
        return;
    if (u->paused)
        http_body_pause(r, true);
}

/* ---- the routes ---- */

/* With the head: the body is taken in pieces from here on. */
void upload_head(struct call *c)
{
    static const struct multipart_events events = {
        .begin = on_part, .data = on_part_data, .end = on_part_end};
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    enum err e = multipart_boundary(http_header(c->request, "content-type"), boundary);
    if (e != ERR_OK) {
        call_fail(c, CE_BAD_REQUEST,
                  e == ERR_UNSUPPORTED ? "Invalid content type. Must be multipart/form-data."
                                       : "Content-Type: has no acceptable boundary");
        return;
    }
    if (!call_store_ready(c))
        return;
    struct upload *u = calloc(1, sizeof *u);
    if (!u || c->tenant.n >= sizeof u->tenant) {
        free(u);
        call_fail(c, CE_INTERNAL, "out of memory");
        return;
    }
    u->api = c->api;
    u->call = c;
    u->batch = c->route->handler == HANDLER_upload_batch;
    u->value = BUF_INIT(UPLOAD_FIELD_MAX);
    snprintf(u->tenant, sizeof u->tenant, STR_FMT, STR_ARG(c->tenant));
    snprintf(u->user, sizeof u->user, "%s", c->who.user);
    struct multipart_events mine = events;
    mine.arg = u;
    multipart_init(&u->multipart, boundary, PARTS_MAX, &mine);
    c->context = u;
    c->gone = on_gone;
    http_request_limit(c->request, (size_t)c->api->config.max_upload_bytes + OVERHEAD_MAX);
    http_body_stream(c->request, on_body);
}

/* The body has ended. */
static void end_of_body(struct call *c)
{
    struct upload *u = c->context;
    if (stopped(u, multipart_end(&u->multipart)))
        return;
    u->ended = true;
    check_end(u);
}

void handle_upload(struct call *c)
{
    end_of_body(c);
}

void handle_upload_batch(struct call *c)
{
    end_of_body(c);
}
