/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/kube_spec.h"

#include "worker/canary.h"
#include "worker/spawner/kinds.h"
#include "json/json.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TMP_MB = 64, IMAGE_MAX = 512, GRACE_S = 1, POD_ID = 65532 };

/* ---- kinds ---- */

/* The language whose ready pods are of this kind, or of the kind that this one is a richer one of. */
static bool language_of(const char *warm, enum language *ret_lang)
{
    for (unsigned i = 0; i < LANG_COUNT; i++)
        if (strcmp(language_row((enum language)i)->warm, warm) == 0) {
            *ret_lang = (enum language)i;
            return true;
        }
    return false;
}

bool kube_kind_find(const char *kind, struct kube_kind_of *ret_kind)
{
    enum pod_kind named = pod_kind_named(kind);
    struct errinfo info;
    ret_kind->warm[0] = '\0';
    if (named == KIND_COUNT || named == KIND_COLD)
        return language_parse(str_of(kind), &ret_kind->lang, &info) == ERR_OK;
    const struct pod_kind_row *row = pod_kind_row(named);
    if (row->how != HOW_SLOW) /* nobody but the kubelet knows the memory that it would have to be sized for */
        snprintf(ret_kind->warm, sizeof ret_kind->warm, "%s%s", row->how == HOW_FORKED ? "python-" : "",
                 row->set);
    return language_of(row->imports ? row->fallback : row->name, &ret_kind->lang);
}

/* ---- pieces ---- */

static enum err add(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0 ? ERR_OK : ERR_NOMEM;
}

static json_t *text(struct str s)
{
    return json_stringn(s.p ? s.p : "", s.n);
}

/* A label's value is letters, digits, - _ . and begins and ends with one of the former: a worker's name need not be one. */
struct label {
    char text[KUBE_NAME_MAX + 1];
};

static struct label label_of(const char *name)
{
    struct label l;
    while (*name && !isalnum((unsigned char)*name))
        name++;
    size_t n = 0;
    for (; *name && n < KUBE_NAME_MAX; name++)
        l.text[n++] = isalnum((unsigned char)*name) || *name == '-' || *name == '_' ? *name : '.';
    while (n > 0 && !isalnum((unsigned char)l.text[n - 1]))
        n--;
    l.text[n] = '\0';
    return l;
}

/* Of name=value items, the one with this name. */
static bool value_of(const struct config_list *list, const char *name, struct str *ret_value)
{
    for (size_t i = 0; i < list->count; i++) {
        struct str rest = str_of(list->items[i]);
        if (!str_eq(str_split(&rest, '='), str_of(name)))
            continue;
        *ret_value = rest;
        return true;
    }
    return false;
}

enum err kube_image(const struct config *c, const char *language, struct buf *out)
{
    struct str whole;
    if (value_of(&c->k8s_images, language, &whole))
        buf_append_str(out, whole);
    else
        buf_printf(out, "%s-%s:%s", c->k8s_image_registry, language, c->k8s_image_tag);
    return buf_status(out);
}

static json_t *labels_json(const struct config *c, const struct kube_pod_plan *p, const char *language)
{
    struct label worker = label_of(p->worker);
    json_t *all = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "app.kubernetes.io/managed-by", "millrace",
                            KUBE_LABEL_DEPLOYMENT, p->deployment, KUBE_LABEL_LEASE, p->lease,
                            KUBE_LABEL_WORKER, worker.text, KUBE_LABEL_KIND,
                            p->canary ? KUBE_CANARY : p->kind, KUBE_LABEL_LANGUAGE, language);
    for (size_t i = 0; all && i < c->k8s_pod_labels.count; i++) {
        struct str value = str_of(c->k8s_pod_labels.items[i]);
        struct str name = str_split(&value, '=');
        json_object_setn_new(all, name.p, name.n, text(value));
    }
    return all;
}

static json_t *metadata_json(const struct config *c, const struct kube_pod_plan *p, const char *language)
{
    return json_pack("{s:s, s:o, s:[{s:s, s:s, s:s, s:s}]}", "name", p->name, "labels",
                     labels_json(c, p, language), "ownerReferences", "apiVersion", "v1", "kind", "ConfigMap",
                     "name", p->lease, "uid", p->lease_uid);
}

static json_t *resource(const struct config *c, const char *language, const char *what, const char *otherwise)
{
    struct str lang, name, value;
    for (size_t i = 0; i < c->k8s_language_resources.count; i++)
        if (config_k8s_resource(c->k8s_language_resources.items[i], &lang, &name, &value) &&
            str_eq(lang, str_of(language)) && str_eq(name, str_of(what)))
            return text(value);
    return json_string(otherwise);
}

static json_t *resources_json(const struct config *c, const char *lang)
{
    return json_pack("{s:{s:o, s:o, s:s}, s:{s:o, s:o, s:s}}", "requests", "cpu",
                     resource(c, lang, "cpu_request", c->k8s_cpu_request), "memory",
                     resource(c, lang, "memory_request", c->k8s_memory_request), "ephemeral-storage", "64Mi",
                     "limits", "cpu", resource(c, lang, "cpu_limit", c->k8s_cpu_limit), "memory",
                     resource(c, lang, "memory_limit", c->k8s_memory_limit), "ephemeral-storage", "128Mi");
}

static void add_needs(json_t *args, const char *path)
{
    char arg[256];
    if (!path || path[0] != '/')
        return;
    snprintf(arg, sizeof arg, "--needs=%s", path);
    json_array_append_new(args, json_string(arg));
}

/* Test builds only: MILLRACE_TEST_OFF=seccomp,rlimits, as for the spawner. */
static void add_off(json_t *args)
{
#ifdef MILLRACE_TEST_BUILD
    char arg[256];
    const char *off = getenv("MILLRACE_TEST_OFF");
    if (!off || !*off)
        return;
    snprintf(arg, sizeof arg, "--off=%s", off);
    json_array_append_new(args, json_string(arg));
#else
    (void)args;
#endif
}

static json_t *args_json(const struct config *c, const struct kube_pod_plan *p,
                         const struct kube_kind_of *kind)
{
    const struct language_row *row = language_row(kind->lang);
    char arg[128];
    json_t *args = json_array();
    if (p->canary) {
        snprintf(arg, sizeof arg, CANARY_OPTION "%" PRId64 ",%" PRId64, c->max_total_file_bytes,
                 (int64_t)TMP_MB << 20);
        json_array_append_new(args, json_string(arg));
        return args;
    }
    snprintf(arg, sizeof arg, "--listen=%u", (unsigned)c->k8s_runner_port);
    json_array_append_new(args, json_string(arg));
    snprintf(arg, sizeof arg, "--token=%s", p->token_digest);
    json_array_append_new(args, json_string(arg));
    if (kind->warm[0]) {
        snprintf(arg, sizeof arg, "--warm=%s", kind->warm);
        json_array_append_new(args, json_string(arg));
    }
    add_needs(args, row->run[0]);
    add_needs(args, row->compile ? row->compile[0] : NULL);
    for (size_t i = 0; row->needs && row->needs[i]; i++)
        add_needs(args, row->needs[i]);
    add_off(args);
    return args;
}

static json_t *container_json(const struct config *c, const struct kube_pod_plan *p,
                              const struct kube_kind_of *kind, const char *image)
{
    static const char *const policies[] = {"IfNotPresent", "Always", "Never"};
    const char *lang = language_row(kind->lang)->id;
    return json_pack(
        "{s:s, s:s, s:s, s:[s], s:o, s:s, s:[{s:s, s:i}], s:{s:b, s:b, s:b, s:{s:[s]}}, s:o, s:[{s:s, s:s}, {s:s, "
        "s:s}]}",
        "name", "run", "image", image, "imagePullPolicy", policies[c->k8s_image_pull_policy], "command",
        KUBE_RUNNER, "args", args_json(c, p, kind), "terminationMessagePolicy", "FallbackToLogsOnError",
        "ports", "name", "runner", "containerPort", (int)c->k8s_runner_port, "securityContext",
        "allowPrivilegeEscalation", 0, "privileged", 0, "readOnlyRootFilesystem", 1, "capabilities", "drop",
        "ALL", "resources", resources_json(c, lang), "volumeMounts", "name", "work", "mountPath", "/mnt/data",
        "name", "tmp", "mountPath", "/tmp");
}

static json_t *volume(const char *name, int64_t bytes)
{
    char size[32];
    snprintf(size, sizeof size, "%" PRId64, bytes);
    return json_pack("{s:s, s:{s:s, s:s}}", "name", name, "emptyDir", "medium", "Memory", "sizeLimit", size);
}

static json_t *seccomp_json(const struct config *c)
{
    static const char *const types[] = {"RuntimeDefault", "Localhost", "Unconfined"};
    json_t *profile = json_pack("{s:s}", "type", types[c->k8s_seccomp_profile_type]);
    if (profile && c->k8s_seccomp_profile_type == K8S_SECCOMP_LOCALHOST)
        json_object_set_new(profile, "localhostProfile", json_string(c->k8s_seccomp_profile));
    return profile;
}

/* ---- what only some clusters have ---- */

static enum err add_parsed(json_t *spec, const char *member, const char *setting, const char *value,
                           json_type type, struct errinfo *info)
{
    auto_json parsed = NULL;
    if (!*value)
        return ERR_OK;
    if (json_parse(str_of(value), &parsed, NULL) != ERR_OK || json_typeof(parsed) != type)
        return errinfo_set(info, ERR_INVALID, 0, "%s: must be a JSON %s", setting,
                           type == JSON_OBJECT ? "object" : "list");
    return add(spec, member, json_incref(parsed));
}

static enum err add_options(const struct config *c, json_t *spec, struct errinfo *info)
{
    enum err e = add_parsed(spec, "nodeSelector", "K8S_POD_NODE_SELECTOR", c->k8s_pod_node_selector,
                            JSON_OBJECT, info);
    if (e == ERR_OK)
        e = add_parsed(spec, "tolerations", "K8S_POD_TOLERATIONS", c->k8s_pod_tolerations, JSON_ARRAY, info);
    if (e == ERR_OK && *c->k8s_runtime_class_name)
        e = add(spec, "runtimeClassName", json_string(c->k8s_runtime_class_name));
    if (e == ERR_OK && *c->k8s_service_account)
        e = add(spec, "serviceAccountName", json_string(c->k8s_service_account));
    if (e == ERR_OK && c->k8s_user_namespaces)
        e = add(spec, "hostUsers", json_false());
    if (e != ERR_OK || c->k8s_image_pull_secrets.count == 0)
        return e;
    json_t *secrets = json_array();
    for (size_t i = 0; i < c->k8s_image_pull_secrets.count; i++)
        json_array_append_new(secrets, json_pack("{s:s}", "name", c->k8s_image_pull_secrets.items[i]));
    return add(spec, "imagePullSecrets", secrets);
}

/* ---- the whole ---- */

static json_t *spec_json(const struct config *c, json_t *container)
{
    return json_pack(
        "{s:b, s:b, s:s, s:I, s:i, s:s, s:{s:[s]}, s:b, s:b, s:b, s:b, s:{s:b, s:i, s:i, s:i, s:o}, "
        "s:[o], s:[o, o]}",
        "automountServiceAccountToken", 0, "enableServiceLinks", 0, "restartPolicy", "Never",
        "activeDeadlineSeconds", (json_int_t)(c->k8s_pod_deadline_ms / 1000), "terminationGracePeriodSeconds",
        GRACE_S, "dnsPolicy", "None", "dnsConfig", "nameservers", "127.0.0.1", "hostNetwork", 0, "hostPID", 0,
        "hostIPC", 0, "shareProcessNamespace", 0, "securityContext", "runAsNonRoot", 1, "runAsUser", POD_ID,
        "runAsGroup", POD_ID, "fsGroup", POD_ID, "seccompProfile", seccomp_json(c), "containers", container,
        "volumes", volume("work", c->max_total_file_bytes), volume("tmp", (int64_t)TMP_MB << 20));
}

enum err kube_pod_json(const struct config *c, const struct kube_pod_plan *plan, struct buf *out,
                       struct errinfo *info)
{
    struct kube_kind_of kind;
    if (!kube_kind_find(plan->kind, &kind))
        return errinfo_set(info, ERR_NOT_FOUND, 0, "there is no kind of pods %s", plan->kind);
    const char *lang = language_row(kind.lang)->id;
    auto_buf image = BUF_INIT(IMAGE_MAX);
    if (kube_image(c, lang, &image) != ERR_OK)
        return errinfo_set(info, ERR_INVALID, 0, "the image's name for %s is too long", lang);
    json_t *spec = spec_json(c, container_json(c, plan, &kind, buf_cstr(&image)));
    auto_json pod = json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", "v1", "kind", "Pod", "metadata",
                              metadata_json(c, plan, lang), "spec", spec);
    if (!pod)
        return errinfo_set(info, ERR_NOMEM, 0, "out of memory");
    enum err e = add_options(c, spec, info);
    return e == ERR_OK ? json_write(pod, out) : e;
}

enum err kube_lease_json(const struct kube_lease_plan *p, struct buf *out)
{
    char renewed[32];
    struct label worker = label_of(p->worker);
    snprintf(renewed, sizeof renewed, "%" PRId64, p->renewed_ms);
    auto_json lease =
        json_pack("{s:s, s:s, s:{s:s, s:{s:s, s:s, s:s}}, s:{s:s, s:s}}", "apiVersion", "v1", "kind",
                  "ConfigMap", "metadata", "name", p->name, "labels", "app.kubernetes.io/managed-by",
                  "millrace", KUBE_LABEL_DEPLOYMENT, p->deployment, KUBE_LABEL_WORKER, worker.text, "data",
                  "holder", p->worker, "renewed", renewed);
    return lease ? json_write(lease, out) : ERR_NOMEM;
}
