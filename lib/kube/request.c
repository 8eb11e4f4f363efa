/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/request.h"

#include "base/percent.h"

#include <string.h>

enum { TARGET_MAX = 16 << 10, BODY_MAX = 1 << 20, WHAT_MAX = 1024, NAME_MAX_ = 253 };

static const struct {
    const char *path, *plural;
    bool namespaced;
} kinds[] = {
#define X(name, path, plural, namespaced) {path, plural, namespaced},
    KUBE_KIND_TABLE(X)
#undef X
};

void kube_request_free(struct kube_request *r)
{
    buf_free(&r->target);
    buf_free(&r->body);
    buf_free(&r->what);
}

static void init(struct kube_request *r, const char *method)
{
    *r = (struct kube_request){.method = method,
                               .target = BUF_INIT(TARGET_MAX),
                               .body = BUF_INIT(BODY_MAX),
                               .what = BUF_INIT(WHAT_MAX)};
}

/* A DNS label or subdomain: nothing that could end a path's segment. */
static bool name_valid(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= NAME_MAX_ && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == n &&
           name[0] != '.' && !strstr(name, "..");
}

enum err kube_request_begin(struct kube_request *r, const char *method, const char *verb,
                            const struct kube_ref *ref)
{
    const char *plural = kinds[ref->kind].plural;
    bool namespaced = kinds[ref->kind].namespaced;
    if ((namespaced && (!ref->ns || !name_valid(ref->ns))) || (ref->name && !name_valid(ref->name)))
        return ERR_INVALID;
    init(r, method);
    buf_append_cstr(&r->target, kinds[ref->kind].path);
    if (namespaced)
        buf_printf(&r->target, "/namespaces/%s", ref->ns);
    buf_printf(&r->target, "/%s", plural);
    if (ref->name)
        buf_printf(&r->target, "/%s", ref->name);
    buf_printf(&r->what, "%s %s%s%s", verb, plural, ref->name ? " " : "", ref->name ? ref->name : "");
    if (namespaced)
        buf_printf(&r->what, " in namespace %s", ref->ns);
    return ERR_OK;
}

void kube_request_query(struct kube_request *r, const char *name, const char *value)
{
    if (!value)
        return;
    buf_printf(&r->target, "%c%s=", strchr(buf_cstr(&r->target), '?') ? '&' : '?', name);
    percent_encode(&r->target, value, false);
}

void kube_request_number(struct kube_request *r, const char *name, unsigned value)
{
    buf_printf(&r->target, "%c%s=%u", strchr(buf_cstr(&r->target), '?') ? '&' : '?', name, value);
}

void kube_request_body(struct kube_request *r, const char *type, struct str body)
{
    r->type = type;
    buf_append_str(&r->body, body);
}

static void separate(struct buf *out)
{
    if (out->len && out->data[out->len - 1] != '{')
        buf_append_char(out, ',');
}

static void member(struct buf *out, const char *name, const char *value)
{
    separate(out);
    json_write_string(out, str_of(name));
    buf_append_char(out, ':');
    if (value)
        json_write_string(out, str_of(value));
    else
        buf_append_cstr(out, "null");
}

void kube_request_delete_body(struct kube_request *r, const struct kube_delete *how)
{
    kube_request_body(r, "application/json", STR("{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\""));
    if (how->grace_s >= 0)
        buf_printf(&r->body, ",\"gracePeriodSeconds\":%d", how->grace_s);
    if (how->background)
        buf_append_cstr(&r->body, ",\"propagationPolicy\":\"Background\"");
    if (how->uid) {
        buf_append_cstr(&r->body, ",\"preconditions\":{");
        member(&r->body, "uid", how->uid);
        buf_append_char(&r->body, '}');
    }
    buf_append_char(&r->body, '}');
}

static void changes(struct buf *out, const char *name, const struct kube_change *items, size_t count)
{
    separate(out);
    buf_printf(out, "\"%s\":{", name);
    for (size_t i = 0; i < count; i++)
        member(out, items[i].name, items[i].value);
    buf_append_char(out, '}');
}

/* A JSON merge patch (RFC 7386). */
void kube_request_patch_body(struct kube_request *r, const struct kube_patch *patch)
{
    kube_request_body(r, "application/merge-patch+json", STR("{\"metadata\":{"));
    if (patch->uid)
        member(&r->body, "uid", patch->uid);
    if (patch->resource_version)
        member(&r->body, "resourceVersion", patch->resource_version);
    if (patch->label_count)
        changes(&r->body, "labels", patch->labels, patch->label_count);
    if (patch->annotation_count)
        changes(&r->body, "annotations", patch->annotations, patch->annotation_count);
    buf_append_char(&r->body, '}');
    if (patch->data_count)
        changes(&r->body, "data", patch->data, patch->data_count);
    buf_append_char(&r->body, '}');
}

void kube_request_can(struct kube_request *r, const struct kube_right *right)
{
    init(r, "POST");
    buf_append_cstr(&r->target, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews");
    buf_printf(&r->what, "%s %s%s%s", right->verb, right->resource, right->subresource[0] ? "/" : "",
               right->subresource);
    buf_printf(&r->what, " in %s%s", right->ns[0] ? "namespace " : "the whole cluster", right->ns);
    kube_request_body(r, "application/json",
                      STR("{\"kind\":\"SelfSubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/v1\","
                          "\"spec\":{\"resourceAttributes\":{"));
    const struct {
        const char *name, *value;
    } members[] = {{"namespace", right->ns},
                   {"verb", right->verb},
                   {"group", right->group},
                   {"resource", right->resource},
                   {"subresource", right->subresource}};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        member(&r->body, members[i].name, members[i].value);
    buf_append_cstr(&r->body, "}}}");
}

void kube_request_plain(struct kube_request *r, const char *target, const char *what)
{
    init(r, "GET");
    buf_append_cstr(&r->target, target);
    buf_append_cstr(&r->what, what);
}

enum err kube_request_status(const struct kube_request *r)
{
    enum err e = buf_status(&r->target);
    e = e ? e : buf_status(&r->body);
    return e ? e : buf_status(&r->what);
}
