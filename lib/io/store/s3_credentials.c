/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store/s3_credentials.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/percent.h"
#include "io/store/s3_answer.h"
#include "io/store/xml.h"
#include "json/json.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_MAX = 256,
    TOKEN_MAX = 8192,
    URL_MAX = 1024,
    CALL_MS = 5000,
    CONNECT_MS = 2000,
    EARLY_MS = 300 * 1000, /* fetched anew so long before the end, while the old ones still serve */
    LAST_MS = 2000,        /* no longer used so shortly before the end */
    PAUSE_MS = 1000,       /* between two fetches */
};

struct waiter {
    struct list link;
    void (*ready)(void *arg, const char *why);
    void *arg;
};

struct s3_credentials {
    struct http_client *http;
    struct http_call *call;
    struct s3_keys keys; /* of the texts below */
    char access[KEY_MAX], secret[KEY_MAX], token[TOKEN_MAX];
    bool fixed, have;
    int64_t expires_ms, fetched_ms;
    struct list waiters;
    char region[64], metadata_token[KEY_MAX], url[URL_MAX];
};

/* Being told may free other waiters, and begin to wait anew. */
static void end_fetch(struct s3_credentials *c, const char *why)
{
    unsigned count = 0;
    if (why)
        log_limited(LOG_WARN, "cannot fetch credentials for the object store", F_STR("why", why));
    list_each(w, &c->waiters, struct waiter, link) count++;
    for (; count > 0 && !list_empty(&c->waiters); count--) {
        struct waiter *first = list_first(&c->waiters, struct waiter, link);
        struct waiter w = *first;
        list_remove(&first->link);
        free(first);
        w.ready(w.arg, why);
    }
}

/* ---- what comes back ---- */

static bool keep(char *out, size_t size, struct str value)
{
    if (value.n == 0 || value.n >= size)
        return false;
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] <= ' ' || value.p[i] == 0x7f)
            return false;
    memcpy(out, value.p, value.n);
    out[value.n] = '\0';
    return true;
}

struct fetched {
    char access[KEY_MAX], secret[KEY_MAX], token[TOKEN_MAX], expires[64];
};

static void take(struct s3_credentials *c, const struct fetched *f)
{
    int64_t expires = 0;
    if (!f->access[0] || !f->secret[0] || s3_read_time(str_of(f->expires), &expires)) {
        end_fetch(c, "the answer has no credentials");
        return;
    }
    memcpy(c->access, f->access, sizeof c->access);
    memcpy(c->secret, f->secret, sizeof c->secret);
    memcpy(c->token, f->token, sizeof c->token);
    c->keys = (struct s3_keys){.access_key = c->access, .secret_key = c->secret, .session_token = c->token};
    c->expires_ms = expires;
    c->have = true;
    end_fetch(c, NULL);
}

static struct str member(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return (struct str){.p = json_string_value(value), .n = json_string_length(value)};
}

static void on_json(void *arg, enum err e, const char *why, const struct http_answer *answer)
{
    struct s3_credentials *c = arg;
    struct errinfo info;
    auto_json root = NULL;
    c->call = NULL;
    if (e || answer->status != 200 || json_parse(answer->body, &root, &info)) {
        end_fetch(c, e ? why : "the role's address gave no credentials");
        return;
    }
    struct fetched f = {.access = ""};
    keep(f.access, sizeof f.access, member(root, "AccessKeyId"));
    keep(f.secret, sizeof f.secret, member(root, "SecretAccessKey"));
    keep(f.token, sizeof f.token, member(root, "Token"));
    keep(f.expires, sizeof f.expires, member(root, "Expiration"));
    take(c, &f);
}

static void on_xml(void *arg, enum err e, const char *why, const struct http_answer *answer)
{
    struct s3_credentials *c = arg;
    c->call = NULL;
    if (e || answer->status != 200) {
        end_fetch(c, e ? why : "STS refused the web identity");
        return;
    }
    struct fetched f = {.access = ""};
    const struct {
        const char *name;
        char *out;
        size_t size;
    } rows[] = {{"AccessKeyId", f.access, sizeof f.access},
                {"SecretAccessKey", f.secret, sizeof f.secret},
                {"SessionToken", f.token, sizeof f.token},
                {"Expiration", f.expires, sizeof f.expires}};
    struct xml x;
    enum xml_event event;
    xml_init(&x, answer->body);
    while ((event = xml_next(&x)) == XML_OPEN || event == XML_CLOSE)
        for (size_t i = 0; event == XML_CLOSE && i < sizeof rows / sizeof *rows; i++)
            if (str_eq(xml_name(&x, event), str_of(rows[i].name)))
                keep(rows[i].out, rows[i].size, buf_str(&x.text));
    if (event == XML_BAD)
        f.access[0] = '\0';
    xml_free(&x);
    take(c, &f);
}

/* ---- asking ---- */

static bool ask(struct s3_credentials *c, const char *method, const char *url, const char *header,
                struct str body, http_call_cb cb)
{
    const char *headers[] = {header, NULL};
    struct http_call_options options = {.method = method,
                                        .url = url,
                                        .headers = header ? headers : NULL,
                                        .body = body,
                                        .connect_timeout_ms = CONNECT_MS,
                                        .timeout_ms = CALL_MS,
                                        .max_body = 64 << 10};
    return http_client_send(c->http, &options, cb, c, &c->call) == ERR_OK;
}

/* A small file of secrets: one line. */
static bool read_line(const char *path, char *out, size_t size)
{
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
    if (n <= 0)
        return false;
    out[n] = '\0';
    out[strcspn(out, "\r\n")] = '\0';
    return out[0] != '\0';
}

static const char *variable(const char *name)
{
    return text_or_null(getenv(name));
}

static const char *ask_sts(struct s3_credentials *c)
{
    char token[TOKEN_MAX];
    const char *endpoint = variable("AWS_ENDPOINT_URL_STS"), *session = variable("AWS_ROLE_SESSION_NAME");
    if (!read_line(variable("AWS_WEB_IDENTITY_TOKEN_FILE"), token, sizeof token))
        return "cannot read the file of AWS_WEB_IDENTITY_TOKEN_FILE";
    auto_buf body = BUF_INIT(64 << 10);
    buf_append_cstr(&body, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=");
    percent_encode(&body, session ? session : "millrace", false);
    buf_append_cstr(&body, "&RoleArn=");
    percent_encode(&body, variable("AWS_ROLE_ARN"), false);
    buf_append_cstr(&body, "&WebIdentityToken=");
    percent_encode(&body, token, false);
    if (endpoint)
        snprintf(c->url, sizeof c->url, "%s/", endpoint);
    else
        snprintf(c->url, sizeof c->url, "https://sts.%s.amazonaws.com/", c->region);
    bool sent = !buf_status(&body) && ask(c, "POST", c->url, NULL, buf_str(&body), on_xml);
    return sent ? NULL : "cannot ask STS";
}

static const char *ask_container(struct s3_credentials *c)
{
    const char *full = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    const char *file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *given = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    char token[TOKEN_MAX] = "", header[TOKEN_MAX + 32];
    if (full)
        snprintf(c->url, sizeof c->url, "%s", full);
    else
        snprintf(c->url, sizeof c->url, "http://169.254.170.2%s",
                 variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"));
    if (file && !read_line(file, token, sizeof token))
        return "cannot read the file of AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
    if (!file && given)
        snprintf(token, sizeof token, "%s", given);
    snprintf(header, sizeof header, "Authorization: %s", token);
    return ask(c, "GET", c->url, token[0] ? header : NULL, (struct str){0}, on_json)
               ? NULL
               : "cannot ask for the role of the container";
}

/* ---- the instance's metadata: a token, the name of the role, its keys ---- */

static bool ask_metadata(struct s3_credentials *c, const char *method, const char *path, const char *header,
                         http_call_cb cb)
{
    const char *endpoint = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    snprintf(c->url, sizeof c->url, "%s/latest/%s", endpoint ? endpoint : "http://169.254.169.254", path);
    bool with_body = !strcmp(method, "PUT");
    return ask(c, method, c->url, header, with_body ? STR("") : (struct str){0}, cb);
}

static bool ask_with_token(struct s3_credentials *c, const char *path, http_call_cb cb)
{
    char header[KEY_MAX + 64];
    snprintf(header, sizeof header, "X-aws-ec2-metadata-token: %s", c->metadata_token);
    return ask_metadata(c, "GET", path, header, cb);
}

static void on_role(void *arg, enum err e, const char *why, const struct http_answer *answer)
{
    struct s3_credentials *c = arg;
    char role[KEY_MAX], path[KEY_MAX + 64];
    c->call = NULL;
    struct str body = answer ? answer->body : (struct str){0}, first = str_split(&body, '\n');
    if (e || answer->status != 200 || !keep(role, sizeof role, first)) {
        end_fetch(c, e ? why : "the instance has no role");
        return;
    }
    snprintf(path, sizeof path, "meta-data/iam/security-credentials/%s", role);
    if (!ask_with_token(c, path, on_json))
        end_fetch(c, "cannot ask the instance's metadata");
}

static void on_metadata_token(void *arg, enum err e, const char *why, const struct http_answer *answer)
{
    struct s3_credentials *c = arg;
    c->call = NULL;
    if (e || answer->status != 200 || !keep(c->metadata_token, sizeof c->metadata_token, answer->body))
        end_fetch(c, e ? why : "the instance's metadata gave no token");
    else if (!ask_with_token(c, "meta-data/iam/security-credentials/", on_role))
        end_fetch(c, "cannot ask the instance's metadata");
}

static const char *ask_instance(struct s3_credentials *c)
{
    return ask_metadata(c, "PUT", "api/token", "X-aws-ec2-metadata-token-ttl-seconds: 21600",
                        on_metadata_token)
               ? NULL
               : "cannot ask the instance's metadata";
}

/* NULL: it is under way. */
static const char *fetch(struct s3_credentials *c)
{
    c->fetched_ms = clock_wall_ms();
    if (variable("AWS_WEB_IDENTITY_TOKEN_FILE") && variable("AWS_ROLE_ARN"))
        return ask_sts(c);
    if (variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") || variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"))
        return ask_container(c);
    return ask_instance(c);
}

/* ---- for the store ---- */

enum err s3_credentials_open(struct http_client *http, const struct s3_keys *fixed, const char *region,
                             struct s3_credentials **ret_credentials)
{
    struct s3_credentials *c = calloc(1, sizeof *c);
    if (!c)
        return ERR_NOMEM;
    c->http = http;
    list_init(&c->waiters);
    snprintf(c->region, sizeof c->region, "%s", region);
    if (fixed->access_key) {
        snprintf(c->access, sizeof c->access, "%s", fixed->access_key);
        snprintf(c->secret, sizeof c->secret, "%s", fixed->secret_key);
        snprintf(c->token, sizeof c->token, "%s", fixed->session_token);
        c->keys =
            (struct s3_keys){.access_key = c->access, .secret_key = c->secret, .session_token = c->token};
        c->fixed = c->have = true;
    }
    *ret_credentials = c;
    return ERR_OK;
}

void s3_credentials_close(struct s3_credentials *c)
{
    if (c->call)
        http_call_cancel(c->call);
    list_each(w, &c->waiters, struct waiter, link) free(w);
    free(c);
}

static void start_fetch(struct s3_credentials *c)
{
    const char *why = c->call ? NULL : fetch(c);
    if (why)
        end_fetch(c, why);
}

const struct s3_keys *s3_credentials_get(struct s3_credentials *c, void (*ready)(void *arg, const char *why),
                                         void *arg)
{
    if (c->fixed)
        return &c->keys;
    int64_t now = clock_wall_ms(), left = c->have ? c->expires_ms - now : 0;
    bool usable = left > LAST_MS;
    if (usable && left < EARLY_MS && !c->call && now - c->fetched_ms > PAUSE_MS)
        start_fetch(c);
    if (usable)
        return &c->keys;
    struct waiter *w = calloc(1, sizeof *w);
    if (!w)
        abort(); /* as every allocation of so few bytes that nobody could be told of */
    w->ready = ready;
    w->arg = arg;
    list_append(&c->waiters, &w->link);
    start_fetch(c);
    return NULL;
}

void s3_credentials_forget(struct s3_credentials *c, void *arg)
{
    list_each(w, &c->waiters, struct waiter, link)
    {
        if (w->arg == arg) {
            list_remove(&w->link);
            free(w);
        }
    }
}

bool s3_credentials_refused(struct s3_credentials *c)
{
    if (c->fixed)
        return false;
    c->have = false;
    return true;
}
