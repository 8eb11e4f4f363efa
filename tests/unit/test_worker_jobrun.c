/* SPDX-License-Identifier: Apache-2.0 */
/* One job against a pod and a log that do what the test says. */
#include "unit.h"

#include "base/clock.h"
#include "fake_backend.h"
#include "worker/jobrun.h"

#include <signal.h>
#include <stdio.h>

static uv_loop_t loop;
static struct pools *pools;
static struct jobruns *runs;
static struct metrics *metrics;

/* The log: keeps the calls as text, answers when told. */
static struct {
    char text[16384];
    uint64_t n;
    queue_done_cb cb;
    void *arg;
    int calls, inputs;
    bool end; /* what was logged last is a finish */
} logged;

static void say(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    size_t len = strlen(logged.text);
    vsnprintf(logged.text + len, sizeof logged.text - len, fmt, ap);
    va_end(ap);
}

static void keep(uint64_t n, queue_done_cb cb, void *arg)
{
    assert_null(logged.cb); /* one in flight at a time */
    logged.end = false;
    logged.n = n;
    logged.cb = cb;
    logged.arg = arg;
    logged.calls++;
}

static void say_drafts(const char *call, uint64_t n, const struct event_draft *drafts, size_t count)
{
    say("%s %d:", call, (int)n);
    for (size_t i = 0; i < count; i++) {
        say(" %s", event_type_name(drafts[i].type));
        if (drafts[i].type == EV_OUTPUT && drafts[i].bytes.n < 100)
            say("(" STR_FMT ")", STR_ARG(drafts[i].bytes));
        if (event_is_terminal(drafts[i].type))
            say(STR_FMT, STR_ARG(drafts[i].data));
    }
    say("\n");
}

static void log_append(void *arg, struct id job, uint32_t attempt, uint64_t n,
                       const struct event_draft *drafts, size_t count, queue_done_cb cb, void *cb_arg)
{
    (void)arg, (void)job, (void)attempt;
    say_drafts("append", n, drafts, count);
    keep(n, cb, cb_arg);
}

static void log_finish(void *arg, struct id job, uint32_t attempt, uint64_t n,
                       const struct event_draft *drafts, size_t count, uint32_t cost_ms, queue_done_cb cb,
                       void *cb_arg)
{
    (void)arg, (void)job, (void)attempt, (void)cost_ms;
    say_drafts("finish", n, drafts, count);
    keep(n, cb, cb_arg);
    logged.end = true;
}

static void log_requeue(void *arg, struct id job, uint32_t attempt, struct str reason, bool started,
                        queue_done_cb cb, void *cb_arg)
{
    (void)arg, (void)job, (void)attempt;
    say("requeue " STR_FMT " %d\n", STR_ARG(reason), started);
    keep(0, cb, cb_arg);
}

static void log_inputs(void *arg, struct id job, uint32_t attempt)
{
    (void)arg, (void)job, (void)attempt;
    logged.inputs++;
}

static void answer(enum queue_answer a)
{
    queue_done_cb cb = logged.cb;
    assert_non_null(cb);
    logged.cb = NULL;
    size_t before = jobruns_count(runs);
    bool ended = logged.end && (a == QUEUE_OK || a == QUEUE_DUP);
    cb(logged.arg, a);
    while (ended && jobruns_count(runs) == before)
        uv_run(&loop, UV_RUN_ONCE); /* it leaves a little later */
}

static void assert_log(const char *text)
{
    assert_string_equal(logged.text, text);
    logged.text[0] = 0;
}

static bool others_have;

static bool elsewhere(void *arg, const char *kind, uint32_t attempt)
{
    (void)arg;
    assert_in_range(attempt, 1, JOBRUN_ATTEMPTS_MAX - 1);
    return others_have && strcmp(kind, "py") == 0;
}

static int setup(void **state)
{
    (void)state;
    fake_reset();
    memset(&logged, 0, sizeof logged);
    uv_loop_init(&loop);
    const struct pool_kind kinds[] = {{.name = "py", .size = 1}};
    struct pools_options po = {.backend = &fake.base,
                               .kinds = kinds,
                               .kind_count = 1,
                               .max_pods = 8,
                               .create_concurrency = 1,
                               .now_ns = clock_mono_ns};
    po.limits = (struct pod_limits){.memory_bytes = 512 << 20, .pids = 512, .cpu_millis = 1000};
    assert_int_equal(pools_open(&po, &pools), ERR_OK);
    assert_int_equal(metrics_open(METRICS_WORKER, NULL, &metrics), ERR_OK);
    struct jobruns_options ro = {.loop = &loop, .pools = pools, .metrics = metrics, .pod_limits = po.limits};
    ro.queue = (struct jobrun_queue){
        .append = log_append, .finish = log_finish, .requeue = log_requeue, .inputs = log_inputs};
    ro.elsewhere = elsewhere;
    others_have = false;
    assert_int_equal(jobruns_open(&ro, &runs), ERR_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(jobruns_count(runs), 0);
    pools_stop(pools);
    fake_reap();
    pools_free(pools);
    jobruns_free(runs);
    metrics_close(metrics);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    fake_reset();
    return 0;
}

static struct id the_job;

static void claim_again(const char *request, bool retry, uint32_t attempt)
{
    the_job = id_new();
    struct claimed_job job = {
        .job = the_job, .attempt = attempt, .lang = STR("py"), .request = str_of(request), .retry = retry};
    jobruns_start(runs, &job);
}

static void claim(const char *request, bool retry)
{
    claim_again(request, retry, 1);
}

static struct pod *last_pod(void)
{
    return &fake.pods[fake.count - 1];
}

/* A claimed job whose program runs. */
static struct pod *running(const char *request, bool retry)
{
    pools_tick(pools);
    struct pod *pod = last_pod();
    fake_says(pod, POD_READY);
    claim(request, retry);
    return pod;
}

#define PRINT "{\"lang\":\"py\",\"code\":\"print(1)\"}"

static void output(struct pod *pod, const char *text)
{
    fake_tell(pod, (struct pod_event){.type = POD_OUTPUT, .stream = POD_STDOUT, .bytes = str_of(text)});
}

static void ends(struct pod *pod, struct frame_exit how)
{
    fake_tell(pod, (struct pod_event){.type = POD_EXIT, .exit = how});
    assert_int_equal(pod->usages, 1);
    fake_tell(pod, (struct pod_event){.type = POD_USAGE, .ok = true});
}

static bool input(enum event_type type, const char *data, const char *bytes)
{
    struct event event = {.type = type, .data = str_of(data), .bytes = str_of(bytes)};
    return jobruns_input(runs, the_job, 1, &event);
}

static void a_short_run_is_one_finish(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, true);
    assert_true(pod->ran);
    fake_says(pod, POD_STARTED);
    output(pod, "1\n");
    ends(pod, (struct frame_exit){0});
    assert_log("finish 1: started output(1\n) usage completed{\"exit_code\":0}\n");
    assert_false(pod->destroyed); /* the pod's end is not on the way of the answer */
    answer(QUEUE_OK);
    assert_true(pod->destroyed);
}

static void what_the_pod_counted_is_not_asked_for(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, true);
    fake_says(pod, POD_STARTED);
    fake_tell(pod, (struct pod_event){
                       .type = POD_EXIT,
                       .exit = {.signal = SIGKILL, .exit_code = -1, .counted = 1, .pod_oom_kills = 1}});
    assert_int_equal(pod->usages, 0);
    assert_non_null(strstr(logged.text, "\"reason\":\"oom\""));
    answer(QUEUE_OK);
}

static void output_is_live_and_its_appends_are_counted(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, true);
    fake_says(pod, POD_STARTED);
    output(pod, "a");
    while (logged.calls == 0)
        uv_run(&loop, UV_RUN_ONCE);
    assert_log("append 1: started output(a)\n");
    output(pod, "b");
    output(pod, "c");
    answer(QUEUE_OK);
    while (logged.calls == 1)
        uv_run(&loop, UV_RUN_ONCE);
    assert_log("append 2: output(bc)\n");
    ends(pod, (struct frame_exit){.exit_code = 2});
    assert_log(""); /* waits for the answer */
    answer(QUEUE_DUP);
    assert_log("finish 3: usage completed{\"exit_code\":2}\n");
    answer(QUEUE_OK);
}

static void a_program_that_is_silent_is_said_to_have_started(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, true);
    fake_says(pod, POD_STARTED);
    while (logged.calls == 0)
        uv_run(&loop, UV_RUN_ONCE);
    assert_log("append 1: started\n");
    answer(QUEUE_OK);
    ends(pod, (struct frame_exit){0});
    assert_log("finish 2: usage completed{\"exit_code\":0}\n");
    answer(QUEUE_OK);
}

static void without_retry_started_comes_before_the_release(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, false);
    assert_false(pod->ran);
    assert_log("append 1: started\n");
    answer(QUEUE_OK);
    assert_true(pod->ran);
    fake_says(pod, POD_STARTED);
    ends(pod, (struct frame_exit){0});
    assert_log("finish 2: usage completed{\"exit_code\":0}\n");
    answer(QUEUE_OK);
}

static void a_pod_that_dies_before_the_release_is_replaced(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, false);
    assert_log("append 1: started\n");
    fake_says(pod, POD_LOST);
    assert_true(pod->destroyed);
    struct pod *second = last_pod();
    assert_ptr_not_equal(pod, second);
    fake_says(second, POD_READY);
    assert_false(second->ran); /* `started` is not yet in the log */
    answer(QUEUE_OK);
    assert_true(second->ran);
    fake_says(second, POD_STARTED);
    ends(second, (struct frame_exit){0});
    assert_log("finish 2: usage completed{\"exit_code\":0}\n");
    answer(QUEUE_OK);
    assert_int_equal(metrics_get(metrics, METRIC_PODS_REPLACED, 0, 0), 1);
}

static void after_three_dead_pods_the_job_is_handed_back(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, true);
    for (int i = 0; i < 3; i++) {
        fake_says(pod, POD_LOST);
        pod = last_pod();
        if (i < 2)
            fake_says(pod, POD_READY);
    }
    assert_log("requeue no_pod 0\n");
    answer(QUEUE_OK);
}

/* The worker that has some is to run it, again and again but not for ever; where none has, the job's owner is told. */
static void a_job_that_can_have_no_pod_here_is_for_another_worker(void **state)
{
    static const struct {
        bool others;
        uint32_t attempt;
        const char *told;
    } cases[] = {
        {false, 1, "finish 1: failed"},
        {true, 1, "requeue not_here 0\n"},
        {true, JOBRUN_ATTEMPTS_MAX - 1, "requeue not_here 0\n"},
        {true, JOBRUN_ATTEMPTS_MAX, "finish 1: failed"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        others_have = cases[i].others;
        claim_again(PRINT, true, cases[i].attempt);
        while (!logged.cb) {
            if (!last_pod()->destroyed)
                fake_tell(last_pod(), (struct pod_event){.type = POD_LOST,
                                                         .reason = REASON_IMAGE_UNAVAILABLE,
                                                         .text = "no image"});
            pools_tick(pools);
        }
        assert_memory_equal(logged.text, cases[i].told, strlen(cases[i].told));
        logged.text[0] = 0;
        answer(QUEUE_OK);
    }
}

static void an_unanswered_append_is_repeated_with_its_number(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, true);
    fake_says(pod, POD_STARTED);
    output(pod, "x");
    ends(pod, (struct frame_exit){0});
    assert_log("finish 1: started output(x) usage completed{\"exit_code\":0}\n");
    answer(QUEUE_UNAVAILABLE);
    assert_null(logged.cb);
    while (logged.calls == 1) {
        jobruns_tick(runs);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_log("finish 1: started output(x) usage completed{\"exit_code\":0}\n");
    answer(QUEUE_DUP);
}

static void a_slow_log_makes_the_program_wait(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, true);
    fake_says(pod, POD_STARTED);
    output(pod, "x");
    while (logged.calls == 0)
        uv_run(&loop, UV_RUN_ONCE);
    static char big[FRAME_PAYLOAD_MAX + 1];
    memset(big, 'y', FRAME_PAYLOAD_MAX);
    int frames = 0;
    for (; !pod->paused; frames++)
        output(pod, big);
    assert_in_range(frames, 1, 4);
    answer(QUEUE_OK); /* what is pending goes, and the pod is heard again */
    assert_false(pod->paused);
    ends(pod, (struct frame_exit){0});
    logged.text[0] = 0;
    answer(QUEUE_OK);
    answer(QUEUE_OK);
}

static void fencing_kills_the_pod_and_writes_nothing(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, true);
    fake_says(pod, POD_STARTED);
    jobruns_fenced(runs, the_job, 1);
    assert_true(pod->destroyed);
    assert_log("");
}

static void an_answer_that_fences_does_the_same(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, true);
    fake_says(pod, POD_STARTED);
    output(pod, "x");
    ends(pod, (struct frame_exit){0});
    answer(QUEUE_FENCED);
    assert_true(pod->destroyed);
}

static void fenced_with_an_append_in_flight(void **state)
{
    (void)state;
    running(PRINT, false);
    jobruns_fenced(runs, the_job, 1);
    assert_int_equal(jobruns_count(runs), 1);
    answer(QUEUE_FENCED);
    assert_int_equal(jobruns_count(runs), 0);
}

static void cancel_while_it_runs(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, true);
    fake_says(pod, POD_STARTED);
    input(EV_CANCEL_REQUESTED, "", "");
    assert_int_equal(pod->kills, 1);
    output(pod, "so far");
    ends(pod, (struct frame_exit){.exit_code = -1, .signal = SIGKILL, .end = PE_CANCELLED});
    assert_log(
        "finish 1: started output(so far) usage cancelled{\"signal\":\"SIGKILL\",\"signal_number\":9}\n");
    answer(QUEUE_OK);
}

static void cancel_while_it_waits_for_a_pod(void **state)
{
    (void)state;
    claim(PRINT, true);
    input(EV_CANCEL_REQUESTED, "", "");
    assert_log("finish 1: cancelled{}\n");
    answer(QUEUE_OK);
}

static void inputs_before_and_after_the_release(void **state)
{
    (void)state;
    claim("{\"lang\":\"py\",\"code\":\"x\",\"stdin\":\"a\",\"stdin_open\":true}", true);
    assert_true(input(EV_INPUT, "", "b"));
    input(EV_SIGNAL, "{\"signal\":\"INT\"}", "");
    struct pod *pod = last_pod();
    fake_says(pod, POD_READY);
    assert_false(pod->stdin_eof);
    assert_int_equal(pod->signal, SIGINT);
    assert_false(input(EV_INPUT, "", "c")); /* another pod may have to begin with it */
    assert_false(input(EV_EOF, "", ""));
    assert_int_equal(logged.inputs, 0);
    fake_says(pod, POD_STARTED);
    assert_int_equal(logged.inputs, 1);
    assert_true(input(EV_INPUT, "", "c") && input(EV_EOF, "", ""));
    assert_true(str_eq(buf_str(&pod->input), STR("abc")));
    assert_int_equal(pod->eofs, 1);
    ends(pod, (struct frame_exit){0});
    answer(QUEUE_OK);
}

static void input_that_nobody_reads_waits_in_the_log(void **state)
{
    (void)state;
    struct pod *pod = running("{\"lang\":\"py\",\"code\":\"x\",\"stdin_open\":true}", true);
    fake_says(pod, POD_STARTED);
    pod->input_full = true;
    assert_false(input(EV_INPUT, "", "a"));
    assert_true(input(EV_SIGNAL, "{\"signal\":\"INT\"}", ""));
    assert_int_equal(pod->signal, SIGINT);
    assert_int_equal(logged.inputs, 0);
    fake_says(pod, POD_ROOM);
    assert_int_equal(logged.inputs, 1);
    assert_false(input(EV_INPUT, "", "a"));
    ends(pod, (struct frame_exit){0});
    assert_int_equal(logged.inputs, 2); /* nobody needs it now */
    assert_true(input(EV_INPUT, "", "a"));
    answer(QUEUE_OK);
}

static void input_ahead_of_the_program_is_bounded(void **state)
{
    (void)state;
    static char big[POD_STDIN_FIRST + 1];
    memset(big, 'b', sizeof big - 1);
    claim("{\"lang\":\"py\",\"code\":\"x\",\"stdin_open\":true}", true);
    assert_true(input(EV_INPUT, "", big));
    assert_false(input(EV_INPUT, "", "c"));
    struct pod *pod = last_pod();
    fake_says(pod, POD_READY);
    assert_int_equal(pod->input.len, sizeof big - 1);
    fake_says(pod, POD_STARTED);
    assert_int_equal(logged.inputs, 1);
    ends(pod, (struct frame_exit){0});
    answer(QUEUE_OK);
}

static void other_limits_are_set_before_the_release(void **state)
{
    (void)state;
    struct pod *pod = running("{\"lang\":\"py\",\"code\":\"x\",\"limits\":{\"memory_bytes\":1000000}}", true);
    assert_false(pod->ran);
    assert_int_equal(pod->limits.memory_bytes, 1000000);
    fake_tell(pod, (struct pod_event){.type = POD_LIMITS, .ok = true});
    assert_true(pod->ran);
    fake_says(pod, POD_STARTED);
    ends(pod, (struct frame_exit){0});
    answer(QUEUE_OK);
}

static void what_cannot_start_says_why(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, true);
    fake_tell(pod, (struct pod_event){.type = POD_REFUSED, .text = "no such interpreter"});
    assert_log("finish 1: failed{\"reason\":\"could_not_start\",\"message\":\"no such interpreter\"}\n");
    answer(QUEUE_OK);
    claim("{\"lang\":\"cobol\",\"code\":\"x\"}", true);
    assert_non_null(strstr(logged.text, "finish 1: failed{\"reason\":\"bad_request\""));
    answer(QUEUE_OK);
}

static void a_pod_lost_while_it_runs(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, true);
    fake_says(pod, POD_STARTED);
    fake_says(pod, POD_LOST);
    fake_tell(pod, (struct pod_event){.type = POD_USAGE, .ok = true, .usage = {.oom_kills = 1}});
    assert_non_null(strstr(logged.text, "\"reason\":\"oom\""));
    answer(QUEUE_OK);
}

static void a_pod_lost_for_nothing_is_tried_again(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, true);
    fake_says(pod, POD_STARTED);
    output(pod, "so far");
    fake_says(pod, POD_LOST);
    fake_tell(pod, (struct pod_event){.type = POD_USAGE, .ok = true});
    assert_log("requeue pod_lost 1\n");
    answer(QUEUE_OK);
    assert_true(pod->destroyed);
}

static void unless_the_client_forbids_it(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, false);
    answer(QUEUE_OK);
    fake_says(pod, POD_STARTED);
    fake_says(pod, POD_LOST);
    logged.text[0] = 0;
    fake_tell(pod, (struct pod_event){.type = POD_USAGE, .ok = true});
    assert_non_null(strstr(logged.text, "failed{\"reason\":\"pod_lost\""));
    answer(QUEUE_OK);
}

static void handed_back_on_drain(void **state)
{
    (void)state;
    struct pod *pod = running(PRINT, true);
    fake_says(pod, POD_STARTED);
    output(pod, "x");
    while (logged.calls == 0)
        uv_run(&loop, UV_RUN_ONCE);
    assert_log("append 1: started output(x)\n");
    jobruns_hand_back(runs, REASON_WORKER_DRAINED);
    assert_true(pod->destroyed);
    assert_log("");
    answer(QUEUE_OK);
    assert_log("requeue worker_drained 1\n");
    answer(QUEUE_OK);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_short_run_is_one_finish),
        T(what_the_pod_counted_is_not_asked_for),
        T(output_is_live_and_its_appends_are_counted),
        T(a_program_that_is_silent_is_said_to_have_started),
        T(without_retry_started_comes_before_the_release),
        T(a_pod_that_dies_before_the_release_is_replaced),
        T(after_three_dead_pods_the_job_is_handed_back),
        T(a_job_that_can_have_no_pod_here_is_for_another_worker),
        T(an_unanswered_append_is_repeated_with_its_number),
        T(a_slow_log_makes_the_program_wait),
        T(fencing_kills_the_pod_and_writes_nothing),
        T(an_answer_that_fences_does_the_same),
        T(fenced_with_an_append_in_flight),
        T(cancel_while_it_runs),
        T(cancel_while_it_waits_for_a_pod),
        T(inputs_before_and_after_the_release),
        T(input_that_nobody_reads_waits_in_the_log),
        T(input_ahead_of_the_program_is_bounded),
        T(other_limits_are_set_before_the_release),
        T(what_cannot_start_says_why),
        T(a_pod_lost_while_it_runs),
        T(a_pod_lost_for_nothing_is_tried_again),
        T(unless_the_client_forbids_it),
        T(handed_back_on_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
