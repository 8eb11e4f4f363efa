/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/outcome.h"

#include "base/utf8.h"
#include "json/json.h"

#include <inttypes.h>
#include <signal.h>

#define SIGNAL_TABLE(X)                                                                                      \
    X(HUP)                                                                                                   \
    X(INT)                                                                                                   \
    X(QUIT)                                                                                                  \
    X(ILL)                                                                                                   \
    X(TRAP)                                                                                                  \
    X(ABRT)                                                                                                  \
    X(BUS)                                                                                                   \
    X(FPE)                                                                                                   \
    X(KILL)                                                                                                  \
    X(USR1)                                                                                                  \
    X(SEGV)                                                                                                  \
    X(USR2)                                                                                                  \
    X(PIPE)                                                                                                  \
    X(ALRM)                                                                                                  \
    X(TERM)                                                                                                  \
    X(STKFLT)                                                                                                \
    X(CHLD)                                                                                                  \
    X(CONT)                                                                                                  \
    X(STOP)                                                                                                  \
    X(TSTP)                                                                                                  \
    X(TTIN)                                                                                                  \
    X(TTOU)                                                                                                  \
    X(URG)                                                                                                   \
    X(XCPU)                                                                                                  \
    X(XFSZ)                                                                                                  \
    X(VTALRM)                                                                                                \
    X(PROF)                                                                                                  \
    X(WINCH)                                                                                                 \
    X(IO)                                                                                                    \
    X(PWR)                                                                                                   \
    X(SYS)

static const char *const signal_names[] = {
#define X(name) [SIG##name] = "SIG" #name,
    SIGNAL_TABLE(X)
#undef X
};
enum { SIGNAL_COUNT = sizeof signal_names / sizeof signal_names[0] };

const char *signal_name(int number)
{
    return number > 0 && number < SIGNAL_COUNT ? signal_names[number] : NULL;
}

int signal_number(struct str name)
{
    for (int i = 1; i < SIGNAL_COUNT; i++) {
        struct str full = str_of(signal_names[i]);
        struct str bare = full.n > 3 ? (struct str){.p = full.p + 3, .n = full.n - 3} : full;
        if (full.n > 0 && (str_eq(name, full) || str_eq(name, bare)))
            return i;
    }
    return 0;
}

/* What each reason of an end means when it was not the program's own. Indexed by enum pod_end. */
static const struct outcome ends[] = {
    [PE_OWN] = {.type = EV_COMPLETED},
    [PE_WALL] = {.type = EV_TIMED_OUT, .limit = "wall"},
    [PE_CPU] = {.type = EV_TIMED_OUT, .limit = "cpu"},
    [PE_OUTPUT] = {.type = EV_FAILED, .reason = REASON_OUTPUT_LIMIT, .truncated = true},
    [PE_CANCELLED] = {.type = EV_CANCELLED},
    [PE_WORKER_GONE] = {.type = EV_FAILED, .reason = REASON_POD_LOST},
    [PE_MEMORY] = {.type = EV_FAILED, .reason = REASON_OOM},
    [PE_TOOLS] = {.type = EV_FAILED, .reason = REASON_TOOLS_TIMEOUT},
    [PE_DIVERGED] = {.type = EV_FAILED, .reason = REASON_REPLAY_DIVERGED},
    [PE_PIDS] = {.type = EV_FAILED, .reason = REASON_PIDS_LIMIT},
};
enum { END_COUNT = sizeof ends / sizeof ends[0] };

/* The kernel killed something for the pod's memory limit, and the program ended of it: by that signal, or as
   a shell reports it. A program that lived through the loss of a child has ended by itself. */
static bool ended_by_oom(const struct outcome_facts *f)
{
    return f->used && f->usage.oom_kills > 0 &&
           (f->exit.signal == SIGKILL || f->exit.exit_code == 128 + SIGKILL);
}

struct outcome outcome_decide(const struct outcome_facts *f)
{
    if (f->refused)
        return (struct outcome){.type = EV_FAILED, .reason = f->refused_reason};
    if (!f->exited) {
        if (f->killed == PE_OWN && f->used && f->usage.oom_kills > 0)
            return ends[PE_MEMORY];
        if (f->killed == PE_OWN && f->lost)
            return (struct outcome){.type = EV_FAILED, .reason = f->lost_reason};
        return ends[f->killed == PE_OWN ? PE_WORKER_GONE : f->killed];
    }
    if (f->exit.end == PE_OWN && ended_by_oom(f))
        return ends[PE_MEMORY];
    if (f->exit.end == PE_OWN && f->exit.signal == SIGXCPU)
        return ends[PE_CPU];
    /* The runner only echoes why it was told to kill. */
    if (f->exit.end == PE_CANCELLED && f->killed != PE_OWN)
        return ends[f->killed];
    if (f->exit.end >= END_COUNT)
        return ends[PE_WORKER_GONE];
    return ends[f->exit.end];
}

static void member(struct buf *out, const char *name)
{
    buf_append_cstr(out, out->len > 1 ? ",\"" : "\"");
    buf_append_cstr(out, name);
    buf_append_cstr(out, "\":");
}

static void member_text(struct buf *out, const char *name, const char *text)
{
    auto_buf clean = BUF_INIT(4096);
    utf8_sanitize(&clean, str_of(text));
    member(out, name);
    json_write_string(out, buf_status(&clean) == ERR_OK ? buf_str(&clean) : STR("?"));
}

static void member_u64(struct buf *out, const char *name, uint64_t value)
{
    member(out, name);
    buf_printf(out, "%" PRIu64, value);
}

static void write_end(struct buf *out, const struct frame_exit *end)
{
    if (end->signal == 0) {
        member(out, "exit_code");
        buf_printf(out, "%d", end->exit_code);
        return;
    }
    const char *name = signal_name(end->signal);
    char number[16];
    snprintf(number, sizeof number, "SIG%d", end->signal);
    member_text(out, "signal", name ? name : number);
    member(out, "signal_number");
    buf_printf(out, "%d", end->signal);
}

static bool stage_failed(const struct outcome_facts *f)
{
    return f->staged && (f->stage.signal != 0 || f->stage.exit_code != 0);
}

/* NULL: the end says nothing about the program. */
static const char *verdict(const struct outcome_facts *f, const struct outcome *outcome)
{
    if (stage_failed(f))
        return "compile_error";
    if (outcome->type == EV_TIMED_OUT)
        return "time_limit";
    if (outcome->type == EV_FAILED)
        return outcome->reason == REASON_OOM            ? "memory_limit"
               : outcome->reason == REASON_OUTPUT_LIMIT ? "output_limit"
               : outcome->reason == REASON_PIDS_LIMIT   ? "runtime_error"
                                                        : NULL;
    if (outcome->type != EV_COMPLETED)
        return NULL;
    if (f->exit.signal != 0 || f->exit.exit_code != 0)
        return "runtime_error";
    return f->right ? "accepted" : "wrong_answer";
}

void outcome_write(const struct outcome_facts *f, const struct outcome *outcome, struct buf *out)
{
    buf_append_char(out, '{');
    if (outcome->type == EV_FAILED)
        member_text(out, "reason", reason_row(outcome->reason)->name);
    if (outcome->limit)
        member_text(out, "limit", outcome->limit);
    if (f->refused)
        member_text(out, "message", f->refused);
    else if (outcome->type == EV_FAILED)
        member_text(out, "message", reason_row(outcome->reason)->text);
    if (f->exited)
        write_end(out, &f->exit);
    if (stage_failed(f))
        member_text(out, "stage", "compile");
    if (f->judged && verdict(f, outcome))
        member_text(out, "verdict", verdict(f, outcome));
    if (f->gaps) {
        member(out, "accepted_gaps");
        buf_append_cstr(out, f->gaps);
    }
    buf_append_char(out, '}');
}

static uint64_t cpu_ns(const struct outcome_facts *f)
{
    uint64_t of_exit = f->exited ? f->exit.user_ns + f->exit.system_ns : 0;
    return f->used && f->usage.cpu_ns > of_exit ? f->usage.cpu_ns : of_exit;
}

/* Up: what ran took some. */
static uint64_t ms_of(uint64_t ns)
{
    return (ns + 999999) / 1000000;
}

void outcome_write_usage(const struct outcome_facts *f, const struct outcome *outcome, struct buf *out)
{
    uint64_t wall = f->exited ? f->exit.wall_ns : (uint64_t)(f->wall_ns > 0 ? f->wall_ns : 0);
    uint64_t peak = f->used ? f->usage.memory_peak_bytes : f->exited ? f->exit.max_rss_bytes : 0;
    buf_append_char(out, '{');
    member_u64(out, "wall_ms", ms_of(wall));
    member_u64(out, "cpu_ms", ms_of(cpu_ns(f)));
    member_u64(out, "memory_peak_bytes", peak);
    member_u64(out, "processes", f->exited ? f->exit.processes : 0);
    member_u64(out, "stdout_bytes", f->bytes[POD_STDOUT]);
    member_u64(out, "stderr_bytes", f->bytes[POD_STDERR]);
    member(out, "truncated");
    buf_append_cstr(out, outcome->truncated ? "true" : "false");
    buf_append_char(out, '}');
}
