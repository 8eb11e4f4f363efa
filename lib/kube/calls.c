/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT_DEFAULT = 100, LIMIT_MAX = 250 };

static const char *text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value ? value : "";
}

/* ---- answers ---- */

static enum kube_reason read_object(struct kube_call *call, const json_t *root, struct kube_result *result)
{
    if (kube_object_read(root, &call->object))
        return KUBE_GARBAGE;
    result->object = &call->object;
    return KUBE_OK;
}

/* The object while it is being deleted, or a Status once it is gone, or the list of what was deleted. */
static enum kube_reason read_deleted(struct kube_call *call, const json_t *root, struct kube_result *result)
{
    if (!strcmp(text(root, "kind"), "Status"))
        return KUBE_OK;
    if (json_is_array(json_object_get(root, "items")))
        return KUBE_OK;
    return read_object(call, root, result);
}

static enum kube_reason read_list(struct kube_call *call, const json_t *root, struct kube_result *result)
{
    const json_t *items = json_object_get(root, "items"), *meta = json_object_get(root, "metadata");
    size_t count = json_array_size(items);
    const char *next = text(meta, "continue");
    if ((!json_is_array(items) && !json_is_null(items)) || !text(meta, "resourceVersion")[0])
        return KUBE_GARBAGE;
    free(call->items); /* of a try before */
    call->items = calloc(count ? count : 1, sizeof *call->items);
    if (!call->items)
        return KUBE_TOO_LONG;
    for (size_t i = 0; i < count; i++)
        if (kube_object_read(json_array_get(items, i), &call->items[i]))
            return KUBE_GARBAGE;
    result->items = call->items;
    result->count = count;
    result->next = next[0] ? next : NULL;
    result->resource_version = text(meta, "resourceVersion");
    return KUBE_OK;
}

static enum kube_reason read_can(struct kube_call *call, const json_t *root, struct kube_result *result)
{
    (void)call;
    const json_t *allowed = json_object_get(json_object_get(root, "status"), "allowed");
    if (!json_is_boolean(allowed))
        return KUBE_GARBAGE;
    result->allowed = json_is_true(allowed);
    return KUBE_OK;
}

static enum kube_reason read_version(struct kube_call *call, const json_t *root, struct kube_result *result)
{
    (void)call;
    result->version = text(root, "gitVersion");
    return result->version[0] ? KUBE_OK : KUBE_GARBAGE;
}

/* ---- requests ---- */

static struct kube_ref whole_ref(struct kube *k, const struct kube_ref *ref, bool named)
{
    return (struct kube_ref){
        .kind = ref->kind, .ns = ref->ns ? ref->ns : kube_namespace(k), .name = named ? ref->name : NULL};
}

static enum err begin(struct kube *k, struct kube_request *r, const char *method, const char *verb,
                      const struct kube_ref *given, bool named)
{
    struct kube_ref ref = whole_ref(k, given, named);
    if (named && !ref.name)
        return ERR_INVALID;
    return kube_request_begin(r, method, verb, &ref);
}

/* The name inside a body, so that it can be found again. */
static bool body_name(struct str body, char *ret_name, size_t size)
{
    struct errinfo info;
    auto_json root = NULL;
    if (json_parse(body, &root, &info))
        return false;
    int n = snprintf(ret_name, size, "%s", text(json_object_get(root, "metadata"), "name"));
    return n > 0 && (size_t)n < size;
}

enum err kube_create(struct kube *k, const struct kube_ref *ref, struct str body, int patience_ms, kube_cb cb,
                     void *arg, struct kube_call **ret_call)
{
    struct kube_request r;
    struct kube_call *call;
    char name[sizeof call->name];
    struct kube_ref target = *ref;
    target.name = name;
    if (!body_name(body, name, sizeof name))
        return ERR_INVALID;
    enum err e = begin(k, &r, "POST", "create", &target, true);
    if (e)
        return e;
    r.target.len -= strlen(name) + 1; /* the name is for people, and for finding it again */
    r.target.data[r.target.len] = '\0';
    kube_request_body(&r, "application/json", body);
    e = kube_call_start(k, &r, read_object, patience_ms, cb, arg, &call);
    if (e)
        return e;
    call->find_again = true;
    memcpy(call->name, name, sizeof name);
    if (ret_call)
        *ret_call = call;
    return ERR_OK;
}

enum err kube_get(struct kube *k, const struct kube_ref *ref, int patience_ms, kube_cb cb, void *arg,
                  struct kube_call **ret_call)
{
    struct kube_request r;
    enum err e = begin(k, &r, "GET", "get", ref, true);
    return e ? e : kube_call_start(k, &r, read_object, patience_ms, cb, arg, ret_call);
}

enum err kube_delete(struct kube *k, const struct kube_ref *ref, const struct kube_delete *how,
                     int patience_ms, kube_cb cb, void *arg, struct kube_call **ret_call)
{
    struct kube_request r;
    enum err e = begin(k, &r, "DELETE", "delete", ref, true);
    if (e)
        return e;
    kube_request_delete_body(&r, how);
    return kube_call_start(k, &r, read_deleted, patience_ms, cb, arg, ret_call);
}

enum err kube_delete_all(struct kube *k, const struct kube_ref *ref, const char *labels, int grace_s,
                         int patience_ms, kube_cb cb, void *arg, struct kube_call **ret_call)
{
    struct kube_request r;
    enum err e = labels && labels[0] ? begin(k, &r, "DELETE", "deletecollection", ref, false) : ERR_INVALID;
    if (e)
        return e;
    kube_request_query(&r, "labelSelector", labels);
    kube_request_delete_body(&r, &(struct kube_delete){.grace_s = grace_s});
    return kube_call_start(k, &r, read_deleted, patience_ms, cb, arg, ret_call);
}

enum err kube_list(struct kube *k, const struct kube_ref *ref, const struct kube_list *list, int patience_ms,
                   kube_cb cb, void *arg, struct kube_call **ret_call)
{
    struct kube_request r;
    unsigned limit = list->limit ? list->limit : LIMIT_DEFAULT;
    enum err e = begin(k, &r, "GET", "list", ref, false);
    if (e)
        return e;
    kube_request_query(&r, "labelSelector", list->labels);
    kube_request_query(&r, "fieldSelector", list->fields);
    kube_request_number(&r, "limit", limit < LIMIT_MAX ? limit : LIMIT_MAX);
    kube_request_query(&r, "continue", list->next);
    return kube_call_start(k, &r, read_list, patience_ms, cb, arg, ret_call);
}

enum err kube_patch(struct kube *k, const struct kube_ref *ref, const struct kube_patch *patch,
                    int patience_ms, kube_cb cb, void *arg, struct kube_call **ret_call)
{
    struct kube_request r;
    enum err e = begin(k, &r, "PATCH", "patch", ref, true);
    if (e)
        return e;
    kube_request_patch_body(&r, patch);
    return kube_call_start(k, &r, read_object, patience_ms, cb, arg, ret_call);
}

enum err kube_can(struct kube *k, const struct kube_right *right, int patience_ms, kube_cb cb, void *arg,
                  struct kube_call **ret_call)
{
    struct kube_request r;
    struct kube_right whole = {
        .verb = right->verb,
        .group = right->group ? right->group : "",
        .resource = right->resource,
        .subresource = right->subresource ? right->subresource : "",
        .ns = right->ns ? right->ns : kube_namespace(k),
    };
    kube_request_can(&r, &whole);
    return kube_call_start(k, &r, read_can, patience_ms, cb, arg, ret_call);
}

enum err kube_version(struct kube *k, int patience_ms, kube_cb cb, void *arg, struct kube_call **ret_call)
{
    struct kube_request r;
    kube_request_plain(&r, "/version", "ask for the server's version");
    return kube_call_start(k, &r, read_version, patience_ms, cb, arg, ret_call);
}
