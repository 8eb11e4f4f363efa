/* SPDX-License-Identifier: Apache-2.0 */
/* What the store must be (PROTOCOL.md 9), asked at each connection, and what is asked of it each second. */
#include "queue/internal.h"

#include <stdio.h>
#include <string.h>

enum { RECHECK_MS = 500 };

struct facts {
    struct queue *q;
    unsigned generation;
    char version[32], policy[32], fsync[16];
    bool cluster, aof;
    uint64_t max_memory;
};

/* ---- errors that pass -------------------------------------------------------------------------------------------- */

bool store_error(struct queue *q, struct str text)
{
    static const struct {
        struct str prefix;
        bool reset; /* another server is to be found at this address */
    } rows[] = {
        {STR("LOADING"), false},     {STR("BUSY"), false},       {STR("MISCONF"), false},
        {STR("CLUSTERDOWN"), false}, {STR("TRYAGAIN"), false},   {STR("MASTERDOWN"), false},
        {STR("READONLY"), true},     {STR("UNKILLABLE"), false}, {STR("MOVED"), false},
        {STR("ASK"), false},
    };
    char why[200];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!str_starts(text, rows[i].prefix))
            continue;
        bool moved = str_starts(text, STR("MOVED")) || str_starts(text, STR("ASK"));
        snprintf(why, sizeof why, "%s" STR_FMT,
                 moved ? "a Redis Cluster of several masters is not supported yet: " : "the store: ",
                 STR_ARG(text));
        queue_set_ready(q, false, why);
        if (rows[i].reset)
            redis_reset(q->cmd, why);
        return true;
    }
    log_limited(LOG_ERROR, "the store refused a command", F_STR("reply", text.p));
    return false;
}

/* ---- the checks -------------------------------------------------------------------------------------------------- */

static struct str info_field(struct str info, const char *name)
{
    struct str rest = info;
    while (rest.p) {
        struct str value = str_split(&rest, '\n');
        struct str key = str_split(&value, ':');
        if (value.p && str_eq(key, str_of(name)))
            return value.n && value.p[value.n - 1] == '\r' ? (struct str){value.p, value.n - 1} : value;
    }
    return (struct str){0};
}

static void copy(struct str s, char *out, size_t size)
{
    snprintf(out, size, STR_FMT, STR_ARG(s));
}

static void refuse(struct facts *f, const char *why)
{
    struct queue *q = f->q;
    q->checking = false;
    queue_set_ready(q, false, why);
    q->check_at = uv_now(q->loop) + RECHECK_MS;
    free(f);
}

/* False: the answer belongs to a check that is over, or says that there is none; `f` is gone then. */
static bool go_on(struct facts *f, const struct redis_value *v)
{
    if (f->generation != f->q->checks || !v) {
        if (f->generation == f->q->checks)
            f->q->checking = false;
        free(f);
        return false;
    }
    return true;
}

static void on_loaded(void *arg, const struct redis_value *v)
{
    struct facts *f = arg;
    if (!go_on(f, v))
        return;
    struct queue *q = f->q;
    q->checking = false;
    free(f);
    queue_set_ready(q, true, q->store_text);
}

static void load_scripts(struct facts *f)
{
    for (enum script s = 0; s < SCRIPT_COUNT; s++) {
        const struct script_text *text = script_get(s);
        struct call *c = call_plain(f->q, "SCRIPT");
        call_cstr(c, "LOAD");
        call_str(c, (struct str){text->text, text->len});
        call_early(c);
        bool last = s == SCRIPT_COUNT - 1;
        call_go(c, last ? on_loaded : NULL, last ? f : NULL);
    }
}

static void describe(struct facts *f)
{
    const char *loss = strcmp(f->fsync, "always") == 0     ? "nothing acknowledged is lost in a crash"
                       : strcmp(f->fsync, "everysec") == 0 ? "a crash may lose the last second"
                       : strcmp(f->fsync, "no") == 0 ? "a crash may lose what the kernel had not written"
                                                     : "what a crash may lose is not known";
    snprintf(f->q->store_text, sizeof f->q->store_text,
             "Redis %s%s, appendonly %s, appendfsync %s, maxmemory %llu, %s: %s", f->version,
             f->cluster ? " (cluster)" : "", f->aof ? "yes" : "no", f->fsync,
             (unsigned long long)f->max_memory, f->policy,
             f->aof ? loss : "a crash loses everything since the last snapshot");
}

static void on_store(void *arg, const struct redis_value *v)
{
    struct facts *f = arg;
    if (!go_on(f, v))
        return;
    struct queue *q = f->q;
    struct str epoch = redis_text(redis_item(v, 0));
    int64_t partitions = redis_integer(redis_item(v, 1));
    char why[256];
    if (v->type == REDIS_ERROR) {
        snprintf(why, sizeof why, "the store does not take writes: " STR_FMT, STR_ARG(v->text));
        refuse(f, why);
    } else if (q->epoch[0] && !str_eq(epoch, str_of(q->epoch))) {
        refuse(
            f,
            "this Redis is not the store we worked on (its epoch differs): is it an empty or a wrong volume?");
    } else if (epoch.n == 0 || epoch.n >= sizeof q->epoch || partitions < 1 || partitions > MAX_PARTITIONS ||
               redis_integer(redis_item(v, 2)) != STORE_VERSION) {
        refuse(f, "the key :store in Redis is damaged, or of another version");
    } else {
        copy(epoch, q->epoch, sizeof q->epoch);
        q->partitions = (unsigned)partitions;
        describe(f);
        load_scripts(f);
    }
}

/* A store that we have seen is never made anew: an empty one is then a wrong one. */
static void ask_store(struct facts *f)
{
    struct queue *q = f->q;
    unsigned wanted = q->options.partitions ? q->options.partitions : f->cluster ? 8 : 1;
    struct keyset keys = {.partition = 0};
    struct call *c = call_script(q, SCRIPT_store, &keys, false);
    call_cstr(c, q->epoch[0] ? "" : id_new().text);
    call_int(c, wanted);
    call_int(c, STORE_VERSION);
    call_early(c);
    call_go(c, on_store, f);
}

/* A fault that is not hard is told once. False: refused, `f` is gone. */
static bool passes(struct facts *f, const char *fault, bool hard)
{
    if (fault && hard) {
        refuse(f, fault);
        return false;
    }
    if (fault && !f->q->epoch[0])
        log_warn(fault);
    return true;
}

static void on_fsync(void *arg, const struct redis_value *v)
{
    struct facts *f = arg;
    if (!go_on(f, v))
        return;
    struct str value = redis_text(redis_item(v, 1));
    copy(value.n ? value : STR("unknown"), f->fsync, sizeof f->fsync);
    const char *fault = f->aof && strcmp(f->fsync, "no") == 0
                            ? "Redis would lose accepted jobs in a crash: set appendfsync always or everysec"
                            : NULL;
    if (passes(f, fault, !f->q->options.development))
        ask_store(f);
}

static const char *unfit(const struct facts *f, bool *ret_hard)
{
    uint64_t major = 0;
    struct str version = str_of(f->version);
    *ret_hard = true;
    if (str_to_u64(str_split(&version, '.'), &major) != ERR_OK || major < 7)
        return "Redis 7.0 or newer is needed";
    *ret_hard = !f->q->options.development;
    if (strcmp(f->policy, "noeviction") != 0)
        return "Redis would evict jobs: set maxmemory-policy noeviction";
    if (!f->aof)
        return "Redis would lose accepted jobs in a crash: set appendonly yes";
    if (f->max_memory == 0)
        return "Redis has no memory limit: set maxmemory (or MILLRACE_PROFILE=development)";
    return NULL;
}

static void on_info(void *arg, const struct redis_value *v)
{
    struct facts *f = arg;
    char why[256];
    if (!go_on(f, v))
        return;
    if (v->type == REDIS_ERROR) {
        snprintf(why, sizeof why, "INFO: " STR_FMT, STR_ARG(v->text));
        refuse(f, why);
        return;
    }
    copy(info_field(v->text, "redis_version"), f->version, sizeof f->version);
    copy(info_field(v->text, "maxmemory_policy"), f->policy, sizeof f->policy);
    f->cluster = str_eq(info_field(v->text, "redis_mode"), STR("cluster"));
    f->aof = str_eq(info_field(v->text, "aof_enabled"), STR("1"));
    if (str_to_u64(info_field(v->text, "maxmemory"), &f->max_memory) != ERR_OK)
        f->max_memory = 0;
    if (str_eq(info_field(v->text, "loading"), STR("1"))) {
        refuse(f, "Redis is loading its data");
        return;
    }
    bool hard;
    const char *fault = unfit(f, &hard);
    if (!passes(f, fault, hard))
        return;
    f->q->cluster = f->cluster;
    struct call *c = call_plain(f->q, "CONFIG");
    call_cstr(c, "GET");
    call_cstr(c, "appendfsync");
    call_early(c);
    call_go(c, on_fsync, f);
}

void store_check(struct queue *q)
{
    struct facts *f = calloc(1, sizeof *f);
    q->check_at = uv_now(q->loop) + RECHECK_MS;
    if (!f)
        return;
    f->q = q;
    f->generation = ++q->checks;
    q->checking = true;
    struct call *c = call_plain(q, "INFO");
    call_early(c);
    call_go(c, on_info, f);
}

/* ---- each second ------------------------------------------------------------------------------------------------- */

static void on_memory(void *arg, const struct redis_value *v)
{
    struct queue *q = arg;
    uint64_t used, most;
    if (!v || v->type != REDIS_STRING || str_to_u64(info_field(v->text, "used_memory"), &used) != ERR_OK ||
        str_to_u64(info_field(v->text, "maxmemory"), &most) != ERR_OK)
        return;
    q->memory_pressed = most > 0 && used > most / 4 * 3;
}

static void gathered(struct queue *q)
{
    if (--q->gather_left > 0)
        return;
    for (int i = 0; i < QUEUE_PRIORITIES; i++)
        q->stats.backlog[i] = q->gathering.backlog[i];
    q->stats.ready = q->gathering.ready;
    q->stats.running = q->gathering.running;
}

static void add_figure(struct queue *q, uint64_t *figure, const struct redis_value *v)
{
    *figure += v && redis_integer(v) > 0 ? (uint64_t)redis_integer(v) : 0;
    gathered(q);
}

#define FIGURE(name, field)                                                                                  \
    static void on_##name(void *arg, const struct redis_value *v)                                            \
    {                                                                                                        \
        struct queue *q = arg;                                                                               \
        add_figure(q, &q->gathering.field, v);                                                               \
    }
FIGURE(b0, backlog[0])
FIGURE(b1, backlog[1])
FIGURE(b2, backlog[2])
FIGURE(lane, ready) /* entries of claimed jobs among them */
FIGURE(run, running)

static void gather_lane(struct queue *q, unsigned partition, const char *class_name)
{
    static const struct {
        const char *command, *key, *field;
        call_cb cb;
    } figures[] = {
        {"ZCARD", "B0", NULL, on_b0},     {"ZCARD", "B1", NULL, on_b1},    {"ZCARD", "B2", NULL, on_b2},
        {"XLEN", "READY", NULL, on_lane}, {"HGET", "FAIR", "run", on_run},
    };
    struct keyset keys = {.partition = partition, .class_name = str_of(class_name)};
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        struct call *c = call_plain(q, figures[i].command);
        call_key(c, &keys, figures[i].key);
        if (figures[i].field)
            call_cstr(c, figures[i].field);
        q->gather_left++;
        call_go(c, figures[i].cb, q);
    }
}

void store_gather(struct queue *q)
{
    if (!q->ready)
        return;
    struct call *c = call_plain(q, "INFO");
    call_cstr(c, "memory");
    call_go(c, on_memory, q);
    if (q->gather_left > 0)
        return;
    q->gathering = (struct queue_stats){0};
    for (unsigned p = 0; p < q->partitions; p++) {
        for (size_t i = 0; i < q->class_count; i++)
            gather_lane(q, p, q->classes[i]);
    }
}
