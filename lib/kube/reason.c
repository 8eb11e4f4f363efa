/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/reason.h"

#include "json/json.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *text;
    bool again;
} reasons[] = {
#define X(name, again, text) {#name, text, again},
    KUBE_REASON_TABLE(X)
#undef X
};

const char *kube_reason_name(enum kube_reason reason)
{
    return reasons[reason].name;
}

const char *kube_reason_text(enum kube_reason reason)
{
    return reasons[reason].text;
}

bool kube_reason_again(enum kube_reason reason)
{
    return reasons[reason].again;
}

/* What a refusal means; the first row that fits. `code` 0, `reason` and `phrase` NULL: any. Kubernetes says Forbidden for a missing
   right as for what an admission plug-in refuses: only the sentence tells them apart. */
static const struct verdict {
    int code;
    const char *reason, *phrase;
    enum kube_reason meaning;
} verdicts[] = {
    {403, NULL, "exceeded quota", KUBE_QUOTA},
    {403, NULL, "failed quota", KUBE_QUOTA},
    {403, NULL, "insufficient quota", KUBE_QUOTA},
    {403, NULL, " usage per ", KUBE_QUOTA}, /* LimitRange: "maximum cpu usage per Container is 1" */
    {403, NULL, " limit to request ratio per ", KUBE_QUOTA},
    {403, NULL, "violates PodSecurity", KUBE_POD_SECURITY},
    {403, NULL, "because it is being terminated", KUBE_NAMESPACE_MISSING},
    {403, NULL, " cannot ", KUBE_FORBIDDEN}, /* User "x" cannot create resource "pods" ... */
    {0, NULL, "ValidatingAdmissionPolicy", KUBE_ADMISSION},
    {0, NULL, "admission webhook", KUBE_ADMISSION},
    {0, NULL, "error looking up service account", KUBE_ADMISSION},
    {403, "Forbidden", " is forbidden: ", KUBE_ADMISSION},
    {403, NULL, NULL, KUBE_FORBIDDEN},
    {401, NULL, NULL, KUBE_UNAUTHORIZED},
    {404, NULL, "namespaces \"", KUBE_NAMESPACE_MISSING},
    {404, NULL, NULL, KUBE_NOT_FOUND},
    {409, "AlreadyExists", NULL, KUBE_ALREADY_EXISTS},
    {409, NULL, "exceeded quota", KUBE_QUOTA},
    {409, NULL, NULL,
     KUBE_CONFLICT}, /* two quota updates at once too: "please apply your changes to the latest version" */
    {410, NULL, NULL, KUBE_EXPIRED},
    {413, NULL, NULL, KUBE_REFUSED},
    {422, NULL, "metadata.uid: Invalid value", KUBE_CONFLICT}, /* a patch that says whose it is */
    {422, NULL, NULL, KUBE_INVALID},
    {400, NULL, NULL, KUBE_INVALID},
    {408, NULL, NULL, KUBE_NO_ANSWER},
    {429, NULL, NULL, KUBE_BUSY},
    {503, NULL, NULL, KUBE_UNAVAILABLE},
    {504, NULL, NULL, KUBE_UNAVAILABLE},
    {502, NULL, NULL, KUBE_UNAVAILABLE},
    {0, "ServerTimeout", NULL, KUBE_UNAVAILABLE},
    {0, "TooManyRequests", NULL, KUBE_BUSY},
    {0, "InternalError", NULL, KUBE_SERVER_ERROR},
    {500, NULL, NULL, KUBE_SERVER_ERROR},
    {0, "Expired", NULL, KUBE_EXPIRED},
    {0, NULL, NULL, KUBE_REFUSED},
};

static enum kube_reason judge(int code, const char *reason, const char *message)
{
    size_t i = 0;
    for (;; i++) { /* the last row takes everything */
        const struct verdict *v = &verdicts[i];
        if ((!v->code || v->code == code) && (!v->reason || !strcmp(v->reason, reason)) &&
            (!v->phrase || strstr(message, v->phrase)))
            return v->meaning;
    }
}

/* One line; cut between two characters. */
static void keep_message(struct kube_status *status, struct str text)
{
    size_t n = text.n < KUBE_MESSAGE_MAX ? text.n : KUBE_MESSAGE_MAX;
    while (n < text.n && n > 0 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
        n--;
    for (size_t i = 0; i < n; i++)
        status->message[i] = (unsigned char)text.p[i] < ' ' || text.p[i] == 0x7f ? ' ' : text.p[i];
    status->message[n] = '\0';
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

void kube_status_read(int http_status, struct str body, struct kube_status *ret_status)
{
    struct errinfo info;
    auto_json root = NULL;
    struct kube_status status = {.code = http_status, .retry_after_s = -1};
    bool told = !json_parse(body, &root, &info) && !strcmp(text_of(root, "kind"), "Status");
    if (told) {
        json_int_t code = json_integer_value(json_object_get(root, "code"));
        json_int_t wait =
            json_integer_value(json_object_get(json_object_get(root, "details"), "retryAfterSeconds"));
        if (!http_status && code >= 100 && code <= 599)
            status.code = (int)code;
        if (wait > 0 && wait < 86400)
            status.retry_after_s = (int)wait;
        keep_message(&status, str_of(text_of(root, "message")));
    }
    status.reason =
        judge(status.code, told ? text_of(root, "reason") : "", told ? text_of(root, "message") : "");
    if (!http_status && !told)
        status.reason = KUBE_GARBAGE;
    if (status.message[0] == '\0')
        snprintf(status.message, sizeof status.message, "%s (HTTP status %d)",
                 kube_reason_text(status.reason), status.code);
    *ret_status = status;
}
