/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/exec.h"

#include "base/cleanup.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

extern char **environ;

enum { OUTPUT_MAX = 1 << 20, ERRORS_MAX = 4096, ENV_MAX = 256, PIECE = 4096 };

struct stream {
    uv_pipe_t pipe;
    struct buf text;
    bool ended;
};

struct kube_exec_run {
    uv_process_t process;
    uv_timer_t timer;
    struct stream out, errors;
    bool exited, done; /* done: told or cancelled */
    int64_t code;
    int signal;
    const char *api_version; /* of the access */
    char hint[128], name[64];
    kube_exec_cb cb;
    void *arg;
    unsigned handles;
    char piece[PIECE];
};

/* ---- the end ---- */

static void on_closed(uv_handle_t *handle)
{
    struct kube_exec_run *run = handle->data;
    if (--run->handles > 0)
        return;
    buf_free(&run->out.text);
    buf_free(&run->errors.text);
    free(run);
}

/* The process' own handle stays until it was reaped. */
static void let_go(struct kube_exec_run *run)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&run->timer, (uv_handle_t *)&run->out.pipe,
                              (uv_handle_t *)&run->errors.pipe,
                              run->exited ? (uv_handle_t *)&run->process : NULL};
    run->done = true;
    if (!run->exited)
        uv_process_kill(&run->process, SIGKILL);
    for (size_t i = 0; i < sizeof handles / sizeof *handles; i++)
        if (handles[i] && !uv_is_closing(handles[i]))
            uv_close(handles[i], on_closed);
}

void kube_exec_cancel(struct kube_exec_run *run)
{
    let_go(run);
}

static void fail(struct kube_exec_run *run, const char *what)
{
    char why[512];
    struct str errors = str_trim(buf_str(&run->errors.text));
    size_t n = strcspn(errors.n ? buf_cstr(&run->errors.text) : "", "\r\n");
    snprintf(why, sizeof why, "the credential plug-in %s %s%s%.*s%s%s", run->name, what, n ? ": " : "",
             (int)(n < 200 ? n : 200), n ? run->errors.text.data : "", run->hint[0] ? "; " : "", run->hint);
    let_go(run);
    run->cb(run->arg, NULL, why);
}

static void finish(struct kube_exec_run *run)
{
    struct errinfo info = {0};
    struct kube_exec_answer answer;
    char what[64];
    if (run->code || run->signal) {
        snprintf(what, sizeof what, run->signal ? "was ended by signal %d" : "failed with exit code %d",
                 run->signal ? run->signal : (int)run->code);
        fail(run, what);
    } else if (kube_exec_read(buf_str(&run->out.text), run->api_version, &answer, &info)) {
        fail(run, info.text[0] ? info.text : "gave no credentials");
    } else {
        let_go(run);
        run->cb(run->arg, &answer, NULL);
    }
}

static void on_exit_status(uv_process_t *process, int64_t code, int signal)
{
    struct kube_exec_run *run = process->data;
    run->exited = true;
    run->code = code;
    run->signal = signal;
    if (run->done)
        uv_close((uv_handle_t *)process, on_closed);
    else if (run->out.ended)
        finish(run);
}

static void on_late(uv_timer_t *timer)
{
    fail(timer->data, "did not end in time");
}

/* ---- what it prints ---- */

static void on_room(uv_handle_t *handle, size_t size, uv_buf_t *ret_room)
{
    (void)size;
    struct kube_exec_run *run = handle->data;
    *ret_room = uv_buf_init(run->piece, PIECE);
}

static void on_text(uv_stream_t *pipe, ssize_t n, const uv_buf_t *room)
{
    struct kube_exec_run *run = pipe->data;
    struct stream *s = pipe == (uv_stream_t *)&run->out.pipe ? &run->out : &run->errors;
    if (n > 0 && s == &run->errors && s->text.len + (size_t)n > ERRORS_MAX)
        n = (ssize_t)(ERRORS_MAX - s->text.len); /* the beginning is enough */
    if (n >= 0) {
        buf_append(&s->text, room->base, (size_t)n);
        if (buf_status(&s->text))
            fail(run, "printed too much");
        return;
    }
    uv_read_stop(pipe);
    s->ended = true;
    if (s == &run->out && run->exited)
        finish(run);
}

/* ---- its beginning ---- */

/* What such programs read: who and where the user is, and their clouds' own settings. Ends with '*': all that begin so. */
static const char *const passed[] = {
    "HOME",       "PATH",        "USER",     "LOGNAME",    "LANG",        "LC_*",    "TMPDIR", "XDG_*",
    "TZ",         "SSL_CERT_*",  "AWS_*",    "GOOGLE_*",   "CLOUDSDK_*",  "AZURE_*", "AAD_*",  "KUBECONFIG",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"};

static bool passes(const char *variable)
{
    size_t n = strcspn(variable, "=");
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
        size_t length = strlen(passed[i]);
        if (passed[i][length - 1] == '*' ? !strncmp(variable, passed[i], length - 1)
                                         : length == n && !strncmp(variable, passed[i], n))
            return true;
    }
    return false;
}

/* The kubeconfig's come first: the first of a name is the one that a program finds. */
static void build_env(const struct kube_exec_plan *plan, const char *info, const char **ret_env)
{
    size_t n = 0;
    for (size_t i = 0; plan->env[i]; i++)
        ret_env[n++] = plan->env[i];
    ret_env[n++] = info;
    for (char **e = environ; *e && n < ENV_MAX; e++)
        if (passes(*e))
            ret_env[n++] = *e;
    ret_env[n] = NULL;
}

static int spawn(uv_loop_t *loop, struct kube_exec_run *run, const struct kube_exec_plan *plan,
                 const char *info)
{
    const char *args[KUBE_EXEC_ARGS_MAX + 2] = {plan->command}, *env[ENV_MAX + 1];
    for (size_t i = 0; plan->args[i]; i++)
        args[i + 1] = plan->args[i];
    build_env(plan, info, env);
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&run->out.pipe},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&run->errors.pipe},
    };
    /* uv_spawn() wants to be able to write, and does not. */
    uv_process_options_t options = {.file = plan->command,
                                    .args = (char **)(void *)args,
                                    .env = (char **)(void *)env,
                                    .exit_cb = on_exit_status,
                                    .stdio = stdio,
                                    .stdio_count = 3};
    return uv_spawn(loop, &run->process, &options);
}

/* It could not be started: told from the loop. */
static void on_not_started(uv_timer_t *timer)
{
    struct kube_exec_run *run = timer->data;
    char what[96];
    snprintf(what, sizeof what, "cannot be started: %s", uv_strerror((int)run->code));
    fail(run, what);
}

enum err kube_exec_start(uv_loop_t *loop, const struct kube_access *access, kube_exec_cb cb, void *arg,
                         struct kube_exec_run **ret_run)
{
    auto_buf info = BUF_INIT(OUTPUT_MAX);
    buf_append_cstr(&info, "KUBERNETES_EXEC_INFO=");
    kube_exec_info(access, &info);
    struct kube_exec_run *run = buf_status(&info) ? NULL : calloc(1, sizeof *run);
    if (!run)
        return ERR_NOMEM;
    run->cb = cb;
    run->arg = arg;
    run->handles = 4;
    run->api_version = access->exec.api_version;
    run->out.text = BUF_INIT(OUTPUT_MAX);
    run->errors.text = BUF_INIT(ERRORS_MAX);
    snprintf(run->name, sizeof run->name, "%.63s", access->exec.command);
    snprintf(run->hint, sizeof run->hint, "%.127s", access->exec.hint);
    uv_timer_init(loop, &run->timer);
    uv_pipe_init(loop, &run->out.pipe, 0);
    uv_pipe_init(loop, &run->errors.pipe, 0);
    int failed = spawn(loop, run, &access->exec, buf_cstr(&info));
    run->process.data = run->timer.data = run->out.pipe.data = run->errors.pipe.data = run;
    if (failed) {
        run->exited = true; /* nothing to reap */
        run->code = failed;
        uv_timer_start(&run->timer, on_not_started, 0, 0);
    } else {
        uv_timer_start(&run->timer, on_late, KUBE_EXEC_MS, 0);
        uv_read_start((uv_stream_t *)&run->out.pipe, on_room, on_text);
        uv_read_start((uv_stream_t *)&run->errors.pipe, on_room, on_text);
    }
    *ret_run = run;
    return ERR_OK;
}
