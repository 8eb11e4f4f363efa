/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"
#include "io/store/s3_answer.h"
#include "kube/exec.h"
#include "json/json.h"

#include <string.h>

enum { ANSWER_MAX = 1 << 20 };

static const char *text(struct arena *memory, const json_t *object, const char *name)
{
    const char *value = text_or_null(json_string_value(json_object_get(object, name)));
    return value ? arena_cstr(memory, str_of(value)) : NULL;
}

static enum err read_status(const json_t *status, struct kube_exec_answer *a, struct errinfo *info)
{
    const char *expires = json_string_value(json_object_get(status, "expirationTimestamp"));
    a->token = text(&a->memory, status, "token");
    a->cert = text(&a->memory, status, "clientCertificateData");
    a->key = text(&a->memory, status, "clientKeyData");
    if (!a->token && !a->cert)
        return errinfo_set(info, ERR_INVALID, 0, "status has neither token nor clientCertificateData");
    if (!a->cert != !a->key)
        return errinfo_set(info, ERR_INVALID, 0,
                           "status has one of clientCertificateData and clientKeyData only");
    for (const char *p = a->token; p && *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return errinfo_set(info, ERR_INVALID, 0, "status.token has a blank or control character");
    if (expires && expires[0] && s3_read_time(str_of(expires), &a->expires_ms))
        return errinfo_set(info, ERR_INVALID, 0, "status.expirationTimestamp is not a time in UTC");
    return arena_status(&a->memory) ? errinfo_set(info, ERR_NOMEM, 0, "out of memory") : ERR_OK;
}

enum err kube_exec_read(struct str json, const char *api_version, struct kube_exec_answer *ret_answer,
                        struct errinfo *info)
{
    struct errinfo where;
    auto_json root = NULL;
    if (json_parse(json, &root, &where))
        return errinfo_set(info, ERR_INVALID, 0, "it printed no JSON object");
    const char *kind = json_string_value(json_object_get(root, "kind"));
    const char *version = json_string_value(json_object_get(root, "apiVersion"));
    if (!kind || strcmp(kind, "ExecCredential") != 0 || !version || strcmp(version, api_version) != 0)
        return errinfo_set(info, ERR_INVALID, 0, "it printed no ExecCredential of %.60s", api_version);
    struct kube_exec_answer a = {.memory = ARENA_INIT(ANSWER_MAX)};
    enum err e = read_status(json_object_get(root, "status"), &a, info);
    if (e)
        arena_free(&a.memory);
    else
        *ret_answer = a;
    return e;
}

static void write_cluster(const struct kube_access *a, struct buf *out)
{
    buf_append_cstr(out, ",\"cluster\":{\"server\":");
    json_write_string(out, str_of(a->server));
    if (a->tls_server_name) {
        buf_append_cstr(out, ",\"tls-server-name\":");
        json_write_string(out, str_of(a->tls_server_name));
    }
    if (a->ca_data) {
        buf_append_cstr(out, ",\"certificate-authority-data\":\"");
        base64_encode(out, str_of(a->ca_data));
        buf_append_char(out, '"');
    }
    if (a->insecure)
        buf_append_cstr(out, ",\"insecure-skip-tls-verify\":true");
    buf_append_char(out, '}');
}

void kube_exec_info(const struct kube_access *a, struct buf *out)
{
    buf_printf(out, "{\"apiVersion\":\"%s\",\"kind\":\"ExecCredential\",\"spec\":{\"interactive\":false",
               a->exec.api_version);
    if (a->exec.cluster_info)
        write_cluster(a, out);
    buf_append_cstr(out, "}}");
}
