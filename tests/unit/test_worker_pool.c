/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "fake_backend.h"
#include "worker/pool.h"

#define MS 1000000LL

static int64_t now;
static struct pools *pools;

static int64_t test_now(void)
{
    return now;
}

static void open_pools_of(bool remote, const struct pool_kind *kinds, size_t count)
{
    struct pools_options options = {.backend = &fake.base,
                                    .kinds = kinds,
                                    .kind_count = count,
                                    .max_pods = 16,
                                    .create_concurrency = 4,
                                    .remote = remote,
                                    .cluster_ms = 180000,
                                    .now_ns = test_now};
    assert_int_equal(pools_open(&options, &pools), ERR_OK);
    pools_tick(pools);
}

static void open_kinds(const struct pool_kind *kinds, size_t count)
{
    open_pools_of(false, kinds, count);
}

static void open_pools(unsigned size, const char *fallback)
{
    const struct pool_kind kinds[] = {{.name = "py", .size = size, .fallback = fallback},
                                      {.name = "cold", .size = 1}};
    open_kinds(kinds, 2);
}

static int setup(void **state)
{
    (void)state;
    fake_reset();
    now = 1000 * MS;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pools_stop(pools);
    for (size_t i = 0; i < fake.count; i++)
        if (fake.pods[i].alive)
            fake_says(&fake.pods[i], POD_GONE);
    pools_free(pools);
    return 0;
}

static struct pool_stats stats_of(const char *kind)
{
    struct pool_stats s[POOL_KINDS_MAX];
    size_t n = pools_stats(pools, s, POOL_KINDS_MAX);
    for (size_t i = 0; i < n; i++)
        if (strcmp(s[i].kind, kind) == 0)
            return s[i];
    fail();
    return s[0];
}

/* Those that have begun until now. */
static void ready_up_to(size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fake.pods[i].alive && !fake.pods[i].destroyed && !fake.pods[i].ran) {
            fake.pods[i].ran = true; /* told once */
            fake_says(&fake.pods[i], POD_READY);
        }
}

/* Every pod that starts becomes ready, until nothing starts any more. */
static void all_ready(void)
{
    for (size_t before = 0; before < fake.count;) {
        before = fake.count;
        ready_up_to(before);
    }
}

struct taken {
    struct pool_wait wait;
    struct pool_pod *pod;
    const char *why;
    int told;
};

static void on_got(void *arg, struct pool_pod *pod, const char *why)
{
    struct taken *t = arg;
    t->told++;
    t->pod = pod;
    t->why = why;
}

static struct pool_pod *take(struct taken *t)
{
    *t = (struct taken){.wait = {.got = on_got, .arg = t}};
    t->pod = pools_take(pools, "py", &t->wait);
    return t->pod;
}

static void fills_up_a_few_at_a_time(void **state)
{
    (void)state;
    open_pools(5, NULL);
    assert_int_equal(fake.count, 4);
    assert_false(pools_idle(pools, "py"));
    all_ready();
    assert_true(pools_idle(pools, "py"));
    assert_int_equal(stats_of("py").pods[POD_ST_IDLE], 5);
    assert_int_equal(stats_of("cold").pods[POD_ST_IDLE], 1);
    assert_int_equal(fake.count, 6);
}

static void one_more_than_the_pool_waits_and_is_counted(void **state)
{
    (void)state;
    open_pools(2, NULL);
    all_ready();
    struct taken t[3];
    assert_non_null(take(&t[0]));
    assert_non_null(take(&t[1]));
    now += 5 * MS;
    assert_null(take(&t[2]));
    assert_int_equal(t[2].told, 0);
    assert_int_equal(stats_of("py").hits, 2);
    assert_int_equal(stats_of("py").misses, 1);
    now += 7 * MS;
    all_ready();
    assert_int_equal(t[2].told, 1);
    assert_non_null(t[2].pod);
    assert_int_equal(stats_of("py").waited_ns, 7 * MS);
    assert_int_equal(stats_of("py").hits, 2);
}

static void one_at_a_time_waits_here(void **state)
{
    (void)state;
    open_pools(2, NULL);
    all_ready();
    struct taken t[3];
    assert_int_equal(pools_room(pools, "py"), 3);
    take(&t[0]);
    take(&t[1]);
    assert_int_equal(pools_room(pools, "py"), 1);
    assert_null(take(&t[2]));
    assert_int_equal(pools_room(pools, "py"), 0);
    all_ready();
    assert_non_null(t[2].pod);
    assert_true(pools_room(pools, "py") >= 1);
}

static void a_used_pod_is_destroyed_and_replaced(void **state)
{
    (void)state;
    open_pools(1, NULL);
    all_ready();
    struct taken t;
    struct pool_pod *pp = take(&t);
    struct pod *pod = pp->pod;
    pool_pod_running(pp);
    pool_pod_release(pp, false);
    assert_true(pod->destroyed);
    assert_int_equal(stats_of("py").pods[POD_ST_DOOMED], 1);
    fake_reap();
    assert_int_equal(stats_of("py").pods[POD_ST_DOOMED], 0);
    all_ready();
    assert_int_equal(stats_of("py").pods[POD_ST_IDLE], 1);
    assert_ptr_not_equal(take(&t)->pod, pod);
}

static void background_filling_is_slow_beside_jobs_until_the_pool_is_nearly_empty(void **state)
{
    (void)state;
    open_pools(8, NULL);
    all_ready();
    struct taken t[8];
    for (int i = 0; i < 3; i++)
        take(&t[i]);
    assert_int_equal(stats_of("py").pods[POD_ST_STARTING], 0); /* not in the way of the one that was taken */
    pools_tick(pools);
    assert_int_equal(stats_of("py").pods[POD_ST_STARTING], 1);
    take(&t[3]);
    take(&t[4]);
    pools_tick(pools);
    assert_int_equal(stats_of("py").pods[POD_ST_STARTING], 2);
}

static void an_idle_pod_that_dies_is_not_given_out(void **state)
{
    (void)state;
    open_pools(1, NULL);
    all_ready();
    size_t made = fake.count;
    for (size_t i = 0; i < made; i++)
        if (strcmp(fake.pods[i].kind, "py") == 0)
            fake_says(&fake.pods[i], POD_LOST);
    struct taken t;
    assert_null(take(&t));
    assert_int_equal(stats_of("py").lost, 1);
    all_ready();
    assert_non_null(t.pod);
}

static void fail_py(void)
{
    for (size_t i = 0; i < fake.count; i++)
        if (fake.pods[i].alive && !fake.pods[i].destroyed && strcmp(fake.pods[i].kind, "py") == 0)
            fake_says(&fake.pods[i], POD_LOST);
    fake_reap();
}

static void a_kind_that_cannot_be_made_falls_back(void **state)
{
    (void)state;
    open_pools(2, "cold");
    struct taken t;
    assert_null(take(&t));
    fail_py();
    assert_int_equal(t.told, 0);
    all_ready();
    assert_non_null(t.pod);
    assert_true(pool_pod_is(t.pod, "cold"));
    assert_int_equal(stats_of("py").fallbacks, 1);
    assert_true(pools_idle(pools, "py"));
}

static void retries_are_further_and_further_apart(void **state)
{
    (void)state;
    open_pools(1, "cold");
    size_t made = 0;
    int64_t end = now + 60000 * MS;
    for (; now < end; now += 10 * MS) {
        pools_tick(pools);
        fail_py();
        all_ready();
    }
    for (size_t i = 0; i < fake.count; i++)
        made += strcmp(fake.pods[i].kind, "py") == 0;
    assert_in_range(made, 55, 75);
    assert_string_equal(stats_of("py").why, "the test says so");
}

static struct pools *three(unsigned science, const char *missing)
{
    const struct pool_kind kinds[] = {
        {.name = "py", .size = 1, .fallback = "cold"},
        {.name = "cold", .size = 1},
        {.name = "science", .size = science, .fallback = "py", .missing = missing},
        {.name = "js", .size = 2, .fallback = "cold", .later = true, .heavy = true},
        {.name = "java", .size = 2, .fallback = "cold", .later = true, .heavy = true},
    };
    struct pools_options options = {.backend = &fake.base,
                                    .kinds = kinds,
                                    .kind_count = 5,
                                    .max_pods = 32,
                                    .create_concurrency = 16,
                                    .now_ns = test_now};
    assert_int_equal(pools_open(&options, &pools), ERR_OK);
    pools_tick(pools);
    return pools;
}

static size_t asked_for(const char *kind)
{
    size_t n = 0;
    for (size_t i = 0; i < fake.count; i++)
        n += strcmp(fake.pods[i].kind, kind) == 0;
    return n;
}

static void interpreters_start_one_at_a_time_behind_the_first_kind(void **state)
{
    (void)state;
    three(2, NULL);
    assert_int_equal(asked_for("py") + asked_for("cold") + asked_for("science"), 4);
    assert_int_equal(asked_for("js") + asked_for("java"), 0);
    for (size_t begun = 1; begun <= 4; begun++) {
        ready_up_to(fake.count);
        assert_int_equal(asked_for("js") + asked_for("java"), begun);
    }
    all_ready();
    assert_int_equal(stats_of("js").pods[POD_ST_IDLE], 2);
    assert_int_equal(stats_of("java").pods[POD_ST_IDLE], 2);
}

static void nobody_waits_for_a_slow_one(void **state)
{
    (void)state;
    const struct pool_kind kinds[] = {
        {.name = "cold", .size = 1},
        {.name = "java", .size = 1, .fallback = "cold", .heavy = true, .slow = true}};
    open_kinds(kinds, 2);
    all_ready();
    struct pool_wait wait = {.arg = NULL};
    struct pool_pod *first = pools_take(pools, "java", &wait), *second = pools_take(pools, "java", &wait);
    assert_false(pool_pod_is_fallback(first, "java"));
    assert_true(pool_pod_is_fallback(second, "java"));
    pool_pod_release(first, true);
    pool_pod_release(second, true);
    assert_int_equal(stats_of("java").misses, 1);
    assert_int_equal(stats_of("java").fallbacks, 1);
}

static void what_the_host_lacks_is_not_tried_and_not_a_failure(void **state)
{
    (void)state;
    three(0, "/usr/lib/nothing");
    all_ready();
    struct taken t = {.wait = {.got = on_got, .arg = &t}};
    struct pool_pod *pp = pools_take(pools, "science", &t.wait);
    assert_non_null(pp);
    assert_true(pool_pod_is(pp, "py"));
    assert_false(pool_pod_is_fallback(pp, "science"));
    assert_int_equal(asked_for("science"), 0);
    assert_int_equal(stats_of("science").fallbacks, 0);
    assert_string_equal(stats_of("science").missing, "/usr/lib/nothing");
}

/* One kind that cannot be made does not keep the others from being ready, nor its own jobs from a pod. */
static void a_failing_kind_goes_down_the_chain_while_the_others_work(void **state)
{
    (void)state;
    three(1, NULL);
    for (size_t i = 0; i < fake.count; i++)
        if (strcmp(fake.pods[i].kind, "science") == 0)
            fake_says(&fake.pods[i], POD_LOST);
    for (size_t i = 0; i < fake.count; i++)
        fake.pods[i].ran |= fake.pods[i].destroyed;
    all_ready();
    struct taken t = {.wait = {.got = on_got, .arg = &t}};
    struct pool_pod *pp = pools_take(pools, "science", &t.wait);
    assert_non_null(pp);
    assert_true(pool_pod_is(pp, "py") && pool_pod_is_fallback(pp, "science"));
    assert_int_equal(stats_of("science").failures, 1);
    assert_string_equal(stats_of("science").why, "the test says so");
    assert_string_equal(stats_of("py").why, "");
}

static void without_fallback_those_who_wait_are_told(void **state)
{
    (void)state;
    open_pools(1, NULL);
    struct taken t;
    assert_null(take(&t));
    for (int i = 0; i < 1000 && t.told == 0; i++) {
        fail_py();
        now += 100 * MS;
        pools_tick(pools);
    }
    assert_int_equal(t.told, 1);
    assert_null(t.pod);
    assert_string_equal(t.why, "the test says so");
}

static void fail_for(enum reason reason)
{
    for (size_t i = 0; i < fake.count; i++)
        if (fake.pods[i].alive && !fake.pods[i].destroyed)
            fake_tell(&fake.pods[i], (struct pod_event){.type = POD_LOST, .reason = reason, .text = "away"});
    fake_reap();
}

static void while_a_cluster_is_away_jobs_wait_for_their_patience(void **state)
{
    (void)state;
    const struct pool_kind kinds[] = {{.name = "py", .size = 1}};
    open_pools_of(true, kinds, 1);
    struct taken t;
    assert_null(take(&t));
    for (int second = 0; second < 179; second++) {
        fail_for(REASON_CLUSTER_UNAVAILABLE);
        now += 1000 * MS;
        pools_tick(pools);
        assert_int_equal(t.told, 0);
    }
    for (int second = 0; second < 3; second++) {
        fail_for(REASON_CLUSTER_UNAVAILABLE);
        now += 1000 * MS;
        pools_tick(pools);
    }
    assert_int_equal(t.told, 1);
    assert_null(t.pod);
    assert_int_equal(t.wait.reason, REASON_CLUSTER_UNAVAILABLE);
}

static void an_outage_is_forgotten_where_nobody_asks_any_more(void **state)
{
    (void)state;
    const struct pool_kind kinds[] = {{.name = "py", .size = 0}, {.name = "js", .size = 0}};
    const struct {
        const char *kind;
        enum reason reason;
        bool stays;
    } rows[] = {{"js", REASON_IMAGE_UNAVAILABLE, true},
                {"js", REASON_CLUSTER_UNAVAILABLE, false},
                {"py", REASON_CLUSTER_UNAVAILABLE, false},
                {"py", REASON_POD_QUOTA, false}}; /* which kept all jobs away */
    open_pools_of(true, kinds, 2);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct taken t;
        t = (struct taken){.wait = {.got = on_got, .arg = &t}};
        assert_null(pools_take(pools, rows[i].kind, &t.wait));
        now += 1000 * MS;
        pools_tick(pools);
        fail_for(rows[i].reason);
        pools_cancel(pools, &t.wait);
        assert_int_not_equal(stats_of(rows[i].kind).failures, 0);
        assert_int_equal(pools_take_jobs(pools), strcmp(rows[i].kind, "py") != 0);
        now += 3000 * MS;
        pools_tick(pools);
        assert_int_equal(stats_of(rows[i].kind).failures != 0, rows[i].stays);
        assert_int_equal(stats_of(rows[i].kind).why[0] != '\0', rows[i].stays);
        assert_true(pools_take_jobs(pools));
    }
}

static void jobs_are_taken_without_the_first_kinds_image(void **state)
{
    (void)state;
    const struct pool_kind kinds[] = {{.name = "py", .size = 1}, {.name = "js", .size = 1, .later = true}};
    const enum reason reasons[] = {REASON_POD_QUOTA, REASON_IMAGE_UNAVAILABLE};
    open_pools_of(true, kinds, 2);
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        for (int failures = 0; failures < POOL_GIVE_UP; failures++) {
            assert_false(pools_take_jobs(pools));
            fail_for(reasons[i]);
            now += 1000 * MS;
            pools_tick(pools);
        }
    assert_false(pools_take_jobs(pools)); /* no pod shows that there are any */
    for (size_t i = 0; i < fake.count; i++)
        if (fake.pods[i].alive && !fake.pods[i].destroyed && strcmp(fake.pods[i].kind, "js") == 0)
            fake_says(&fake.pods[i], POD_READY);
    assert_true(pools_take_jobs(pools));
    fail_for(REASON_POD_QUOTA);
    assert_false(pools_take_jobs(pools));
}

static void a_remote_pods_successor_is_made_behind_a_short_run_whatever_comes(void **state)
{
    (void)state;
    const struct pool_kind kinds[] = {{.name = "py", .size = 6}};
    open_pools_of(true, kinds, 1);
    all_ready();
    assert_int_equal(fake.count, 6);
    struct taken t[6];
    assert_non_null(take(&t[0]));
    now += 10 * MS;
    pools_tick(pools);
    assert_int_equal(fake.count, 6);
    for (int i = 1; i < 4; i++) { /* further claims put it off no further */
        assert_non_null(take(&t[i]));
        now += 4 * MS;
    }
    now += 4 * MS;
    pools_tick(pools);
    assert_int_equal(fake.count, 10);
    all_ready();
    for (int i = 0; i < 6; i++)
        assert_non_null(take(&t[i]));
    struct taken waits;
    assert_null(take(&waits)); /* who waits is served at once */
    assert_int_equal(fake.count, 11);
    pools_cancel(pools, &waits.wait);
}

static void what_hangs_is_given_up(void **state)
{
    (void)state;
    open_pools(1, NULL);
    now += (POOL_START_SECONDS + 1) * 1000 * MS;
    pools_tick(pools);
    assert_int_equal(stats_of("py").failed, 1);
    assert_int_equal(stats_of("py").pods[POD_ST_DOOMED], 1);
}

static void never_more_pods_than_allowed(void **state)
{
    (void)state;
    open_pools(8, NULL);
    struct taken t[40];
    for (int i = 0; i < 40; i++) {
        all_ready();
        take(&t[i]);
        assert_true(pools_count(pools) <= 16);
    }
    for (int i = 0; i < 40; i++)
        pools_cancel(pools, &t[i].wait);
}

static void a_cancelled_wait_is_not_told(void **state)
{
    (void)state;
    open_pools(0, NULL);
    struct taken t;
    assert_null(take(&t));
    pools_cancel(pools, &t.wait);
    all_ready();
    assert_int_equal(t.told, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(fills_up_a_few_at_a_time),
        T(one_more_than_the_pool_waits_and_is_counted),
        T(one_at_a_time_waits_here),
        T(a_used_pod_is_destroyed_and_replaced),
        T(background_filling_is_slow_beside_jobs_until_the_pool_is_nearly_empty),
        T(an_idle_pod_that_dies_is_not_given_out),
        T(a_kind_that_cannot_be_made_falls_back),
        T(retries_are_further_and_further_apart),
        T(without_fallback_those_who_wait_are_told),
        T(interpreters_start_one_at_a_time_behind_the_first_kind),
        T(nobody_waits_for_a_slow_one),
        T(what_the_host_lacks_is_not_tried_and_not_a_failure),
        T(a_failing_kind_goes_down_the_chain_while_the_others_work),
        T(while_a_cluster_is_away_jobs_wait_for_their_patience),
        T(an_outage_is_forgotten_where_nobody_asks_any_more),
        T(jobs_are_taken_without_the_first_kinds_image),
        T(a_remote_pods_successor_is_made_behind_a_short_run_whatever_comes),
        T(what_hangs_is_given_up),
        T(never_more_pods_than_allowed),
        T(a_cancelled_wait_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
