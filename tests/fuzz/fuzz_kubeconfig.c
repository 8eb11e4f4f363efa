/* SPDX-License-Identifier: Apache-2.0 */
/* A kubeconfig that may hold anything. */
#include "fuzz.h"
#include "kube/access.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kube_access a;
    struct errinfo info = {.text = ""};
    struct str in = {.p = (const char *)data, .n = size};
    if (kube_access_parse(in, "folder/config", NULL, false, &a, &info) != ERR_OK) {
        MUST(strstr(info.text, "folder/config"));
        return 0;
    }
    MUST(!strncmp(a.server, "https://", 8) && !a.insecure);
    MUST(a.token || a.token_file || a.exec.command ||
         ((a.cert_data || a.cert_file) && (a.key_data || a.key_file)));
    kube_access_free(&a);
    return 0;
}
