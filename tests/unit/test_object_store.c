/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/cleanup.h"
#include "io/store/object_store.h"
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct world {
    uv_loop_t loop;
    struct object_store *store;
    char folder[64], root[96];
};

/* What the callbacks of one operation saw. */
struct seen {
    enum err e;
    char why[256];
    struct object_meta meta, begun;
    struct buf data;
    char keys[4096], next[OBJECT_KEY_MAX + 1];
    size_t count;
    unsigned begins, dones, rooms, pieces;
    struct object_op *op;
    unsigned pause_at; /* pause in this piece */
    bool cancel_in_data;
};

static void saw(void *arg, const struct object_result *r)
{
    struct seen *s = arg;
    s->dones++;
    s->e = r->e;
    s->meta = r->meta;
    assert_int_equal(r->e != ERR_OK, r->why != NULL);
    snprintf(s->why, sizeof s->why, "%s", r->why ? r->why : "");
    if (r->e || !r->page)
        return;
    for (size_t i = 0; i < r->page->count; i++) {
        size_t n = strlen(s->keys);
        snprintf(s->keys + n, sizeof s->keys - n, "%s ", r->page->entries[i].key);
    }
    s->count = r->page->count;
    snprintf(s->next, sizeof s->next, "%s", r->page->next ? r->page->next : "");
}

static void saw_begin(void *arg, const struct object_meta *meta)
{
    struct seen *s = arg;
    s->begins++;
    s->begun = *meta;
}

static void saw_data(void *arg, struct str bytes)
{
    struct seen *s = arg;
    assert_int_equal(s->begins, 1);
    assert_true(bytes.n > 0);
    buf_append_str(&s->data, bytes);
    if (++s->pieces == s->pause_at)
        object_get_pause(s->op);
    if (s->cancel_in_data)
        object_op_cancel(s->op);
}

static void run(struct world *w)
{
    uv_run(&w->loop, UV_RUN_DEFAULT);
}

static void open_store(struct world *w, bool no_tmpfile)
{
    struct object_store_options o = {
        .kind = OBJECT_STORE_DIRECTORY, .path = w->root, .no_tmpfile = no_tmpfile};
    struct errinfo info;
    assert_int_equal(object_store_open(&w->loop, &o, &w->store, &info), ERR_OK);
}

static void setup_with(struct world *w, bool no_tmpfile)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(w->folder, sizeof w->folder, "%.40s/store-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->root, sizeof w->root, "%s/a/b", w->folder);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    open_store(w, no_tmpfile);
}

static void closed(void *arg)
{
    ++*(int *)arg;
}

static void close_store(struct world *w)
{
    int count = 0;
    object_store_close(w->store, closed, &count);
    assert_int_equal(count, 0);
    run(w);
    assert_int_equal(count, 1);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void teardown_with(struct world *w)
{
    close_store(w);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    nftw(w->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static enum err put(struct world *w, const char *key, struct str bytes, bool if_absent)
{
    struct seen s = {0};
    struct object_put put = {.key = key, .bytes = bytes, .if_absent = if_absent};
    enum err e = object_put(w->store, &put, saw, &s, NULL);
    if (e)
        return e;
    assert_int_equal(s.dones, 0);
    run(w);
    assert_int_equal(s.dones, 1);
    return s.e;
}

static enum err get(struct world *w, struct object_get *g, struct seen *s)
{
    buf_init(&s->data, 1 << 24);
    g->begin = saw_begin;
    g->data = saw_data;
    enum err e = object_get(w->store, g, saw, s, &s->op);
    if (e)
        return e;
    run(w);
    return s->e;
}

static void expect_content(struct world *w, const char *key, struct str wanted)
{
    struct seen s = {0};
    struct sha256 hash = sha256_of(wanted);
    assert_int_equal(get(w, &(struct object_get){.key = key, .sha256 = &hash}, &s), ERR_OK);
    assert_true(str_eq(buf_str(&s.data), wanted));
    assert_int_equal(s.begins, 1);
    assert_int_equal(s.begun.size, wanted.n);
    assert_int_equal(s.meta.size, wanted.n);
    assert_true(s.meta.time_ms > 1600000000000);
    buf_free(&s.data);
}

/* Names in .tmp, and all names anywhere below. */
static unsigned tmp_names(struct world *w)
{
    char path[128];
    unsigned count = 0;
    snprintf(path, sizeof path, "%s/.tmp", w->root);
    DIR *dir = opendir(path);
    for (const struct dirent *d; dir && (d = readdir(dir));)
        count += d->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

static enum err list(struct world *w, const char *prefix, const char *cursor, unsigned limit, struct seen *s)
{
    *s = (struct seen){0};
    enum err e = object_list(w->store, prefix, cursor, limit, saw, s, NULL);
    if (e)
        return e;
    run(w);
    return s->e;
}

#define WORLD(no_tmpfile)                                                                                    \
    (void)state;                                                                                             \
    struct world w;                                                                                          \
    setup_with(&w, no_tmpfile)

static void test_keys(void **state)
{
    (void)state;
    const char *good[] = {"a", "default/aBc_-9.x/0f", "1/2/3/4/5/6/7/8", "a..b/c"};
    const char *bad[] = {"",       "/a",   "a/",   "a//b",     "../a",
                         "a/../b", "a/.b", ".tmp", "a/b c",    "a+b",
                         "a\nb",   "a%2f", "a\\b", "\xc3\xa4", "a/b/c/d/e/f/g/h/i"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(object_key_valid(str_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(object_key_valid(str_of(bad[i])));
    char part[130];
    memset(part, 'x', 129);
    part[129] = '\0';
    assert_false(object_key_valid(str_of(part)));
    part[128] = '\0';
    assert_true(object_key_valid(str_of(part)));
    assert_false(object_key_valid((struct str){.p = "a\0b", .n = 3}));
}

static void test_bad_calls(void **state)
{
    WORLD(false);
    struct seen s;
    struct sha256 hash = sha256_of(STR("x"));
    assert_int_equal(put(&w, "../x", STR("x"), false), ERR_INVALID);
    assert_int_equal(object_head(w.store, "a/../b", saw, &s, NULL), ERR_INVALID);
    assert_int_equal(object_delete(w.store, "", saw, &s, NULL), ERR_INVALID);
    assert_int_equal(list(&w, "a//", NULL, 10, &s), ERR_INVALID);
    assert_int_equal(list(&w, "", "..", 10, &s), ERR_INVALID);
    assert_int_equal(list(&w, "", NULL, 0, &s), ERR_INVALID);
    assert_int_equal(list(&w, "", NULL, OBJECT_LIST_MAX + 1, &s), ERR_INVALID);
    struct object_get ranged = {.key = "a", .from = 1, .sha256 = &hash};
    assert_int_equal(object_get(w.store, &ranged, saw, &s, NULL), ERR_INVALID);
    teardown_with(&w);
}

static void walk(struct world *w)
{
    struct seen s = {0};
    assert_int_equal(object_head(w->store, "t/s/x", saw, &s, NULL), ERR_OK);
    run(w);
    assert_int_equal(s.e, ERR_NOT_FOUND);
    assert_int_equal(put(w, "t/s/x", STR("one"), false), ERR_OK);
    expect_content(w, "t/s/x", STR("one"));
    assert_int_equal(put(w, "t/s/x", STR("other"), true), ERR_EXISTS);
    expect_content(w, "t/s/x", STR("one"));
    assert_int_equal(put(w, "t/s/x", STR("two!"), false), ERR_OK);
    expect_content(w, "t/s/x", STR("two!"));
    assert_int_equal(put(w, "t/s/empty", STR(""), true), ERR_OK);
    expect_content(w, "t/s/empty", STR(""));
    /* An object beside a part of the same name. */
    assert_int_equal(put(w, "t/s", STR("both"), true), ERR_OK);
    expect_content(w, "t/s", STR("both"));
    assert_int_equal(list(w, "", NULL, 10, &s), ERR_OK);
    assert_string_equal(s.keys, "t/s t/s/empty t/s/x ");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(object_delete(w->store, "t/s/x", saw, &s, NULL), ERR_OK);
        run(w);
        assert_int_equal(s.e, ERR_OK);
    }
    assert_int_equal(get(w, &(struct object_get){.key = "t/s/x"}, &s), ERR_NOT_FOUND);
    expect_content(w, "t/s/empty", STR(""));
    assert_int_equal(tmp_names(w), 0);
}

static void test_walk(void **state)
{
    WORLD(false);
    walk(&w);
    teardown_with(&w);
}

static void test_walk_without_tmpfile(void **state)
{
    WORLD(true);
    walk(&w);
    teardown_with(&w);
}

static void test_empty_folders_go(void **state)
{
    WORLD(false);
    struct seen s = {0};
    struct stat st;
    char path[160];
    assert_int_equal(put(&w, "t/s/x", STR("1"), false), ERR_OK);
    assert_int_equal(put(&w, "t/other", STR("1"), false), ERR_OK);
    assert_int_equal(object_delete(w.store, "t/s/x", saw, &s, NULL), ERR_OK);
    run(&w);
    snprintf(path, sizeof path, "%s/t+/s+", w.root);
    assert_int_equal(stat(path, &st), -1);
    expect_content(&w, "t/other", STR("1"));
    teardown_with(&w);
}

/* In the order of the keys' bytes, whatever the limit, with prefixes that end inside a part. */
static void test_list(void **state)
{
    WORLD(false);
    static const char *const keys[] = {"a",     "a-b/x", "a.c",    "a/b",   "a/b/c", "a/bc",  "a0",
                                       "b/1/x", "b/1/y", "b/10/x", "b/2/x", "b-1",   "c/d/e", "c/d/e/f"};
    static const char sorted[] = "a a-b/x a.c a/b a/b/c a/bc a0 b-1 b/1/x b/1/y b/10/x b/2/x c/d/e c/d/e/f ";
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_int_equal(put(&w, keys[i], STR("1"), false), ERR_OK);
    for (unsigned limit = 1; limit < 20; limit++) {
        char all[8192] = "", cursor[OBJECT_KEY_MAX + 1] = "";
        unsigned pages = 0;
        do {
            struct seen s;
            assert_int_equal(list(&w, "", cursor, limit, &s), ERR_OK);
            assert_true(s.count <= limit);
            snprintf(all + strlen(all), sizeof all - strlen(all), "%s", s.keys);
            snprintf(cursor, sizeof cursor, "%s", s.next);
        } while (cursor[0] && ++pages < 20);
        assert_string_equal(all, sorted);
    }
    static const struct {
        const char *prefix, *cursor, *found;
    } rows[] = {
        {"b/1", "", "b/1/x b/1/y b/10/x "},
        {"b/1/", "", "b/1/x b/1/y "},
        {"b/1/", "b/1/x", "b/1/y "},
        {"a/b", "", "a/b a/b/c a/bc "},
        {"zz", "", ""},
        {"c/d/e/", "", "c/d/e/f "},
        {"b", "b/10", "b/10/x b/2/x "},
        {"b/2/", "b/1/y", "b/2/x "},
        {"a", "b", ""},
        {"", "b/2/x", "c/d/e c/d/e/f "},
        {"c/d/e/f/", "", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct seen s;
        assert_int_equal(list(&w, rows[i].prefix, rows[i].cursor, 100, &s), ERR_OK);
        assert_string_equal(s.keys, rows[i].found);
        assert_string_equal(s.next, "");
    }
    teardown_with(&w);
}

/* Empty directories that a crash may leave take no place in a page. */
static void test_list_passes_empty_folders(void **state)
{
    WORLD(false);
    assert_int_equal(put(&w, "z/x", STR("1"), false), ERR_OK);
    for (int i = 0; i < 40; i++) {
        char path[160];
        snprintf(path, sizeof path, "%s/e%02d+", w.root, i);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    struct seen s;
    assert_int_equal(list(&w, "", NULL, 2, &s), ERR_OK);
    assert_string_equal(s.keys, "z/x ");
    teardown_with(&w);
}

static char *pattern(size_t n)
{
    char *p = malloc(n);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i * 7 + (i >> 9));
    return p;
}

static void test_ranges(void **state)
{
    WORLD(false);
    enum { N = 300000 };
    auto_free char *bytes = pattern(N);
    assert_int_equal(put(&w, "big", (struct str){bytes, N}, false), ERR_OK);
    expect_content(&w, "big", (struct str){bytes, N});
    static const struct {
        uint64_t from, length, got;
        enum err e;
    } rows[] = {{0, 1, 1, ERR_OK},          {N - 1, 0, 1, ERR_OK},         {N, 0, 0, ERR_OK},
                {N + 1, 0, 0, ERR_RANGE},   {100, 131072, 131072, ERR_OK}, {5, N, N - 5, ERR_OK},
                {1, 200000, 200000, ERR_OK}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct seen s = {0};
        struct object_get g = {.key = "big", .from = rows[i].from, .length = rows[i].length};
        assert_int_equal(get(&w, &g, &s), rows[i].e);
        assert_true(
            str_eq(buf_str(&s.data), (struct str){bytes + (rows[i].got ? rows[i].from : 0), rows[i].got}));
        buf_free(&s.data);
    }
    teardown_with(&w);
}

static void test_pause_and_cancel(void **state)
{
    WORLD(false);
    enum { N = 500000 };
    auto_free char *bytes = pattern(N);
    assert_int_equal(put(&w, "big", (struct str){bytes, N}, false), ERR_OK);
    for (unsigned at = 1; at <= 4; at++) {
        struct seen s = {.pause_at = at};
        assert_int_equal(get(&w, &(struct object_get){.key = "big"}, &s), ERR_OK);
        /* The loop had nothing left to do. */
        assert_int_equal(s.dones, 0);
        assert_int_equal(s.pieces, at);
        object_get_resume(s.op);
        assert_int_equal(s.pieces, at);
        run(&w);
        assert_int_equal(s.dones, 1);
        assert_true(str_eq(buf_str(&s.data), (struct str){bytes, N}));
        buf_free(&s.data);
    }
    /* Paused before the first piece. */
    struct seen s = {0};
    buf_init(&s.data, N);
    struct object_get g = {.key = "big", .begin = saw_begin, .data = saw_data};
    assert_int_equal(object_get(w.store, &g, saw, &s, &s.op), ERR_OK);
    object_get_pause(s.op);
    run(&w);
    assert_int_equal(s.begins + s.pieces + s.dones, 0);
    object_get_resume(s.op);
    run(&w);
    assert_int_equal(s.dones, 1);
    assert_int_equal(s.data.len, N);
    buf_free(&s.data);
    struct seen c = {.cancel_in_data = true};
    assert_int_equal(get(&w, &g, &c), ERR_OK);
    assert_int_equal(c.pieces, 1);
    assert_int_equal(c.dones, 0);
    buf_free(&c.data);
    teardown_with(&w);
}

static void test_close_cancels(void **state)
{
    WORLD(false);
    struct seen s = {0};
    struct object_put put = {.key = "t/x", .bytes = STR("1")};
    assert_int_equal(object_put(w.store, &put, saw, &s, NULL), ERR_OK);
    assert_int_equal(object_head(w.store, "t/x", saw, &s, NULL), ERR_OK);
    struct object_get g = {.key = "t/x", .data = saw_data};
    assert_int_equal(object_get(w.store, &g, saw, &s, NULL), ERR_OK);
    int fd = open("/dev/null", O_WRONLY);
    assert_int_equal(object_get_to_fd(w.store, &g, fd, saw, &s, NULL), ERR_OK);
    close(fd);
    struct object_op *op;
    assert_int_equal(object_head(w.store, "t/x", saw, &s, &op), ERR_OK);
    object_op_cancel(op);
    teardown_with(&w);
    assert_int_equal(s.dones, 0);
}

static void test_corrupt(void **state)
{
    WORLD(false);
    struct sha256 other = sha256_of(STR("other"));
    struct seen s = {0};
    struct object_put p = {.key = "x", .bytes = STR("this"), .sha256 = &other};
    assert_int_equal(object_put(w.store, &p, saw, &s, NULL), ERR_OK);
    run(&w);
    assert_int_equal(s.e, ERR_CORRUPT);
    assert_int_equal(object_head(w.store, "x", saw, &s, NULL), ERR_OK);
    run(&w);
    assert_int_equal(s.e, ERR_NOT_FOUND);
    assert_int_equal(put(&w, "x", STR("this"), false), ERR_OK);
    struct seen damaged = {0};
    assert_int_equal(get(&w, &(struct object_get){.key = "x", .sha256 = &other}, &damaged), ERR_CORRUPT);
    buf_free(&damaged.data);
    /* A file that is shorter than was said. */
    auto_fd fd = memfd_create("short", MFD_CLOEXEC);
    assert_int_equal(write(fd, "abc", 3), 3);
    p = (struct object_put){.key = "y", .has_fd = true, .fd = fd, .size = 4};
    assert_int_equal(object_put(w.store, &p, saw, &s, NULL), ERR_OK);
    run(&w);
    assert_int_equal(s.e, ERR_CORRUPT);
    p.size = 2;
    p.from = 1;
    assert_int_equal(object_put(w.store, &p, saw, &s, NULL), ERR_OK);
    run(&w);
    expect_content(&w, "y", STR("bc"));
    teardown_with(&w);
}

static void spooled(void *arg, enum err e, const char *why)
{
    struct seen *s = arg;
    s->dones++;
    s->e = e;
    snprintf(s->why, sizeof s->why, "%s", why ? why : "");
}

static void has_room(void *arg)
{
    ((struct seen *)arg)->rooms++;
}

static void spool_some(struct world *w, size_t n, size_t step)
{
    struct seen s = {0};
    struct spool *spool;
    auto_free char *bytes = pattern(n ? n : 1);
    assert_int_equal(object_spool(w->store, n, has_room, &s, &spool), ERR_OK);
    for (size_t at = 0; at < n; at += step) {
        unsigned rooms = s.rooms;
        enum err e = spool_push(spool, (struct str){bytes + at, step < n - at ? step : n - at});
        assert_true(e == ERR_OK || e == ERR_AGAIN);
        while (e == ERR_AGAIN && s.rooms == rooms)
            uv_run(&w->loop, UV_RUN_ONCE);
    }
    assert_int_equal(spool_push(spool, STR("x")), ERR_FULL);
    spool_end(spool, spooled, &s);
    assert_int_equal(s.dones, 0);
    run(w);
    assert_int_equal(s.dones, 1);
    assert_int_equal(s.e, ERR_OK);
    assert_int_equal(spool_size(spool), n);
    struct sha256 wanted = sha256_of((struct str){bytes, n});
    assert_memory_equal(spool_sha256(spool)->bytes, wanted.bytes, SHA256_LEN);
    /* Twice, under two names; dropped while the second is on its way. */
    struct object_put p = {.key = "t/one", .spool = spool, .sha256 = &wanted};
    assert_int_equal(object_put(w->store, &p, saw, &s, NULL), ERR_OK);
    run(w);
    assert_int_equal(s.e, ERR_OK);
    p.key = "t/two";
    assert_int_equal(object_put(w->store, &p, saw, &s, NULL), ERR_OK);
    spool_drop(spool);
    run(w);
    assert_int_equal(s.e, ERR_OK);
    expect_content(w, "t/one", (struct str){bytes, n});
    expect_content(w, "t/two", (struct str){bytes, n});
    assert_int_equal(tmp_names(w), 0);
}

static void spool_cases(struct world *w)
{
    spool_some(w, 0, 1);
    spool_some(w, 1, 1);
    spool_some(w, 131072, 65536);
    spool_some(w, 1000000, 10000);
    spool_some(w, 3000000, 1000000);
}

static void test_spool(void **state)
{
    WORLD(false);
    spool_cases(&w);
    teardown_with(&w);
}

static void test_spool_named(void **state)
{
    WORLD(true);
    spool_cases(&w);
    /* Its name goes with it, also in the middle of a write. */
    struct spool *spool;
    auto_free char *bytes = pattern(200000);
    assert_int_equal(object_spool(w.store, 1 << 20, NULL, NULL, &spool), ERR_OK);
    assert_true(spool_push(spool, (struct str){bytes, 200000}) != ERR_FULL);
    spool_drop(spool);
    run(&w);
    assert_int_equal(tmp_names(&w), 0);
    teardown_with(&w);
}

static void test_get_to_fd(void **state)
{
    WORLD(false);
    enum { N = 2000000 };
    auto_free char *bytes = pattern(N), *back = malloc(N);
    assert_int_equal(put(&w, "big", (struct str){bytes, N}, false), ERR_OK);
    auto_fd fd = memfd_create("to", MFD_CLOEXEC);
    struct seen s = {0};
    struct sha256 hash = sha256_of((struct str){bytes, N});
    struct object_get g = {.key = "big", .sha256 = &hash};
    assert_int_equal(object_get_to_fd(w.store, &g, fd, saw, &s, NULL), ERR_OK);
    run(&w);
    assert_int_equal(s.e, ERR_OK);
    assert_int_equal(s.meta.size, N);
    assert_int_equal(pread(fd, back, N, 0), N);
    assert_memory_equal(bytes, back, N);
    auto_fd full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(object_get_to_fd(w.store, &g, full, saw, &s, NULL), ERR_OK);
    run(&w);
    assert_int_equal(s.e, ERR_FULL);
    g = (struct object_get){.key = "none"};
    assert_int_equal(object_get_to_fd(w.store, &g, fd, saw, &s, NULL), ERR_OK);
    run(&w);
    assert_int_equal(s.e, ERR_NOT_FOUND);
    teardown_with(&w);
}

/* What nobody holds goes when the store is opened; what a living process writes stays. */
static void test_sweep(void **state)
{
    WORLD(true);
    assert_int_equal(put(&w, "x", STR("1"), false), ERR_OK);
    char dead[160], alive[160];
    snprintf(dead, sizeof dead, "%s/.tmp/dead", w.root);
    snprintf(alive, sizeof alive, "%s/.tmp/alive", w.root);
    close(open(dead, O_CREAT | O_WRONLY, 0600));
    auto_fd held = open(alive, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(flock(held, LOCK_EX), 0);
    close_store(&w);
    open_store(&w, true);
    expect_content(&w, "x", STR("1"));
    assert_int_equal(access(dead, F_OK), -1);
    assert_int_equal(access(alive, F_OK), 0);
    teardown_with(&w);
}

/* Followed nowhere: a link in the place of an object or a folder. */
static void test_links_are_refused(void **state)
{
    WORLD(false);
    char path[160];
    struct seen s = {0};
    assert_int_equal(put(&w, "t/x", STR("1"), false), ERR_OK);
    snprintf(path, sizeof path, "%s/link", w.root);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    snprintf(path, sizeof path, "%s/dir+", w.root);
    assert_int_equal(symlink("t+", path), 0);
    assert_int_equal(get(&w, &(struct object_get){.key = "link"}, &s), ERR_DENIED);
    assert_true(get(&w, &(struct object_get){.key = "dir/x"}, &s) != ERR_OK);
    assert_true(put(&w, "dir/y", STR("1"), false) != ERR_OK);
    assert_int_equal(list(&w, "", NULL, 10, &s), ERR_OK);
    assert_string_equal(s.keys, "t/x ");
    teardown_with(&w);
}

static void test_mode_comes_from_the_folder(void **state)
{
    WORLD(false);
    char path[160];
    struct stat st;
    snprintf(path, sizeof path, "%s/a", w.folder);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mkdir(w.root, 0700), 0);
    assert_int_equal(chmod(w.root, 02770), 0);
    assert_int_equal(put(&w, "t/x", STR("1"), false), ERR_OK);
    snprintf(path, sizeof path, "%s/t+", w.root);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 02770);
    snprintf(path, sizeof path, "%s/t+/x", w.root);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    teardown_with(&w);
}

static void test_full(void **state)
{
    WORLD(false);
    assert_int_equal(put(&w, "x", STR("1"), false), ERR_OK);
    struct rlimit before, small = {.rlim_cur = 1000};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    auto_free char *bytes = pattern(5000);
    enum err e = put(&w, "x", (struct str){bytes, 5000}, false);
    struct spool *spool;
    struct seen s = {0};
    assert_int_equal(object_spool(w.store, 1 << 20, NULL, NULL, &spool), ERR_OK);
    assert_int_equal(spool_push(spool, (struct str){bytes, 5000}), ERR_OK);
    spool_end(spool, spooled, &s);
    run(&w);
    spool_drop(spool);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(e, ERR_FULL);
    assert_int_equal(s.e, ERR_FULL);
    expect_content(&w, "x", STR("1"));
    teardown_with(&w);
}

static void test_not_there(void **state)
{
    WORLD(false);
    struct seen s = {0};
    char path[96];
    snprintf(path, sizeof path, "%s/a", w.folder);
    close(open(path, O_CREAT | O_WRONLY, 0600)); /* a file where a folder should be */
    assert_int_equal(object_check(w.store, saw, &s, NULL), ERR_OK);
    run(&w);
    assert_int_equal(s.e, ERR_UNAVAILABLE);
    assert_int_equal(put(&w, "x", STR("1"), false), ERR_UNAVAILABLE);
    unlink(path);
    assert_int_equal(object_check(w.store, saw, &s, NULL), ERR_OK);
    run(&w);
    assert_int_equal(s.e, ERR_OK);
    assert_int_equal(put(&w, "x", STR("1"), false), ERR_OK);
    teardown_with(&w);
}

/* Deletes take folders away under puts that want to use them. */
static void test_put_against_delete(void **state)
{
    WORLD(false);
    enum { ROUNDS = 200 };
    struct seen puts[ROUNDS] = {0}, deletes[ROUNDS] = {0};
    for (int i = 0; i < ROUNDS; i++) {
        char key[32], other[32];
        snprintf(key, sizeof key, "t/s/%d", i);
        snprintf(other, sizeof other, "t/s/%d", i - 1);
        struct object_put p = {.key = key, .bytes = STR("1")};
        assert_int_equal(object_put(w.store, &p, saw, &puts[i], NULL), ERR_OK);
        assert_int_equal(object_delete(w.store, i == 0 ? "t/none" : other, saw, &deletes[i], NULL), ERR_OK);
    }
    run(&w);
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(puts[i].e, ERR_OK);
        assert_int_equal(deletes[i].e, ERR_OK);
    }
    teardown_with(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_bad_calls),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_walk_without_tmpfile),
        cmocka_unit_test(test_empty_folders_go),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_list_passes_empty_folders),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_pause_and_cancel),
        cmocka_unit_test(test_close_cancels),
        cmocka_unit_test(test_corrupt),
        cmocka_unit_test(test_spool),
        cmocka_unit_test(test_spool_named),
        cmocka_unit_test(test_get_to_fd),
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_links_are_refused),
        cmocka_unit_test(test_mode_comes_from_the_folder),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_not_there),
        cmocka_unit_test(test_put_against_delete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
