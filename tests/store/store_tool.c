/* SPDX-License-Identifier: Apache-2.0 */
/* The object store's interface by hand: commands on standard input, one a line, one JSON object each on standard output.
   The store is chosen by the environment (STORE_KIND, STORE_PATH, STORE_ENDPOINT ...).
     put KEY SIZE SEED SOURCE FLAGS   SOURCE: bytes, fd, spool; FLAGS: of "absent", "hash", "badhash", joined with '+', or -
     puts KEY SIZE SEED COUNT         COUNT of them at once, under KEY/0 ...
     get KEY FROM LENGTH SHA256 FLAGS SHA256 or -; FLAGS: "pause" (at each piece), "cancel" (in the first), "file", or -
     head KEY | delete KEY | list PREFIX CURSOR LIMIT | check | sweep AGE_MS | putcancel KEY SIZE SEED (cancelled while it is sent) */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "io/store/object_store.h"
#include "json/json.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { WORDS = 8, COUNT_MAX = 256 };

static uv_loop_t loop;
static struct object_store *store;

struct running {
    struct object_op *op;
    unsigned left;
    const char *flags;
    struct sha256_state *hash;
    uint64_t got, pieces, begun;
    uv_timer_t timer;
    struct spool *spool;
    bool room;
    struct buf out;
};

static const char *const names[] = {
#define X(name, text) #name,
    ERR_TABLE(X)
#undef X
};

static void write_page(struct buf *out, const struct object_page *page)
{
    buf_append_cstr(out, ",\"keys\":[");
    for (size_t i = 0; i < page->count; i++)
        buf_printf(out, "%s[\"%s\",%llu,%lld]", i ? "," : "", page->entries[i].key,
                   (unsigned long long)page->entries[i].meta.size, (long long)page->entries[i].meta.time_ms);
    buf_printf(out, "],\"next\":\"%s\"", page->next ? page->next : "");
}

static void tell(struct running *r, enum err e, const char *why)
{
    buf_printf(&r->out, "{\"err\":\"%s\",\"why\":", names[e]);
    json_write_string(&r->out, str_of(why ? why : ""));
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    buf_printf(&r->out, ",\"rss_kb\":%ld", usage.ru_maxrss);
}

static void on_done(void *arg, const struct object_result *result)
{
    struct running *r = arg;
    bool first = r->out.len == 0;
    r->op = NULL;
    r->left--;
    if (!first && !result->e)
        return;
    buf_reset(&r->out);
    tell(r, result->e, result->why);
    buf_printf(&r->out, ",\"size\":%llu,\"time\":%lld", (unsigned long long)result->meta.size,
               (long long)result->meta.time_ms);
    if (result->page && !result->e)
        write_page(&r->out, result->page);
}

static bool has(const char *flags, const char *flag)
{
    return strstr(flags, flag) != NULL;
}

/* ---- put ---- */

static void fill(uint64_t *state, char *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        out[i] = (char)(*state >> 56);
    }
}

static int make_file(uint64_t size, uint64_t seed, struct sha256 *ret_hash)
{
    int fd = memfd_create("source", MFD_CLOEXEC);
    struct sha256_state *hash = sha256_begin();
    char piece[65536];
    for (uint64_t left = size; left > 0;) {
        size_t n = left < sizeof piece ? (size_t)left : sizeof piece;
        fill(&seed, piece, n);
        sha256_add(hash, (struct str){piece, n});
        if (write(fd, piece, n) != (ssize_t)n)
            abort();
        left -= n;
    }
    *ret_hash = sha256_end(hash);
    return fd;
}

static void on_room(void *arg)
{
    ((struct running *)arg)->room = true;
}

static void on_spooled(void *arg, enum err e, const char *why)
{
    struct running *r = arg;
    r->left--;
    if (e)
        tell(r, e, why);
}

/* Pushes a file through a spool, waiting for room. */
static void spool_file_of(struct running *r, int fd, uint64_t size)
{
    char piece[60000];
    if (object_spool(store, size, on_room, r, &r->spool))
        abort();
    for (off_t at = 0; at < (off_t)size;) {
        ssize_t n = pread(fd, piece, sizeof piece, at);
        r->room = false;
        enum err e = spool_push(r->spool, (struct str){piece, (size_t)n});
        while (e == ERR_AGAIN && !r->room)
            uv_run(&loop, UV_RUN_ONCE);
        at += n;
    }
    r->left = 1;
    spool_end(r->spool, on_spooled, r);
    while (r->left)
        uv_run(&loop, UV_RUN_ONCE);
}

static void cmd_put(struct running *r, char **w)
{
    uint64_t size = strtoull(w[2], NULL, 10);
    struct sha256 hash;
    auto_fd fd = make_file(size, strtoull(w[3], NULL, 10), &hash);
    char *mapped = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    struct object_put put = {.key = w[1], .if_absent = has(w[5], "absent")};
    if (has(w[5], "badhash"))
        hash.bytes[0] ^= 1;
    if (has(w[5], "hash"))
        put.sha256 = &hash;
    if (!strcmp(w[4], "bytes"))
        put.bytes = (struct str){mapped, size};
    if (!strcmp(w[4], "fd"))
        put.has_fd = true, put.fd = fd, put.size = size;
    if (!strcmp(w[4], "spool")) {
        spool_file_of(r, fd, size);
        put.spool = r->spool;
    }
    if (r->out.len > 0)
        return;
    r->left = 1;
    enum err e = object_put(store, &put, on_done, r, &r->op);
    spool_drop(r->spool);
    if (mapped)
        munmap(mapped, size);
    if (e) {
        r->left = 0;
        tell(r, e, "refused");
        return;
    }
    while (r->left)
        uv_run(&loop, UV_RUN_ONCE);
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex(&hash, hex);
    buf_printf(&r->out, ",\"sha256\":\"%s\"", hex);
}

static void cmd_puts(struct running *r, char **w)
{
    uint64_t size = strtoull(w[2], NULL, 10);
    unsigned count = (unsigned)strtoull(w[4], NULL, 10);
    struct sha256 hash;
    auto_fd fd = make_file(size, strtoull(w[3], NULL, 10), &hash);
    for (unsigned i = 0; i < count && i < COUNT_MAX; i++) {
        char key[OBJECT_KEY_MAX + 1];
        snprintf(key, sizeof key, "%s/%u", w[1], i);
        struct object_put put = {.key = key, .has_fd = true, .fd = fd, .size = size};
        r->left++;
        if (object_put(store, &put, on_done, r, NULL))
            abort();
    }
    while (r->left)
        uv_run(&loop, UV_RUN_ONCE);
}

static void on_cancel(uv_timer_t *timer)
{
    struct running *r = timer->data;
    if (r->op) {
        object_op_cancel(r->op);
        r->left--;
        tell(r, ERR_CLOSED, "cancelled");
    }
}

static void cmd_putcancel(struct running *r, char **w)
{
    uint64_t size = strtoull(w[2], NULL, 10);
    struct sha256 hash;
    auto_fd fd = make_file(size, strtoull(w[3], NULL, 10), &hash);
    struct object_put put = {.key = w[1], .has_fd = true, .fd = fd, .size = size};
    r->left = 1;
    if (object_put(store, &put, on_done, r, &r->op))
        abort();
    uv_timer_start(&r->timer, on_cancel, strtoull(w[4], NULL, 10), 0);
    while (r->left)
        uv_run(&loop, UV_RUN_ONCE);
    uv_timer_stop(&r->timer);
}

/* ---- get ---- */

static void on_begin(void *arg, const struct object_meta *meta)
{
    struct running *r = arg;
    (void)meta;
    r->begun++;
}

static void on_go_on(uv_timer_t *timer)
{
    struct running *r = timer->data;
    if (r->op)
        object_get_resume(r->op);
}

static void on_data(void *arg, struct str bytes)
{
    struct running *r = arg;
    r->got += bytes.n;
    r->pieces++;
    sha256_add(r->hash, bytes);
    if (has(r->flags, "cancel")) {
        object_op_cancel(r->op);
        r->op = NULL;
        r->left--;
        tell(r, ERR_CLOSED, "cancelled");
    } else if (has(r->flags, "pause") && r->pieces % 8 == 1) {
        object_get_pause(r->op);
        uv_timer_start(&r->timer, on_go_on, 1, 0);
    }
}

static void hash_file(struct running *r, int fd)
{
    char piece[65536];
    ssize_t n;
    for (off_t at = 0; (n = pread(fd, piece, sizeof piece, at)) > 0; at += n) {
        r->got += (uint64_t)n;
        sha256_add(r->hash, (struct str){piece, (size_t)n});
    }
}

static bool read_hash(const char *hex, struct sha256 *ret_hash)
{
    for (unsigned i = 0; i < SHA256_LEN; i++) {
        unsigned byte;
        if (sscanf(hex + (size_t)2 * i, "%2x", &byte) != 1)
            return false;
        ret_hash->bytes[i] = (unsigned char)byte;
    }
    return true;
}

static void cmd_get(struct running *r, char **w)
{
    struct sha256 hash;
    struct object_get get = {.key = w[1],
                             .from = strtoull(w[2], NULL, 10),
                             .length = strtoull(w[3], NULL, 10),
                             .sha256 = read_hash(w[4], &hash) ? &hash : NULL,
                             .begin = on_begin,
                             .data = on_data};
    auto_fd fd = has(w[5], "file") ? memfd_create("to", MFD_CLOEXEC) : -1;
    r->flags = w[5];
    r->hash = sha256_begin();
    r->left = 1;
    enum err e = fd < 0 ? object_get(store, &get, on_done, r, &r->op)
                        : object_get_to_fd(store, &get, fd, on_done, r, &r->op);
    if (e) {
        r->left = 0;
        tell(r, e, "refused");
    }
    while (r->left)
        uv_run(&loop, UV_RUN_ONCE);
    if (fd >= 0)
        hash_file(r, fd);
    char hex[SHA256_HEX_LEN + 1];
    struct sha256 got = sha256_end(r->hash);
    sha256_hex(&got, hex);
    buf_printf(&r->out, ",\"sha256\":\"%s\",\"got\":%llu,\"begun\":%llu", hex, (unsigned long long)r->got,
               (unsigned long long)r->begun);
}

/* ---- the others ---- */

static void wait_for(struct running *r, enum err e)
{
    if (e)
        tell(r, e, "refused");
    else
        r->left = 1;
    while (r->left)
        uv_run(&loop, UV_RUN_ONCE);
}

static void cmd_head(struct running *r, char **w)
{
    wait_for(r, object_head(store, w[1], on_done, r, &r->op));
}

static void cmd_delete(struct running *r, char **w)
{
    wait_for(r, object_delete(store, w[1], on_done, r, &r->op));
}

static void cmd_list(struct running *r, char **w)
{
    const char *prefix = strcmp(w[1], "-") ? w[1] : "", *cursor = strcmp(w[2], "-") ? w[2] : "";
    wait_for(r, object_list(store, prefix, cursor, (unsigned)strtoul(w[3], NULL, 10), on_done, r, &r->op));
}

static void cmd_sweep(struct running *r, char **w)
{
    wait_for(r, object_sweep(store, "", clock_wall_ms() - strtoll(w[1], NULL, 10), on_done, r, &r->op));
}

static void cmd_check(struct running *r, char **w)
{
    (void)w;
    wait_for(r, object_check(store, on_done, r, &r->op));
    if (r->out.len)
        buf_printf(&r->out, ",\"conditional\":%s", object_store_can_put_if_absent(store) ? "true" : "false");
}

static const struct {
    const char *name;
    void (*run)(struct running *r, char **words);
} commands[] = {{"put", cmd_put},   {"puts", cmd_puts},   {"putcancel", cmd_putcancel},
                {"get", cmd_get},   {"head", cmd_head},   {"delete", cmd_delete},
                {"list", cmd_list}, {"check", cmd_check}, {"sweep", cmd_sweep}};

static void run_line(char *line)
{
    char none[] = "", *words[WORDS] = {none, none, none, none, none, none, none, none};
    size_t count = 0;
    for (char *p = line; p && count < WORDS;) {
        char *space = strchr(p, ' ');
        if (space)
            *space++ = '\0';
        words[count++] = p;
        p = space;
    }
    struct running r = {.out = BUF_INIT(1 << 20), .flags = ""};
    uv_timer_init(&loop, &r.timer);
    r.timer.data = &r;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(commands[i].name, words[0]))
            commands[i].run(&r, words);
    printf("%s}\n", buf_cstr(&r.out));
    fflush(stdout);
    uv_close((uv_handle_t *)&r.timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    buf_free(&r.out);
}

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "";
}

int main(void)
{
    struct errinfo info = {0};
    struct object_store_options options = {
        .kind = strcmp(setting("STORE_KIND"), "s3") ? OBJECT_STORE_DIRECTORY : OBJECT_STORE_S3,
        .path = setting("STORE_PATH"),
        .s3 = {.endpoint = setting("STORE_ENDPOINT"),
               .bucket = setting("STORE_BUCKET"),
               .region = setting("STORE_REGION")[0] != '\0' ? setting("STORE_REGION") : "us-east-1",
               .access_key = setting("STORE_ACCESS_KEY"),
               .secret_key = setting("STORE_SECRET_KEY"),
               .session_token = setting("STORE_SESSION_TOKEN"),
               .ca_file = setting("STORE_CA_FILE"),
               .secure = setting("STORE_SECURE")[0] != '\0',
               .use_iam = setting("STORE_USE_IAM")[0] != '\0',
               .virtual_host = setting("STORE_VIRTUAL_HOST")[0] != '\0',
               .timeout_ms = (int)strtol(setting("STORE_TIMEOUT_MS"), NULL, 10),
               .part_size = strtoull(setting("STORE_PART_SIZE"), NULL, 10)},
    };
    json_start();
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop);
    if (object_store_open(&loop, &options, &store, &info)) {
        fprintf(stderr, "%s\n", info.text);
        return 1;
    }
    char line[8192];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        run_line(line);
    }
    object_store_close(store, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) ? 2 : 0;
}
