/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials that change: files that are replaced, plug-ins that fail, expire and hang on. */
#include "kube/credentials.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "unit.h"
#include "json/json.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PEM "-----BEGIN X-----\n"

struct world {
    char folder[64];
    uv_loop_t loop;
    unsigned changed;
    struct kube_credentials *c;
    struct kube_material material;
    const char *why;
};

static void write_file(const struct world *w, const char *name, const char *text, unsigned mode)
{
    char path[128], fresh[160];
    snprintf(path, sizeof path, "%s/%s", w->folder, name);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    auto_fd fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(rename(fresh, path), 0);
}

static void remove_file(const struct world *w, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", w->folder, name);
    unlink(path);
}

static int set_up(void **state)
{
    static struct world w;
    w = (struct world){.folder = "/tmp/kube_credentials_XXXXXX"};
    assert_non_null(mkdtemp(w.folder));
    assert_int_equal(uv_loop_init(&w.loop), 0);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    static const char *const names[] = {"token", "ca.crt", "namespace", "plugin", "answer", "runs", "config"};
    if (w->c)
        kube_credentials_close(w->c);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        remove_file(w, names[i]);
    return rmdir(w->folder);
}

static void on_changed(void *arg)
{
    struct world *w = arg;
    w->changed++;
}

static enum err get(struct world *w)
{
    return kube_credentials_get(w->c, &w->material, &w->why);
}

static bool token_is(const struct world *w, const char *token)
{
    return str_eq(w->material.token, str_of(token));
}

static void files_are_read_again(void **state)
{
    struct world *w = *state;
    struct kube_access a;
    struct errinfo info = {0};
    write_file(w, "token", "one\n", 0600);
    write_file(w, "ca.crt", PEM, 0600);
    write_file(w, "namespace", "pods\n", 0600);
    assert_int_equal(kube_access_in_cluster(w->folder, "h", "443", &a, &info), ERR_OK);
    assert_string_equal(a.ns, "pods");
    assert_int_equal(kube_credentials_open(&w->loop, &a, on_changed, w, &w->c, &info), ERR_OK);
    assert_int_equal(get(w), ERR_OK);
    assert_true(token_is(w, "one") && str_eq(w->material.ca, STR(PEM)));

    write_file(w, "token", "two", 0600);
    assert_true(kube_credentials_refused(w->c));
    assert_int_equal(get(w), ERR_OK);
    assert_true(token_is(w, "two"));

    remove_file(w, "token"); /* in the middle of a replacement: the old one stays */
    assert_true(kube_credentials_refused(w->c));
    assert_int_equal(get(w), ERR_OK);
    assert_true(token_is(w, "two"));
    write_file(w, "token", "not one\nline", 0600);
    kube_credentials_refused(w->c);
    assert_int_equal(get(w), ERR_OK);
    assert_true(token_is(w, "two"));
}

static void what_is_missing_is_named(void **state)
{
    struct world *w = *state;
    struct kube_access a;
    struct errinfo info = {0};
    write_file(w, "token", "one\n", 0600);
    assert_int_equal(kube_access_in_cluster(w->folder, "h", "443", &a, &info), ERR_OK);
    assert_int_equal(kube_credentials_open(&w->loop, &a, on_changed, w, &w->c, &info), ERR_NOT_FOUND);
    assert_non_null(strstr(info.text, "/ca.crt does not exist"));
    write_file(w, "ca.crt", "nothing", 0600);
    assert_int_equal(kube_credentials_open(&w->loop, &a, on_changed, w, &w->c, &info), ERR_INVALID);
    assert_non_null(strstr(info.text, "/ca.crt holds no PEM text"));
    kube_access_free(&a);
}

/* ---- plug-ins ---- */

/* Prints the file `answer` beside it, and adds a letter to `runs`. */
static const char plugin[] =
    "#!/bin/sh\n"
    "cd \"$(dirname \"$0\")\" && printf x >> runs\n"
    "[ \"$PLUG\" = set ] && [ \"$1\" = 'an arg' ] && [ -z \"$SECRET_OF_OURS\" ] || exit 9\n"
    "case $KUBERNETES_EXEC_INFO in *'\"server\":\"https://h\"'*) ;; *) exit 8;; esac\n"
    "[ -e answer ] || { echo 'log in first' >&2; exit 7; }\n"
    "cat answer\n";

static void open_plugin(struct world *w, const char *answer)
{
    struct kube_access a;
    struct errinfo info = {0};
    char text[1024], path[128];
    snprintf(
        text, sizeof text,
        "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
        "clusters: [{name: k, cluster: {server: 'https://h'}}]\n"
        "users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin, "
        "args: [an arg], env: [{name: PLUG, value: set}], provideClusterInfo: true, installHint: 'see the page'}}}]\n");
    setenv("SECRET_OF_OURS", "x", 1);
    write_file(w, "plugin", plugin, 0700);
    if (answer)
        write_file(w, "answer", answer, 0600);
    snprintf(path, sizeof path, "%s/config", w->folder);
    assert_int_equal(kube_access_parse(str_of(text), path, NULL, false, &a, &info), ERR_OK);
    assert_int_equal(kube_credentials_open(&w->loop, &a, on_changed, w, &w->c, &info), ERR_OK);
}

static void wait_for_plugin(struct world *w)
{
    unsigned before = w->changed;
    bool more = true;
    while (w->changed == before && more)
        more = uv_run(&w->loop, UV_RUN_ONCE) != 0;
    assert_int_equal(w->changed, before + 1);
}

static unsigned runs(const struct world *w)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof path, "%s/runs", w->folder);
    return stat(path, &st) ? 0 : (unsigned)st.st_size;
}

#define ANSWER(token, more)                                                                                          \
    "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"" token \
    "\"" more "}}"

static void a_plugin_is_run_once(void **state)
{
    struct world *w = *state;
    open_plugin(w, ANSWER("from-plugin", ""));
    assert_int_equal(get(w), ERR_AGAIN);
    assert_int_equal(get(w), ERR_AGAIN);
    wait_for_plugin(w);
    assert_int_equal(get(w), ERR_OK);
    assert_true(token_is(w, "from-plugin"));
    assert_int_equal(get(w), ERR_OK);
    assert_int_equal(runs(w), 1);
}

static void what_expires_soon_is_replaced(void **state)
{
    struct world *w = *state;
    time_t soon = (time_t)(clock_wall_ms() / 1000) + 20; /* it serves yet, and is run again meanwhile */
    struct tm tm;
    char when[32], answer[512];
    gmtime_r(&soon, &tm);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    snprintf(answer, sizeof answer, ANSWER("short", ",\"expirationTimestamp\":\"%s\""), when);
    open_plugin(w, answer);
    assert_int_equal(get(w), ERR_AGAIN);
    wait_for_plugin(w);
    assert_int_equal(get(w), ERR_OK);
    assert_true(token_is(w, "short"));
    assert_int_equal(runs(w), 1); /* not at once again: there is a pause between two runs */
}

static void what_has_expired_is_not_used(void **state)
{
    struct world *w = *state;
    open_plugin(w, ANSWER("old", ",\"expirationTimestamp\":\"2020-01-01T00:00:00Z\""));
    assert_int_equal(get(w), ERR_AGAIN);
    wait_for_plugin(w);
    assert_int_equal(get(w), ERR_DENIED);
    assert_non_null(strstr(w->why, "expired"));
}

static void what_is_refused_is_not_used(void **state)
{
    struct world *w = *state;
    open_plugin(w, ANSWER("wrong", ""));
    assert_int_equal(get(w), ERR_AGAIN);
    wait_for_plugin(w);
    assert_int_equal(get(w), ERR_OK);
    assert_true(kube_credentials_refused(w->c));
    assert_int_equal(get(w), ERR_DENIED); /* until the pause is over */
    assert_int_equal(runs(w), 1);
}

static void a_failing_plugin_is_quoted(void **state)
{
    struct world *w = *state;
    open_plugin(w, NULL);
    assert_int_equal(get(w), ERR_AGAIN);
    wait_for_plugin(w);
    assert_int_equal(get(w), ERR_DENIED);
    assert_non_null(strstr(w->why, "failed with exit code 7"));
    assert_non_null(strstr(w->why, "log in first"));
    assert_non_null(strstr(w->why, "see the page"));
}

static void a_missing_plugin_is_told(void **state)
{
    struct world *w = *state;
    open_plugin(w, NULL);
    remove_file(w, "plugin");
    assert_int_equal(get(w), ERR_AGAIN);
    wait_for_plugin(w);
    assert_int_equal(get(w), ERR_DENIED);
    assert_non_null(strstr(w->why, "cannot be started: no such file"));
}

static void garbage_and_floods_are_refused(void **state)
{
    struct world *w = *state;
    open_plugin(w, NULL);
    write_file(w, "plugin",
               "#!/bin/sh\nwhile :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done\n",
               0700);
    assert_int_equal(get(w), ERR_AGAIN);
    wait_for_plugin(w);
    assert_int_equal(get(w), ERR_DENIED);
    assert_non_null(strstr(w->why, "printed too much"));
}

static void closing_kills_a_plugin(void **state)
{
    struct world *w = *state;
    open_plugin(w, NULL);
    write_file(w, "plugin", "#!/bin/sh\nexec sleep 1000\n", 0700);
    assert_int_equal(get(w), ERR_AGAIN);
    kube_credentials_close(w->c); /* tear_down() runs the loop to its end, which waits for the process */
    w->c = NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_are_read_again),           TEST(what_is_missing_is_named),
        TEST(a_plugin_is_run_once),           TEST(what_expires_soon_is_replaced),
        TEST(what_has_expired_is_not_used),   TEST(what_is_refused_is_not_used),
        TEST(a_failing_plugin_is_quoted),     TEST(a_missing_plugin_is_told),
        TEST(garbage_and_floods_are_refused), TEST(closing_kills_a_plugin),
    };
    json_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
