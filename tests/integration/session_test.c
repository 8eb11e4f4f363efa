/* SPDX-License-Identifier: Apache-2.0 */
/* The session's log and files against a real redis-server; `session_test cluster`: one node with cluster-enabled. */
#include "base/clock.h"
#include "queue/session.h"
#include "support/queue_world.h"
#include "unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define HOUR 3600000

static bool cluster;

struct fixture {
    struct world w;
    struct worker k;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    world_init(&f->w, "no", cluster);
    world_open(&f->w);
    worker_open(&f->k, world_queue(&f->w), "w1", 4);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    world_close_queue(&f->w, f->k.q);
    world_close(&f->w);
    buf_free(&f->k.inputs);
    free(f);
    return 0;
}

/* What a call answered; texts that outlive it. */
struct result {
    bool done;
    enum queue_answer answer;
    char names[4096]; /* "path:size ..." in order */
    char first_from[64], first_hash[80];
    bool shared, read_only;
    size_t count;
    uint64_t files, bytes, seq;
    int64_t due_in;
};

static void names_of(struct result *r, const struct session_file *files, size_t count)
{
    r->count = count;
    r->names[0] = 0;
    for (size_t i = 0; i < count; i++)
        snprintf(r->names + strlen(r->names), sizeof r->names - strlen(r->names), "%s" STR_FMT ":%llu",
                 i ? " " : "", STR_ARG(files[i].path), (unsigned long long)files[i].size);
    if (count) {
        snprintf(r->first_from, sizeof r->first_from, STR_FMT, STR_ARG(files[0].from_id));
        snprintf(r->first_hash, sizeof r->first_hash, STR_FMT, STR_ARG(files[0].hash));
        r->read_only = files[0].read_only;
    }
}

static void on_view(void *arg, enum queue_answer answer, const struct session_view *view)
{
    struct result *r = arg;
    r->done = true;
    r->answer = answer;
    if (!view)
        return;
    names_of(r, view->files, view->count);
    r->shared = view->shared;
    r->files = view->file_count;
    r->bytes = view->bytes;
    r->seq = view->seq;
    r->due_in = view->due_ms - view->now_ms;
}

static void on_changed(void *arg, enum queue_answer answer, const struct session_removed *removed)
{
    struct result *r = arg;
    r->done = true;
    r->answer = answer;
    names_of(r, removed->files, removed->count);
}

static struct session_owner owner(const char *tenant, const char *user)
{
    return (struct session_owner){str_of(tenant), str_of(user)};
}

static struct session_file file(struct queue *q, struct id session, const char *path, uint64_t size)
{
    return (struct session_file){.id = session_draw_file(q, session),
                                 .path = str_of(path),
                                 .hash = STR(HASH),
                                 .size = size,
                                 .source = STR("upload")};
}

static struct result add(struct fixture *f, struct session_add a)
{
    struct result r = {0};
    a.ttl_ms = a.ttl_ms ? a.ttl_ms : HOUR;
    a.max_files = a.max_files ? a.max_files : 50;
    a.max_bytes = a.max_bytes ? a.max_bytes : 1000;
    session_add_files(f->w.api, &a, on_changed, &r);
    assert_false(r.done);
    UNTIL(&f->w, r.done);
    return r;
}

static struct result list(struct fixture *f, const char *tenant, const char *user, struct id session)
{
    struct result r = {0};
    session_list(f->w.api, owner(tenant, user), session, on_view, &r);
    UNTIL(&f->w, r.done);
    return r;
}

static struct result add_one(struct fixture *f, struct id session, const char *path, uint64_t size)
{
    struct session_file one = file(f->w.api, session, path, size);
    return add(f,
               (struct session_add){.session = session, .owner = owner("t", "u"), .files = &one, .count = 1});
}

static void t01_files_are_added_and_listed_in_order(void **state)
{
    struct fixture *f = *state;
    struct id s = session_draw(f->w.api);
    assert_int_equal(list(f, "t", "u", s).answer, QUEUE_NOT_FOUND);
    struct session_file two[] = {file(f->w.api, s, "a/\xc3\xa9 \"x\".csv", 3), file(f->w.api, s, "b", 0)};
    two[0].read_only = true;
    two[0].from_id = STR("aB3dE5gH7jK9mN1pQ3sT5");
    assert_int_equal(id_partition(str_of(two[0].id.text), queue_partitions(f->w.api)),
                     id_partition(str_of(s.text), queue_partitions(f->w.api)));
    assert_int_equal(
        add(f, (struct session_add){.session = s, .owner = owner("t", "u"), .files = two, .count = 1}).answer,
        QUEUE_OK);
    assert_int_equal(
        add(f, (struct session_add){.session = s, .owner = owner("t", "u"), .files = two + 1, .count = 1})
            .answer,
        QUEUE_OK);
    struct result r = list(f, "t", "u", s);
    assert_int_equal(r.count, 2);
    assert_non_null(strstr(r.names, "a/\xc3\xa9 \"x\".csv:3"));
    assert_int_equal(r.files, 2);
    assert_int_equal(r.bytes, 3);
    assert_int_equal(r.seq, 3); /* session_created, file_added, file_added */
    assert_true(r.due_in > HOUR - 60000 && r.due_in <= HOUR);
    assert_string_equal(r.first_hash, HASH);
}

static void t02_one_file_and_ownership(void **state)
{
    struct fixture *f = *state;
    struct id s = session_draw(f->w.api);
    struct session_file one = file(f->w.api, s, "x", 1);
    add(f, (struct session_add){.session = s, .owner = owner("t", "u"), .files = &one, .count = 1});
    const struct {
        const char *tenant, *user;
        enum queue_answer answer;
    } rows[] = {{"t", "u", QUEUE_OK},        {"t", "", QUEUE_OK},        {"t", "v", QUEUE_NOT_FOUND},
                {"x", "u", QUEUE_NOT_FOUND}, {"x", "", QUEUE_NOT_FOUND}, {"", "", QUEUE_NOT_FOUND}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct result r = {0};
        session_look(f->w.api, owner(rows[i].tenant, rows[i].user), s, &one.id, 1, on_view, &r);
        UNTIL(&f->w, r.done);
        assert_int_equal(r.answer, rows[i].answer);
        assert_int_equal(r.count, rows[i].answer == QUEUE_OK);
    }
    struct result none = {0};
    session_look(f->w.api, owner("t", "u"), s, &s, 1, on_view, &none); /* an id that is no file */
    UNTIL(&f->w, none.done);
    assert_int_equal(none.answer, QUEUE_OK);
    assert_int_equal(none.count, 0);
}

static void t03_shared_and_userless_sessions_belong_to_the_tenant(void **state)
{
    struct fixture *f = *state;
    struct id s = session_draw(f->w.api), k = session_draw(f->w.api);
    struct session_file a = file(f->w.api, s, "x", 1), b = file(f->w.api, k, "x", 1);
    add(f, (struct session_add){
               .session = s, .owner = owner("t", "u"), .shared = true, .files = &a, .count = 1});
    add(f, (struct session_add){.session = k, .owner = owner("t", ""), .files = &b, .count = 1});
    assert_int_equal(list(f, "t", "v", s).answer, QUEUE_OK);
    assert_true(list(f, "t", "v", s).shared);
    assert_int_equal(list(f, "t", "v", k).answer, QUEUE_OK);
    assert_int_equal(list(f, "x", "v", s).answer, QUEUE_NOT_FOUND);
    /* Nor can a stranger add to it. */
    struct result r =
        add(f, (struct session_add){.session = s, .owner = owner("x", "u"), .files = &b, .count = 1});
    assert_int_equal(r.answer, QUEUE_NOT_FOUND);
}

static void t04_a_repeat_adds_once(void **state)
{
    struct fixture *f = *state;
    struct id s = session_draw(f->w.api);
    struct session_file one = file(f->w.api, s, "x", 1);
    struct session_add a = {.session = s, .owner = owner("t", "u"), .files = &one, .count = 1};
    assert_int_equal(add(f, a).answer, QUEUE_OK);
    assert_int_equal(add(f, a).answer, QUEUE_OK);
    assert_int_equal(list(f, "t", "u", s).count, 1);
}

static void t05_limits_refuse_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    struct id s = session_draw(f->w.api);
    struct session_file three[] = {file(f->w.api, s, "a", 10), file(f->w.api, s, "b", 10),
                                   file(f->w.api, s, "c", 10)};
    struct session_add a = {
        .session = s, .owner = owner("t", "u"), .files = three, .count = 3, .max_files = 2};
    assert_int_equal(add(f, a).answer, QUEUE_FULL);
    assert_int_equal(list(f, "t", "u", s).answer, QUEUE_NOT_FOUND); /* not even a session */
    a.max_files = 3;
    a.max_bytes = 29;
    assert_int_equal(add(f, a).answer, QUEUE_FULL);
    a.max_bytes = 30;
    assert_int_equal(add(f, a).answer, QUEUE_OK);
}

static void t06_a_file_is_removed_once(void **state)
{
    struct fixture *f = *state;
    struct id s = session_draw(f->w.api);
    struct session_file one = file(f->w.api, s, "x", 7);
    add(f, (struct session_add){.session = s, .owner = owner("t", "u"), .files = &one, .count = 1});
    const enum queue_answer expected[] = {QUEUE_NOT_FOUND, QUEUE_OK, QUEUE_NOT_FOUND};
    const char *users[] = {"v", "u", "u"};
    for (size_t i = 0; i < 3; i++) {
        struct result r = {0};
        session_remove_file(f->w.api, owner("t", users[i]), s, one.id, on_changed, &r);
        UNTIL(&f->w, r.done);
        assert_int_equal(r.answer, expected[i]);
        assert_string_equal(r.names, i == 1 ? "x:7" : "");
    }
    struct result r = list(f, "t", "u", s);
    assert_int_equal(r.files, 0);
    assert_int_equal(r.bytes, 0);
}

static void t07_an_end_is_final(void **state)
{
    struct fixture *f = *state;
    struct id s = session_draw(f->w.api);
    add_one(f, s, "x", 7);
    struct result r = {0};
    session_expire(f->w.api, s, HOUR, on_changed, &r);
    UNTIL(&f->w, r.done);
    assert_int_equal(r.answer, QUEUE_CONFLICT); /* not due */
    r = (struct result){0};
    session_remove(f->w.api, owner("t", "v"), s, STR("v"), HOUR, on_changed, &r);
    UNTIL(&f->w, r.done);
    assert_int_equal(r.answer, QUEUE_NOT_FOUND);
    r = (struct result){0};
    session_remove(f->w.api, owner("t", "u"), s, STR("u"), HOUR, on_changed, &r);
    UNTIL(&f->w, r.done);
    assert_int_equal(r.answer, QUEUE_OK);
    assert_string_equal(r.names, "x:7");
    assert_int_equal(list(f, "t", "u", s).answer, QUEUE_NOT_FOUND);
    assert_int_equal(add_one(f, s, "y", 1).answer, QUEUE_NOT_FOUND);
}

static void t08_what_is_due_is_gone_before_it_is_swept(void **state)
{
    struct fixture *f = *state;
    struct id s = session_draw(f->w.api);
    struct session_file one = file(f->w.api, s, "x", 1);
    add(f,
        (struct session_add){.session = s, .owner = owner("t", "u"), .files = &one, .count = 1, .ttl_ms = 1});
    UNTIL(&f->w, list(f, "t", "u", s).answer == QUEUE_NOT_FOUND);
    struct result r = {0};
    session_expire(f->w.api, s, HOUR, on_changed, &r);
    UNTIL(&f->w, r.done);
    assert_int_equal(r.answer, QUEUE_OK);
    assert_string_equal(r.names, "x:1");
}

/* Outputs of a run, in the session of its job. */
static struct result add_output(struct fixture *f, size_t i, struct id session, uint32_t attempt,
                                const char *path, uint64_t max_files)
{
    struct session_file one = file(f->w.api, session, path, 1);
    one.source = STR("run");
    one.job = str_of(f->k.jobs[i].job.text);
    one.attempt = attempt;
    return add(f, (struct session_add){.session = session,
                                       .owner = owner("t", ""),
                                       .files = &one,
                                       .count = 1,
                                       .max_files = max_files,
                                       .job = f->k.jobs[i].job,
                                       .attempt = attempt});
}

static void t09_outputs_are_fenced_by_the_attempt(void **state)
{
    struct fixture *f = *state;
    size_t i = f->k.count;
    struct submitted sub;
    world_submit(f->w.api, "t", &sub, &(struct queue_submit){.retry = true});
    UNTIL(&f->w, sub.done && f->k.count == i + 1);
    assert_int_equal(add_output(f, i, sub.session, 2, "x", 9).answer, QUEUE_FENCED);
    assert_int_equal(add_output(f, i, sub.session, 1, "x", 9).answer, QUEUE_OK);
    /* The next attempt replaces what this one left. */
    struct answer a = {0};
    queue_requeue(f->k.q, sub.job, 1, STR("worker_drained"), true, on_answer, &a);
    UNTIL(&f->w, a.done && f->k.count == i + 2);
    assert_int_equal(add_output(f, i, sub.session, 1, "x", 9).answer, QUEUE_FENCED);
    struct result r = add_output(f, i + 1, sub.session, 2, "y", 9);
    assert_int_equal(r.answer, QUEUE_OK);
    assert_string_equal(r.names, "x:1");
    assert_string_equal(list(f, "t", "", sub.session).names, "y:1");
}

static void t10_a_full_session_gives_up_replaced_outputs_only(void **state)
{
    struct fixture *f = *state;
    size_t i = f->k.count;
    struct submitted sub;
    world_submit(f->w.api, "t", &sub, &(struct queue_submit){.retry = true});
    UNTIL(&f->w, sub.done && f->k.count == i + 1);
    assert_int_equal(add_output(f, i, sub.session, 1, "x", 2).answer, QUEUE_OK);
    assert_int_equal(add_output(f, i, sub.session, 1, "y", 2).answer, QUEUE_OK);
    assert_int_equal(add_output(f, i, sub.session, 1, "z", 2).answer, QUEUE_FULL);
    struct result r = add_output(f, i, sub.session, 1, "x", 2);
    assert_int_equal(r.answer, QUEUE_OK);
    assert_string_equal(r.names, "x:1");
    assert_int_equal(list(f, "t", "", sub.session).count, 2);
}

static void t11_object_names_cannot_leave_their_place(void **state)
{
    struct fixture *f = *state;
    auto_buf out = BUF_INIT(512);
    struct id s = session_draw(f->w.api);
    struct session_file one = file(f->w.api, s, "x", 1);
    assert_int_equal(session_object_name(STR("../a b"), s, &one, &out), ERR_OK);
    assert_true(str_starts(buf_str(&out), STR(".2e.2e.2fa.20b/")));
    assert_non_null(strstr(buf_cstr(&out), HASH "-"));
    assert_non_null(strstr(buf_cstr(&out), one.id.text));
}

int main(int argc, char **argv)
{
    cluster = argc > 1 && strcmp(argv[1], "cluster") == 0;
#define T(name) cmocka_unit_test(name)
    const struct CMUnitTest tests[] = {
        T(t01_files_are_added_and_listed_in_order),
        T(t02_one_file_and_ownership),
        T(t03_shared_and_userless_sessions_belong_to_the_tenant),
        T(t04_a_repeat_adds_once),
        T(t05_limits_refuse_all_or_nothing),
        T(t06_a_file_is_removed_once),
        T(t07_an_end_is_final),
        T(t08_what_is_due_is_gone_before_it_is_swept),
        T(t09_outputs_are_fenced_by_the_attempt),
        T(t10_a_full_session_gives_up_replaced_outputs_only),
        T(t11_object_names_cannot_leave_their_place),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
