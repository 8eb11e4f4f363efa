/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's specification, against golden files, and every setting in it; which kinds there are; reasons. */
#include "unit.h"

#include "base/cleanup.h"
#include "worker/kube_reasons.h"
#include "worker/kube_spec.h"
#include "worker/pool_plan.h"
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct config config;

static int setup(void **state)
{
    (void)state;
    return config_begin(&config_table, &config.base) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    config_release(&config.base);
    memset(&config, 0, sizeof config);
    return 0;
}

static const struct kube_pod_plan plan = {.name = "run-py-0123",
                                          .kind = "py",
                                          .deployment = "0123456789abcdef",
                                          .worker = "worker-1",
                                          .lease = "millrace-0123-x",
                                          .lease_uid = "6fb8a5e8-0000-4000-8000-000000000000",
                                          .token_digest = "d16e57"};

static json_t *made(const char *kind)
{
    auto_buf out = BUF_INIT(1 << 20);
    struct errinfo info = {0};
    struct kube_pod_plan p = plan;
    json_t *root = NULL;
    p.kind = kind;
    assert_int_equal(kube_pod_json(&config, &p, &out, &info), ERR_OK);
    assert_int_equal(json_parse(buf_str(&out), &root, &info), ERR_OK);
    return root;
}

/* MILLRACE_GOLDEN_WRITE=1 writes it anew. */
static void compare(const char *name, json_t *root)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.json", GOLDEN_DIR, name);
    if (getenv("MILLRACE_GOLDEN_WRITE"))
        assert_int_equal(json_dump_file(root, path, JSON_INDENT(1) | JSON_SORT_KEYS), 0);
    json_t *golden = json_load_file(path, 0, NULL);
    assert_non_null(golden);
    assert_true(json_equal(golden, root));
    json_decref(golden);
}

static void as_recorded(void **state)
{
    (void)state;
    static const char *const kinds[] = {"py", "py-scipy", "js", "go"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        auto_json root = made(kinds[i]);
        compare(kinds[i], root);
    }
}

static const char *at(json_t *root, const char *member)
{
    return json_string_value(json_object_get(json_object_get(root, "spec"), member));
}

static json_t *container(json_t *root)
{
    return json_array_get(json_object_get(json_object_get(root, "spec"), "containers"), 0);
}

static void settings_are_in_it(void **state)
{
    (void)state;
    const char *images[] = {"py=reg/p@sha256:0123"}, *resources[] = {"py.memory_limit=1Gi", "go.cpu_limit=2"};
    const char *secrets[] = {"pull"}, *labels[] = {"team=blue"};
    config.k8s_images = (struct config_list){.items = images, .count = 1};
    config.k8s_language_resources = (struct config_list){.items = resources, .count = 2};
    config.k8s_image_pull_secrets = (struct config_list){.items = secrets, .count = 1};
    config.k8s_pod_labels = (struct config_list){.items = labels, .count = 1};
    config.k8s_image_registry = "reg/mill";
    config.k8s_image_tag = "7";
    config.k8s_image_pull_policy = K8S_PULL_NEVER;
    config.k8s_cpu_limit = "3";
    config.k8s_pod_node_selector = "{\"pool\":\"hostile\"}";
    config.k8s_pod_tolerations = "[{\"key\":\"hostile\",\"operator\":\"Exists\"}]";
    config.k8s_runtime_class_name = "gvisor";
    config.k8s_service_account = "nothing";
    config.k8s_user_namespaces = true;
    config.k8s_seccomp_profile_type = K8S_SECCOMP_LOCALHOST;
    config.k8s_seccomp_profile = "millrace.json";
    config.k8s_runner_port = 9000;
    config.k8s_pod_deadline_ms = 100000;
    auto_json py = made("py");
    compare("settings", py);
    auto_json go = made("go");
    assert_string_equal(json_string_value(json_object_get(container(go), "image")), "reg/mill-go:7");
    assert_string_equal(at(go, "runtimeClassName"), "gvisor");
}

static void any_workers_name_is_a_label(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"worker-1", "worker-1"},
        {"node-HThT9h5-", "node-HThT9h5"},
        {"_a b/c_", "a.b.c"},
        {"---", ""},
        {"0123456789012345678901234567890123456789012345678901234567890123",
         "012345678901234567890123456789012345678901234567890123456789012"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        auto_buf out = BUF_INIT(1 << 16);
        struct kube_lease_plan lease = {.name = "l", .deployment = "d", .worker = names[i][0]};
        auto_json root = NULL;
        assert_int_equal(kube_lease_json(&lease, &out), ERR_OK);
        assert_int_equal(json_parse(buf_str(&out), &root, NULL), ERR_OK);
        json_t *labels = json_object_get(json_object_get(root, "metadata"), "labels");
        assert_string_equal(json_string_value(json_object_get(labels, KUBE_LABEL_WORKER)), names[i][1]);
        json_t *data = json_object_get(root, "data");
        assert_string_equal(json_string_value(json_object_get(data, "holder")), names[i][0]);
    }
}

static void a_canary_is_told_the_sizes_of_its_volumes(void **state)
{
    (void)state;
    auto_buf out = BUF_INIT(1 << 20);
    struct errinfo info = {0};
    struct kube_pod_plan p = plan;
    auto_json root = NULL;
    p.canary = true;
    config.max_total_file_bytes = 1234567;
    assert_int_equal(kube_pod_json(&config, &p, &out, &info), ERR_OK);
    assert_int_equal(json_parse(buf_str(&out), &root, &info), ERR_OK);
    json_t *args = json_object_get(container(root), "args");
    assert_int_equal(json_array_size(args), 1);
    assert_string_equal(json_string_value(json_array_get(args, 0)), "--canary=1234567,67108864");
    json_t *labels = json_object_get(json_object_get(root, "metadata"), "labels");
    assert_string_equal(json_string_value(json_object_get(labels, KUBE_LABEL_KIND)), KUBE_CANARY);
}

static void json_settings_are_checked(void **state)
{
    (void)state;
    auto_buf out = BUF_INIT(1 << 20);
    struct errinfo info = {0};
    config.k8s_pod_node_selector = "[]";
    assert_int_equal(kube_pod_json(&config, &plan, &out, &info), ERR_INVALID);
    assert_string_equal(info.text, "K8S_POD_NODE_SELECTOR: must be a JSON object");
    config.k8s_pod_node_selector = "";
    config.k8s_pod_tolerations = "{";
    assert_int_equal(kube_pod_json(&config, &plan, &out, &info), ERR_INVALID);
    assert_string_equal(info.text, "K8S_POD_TOLERATIONS: must be a JSON list");
}

static void every_kind_has_an_image(void **state)
{
    (void)state;
    struct pool_kind kinds[POOL_KINDS_MAX];
    struct kube_kind_of kind;
    size_t n = pool_plan_images(&config, kinds);
    assert_true(n >= LANG_COUNT);
    assert_string_equal(kinds[0].name, "py");
    assert_int_equal(kinds[0].size, config.pod_pool_py);
    for (size_t i = 0; i < n; i++) {
        assert_true(kube_kind_find(kinds[i].name, &kind));
        assert_true(strlen(kinds[i].name) < KUBE_KIND_MAX);
    }
    for (unsigned i = 0; i < LANG_COUNT; i++) {
        const struct language_row *row = language_row((enum language)i);
        const char *wanted = pool_plan_image_kind((enum language)i, *row->warm ? row->warm : "cold");
        assert_true(kube_kind_find(wanted, &kind));
        assert_int_equal(kind.lang, i);
    }
    assert_false(kube_kind_find("cobol", &kind));
}

static void reasons(void **state)
{
    (void)state;
    assert_int_equal(kube_trouble_reason(KUBE_TROUBLE_OOM, false), REASON_OOM);
    assert_int_equal(kube_trouble_reason(KUBE_TROUBLE_EVICTED, false), REASON_POD_EVICTED);
    assert_int_equal(kube_trouble_reason(KUBE_TROUBLE_DELETED, false), REASON_POD_DELETED);
    assert_int_equal(kube_trouble_reason(KUBE_TROUBLE_DEADLINE, false), REASON_POD_DEADLINE);
    assert_int_equal(kube_trouble_reason(KUBE_TROUBLE_IMAGE, true), REASON_IMAGE_UNAVAILABLE);
    assert_int_equal(kube_trouble_reason(KUBE_TROUBLE_EXITED, true), REASON_IMAGE_UNAVAILABLE);
    assert_int_equal(kube_trouble_reason(KUBE_TROUBLE_EXITED, false), REASON_POD_LOST);
    assert_int_equal(kube_answer_reason(KUBE_QUOTA), REASON_POD_QUOTA);
    assert_int_equal(kube_answer_reason(KUBE_POD_SECURITY), REASON_POD_FORBIDDEN);
    assert_int_equal(kube_answer_reason(KUBE_NO_ANSWER), REASON_CLUSTER_UNAVAILABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(as_recorded, setup, teardown),
        cmocka_unit_test_setup_teardown(settings_are_in_it, setup, teardown),
        cmocka_unit_test_setup_teardown(any_workers_name_is_a_label, setup, teardown),
        cmocka_unit_test_setup_teardown(a_canary_is_told_the_sizes_of_its_volumes, setup, teardown),
        cmocka_unit_test_setup_teardown(json_settings_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(every_kind_has_an_image, setup, teardown),
        cmocka_unit_test(reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
