/* SPDX-License-Identifier: Apache-2.0 */
/* The Kubernetes client's interface by hand: commands on standard input, one a line, and JSON objects, one a line, on standard output.
   Each command begins with an id of the caller's choice, which what it tells carries; commands run side by side. "-" stands for NULL.
     ID create KIND NS JSON         ID get KIND NS NAME         ID delete KIND NS NAME GRACE UID BACKGROUND
     ID deleteall KIND NS LABELS    ID list KIND NS LABELS LIMIT NEXT
     ID patch KIND NS NAME UID VERSION LABEL VALUE ANNOTATION VALUE
     ID can VERB GROUP RESOURCE NS  ID version                  ID creates KIND NS COUNT JSON (names get a number)
     ID cancel                      (what ID began)             ID stats
     ID watch KIND NS LABELS IDLE_MS CLOSE (CLOSE: it closes itself at the first object)
   KUBE_CONFIG, KUBE_CONTEXT, KUBE_SERVICE_ACCOUNT, KUBE_INSECURE, KUBE_RATE, KUBE_BURST, KUBE_IN_FLIGHT, KUBE_WAITING, KUBE_TRY_MS,
   KUBE_PATIENCE_MS choose the options. The end of standard input closes everything. */
#include "kube/kube.h"
#include "kube/lines.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS = 12, RUNNING_MAX = 2048, LINE = 1 << 16 };

static uv_loop_t loop;
static struct kube *kube;
static uv_pipe_t input;
static struct kube_lines lines;
static char piece[LINE];
static int patience;

struct running {
    char id[32];
    struct kube_call *call;
    struct kube_watch *watch;
    bool used, closes;
};
static struct running slots[RUNNING_MAX];

static struct running *slot(const char *id, bool fresh)
{
    for (size_t i = 0; i < RUNNING_MAX; i++)
        if (fresh ? !slots[i].used : slots[i].used && !strcmp(slots[i].id, id)) {
            if (fresh)
                snprintf(slots[i].id, sizeof slots[i].id, "%s", id);
            slots[i].used = true;
            return &slots[i];
        }
    abort();
}

static const char *const kinds[] = {
#define X(name, path, plural, namespaced) plural,
    KUBE_KIND_TABLE(X)
#undef X
};

/* ---- what it tells ---- */

static void text(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, ",\"%s\":", name);
    json_write_string(out, str_of(value ? value : ""));
}

static void say(struct buf *out)
{
    buf_append_cstr(out, "}\n");
    if (buf_status(out) || write(STDOUT_FILENO, out->data, out->len) != (ssize_t)out->len)
        abort();
}

static void begin(struct buf *out, const char *id)
{
    *out = BUF_INIT(64 << 20);
    buf_append_cstr(out, "{\"id\":");
    json_write_string(out, str_of(id));
}

static void write_object(struct buf *out, const struct kube_object *o)
{
    const char *why;
    enum kube_trouble trouble = kube_pod_trouble(o, &why);
    buf_printf(
        out,
        "{\"phase\":%d,\"exit_code\":%d,\"signal\":%d,\"container\":%d,\"created\":%lld,\"deleted\":%lld",
        (int)o->pod.phase, o->pod.container.exit_code, o->pod.container.signal, (int)o->pod.container.state,
        (long long)o->created_ms, (long long)o->deleted_ms);
    text(out, "name", o->name);
    text(out, "ns", o->ns);
    text(out, "uid", o->uid);
    text(out, "version", o->resource_version);
    text(out, "owner", o->owner_name);
    text(out, "ip", o->pod.ip);
    text(out, "node", o->pod.node);
    text(out, "trouble", kube_trouble_name(trouble));
    text(out, "why", why);
    text(out, "label", kube_object_label(o, "label"));
    text(out, "annotation", kube_object_annotation(o, "annotation"));
    text(out, "data", kube_object_data(o, "data"));
    buf_append_char(out, '}');
}

static void on_result(void *arg, const struct kube_result *result)
{
    struct running *r = arg;
    struct buf out;
    begin(&out, r->id);
    text(&out, "reason", kube_reason_name(result->reason));
    text(&out, "message", result->message);
    text(&out, "next", result->next);
    text(&out, "version", result->version);
    buf_printf(&out, ",\"code\":%d,\"tries\":%u,\"allowed\":%s", result->code, result->tries,
               result->allowed ? "true" : "false");
    if (result->object) {
        buf_append_cstr(&out, ",\"object\":");
        write_object(&out, result->object);
    }
    buf_append_cstr(&out, ",\"items\":[");
    for (size_t i = 0; i < result->count; i++) {
        buf_append_cstr(&out, i ? "," : "");
        write_object(&out, &result->items[i]);
    }
    buf_append_char(&out, ']');
    say(&out);
    buf_free(&out);
    r->used = false;
    r->call = NULL;
}

static void on_event(void *arg, enum kube_watch_event event, const struct kube_object *object,
                     const struct kube_status *status)
{
    static const char *const names[] = {[KUBE_WATCH_LISTING] = "LISTING",
                                        [KUBE_WATCH_SEEN] = "SEEN",
                                        [KUBE_WATCH_GONE] = "GONE",
                                        [KUBE_WATCH_SYNCED] = "SYNCED",
                                        [KUBE_WATCH_TROUBLE] = "TROUBLE"};
    struct running *r = arg;
    struct buf out;
    begin(&out, r->id);
    text(&out, "event", names[event]);
    if (status) {
        text(&out, "reason", kube_reason_name(status->reason));
        text(&out, "message", status->message);
    }
    if (object) {
        buf_append_cstr(&out, ",\"object\":");
        write_object(&out, object);
    }
    say(&out);
    buf_free(&out);
    if (object && r->closes) {
        kube_watch_close(r->watch);
        r->watch = NULL;
    }
}

static void tell_err(struct running *r, enum err e)
{
    struct buf out;
    begin(&out, r->id);
    text(&out, "err", err_text(e));
    say(&out);
    buf_free(&out);
    r->used = false;
}

/* ---- commands ---- */

static struct kube_ref ref_of(char **w)
{
    struct kube_ref ref = {.ns = w[1], .name = w[2]};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(kinds[i], w[0] ? w[0] : ""))
            ref.kind = (enum kube_kind)i;
    return ref;
}

static int number(const char *word)
{
    int64_t value = 0;
    return word && !str_to_i64(str_of(word), &value) ? (int)value : 0;
}

static enum err cmd_create(struct running *r, char **w)
{
    struct kube_ref ref = ref_of(w);
    return kube_create(kube, &ref, str_of(w[2]), patience, on_result, r, &r->call);
}

/* The name in the JSON ends with 0000, which becomes the number. */
static enum err cmd_creates(struct running *r, char **w)
{
    struct kube_ref ref = ref_of(w);
    char id[32], *place = strstr(w[3], "0000");
    snprintf(id, sizeof id, "%s", r->id);
    r->used = false;
    for (int i = 0; place && i < number(w[2]); i++) {
        char digits[8];
        struct running *one = slot(id, true);
        snprintf(digits, sizeof digits, "%04u", (unsigned)i % 10000);
        memcpy(place, digits, 4);
        enum err e = kube_create(kube, &ref, str_of(w[3]), patience, on_result, one, &one->call);
        if (e)
            tell_err(one, e);
    }
    return ERR_OK;
}

static enum err cmd_get(struct running *r, char **w)
{
    struct kube_ref ref = ref_of(w);
    return kube_get(kube, &ref, patience, on_result, r, &r->call);
}

static enum err cmd_delete(struct running *r, char **w)
{
    struct kube_ref ref = ref_of(w);
    struct kube_delete how = {.grace_s = number(w[3]), .uid = w[4], .background = w[5] != NULL};
    return kube_delete(kube, &ref, &how, patience, on_result, r, &r->call);
}

static enum err cmd_deleteall(struct running *r, char **w)
{
    struct kube_ref ref = ref_of(w);
    ref.name = NULL;
    return kube_delete_all(kube, &ref, w[2], 0, patience, on_result, r, &r->call);
}

static enum err cmd_list(struct running *r, char **w)
{
    struct kube_ref ref = ref_of(w);
    struct kube_list list = {.labels = w[2], .limit = (unsigned)number(w[3]), .next = w[4]};
    return kube_list(kube, &ref, &list, patience, on_result, r, &r->call);
}

static enum err cmd_patch(struct running *r, char **w)
{
    struct kube_ref ref = ref_of(w);
    struct kube_change label = {w[5], w[6]}, annotation = {w[7], w[8]};
    struct kube_patch patch = {.uid = w[3],
                               .resource_version = w[4],
                               .labels = &label,
                               .label_count = w[5] != NULL,
                               .annotations = &annotation,
                               .annotation_count = w[7] != NULL};
    return kube_patch(kube, &ref, &patch, patience, on_result, r, &r->call);
}

static enum err cmd_can(struct running *r, char **w)
{
    struct kube_right right = {.verb = w[0], .group = w[1], .resource = w[2], .ns = w[3]};
    return kube_can(kube, &right, patience, on_result, r, &r->call);
}

static enum err cmd_version(struct running *r, char **w)
{
    (void)w;
    return kube_version(kube, patience, on_result, r, &r->call);
}

static enum err cmd_watch(struct running *r, char **w)
{
    struct kube_watch_options options = {.ref = ref_of(w), .labels = w[2], .idle_ms = number(w[3])};
    r->closes = w[4] != NULL;
    return kube_watch_open(kube, &options, on_event, r, &r->watch);
}

static enum err cmd_cancel(struct running *r, char **w)
{
    (void)w;
    r->used = false;
    struct running *other = slot(r->id, false);
    if (other->watch)
        kube_watch_close(other->watch);
    else
        kube_call_cancel(other->call);
    other->used = false;
    return ERR_OK;
}

static enum err cmd_stats(struct running *r, char **w)
{
    const struct kube_stats *s = kube_stats(kube);
    struct buf out;
    (void)w;
    begin(&out, r->id);
    buf_printf(
        &out,
        ",\"sent\":%llu,\"breaks\":%llu,\"lists\":%llu,\"in_flight\":%u,\"waiting\":%u,\"reachable\":%s,\"paused\":%lld",
        (unsigned long long)s->sent, (unsigned long long)s->watch_breaks, (unsigned long long)s->watch_lists,
        s->in_flight, s->waiting, s->reachable ? "true" : "false", (long long)s->paused_ms);
    text(&out, "last", kube_reason_name(s->last_reason));
    text(&out, "message", s->last_message);
    text(&out, "server", kube_server(kube));
    text(&out, "ns", kube_namespace(kube));
    say(&out);
    buf_free(&out);
    r->used = false;
    return ERR_OK;
}

static const struct {
    const char *name;
    enum err (*run)(struct running *r, char **words);
} commands[] = {
    {"create", cmd_create},       {"creates", cmd_creates}, {"get", cmd_get},       {"delete", cmd_delete},
    {"deleteall", cmd_deleteall}, {"list", cmd_list},       {"patch", cmd_patch},   {"can", cmd_can},
    {"version", cmd_version},     {"watch", cmd_watch},     {"cancel", cmd_cancel}, {"stats", cmd_stats}};

static void run_line(struct str line)
{
    static char copy[LINE + 1];
    char *words[WORDS + 2] = {NULL}, *next = copy;
    memcpy(copy, line.p, line.n);
    copy[line.n] = '\0';
    for (size_t n = 0; next && n < WORDS; n++) {
        char *word = next,
             *end = *word == '{' ? NULL : strchr(next, ' '); /* JSON goes to the end of the line */
        next = end ? end + 1 : NULL;
        if (end)
            *end = '\0';
        words[n] = strcmp(word, "-") ? word : NULL;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (words[1] && !strcmp(words[1], commands[i].name)) {
            struct running *r = slot(words[0], true);
            *r = (struct running){.used = true};
            snprintf(r->id, sizeof r->id, "%s", words[0]);
            enum err e = commands[i].run(r, words + 2);
            if (e)
                tell_err(r, e);
            return;
        }
    }
    abort();
}

static void on_room(uv_handle_t *handle, size_t size, uv_buf_t *ret_room)
{
    (void)handle;
    (void)size;
    *ret_room = uv_buf_init(piece, sizeof piece);
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *room)
{
    (void)room;
    struct str rest = {.p = piece, .n = n > 0 ? (size_t)n : 0}, line;
    bool found = n > 0;
    while (found) {
        if (kube_lines_next(&lines, &rest, &found, &line))
            abort();
        if (found)
            run_line(line);
    }
    if (n < 0) {
        uv_close((uv_handle_t *)stream, NULL);
        kube_close(kube, NULL, NULL);
    }
}

static unsigned setting(const char *name)
{
    return (unsigned)number(getenv(name));
}

int main(void)
{
    struct errinfo info = {0};
    patience = (int)setting("KUBE_PATIENCE_MS");
    struct kube_options options = {.kubeconfig = getenv("KUBE_CONFIG"),
                                   .context = getenv("KUBE_CONTEXT"),
                                   .service_account = getenv("KUBE_SERVICE_ACCOUNT"),
                                   .allow_insecure = getenv("KUBE_INSECURE") != NULL,
                                   .rate_per_s = setting("KUBE_RATE"),
                                   .burst = setting("KUBE_BURST"),
                                   .in_flight = setting("KUBE_IN_FLIGHT"),
                                   .waiting = setting("KUBE_WAITING"),
                                   .try_ms = (int)setting("KUBE_TRY_MS"),
                                   .patience_ms = patience};
    signal(SIGPIPE, SIG_IGN);
    json_start();
    uv_loop_init(&loop);
    kube_lines_init(&lines, LINE);
    if (kube_open(&loop, &options, &kube, &info)) {
        fprintf(stderr, "%s\n", info.text);
        return 1;
    }
    uv_pipe_init(&loop, &input, 0);
    uv_pipe_open(&input, STDIN_FILENO);
    uv_read_start((uv_stream_t *)&input, on_room, on_input);
    uv_run(&loop, UV_RUN_DEFAULT);
    kube_lines_free(&lines);
    return uv_loop_close(&loop) ? 2 : 0;
}
