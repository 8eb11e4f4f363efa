/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "tools/millrace/up.h"
#include "json/json.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FILE_MAX = 1 << 20, DEMO_TIMEOUT_MS = 60000, DOWN_LIMIT_MS = 60000, EXIT_DOWN = 3 };

static const char demo_program[] =
    "import sys\n"
    "print(f\"Hello from Python {sys.version.split()[0]}, in a pod of its own.\")\n";

static const struct up_child *first_api(const struct up *up)
{
    const struct up_child *child = up->children;
    while (child->part != UP_API)
        child++;
    return child;
}

/* ---- the first program ---- */

struct demo {
    struct up *up;
    void (*done)(struct up *up, bool good);
    int64_t began_ns;
};

static bool print_demo(const struct http_answer *answer, int64_t ns)
{
    auto_json body = NULL;
    struct errinfo info;
    const char *out = NULL, *err = "";
    int exit_code = -1;
    if (json_parse(answer->body, &body, &info) ||
        json_unpack(body, "{s:s, s?s, s?i}", "stdout", &out, "stderr", &err, "exit_code", &exit_code))
        fprintf(stderr, "up: the first program: HTTP %d: " STR_FMT "\n", answer->status,
                STR_ARG(answer->body));
    else
        printf("\n$ millrace run hello.py     # the first program, %.1f ms\n%s%s\n", (double)ns / 1e6, out,
               err);
    return out && answer->status == 200 && exit_code == 0;
}

static void on_demo(void *arg, enum err e, const char *why, const struct http_answer *answer)
{
    struct demo *demo = arg;
    if (e)
        fprintf(stderr, "up: the first program: %s\n", why);
    bool good = !e && print_demo(answer, clock_mono_ns() - demo->began_ns);
    demo->done(demo->up, good);
    free(demo);
}

void up_demo(struct up *up, void (*done)(struct up *up, bool good))
{
    struct demo *demo = calloc(1, sizeof *demo);
    char url[64], key[UP_KEY_MAX + 16];
    auto_buf body = BUF_INIT(4096);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/exec", first_api(up)->port);
    snprintf(key, sizeof key, "x-api-key: %s", up->key);
    buf_append_cstr(&body, "{\"lang\":\"py\",\"code\":");
    json_write_string(&body, str_of(demo_program));
    buf_append_char(&body, '}');
    const char *const headers[] = {key, "Content-Type: application/json", NULL};
    struct http_call_options call = {.method = "POST",
                                     .url = url,
                                     .headers = headers,
                                     .body = buf_str(&body),
                                     .timeout_ms = DEMO_TIMEOUT_MS};
    if (demo)
        *demo = (struct demo){.up = up, .done = done, .began_ns = clock_mono_ns()};
    if (demo && !http_client_send(up->http, &call, on_demo, demo, NULL))
        return;
    free(demo);
    done(up, false);
}

void up_print_welcome(const struct up *up)
{
    int port = first_api(up)->port;
    printf(
        "Millrace is up.\n\n"
        "  URL    http://127.0.0.1:%d\n"
        "  key    %s\n"
        "  state  %s\n\n"
        "Three things to try, in another terminal:\n\n"
        "  curl -s http://127.0.0.1:%d/exec -H 'x-api-key: %s' -H 'content-type: application/json' \\\n"
        "       -d '{\"lang\":\"py\",\"code\":\"print(6*7)\"}'\n"
        "  eval \"$(%s/millrace up env%s%s)\"; echo 'print(input())' > p.py; echo hello | millrace run p.py\n"
        "  echo 'import time\n[print(i, flush=True) or time.sleep(.5) for i in range(9)]' | millrace submit "
        "--lang py - | xargs millrace tail\n\n",
        port, up->key, up->state, port, up->key, up->bin,
        up->cli->state || up->cli->ephemeral ? " --state " : "",
        up->cli->state || up->cli->ephemeral ? up->state : "");
    if (up->cli->detach)
        printf("It runs in the background; `millrace up down%s%s` stops it.\n",
               up->cli->state ? " --state " : "", up->cli->state ? up->state : "");
    else
        puts("Ctrl-C stops it.");
    fflush(stdout);
}

/* ---- status, env, down ---- */

static json_t *told(const struct up *up)
{
    auto_buf text = BUF_INIT(FILE_MAX);
    json_t *all = NULL;
    struct errinfo info;
    if (!up_state_owner(up) || up_file_read(up, "up.json", &text) || json_parse(buf_str(&text), &all, &info))
        return NULL;
    return all;
}

static void print_child(const json_t *child)
{
    const char *part = "", *log = "";
    int pid = 0, port = 0, restarts = 0, ready = 0, number = 0;
    if (json_unpack_ex((json_t *)(uintptr_t)child, NULL, 0, "{s:s, s:i, s:i, s:i, s:i, s:b, s:s}", "part",
                       &part, "number", &number, "pid", &pid, "port", &port, "restarts", &restarts, "ready",
                       &ready, "log", &log))
        return;
    printf("  %-8s %2d  %-9s pid %-7d port %-5d restarts %-3d %s\n", part, number,
           ready ? "ready" : "not ready", pid, port, restarts, log);
}

int up_print_status(struct up *up)
{
    auto_json all = told(up);
    if (!all) {
        printf(up->cli->json ? "{\"running\": false}\n" : "down\n");
        return EXIT_DOWN;
    }
    if (up->cli->json) {
        auto_buf text = BUF_INIT(FILE_MAX);
        if (!json_write(all, &text))
            puts(buf_cstr(&text));
        return 0;
    }
    bool ready = json_is_true(json_object_get(all, "ready"));
    printf("%s at %s, state in %s\n", ready ? "up" : "starting or stopping",
           json_string_value(json_object_get(all, "url")), up->state);
    size_t i;
    json_t *child;
    json_array_foreach(json_object_get(all, "children"), i, child) print_child(child);
    return 0;
}

/* For eval in a shell: everything in single quotes. */
static void print_export(const char *name, const char *value, const char *behind)
{
    printf("export %s='", name);
    for (const char *p = value; *p; p++)
        printf(*p == '\'' ? "'\\''" : "%c", *p);
    printf("'%s\n", behind);
}

int up_print_env(struct up *up)
{
    auto_json all = told(up);
    auto_buf key = BUF_INIT(FILE_MAX);
    if (!all || up_file_read(up, "api.key", &key)) {
        fprintf(stderr, "up: nothing is running with the state folder %s\n", up->state);
        return EXIT_DOWN;
    }
    print_export("MILLRACE_URL", json_string_value(json_object_get(all, "url")), "");
    print_export("MILLRACE_API_KEY", buf_cstr(&key), "");
    print_export("PATH", up->bin, ":\"$PATH\"");
    return 0;
}

int up_down(struct up *up)
{
    pid_t owner = up_state_owner(up);
    if (!owner) {
        fprintf(stderr, "up: nothing is running with the state folder %s\n", up->state);
        return 0;
    }
    if (kill(owner, SIGTERM)) {
        fprintf(stderr, "up: cannot signal process %d\n", (int)owner);
        return 1;
    }
    const struct timespec pause = {.tv_nsec = 10000000};
    for (int waited_ms = 0; up_state_owner(up) == owner; waited_ms += 10) {
        if (waited_ms > DOWN_LIMIT_MS) {
            fprintf(stderr, "up: process %d does not end\n", (int)owner);
            return 1;
        }
        nanosleep(&pause, NULL);
    }
    return 0;
}
