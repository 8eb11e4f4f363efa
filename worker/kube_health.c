/* SPDX-License-Identifier: Apache-2.0 */
/* What the backend says of itself. */
#include "worker/kube_internal.h"
#include "json/json.h"

const char *kubernetes_why_not(struct pod_backend *backend)
{
    const struct kubernetes *k = container_of(backend, struct kubernetes, base);
    return k->why[0]                  ? k->why
           : k->rights_why[0]         ? k->rights_why
           : k->canary.why[0]         ? k->canary.why
           : k->deployment[0] == '\0' ? "Redis was not reached yet"
                                      : NULL;
}

/* Those that it renews: its own, and those that it took over and has pods of. */
static json_t *leases_json(const struct kubernetes *k)
{
    json_t *names = json_array();
    list_each(lease, &k->leases, struct kube_lease, link) if (lease->ours)
        json_array_append_new(names, json_string(lease->name));
    return names;
}

void kubernetes_health(struct pod_backend *backend, struct buf *out)
{
    struct kubernetes *k = container_of(backend, struct kubernetes, base);
    const struct kube_stats *s = kube_stats(k->kube);
    auto_json health = json_pack(
        "{s:s, s:s, s:s, s:b, s:b, s:s, s:s, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}",
        "server", kube_server(k->kube), "namespace", k->ns ? k->ns : kube_namespace(k->kube), "lease",
        k->own ? k->own->name : "", "reachable", s->reachable, "watching",
        k->pods_watch && kube_watch_synced(k->pods_watch), "why", k->why, "last_message", s->last_message,
        "pods", (int)k->pod_count, "orphans", (int)k->orphan_count, "waiting_requests", (int)s->waiting,
        "requests", (json_int_t)s->sent, "watch_breaks", (json_int_t)s->watch_breaks, "made",
        (json_int_t)k->made, "deleted", (json_int_t)k->deleted, "adopted", (json_int_t)k->adopted, "swept",
        (json_int_t)k->swept, "paused_ms", (json_int_t)s->paused_ms, "canary", kube_canary_json(k), "leases",
        leases_json(k));
    if (!health || json_write(health, out) != ERR_OK)
        buf_append_cstr(out, "{}");
}
