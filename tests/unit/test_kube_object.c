/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/object.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static const char whole[] =
    "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u-1\",\"resourceVersion\":\"42\","
    "\"creationTimestamp\":\"1970-01-01T00:00:02Z\",\"deletionTimestamp\":\"1970-01-01T00:01:00Z\","
    "\"labels\":{\"a\":\"1\",\"b\":\"\"},\"annotations\":{\"x/y\":\"z\"},"
    "\"ownerReferences\":[{\"kind\":\"ConfigMap\",\"name\":\"o\",\"uid\":\"u-2\"}]},"
    "\"data\":{\"k\":\"v\"},\"spec\":{\"nodeName\":\"node1\"},"
    "\"status\":{\"phase\":\"Failed\",\"reason\":\"Evicted\",\"message\":\"low on memory\",\"podIP\":\"10.0.0.1\","
    "\"hostIP\":\"10.0.0.2\",\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"True\"},"
    "{\"type\":\"Ready\",\"status\":\"True\"}],\"containerStatuses\":[{\"name\":\"c\",\"ready\":true,"
    "\"restartCount\":2,\"imageID\":\"sha256:1\",\"state\":{\"terminated\":{\"exitCode\":137,\"signal\":9,"
    "\"reason\":\"OOMKilled\",\"message\":\"m\"}}}]}}";

static void reads_everything(void **state)
{
    (void)state;
    struct errinfo info;
    struct kube_object o;
    const char *why;
    auto_json root = NULL;
    assert_int_equal(json_parse(STR(whole), &root, &info), ERR_OK);
    assert_int_equal(kube_object_read(root, &o), ERR_OK);
    const struct {
        const char *have, *wanted;
    } texts[] = {{o.name, "p"},
                 {o.ns, "n"},
                 {o.uid, "u-1"},
                 {o.resource_version, "42"},
                 {o.owner_kind, "ConfigMap"},
                 {o.owner_name, "o"},
                 {o.owner_uid, "u-2"},
                 {o.pod.reason, "Evicted"},
                 {o.pod.message, "low on memory"},
                 {o.pod.ip, "10.0.0.1"},
                 {o.pod.host_ip, "10.0.0.2"},
                 {o.pod.node, "node1"},
                 {o.pod.container.reason, "OOMKilled"},
                 {o.pod.container.message, "m"},
                 {o.pod.container.image_id, "sha256:1"},
                 {kube_object_label(&o, "a"), "1"},
                 {kube_object_label(&o, "b"), ""},
                 {kube_object_annotation(&o, "x/y"), "z"},
                 {kube_object_data(&o, "k"), "v"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_string_equal(texts[i].have, texts[i].wanted);
    assert_null(kube_object_label(&o, "c"));
    assert_int_equal(o.created_ms, 2000);
    assert_int_equal(o.deleted_ms, 60000);
    assert_int_equal(o.pod.phase, KUBE_FAILED);
    assert_int_equal(o.pod.container.state, KUBE_CONTAINER_TERMINATED);
    assert_int_equal(o.pod.container.exit_code, 137);
    assert_int_equal(o.pod.container.signal, 9);
    assert_int_equal(o.pod.container.restarts, 2);
    assert_true(o.pod.scheduled && o.pod.ready && o.pod.container.ready && !o.pod.unschedulable);
    assert_int_equal(kube_pod_trouble(&o, &why), KUBE_TROUBLE_EVICTED);
    assert_string_equal(why, "low on memory");
}

/* Objects that lack what cannot be done without, and such where every member is of a wrong type. */
static void refuses_and_survives(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err e;
    } rows[] = {
        {"[]", ERR_INVALID},
        {"1", ERR_INVALID},
        {"{}", ERR_INVALID},
        {"{\"metadata\":[]}", ERR_INVALID},
        {"{\"metadata\":{\"name\":\"p\"}}", ERR_INVALID},
        {"{\"metadata\":{\"name\":1,\"resourceVersion\":\"1\"}}", ERR_INVALID},
        {"{\"metadata\":{\"name\":\"p\",\"resourceVersion\":\"1\"}}", ERR_OK},
        {"{\"metadata\":{\"name\":\"p\",\"resourceVersion\":\"1\",\"uid\":1,\"labels\":[],\"ownerReferences\":{},"
         "\"creationTimestamp\":\"x\"},\"spec\":1,\"status\":{\"phase\":{},\"conditions\":{},"
         "\"containerStatuses\":{\"state\":1}}}",
         ERR_OK},
        {"{\"metadata\":{\"name\":\"p\",\"resourceVersion\":\"1\"},\"status\":{\"phase\":\"?\",\"conditions\":[1,[],{}],"
         "\"containerStatuses\":[{\"restartCount\":-1,\"state\":{\"terminated\":{\"exitCode\":9999999999}}}]}}",
         ERR_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct errinfo info;
        struct kube_object o;
        auto_json root = NULL;
        assert_int_equal(json_parse(str_of(rows[i].text), &root, &info), ERR_OK);
        assert_int_equal(kube_object_read(root, &o), rows[i].e);
        if (rows[i].e)
            continue;
        assert_string_equal(o.uid, "");
        assert_string_equal(o.owner_uid, "");
        assert_int_equal(o.created_ms, 0);
        assert_int_equal(o.pod.phase, KUBE_PHASE_UNKNOWN);
        assert_int_equal(o.pod.container.exit_code, 0);
        assert_null(kube_object_label(&o, "a"));
    }
}

#define WAITING(reason)                                                                                      \
    "\"containerStatuses\":[{\"state\":{\"waiting\":{\"reason\":\"" reason "\",\"message\":\"why\"}}}]"
#define ENDED(reason)                                                                                        \
    "\"containerStatuses\":[{\"state\":{\"terminated\":{\"reason\":\"" reason "\",\"exitCode\":1}}}]"
#define RUNNING "\"containerStatuses\":[{\"state\":{\"running\":{}}}]"
#define UNSCHEDULABLE                                                                                        \
    "\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"Unschedulable\",\"message\":\"0/1 nodes\"}]"
#define DISRUPTED(reason)                                                                                    \
    "\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\",\"reason\":\"" reason                \
    "\",\"message\":\"moved\"}]"
#define DELETED ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\""

static void names_the_trouble(void **state)
{
    (void)state;
    static const struct {
        const char *meta, *status;
        enum kube_trouble trouble;
        const char *why;
    } rows[] = {
        {"", "\"phase\":\"Pending\"", KUBE_TROUBLE_NONE, ""},
        {"", "\"phase\":\"Pending\"," WAITING("ContainerCreating"), KUBE_TROUBLE_NONE, ""},
        {"", "\"phase\":\"Running\"," RUNNING, KUBE_TROUBLE_NONE, ""},
        {"", "\"phase\":\"Pending\"," WAITING("ErrImageNeverPull"), KUBE_TROUBLE_IMAGE, "why"},
        {"", "\"phase\":\"Pending\"," WAITING("ErrImagePull"), KUBE_TROUBLE_IMAGE, "why"},
        {"", "\"phase\":\"Pending\"," WAITING("ImagePullBackOff"), KUBE_TROUBLE_IMAGE, "why"},
        {"", "\"phase\":\"Pending\"," WAITING("InvalidImageName"), KUBE_TROUBLE_IMAGE, "why"},
        {"", "\"phase\":\"Pending\"," WAITING("CreateContainerConfigError"), KUBE_TROUBLE_CONTAINER, "why"},
        {"", "\"phase\":\"Pending\"," WAITING("RunContainerError"), KUBE_TROUBLE_CONTAINER, "why"},
        {"", "\"phase\":\"Pending\"," UNSCHEDULABLE, KUBE_TROUBLE_UNSCHEDULABLE, "0/1 nodes"},
        {"", "\"phase\":\"Failed\"," ENDED("OOMKilled"), KUBE_TROUBLE_OOM, "out of memory"},
        {"", "\"phase\":\"Failed\"," ENDED("Error"), KUBE_TROUBLE_EXITED, "the container ended"},
        {"", "\"phase\":\"Failed\"," ENDED("StartError"), KUBE_TROUBLE_CONTAINER, NULL},
        {"", "\"phase\":\"Succeeded\"," ENDED("Completed"), KUBE_TROUBLE_EXITED, NULL},
        {"", "\"phase\":\"Succeeded\"", KUBE_TROUBLE_EXITED, NULL},
        {"", "\"phase\":\"Failed\",\"reason\":\"DeadlineExceeded\",\"message\":\"late\"," ENDED("Error"),
         KUBE_TROUBLE_DEADLINE, "late"},
        {"", "\"phase\":\"Failed\",\"reason\":\"Evicted\"," ENDED("OOMKilled"), KUBE_TROUBLE_EVICTED, NULL},
        {"", "\"phase\":\"Failed\",\"reason\":\"Terminated\"," ENDED("Error"), KUBE_TROUBLE_NODE_LOST, NULL},
        {"", "\"phase\":\"Failed\",\"reason\":\"NodeShutdown\"", KUBE_TROUBLE_NODE_LOST, NULL},
        {"", "\"phase\":\"Failed\",\"reason\":\"OutOfcpu\"", KUBE_TROUBLE_REJECTED, NULL},
        {"", "\"phase\":\"Failed\",\"reason\":\"NodeAffinity\"", KUBE_TROUBLE_REJECTED, NULL},
        {"", "\"phase\":\"Failed\",\"reason\":\"SysctlForbidden\"", KUBE_TROUBLE_REJECTED, NULL},
        {"", "\"phase\":\"Failed\",\"reason\":\"SomethingNew\"", KUBE_TROUBLE_REJECTED, NULL},
        {DELETED, "\"phase\":\"Running\"," RUNNING, KUBE_TROUBLE_DELETED, NULL},
        {DELETED, "\"phase\":\"Failed\"," ENDED("OOMKilled"), KUBE_TROUBLE_OOM, NULL},
        {"", "\"phase\":\"Running\"," RUNNING "," DISRUPTED("EvictionByEvictionAPI"), KUBE_TROUBLE_NONE, ""},
        {DELETED, "\"phase\":\"Running\"," RUNNING "," DISRUPTED("EvictionByEvictionAPI"),
         KUBE_TROUBLE_EVICTED, "moved"},
        {DELETED, "\"phase\":\"Running\"," RUNNING "," DISRUPTED("PreemptionByScheduler"),
         KUBE_TROUBLE_EVICTED, "moved"},
        {DELETED, "\"phase\":\"Running\"," RUNNING "," DISRUPTED("DeletionByTaintManager"),
         KUBE_TROUBLE_EVICTED, "moved"},
        {"", "\"phase\":\"Failed\"," ENDED("Error") "," DISRUPTED("DeletionByPodGC"), KUBE_TROUBLE_NODE_LOST,
         "moved"},
        {DELETED, "\"phase\":\"Running\"," RUNNING "," DISRUPTED("SomethingNew"), KUBE_TROUBLE_DELETED, NULL},
        {DELETED, "\"phase\":\"Failed\"," ENDED("OOMKilled") "," DISRUPTED("EvictionByEvictionAPI"),
         KUBE_TROUBLE_OOM, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[1024];
        const char *why;
        struct errinfo info;
        struct kube_object o;
        auto_json root = NULL;
        snprintf(text, sizeof text,
                 "{\"metadata\":{\"name\":\"p\",\"resourceVersion\":\"1\"%s},\"status\":{%s}}", rows[i].meta,
                 rows[i].status);
        assert_int_equal(json_parse(str_of(text), &root, &info), ERR_OK);
        assert_int_equal(kube_object_read(root, &o), ERR_OK);
        enum kube_trouble trouble = kube_pod_trouble(&o, &why);
        if (trouble != rows[i].trouble || (rows[i].why && strcmp(why, rows[i].why) != 0))
            fail_msg("%s: %s \"%s\"", text, kube_trouble_name(trouble), why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_everything),
        cmocka_unit_test(refuses_and_survives),
        cmocka_unit_test(names_the_trouble),
    };
    json_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
