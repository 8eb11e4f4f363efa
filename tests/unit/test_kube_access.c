/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"
#include "kube/access.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

/* base64 of "-----BEGIN X-----\n" */
#define PEM64 "LS0tLS1CRUdJTiBYLS0tLS0K"
#define PEM   "-----BEGIN X-----\n"

#define HEAD                                                                                                 \
    "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
#define CLUSTER                                                                                              \
    "clusters: [{name: k, cluster: {server: 'https://h:6443', certificate-authority-data: " PEM64 "}}]\n"
#define USER(user) HEAD CLUSTER "users: [{name: u, user: {" user "}}]\n"
#define ON_CLUSTER(text)                                                                                     \
    HEAD "clusters: [{name: k, cluster: {" text "}}]\nusers: [{name: u, user: {token: t}}]\n"

static void good_files(void **state)
{
    (void)state;
    struct kube_access a;
    struct errinfo info = {0};
    static const char text[] =
        "apiVersion: v1\nkind: Config\npreferences: {}\n"
        "current-context: second\n"
        "contexts:\n"
        "- name: first\n  context: {cluster: one, user: one}\n"
        "- context:\n    cluster: two\n    namespace: pods\n    user: two\n  name: second\n"
        "clusters:\n"
        "- cluster: {server: https://one}\n  name: one\n"
        "- cluster:\n    certificate-authority-data: " PEM64 "\n    server: https://two:6443/prefix/\n"
        "    tls-server-name: kubernetes\n    extensions:\n    - {name: x, extension: {deep: [{a: 1}]}}\n  name: two\n"
        "users:\n"
        "- name: one\n  user: {token: tok}\n"
        "- name: two\n  user:\n    client-certificate: pki/me.crt\n    client-key-data: >-\n      LS0tLS1CRUdJ\n"
        "      TiBYLS0tLS0K\n";
    assert_int_equal(kube_access_parse(STR(text), "/etc/kube/config", NULL, false, &a, &info), ERR_OK);
    assert_string_equal(a.server, "https://two:6443/prefix");
    assert_string_equal(a.ns, "pods");
    assert_string_equal(a.tls_server_name, "kubernetes");
    assert_string_equal(a.ca_data, PEM);
    assert_string_equal(a.cert_file, "/etc/kube/pki/me.crt");
    assert_string_equal(a.key_data, PEM);
    assert_null(a.token);
    kube_access_free(&a);

    assert_int_equal(kube_access_parse(STR(text), "/etc/kube/config", "first", false, &a, &info), ERR_OK);
    assert_string_equal(a.server, "https://one");
    assert_string_equal(a.token, "tok");
    assert_null(a.ns);
    assert_null(a.ca_data);
    kube_access_free(&a);
}

static void a_plugin(void **state)
{
    (void)state;
    struct kube_access a;
    struct errinfo info = {0};
    static const char text[] =
        USER("exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: ./bin/plug, "
             "args: ['', 'a,b', --x], env: [{name: A, value: '1'}, {name: B, value: ''}], "
             "installHint: get it, provideClusterInfo: true, interactiveMode: IfAvailable}");
    assert_int_equal(kube_access_parse(STR(text), "/k/config", NULL, false, &a, &info), ERR_OK);
    assert_string_equal(a.exec.command, "/k/./bin/plug");
    assert_string_equal(a.exec.args[0], "");
    assert_string_equal(a.exec.args[1], "a,b");
    assert_string_equal(a.exec.args[2], "--x");
    assert_null(a.exec.args[3]);
    assert_string_equal(a.exec.env[0], "A=1");
    assert_string_equal(a.exec.env[1], "B=");
    assert_null(a.exec.env[2]);
    assert_string_equal(a.exec.hint, "get it");
    assert_true(a.exec.cluster_info);
    kube_access_free(&a);
}

/* Each names the file, the key, and what to do. */
static void bad_files_are_explained(void **state)
{
    (void)state;
    static const struct {
        const char *text, *key, *advice;
    } rows[] = {
        {"", "current-context", "use-context"},
        {"just text", "line 1", "mapping"},
        {"a: [", "line ", ""},
        {"a: 1\na: 2\n", "line 2", "given before"},
        {"current-context: c\n", "contexts", "no entry named \"c\""},
        {"current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\n", "contexts.0.context",
         "cluster and a user"},
        {HEAD, "clusters", "no entry named \"k\""},
        {HEAD CLUSTER, "users", "no entry named \"u\""},
        {ON_CLUSTER("server: h"), "clusters.0.cluster.server", "https://HOST:PORT"},
        {ON_CLUSTER("x: h"), "clusters.0.cluster.server", "https://HOST:PORT"},
        {ON_CLUSTER("server: 'https://a@h'"), "clusters.0.cluster.server", "no user"},
        {ON_CLUSTER("server: 'http://h'"), "clusters.0.cluster.server", "write https://"},
        {ON_CLUSTER("server: 'https://h', insecure-skip-tls-verify: true"),
         "clusters.0.cluster.insecure-skip-tls-verify", "take it out"},
        {ON_CLUSTER("server: 'https://h', proxy-url: 'http://p'"), "clusters.0.cluster.proxy-url",
         "not supported"},
        {ON_CLUSTER("server: 'https://h', certificate-authority-data: '%%'"),
         "clusters.0.cluster.certificate-authority-data", "base64 -w0"},
        {ON_CLUSTER("server: 'https://h', certificate-authority-data: QUJD"),
         "clusters.0.cluster.certificate-authority-data", "PEM"},
        {USER(""), "users.0.user", "nothing to log in with"},
        {USER("token: ''"), "users.0.user", "nothing to log in with"},
        {USER("token: 'a b'"), "users.0.user.token", "blank"},
        {USER("token: \"a\\r\\nX: y\""), "users.0.user.token", "blank"},
        {ON_CLUSTER("server: 'https://h', tls-server-name: 'a/b'"), "clusters.0.cluster.tls-server-name",
         "host"},
        {"current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u, namespace: 'a/b'}}]\n",
         "contexts.0.context.namespace", "small letters"},
        {USER("username: x, password: y"), "users.0.user.username", "token or a certificate"},
        {USER("auth-provider: {name: gcp}"), "users.0.user.auth-provider.name", "exec plug-in"},
        {USER("token: t, as: root"), "users.0.user.as", "impersonation"},
        {USER("client-certificate-data: " PEM64), "users.0.user", "without its key"},
        {USER("client-key: k.pem"), "users.0.user", "without its certificate"},
        {USER("exec: {command: x}"), "users.0.user.exec.apiVersion", "v1beta1"},
        {USER("exec: {command: x, apiVersion: client.authentication.k8s.io/v1alpha1}"),
         "users.0.user.exec.apiVersion", "v1beta1"},
        {USER("exec: {command: x, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Always}"),
         "users.0.user.exec.interactiveMode", "no terminal"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kube_access a;
        struct errinfo info = {0};
        if (kube_access_parse(str_of(rows[i].text), "/some/config", NULL, false, &a, &info) != ERR_INVALID)
            fail_msg("taken: %s", rows[i].text);
        if (!strstr(info.text, "kubeconfig /some/config") || !strstr(info.text, rows[i].key) ||
            !strstr(info.text, rows[i].advice))
            fail_msg("%s: \"%s\"", rows[i].text, info.text);
    }
}

static void insecure_when_allowed(void **state)
{
    (void)state;
    struct kube_access a;
    struct errinfo info = {0};
    assert_int_equal(kube_access_parse(STR(ON_CLUSTER("server: 'http://h', insecure-skip-tls-verify: true")),
                                       "c", NULL, true, &a, &info),
                     ERR_OK);
    assert_true(a.insecure);
    assert_string_equal(a.server, "http://h");
    kube_access_free(&a);
}

static void in_cluster(void **state)
{
    (void)state;
    static const char *const bad[][2] = {{NULL, "443"}, {"", "443"},    {"h", NULL},
                                         {"h", "0"},    {"h", "65536"}, {"h", "x"}};
    struct kube_access a;
    struct errinfo info = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(kube_access_in_cluster("/nowhere", bad[i][0], bad[i][1], &a, &info), ERR_NOT_FOUND);
        assert_non_null(strstr(info.text, "kubeconfig"));
    }
    assert_int_equal(kube_access_in_cluster("/nowhere", "10.0.0.1", "443", &a, &info), ERR_OK);
    assert_string_equal(a.server, "https://10.0.0.1:443");
    assert_string_equal(a.token_file, "/nowhere/token");
    assert_string_equal(a.ca_file, "/nowhere/ca.crt");
    kube_access_free(&a);
    assert_int_equal(kube_access_in_cluster("/nowhere", "fd00::1", "443", &a, &info), ERR_OK);
    assert_string_equal(a.server, "https://[fd00::1]:443");
    kube_access_free(&a);
    assert_int_equal(kube_access_load("/nowhere/config", NULL, false, &a, &info), ERR_NOT_FOUND);
    assert_non_null(strstr(info.text, "/nowhere/config does not exist"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files),
        cmocka_unit_test(a_plugin),
        cmocka_unit_test(bad_files_are_explained),
        cmocka_unit_test(insecure_when_allowed),
        cmocka_unit_test(in_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
