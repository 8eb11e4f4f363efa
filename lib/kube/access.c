/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/access.h"

#include "base/base64.h"
#include "io/small_file.h"
#include "io/yaml.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

enum { MEMORY_MAX = 16 << 20 };

struct reading {
    struct kube_access *a;
    struct yaml_pairs pairs;
    const char *path;
    bool allow_insecure;
    struct errinfo *info;
};

void kube_access_free(struct kube_access *a)
{
    arena_free(&a->memory);
}

static enum err refuse(const struct reading *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static enum err refuse(const struct reading *r, const char *fmt, ...)
{
    char text[sizeof r->info->text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return errinfo_set(r->info, ERR_INVALID, 0, "kubeconfig %.100s: %s", r->path, text);
}

/* ---- looking things up ---- */

static const char *text_of(const struct reading *r, const char *prefix, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s%s%s", prefix, prefix[0] ? "." : "", name);
    for (size_t i = 0; i < r->pairs.count; i++)
        if (!strcmp(r->pairs.items[i].path, path))
            return r->pairs.items[i].value;
    return NULL;
}

static const char *value(const struct reading *r, const char *prefix, const char *name)
{
    return text_or_null(text_of(r, prefix, name));
}

/* The place of the item of `list` whose name is `name`: "users.2". */
static enum err find(const struct reading *r, const char *list, const char *name, char *ret_prefix,
                     size_t size)
{
    size_t n = strlen(list);
    for (size_t i = 0; i < r->pairs.count; i++) {
        const char *path = r->pairs.items[i].path, *dot = strrchr(path, '.');
        if (!strncmp(path, list, n) && path[n] == '.' && dot == strchr(path + n + 1, '.') && dot &&
            !strcmp(dot, ".name") && !strcmp(r->pairs.items[i].value, name)) {
            snprintf(ret_prefix, size, "%.*s", (int)(dot - path), path);
            return ERR_OK;
        }
    }
    return refuse(r, "%s has no entry named \"%.60s\": add it, or choose another context", list, name);
}

static const char *absolute(const struct reading *r, const char *path)
{
    const char *slash = strrchr(r->path, '/');
    if (!path || path[0] == '/' || !slash)
        return path;
    return arena_printf(&r->a->memory, "%.*s/%s", (int)(slash - r->path), r->path, path);
}

/* A DNS label or subdomain. */
static bool name_valid(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= 253 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == n;
}

static bool yes(const char *text)
{
    return text && (!strcmp(text, "true") || !strcmp(text, "True") || !strcmp(text, "TRUE"));
}

/* NAME-data (base64 of PEM) or the file NAME. */
static enum err material(const struct reading *r, const char *prefix, const char *name, const char **ret_data,
                         const char **ret_file)
{
    char key[64];
    snprintf(key, sizeof key, "%s-data", name);
    const char *text = value(r, prefix, key);
    *ret_file = absolute(r, value(r, prefix, name));
    if (!text)
        return ERR_OK;
    auto_buf packed = BUF_INIT(KUBE_ACCESS_FILE_MAX), pem = BUF_INIT(KUBE_ACCESS_FILE_MAX);
    for (const char *p = text; *p; p++) /* a folded text has blanks where it was folded */
        if (*p != ' ' && *p != '\n')
            buf_append_char(&packed, *p);
    if (base64_decode(&pem, buf_str(&packed)) || buf_status(&pem) || !strstr(buf_cstr(&pem), "-----BEGIN "))
        return refuse(r, "%s.%s is not the base64 of a PEM text: write what `base64 -w0 FILE` prints", prefix,
                      key);
    *ret_data = arena_cstr(&r->a->memory, buf_str(&pem));
    *ret_file = NULL; /* as kubectl: the data wins */
    return ERR_OK;
}

/* ---- clusters ---- */

static enum err read_server(const struct reading *r, const char *prefix)
{
    const char *server = value(r, prefix, "server");
    bool plain = server && !strncmp(server, "http://", 7);
    if (!server || (!plain && strncmp(server, "https://", 8) != 0))
        return refuse(r, "%s.server must be an address as https://HOST:PORT", prefix);
    if (strpbrk(server, "@?# \\\"\t\r\n"))
        return refuse(r, "%s.server must have no user, query or blank: write https://HOST:PORT", prefix);
    if (plain && !r->allow_insecure)
        return refuse(r, "%s.server is http://, where anyone can read the token: write https://", prefix);
    size_t n = strlen(server);
    while (n > 8 && server[n - 1] == '/')
        n--;
    r->a->server = arena_cstr(&r->a->memory, (struct str){.p = server, .n = n});
    return ERR_OK;
}

static enum err read_cluster(const struct reading *r, const char *prefix)
{
    struct kube_access *a = r->a;
    enum err e = read_server(r, prefix);
    if (e)
        return e;
    a->tls_server_name = value(r, prefix, "tls-server-name");
    if (a->tls_server_name && !name_valid(a->tls_server_name))
        return refuse(r, "%s.tls-server-name is no name of a host", prefix);
    a->insecure = yes(value(r, prefix, "insecure-skip-tls-verify"));
    if (a->insecure && !r->allow_insecure)
        return refuse(r,
                      "%s.insecure-skip-tls-verify would let anyone answer for the API server: "
                      "take it out and give certificate-authority-data",
                      prefix);
    if (value(r, prefix, "proxy-url"))
        return refuse(r, "%s.proxy-url is not supported: take it out", prefix);
    return material(r, prefix, "certificate-authority", &a->ca_data, &a->ca_file);
}

/* ---- users ---- */

static enum err read_exec_lists(const struct reading *r, const char *prefix)
{
    struct kube_exec_plan *exec = &r->a->exec;
    char name[64];
    for (size_t i = 0;; i++) {
        snprintf(name, sizeof name, "args.%zu", i);
        const char *arg = text_of(r, prefix, name);
        if (!arg)
            break;
        if (i == KUBE_EXEC_ARGS_MAX)
            return refuse(r, "%s.args has more than %d items", prefix, KUBE_EXEC_ARGS_MAX);
        exec->args[i] = arg;
    }
    for (size_t i = 0;; i++) {
        snprintf(name, sizeof name, "env.%zu.name", i);
        const char *variable = value(r, prefix, name);
        snprintf(name, sizeof name, "env.%zu.value", i);
        const char *text = text_of(r, prefix, name);
        if (!variable)
            return ERR_OK;
        if (i == KUBE_EXEC_ARGS_MAX || strchr(variable, '='))
            return refuse(r, "%s.env must be at most %d pairs of name and value", prefix, KUBE_EXEC_ARGS_MAX);
        exec->env[i] = arena_printf(&r->a->memory, "%s=%s", variable, text ? text : "");
    }
}

static enum err read_exec(const struct reading *r, const char *prefix)
{
    struct kube_exec_plan *exec = &r->a->exec;
    const char *version = value(r, prefix, "apiVersion"), *mode = value(r, prefix, "interactiveMode");
    const char *command = value(r, prefix, "command"), *hint = value(r, prefix, "installHint");
    if (!command)
        return ERR_OK;
    if (!version || (strcmp(version, "client.authentication.k8s.io/v1") != 0 &&
                     strcmp(version, "client.authentication.k8s.io/v1beta1") != 0))
        return refuse(r, "%s.apiVersion must be client.authentication.k8s.io/v1 or v1beta1", prefix);
    if (mode && !strcmp(mode, "Always"))
        return refuse(r,
                      "%s.interactiveMode is Always, and there is no terminal here: use Never or IfAvailable",
                      prefix);
    *exec = (struct kube_exec_plan){
        .command = strchr(command, '/') ? absolute(r, command) : command,
        .api_version = version,
        .hint = hint ? hint : "",
        .cluster_info = yes(value(r, prefix, "provideClusterInfo")),
    };
    return read_exec_lists(r, prefix);
}

/* Ways to log in that we do not have, and what to do instead. */
static const struct {
    const char *key, *advice;
} unsupported[] = {
    {"username", "Kubernetes has no basic authentication any more: use a token or a certificate"},
    {"password", "Kubernetes has no basic authentication any more: use a token or a certificate"},
    {"auth-provider.name", "kubectl has no such providers any more: use an exec plug-in"},
    {"as", "impersonation is not supported: use that user's own credentials"},
};

static enum err read_user(const struct reading *r, const char *prefix)
{
    struct kube_access *a = r->a;
    char exec[96];
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (value(r, prefix, unsupported[i].key))
            return refuse(r, "%s.%s: %s", prefix, unsupported[i].key, unsupported[i].advice);
    a->token = value(r, prefix, "token");
    if (a->token && strpbrk(a->token, " \t\r\n"))
        return refuse(r, "%s.token has a blank in it: write the token alone", prefix);
    a->token_file = absolute(r, value(r, prefix, "tokenFile"));
    enum err e = material(r, prefix, "client-certificate", &a->cert_data, &a->cert_file);
    e = e ? e : material(r, prefix, "client-key", &a->key_data, &a->key_file);
    if (e)
        return e;
    bool has_cert = a->cert_data || a->cert_file, has_key = a->key_data || a->key_file;
    if (has_cert != has_key)
        return refuse(r, "%s has a client %s without its %s: give both", prefix,
                      has_cert ? "certificate" : "key", has_cert ? "key" : "certificate");
    snprintf(exec, sizeof exec, "%s.exec", prefix);
    if (!has_cert && !a->token && !a->token_file)
        e = read_exec(r, exec);
    if (!e && !has_cert && !a->token && !a->token_file && !a->exec.command)
        return refuse(r,
                      "%s says nothing to log in with: give token, tokenFile, client-certificate-data with "
                      "client-key-data, or exec",
                      prefix);
    return e;
}

/* ---- the whole ---- */

static enum err read_context(struct reading *r, const char *context)
{
    char place[64], prefix[80];
    const char *name = context ? context : value(r, "", "current-context");
    if (!name || !name[0])
        return refuse(r,
                      "current-context is not set: run `kubectl config use-context NAME`, or name a context");
    enum err e = find(r, "contexts", name, place, sizeof place);
    if (e)
        return e;
    snprintf(prefix, sizeof prefix, "%s.context", place);
    const char *cluster = value(r, prefix, "cluster"), *user = value(r, prefix, "user");
    if (!cluster || !user)
        return refuse(r, "%s needs a cluster and a user", prefix);
    r->a->ns = value(r, prefix, "namespace");
    if (r->a->ns && !name_valid(r->a->ns))
        return refuse(r, "%s.namespace is no name of a namespace: small letters, digits and -", prefix);
    if ((e = find(r, "clusters", cluster, place, sizeof place)))
        return e;
    snprintf(prefix, sizeof prefix, "%s.cluster", place);
    if ((e = read_cluster(r, prefix)) || (e = find(r, "users", user, place, sizeof place)))
        return e;
    snprintf(prefix, sizeof prefix, "%s.user", place);
    return read_user(r, prefix);
}

enum err kube_access_parse(struct str text, const char *path, const char *context, bool allow_insecure,
                           struct kube_access *ret_access, struct errinfo *info)
{
    struct kube_access a = {.memory = ARENA_INIT(MEMORY_MAX)};
    struct reading r = {.a = &a, .path = path, .allow_insecure = allow_insecure, .info = info};
    a.source = arena_cstr(&a.memory, str_of(path));
    enum err e = yaml_parse_tree(&a.memory, text, &r.pairs, info);
    if (e)
        errinfo_wrap(info, "kubeconfig %.100s", path);
    else
        e = read_context(&r, context);
    if (!e && arena_status(&a.memory))
        e = errinfo_set(info, ERR_NOMEM, 0, "kubeconfig %.100s: out of memory", path);
    if (e)
        arena_free(&a.memory);
    else
        *ret_access = a;
    return e;
}

enum err kube_access_load(const char *path, const char *context, bool allow_insecure,
                          struct kube_access *ret_access, struct errinfo *info)
{
    auto_buf text = BUF_INIT(KUBE_ACCESS_FILE_MAX);
    enum err e = small_file_read(AT_FDCWD, path, &text, info);
    if (e == ERR_NOT_FOUND)
        return errinfo_set(info, e, 0, "the kubeconfig %.150s does not exist: name one file", path);
    if (e)
        return e;
    return kube_access_parse(buf_str(&text), path, context, allow_insecure, ret_access, info);
}

static enum err read_namespace(const char *path, struct kube_access *a, struct errinfo *info)
{
    auto_buf text = BUF_INIT(64 << 10);
    enum err e = small_file_read(AT_FDCWD, path, &text, info);
    if (e && e != ERR_NOT_FOUND)
        return e;
    struct str name = str_trim(buf_str(&text));
    while (name.n && (name.p[name.n - 1] == '\n' || name.p[name.n - 1] == '\r'))
        name.n--;
    if (e || !name.n)
        return ERR_OK;
    a->ns = arena_cstr(&a->memory, name);
    if (a->ns && !name_valid(a->ns))
        return errinfo_set(info, ERR_INVALID, 0, "%.150s holds no name of a namespace", path);
    return ERR_OK;
}

enum err kube_access_in_cluster(const char *directory, const char *host, const char *port,
                                struct kube_access *ret_access, struct errinfo *info)
{
    uint64_t number;
    if (!host || !host[0] || !port || str_to_u64(str_of(port), &number) || number == 0 || number > 65535)
        return errinfo_set(info, ERR_NOT_FOUND, 0,
                           "not inside of a Kubernetes pod (KUBERNETES_SERVICE_HOST and "
                           "KUBERNETES_SERVICE_PORT are not set): give a kubeconfig");
    struct kube_access a = {.memory = ARENA_INIT(MEMORY_MAX)};
    bool v6 = strchr(host, ':') && host[0] != '[';
    a.source = arena_cstr(&a.memory, str_of(directory));
    a.server = arena_printf(&a.memory, v6 ? "https://[%s]:%s" : "https://%s:%s", host, port);
    a.ca_file = arena_printf(&a.memory, "%s/ca.crt", directory);
    a.token_file = arena_printf(&a.memory, "%s/token", directory);
    const char *ns_file = arena_printf(&a.memory, "%s/namespace", directory);
    enum err e = arena_status(&a.memory);
    e = e ? errinfo_set(info, e, 0, "out of memory") : read_namespace(ns_file, &a, info);
    if (e)
        arena_free(&a.memory);
    else
        *ret_access = a;
    return e;
}
