/* SPDX-License-Identifier: Apache-2.0 */
/* An API server that may say anything: a Status, an object, the lines of a watch, a credential. */
#include "fuzz.h"
#include "kube/exec.h"
#include "kube/lines.h"
#include "kube/object.h"
#include "kube/reason.h"

#include <string.h>

static void read_object(const json_t *json)
{
    struct kube_object o;
    const char *why = NULL;
    if (kube_object_read(json, &o))
        return;
    MUST(o.name[0] && o.resource_version[0] && o.uid && o.ns && o.owner_uid);
    MUST(o.pod.ip && o.pod.container.reason && o.pod.schedule_message);
    MUST(kube_pod_trouble(&o, &why) < KUBE_TROUBLE_COUNT && why);
    MUST(!kube_object_label(&o, "") || kube_object_label(&o, ""));
}

static void read_lines(struct str in, size_t piece)
{
    struct kube_lines lines;
    size_t told = 0;
    enum err e = ERR_OK;
    kube_lines_init(&lines, 1 << 10);
    for (size_t at = 0; at < in.n && !e; at += piece) {
        struct str rest = {.p = in.p + at, .n = in.n - at < piece ? in.n - at : piece}, line;
        for (bool found = true; found && !e;) {
            e = kube_lines_next(&lines, &rest, &found, &line);
            if (!e && found) {
                MUST(line.n > 0 && line.n < 1 << 10 && !memchr(line.p, '\n', line.n));
                told += line.n + 1;
            }
        }
    }
    MUST(told <= in.n);
    kube_lines_free(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {.p = (const char *)data, .n = size};
    struct kube_status status;
    struct errinfo info;
    struct kube_exec_answer answer;
    auto_json root = NULL;
    kube_status_read(size % 2 ? 403 : 0, in, &status);
    MUST(status.reason < KUBE_REASON_COUNT && status.message[0] &&
         strlen(status.message) <= KUBE_MESSAGE_MAX);
    MUST(!strpbrk(status.message, "\r\n"));
    if (!json_parse(in, &root, &info))
        read_object(root);
    if (!kube_exec_read(in, "client.authentication.k8s.io/v1", &answer, &info)) {
        MUST(answer.token || (answer.cert && answer.key));
        arena_free(&answer.memory);
    }
    read_lines(in, 1);
    read_lines(in, 7);
    return 0;
}
