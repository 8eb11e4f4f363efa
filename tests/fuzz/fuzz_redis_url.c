/* SPDX-License-Identifier: Apache-2.0 */
/* An address, or a sentence that does not show the password. */
#include "fuzz.h"
#include "io/redis/redis.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct redis_url url;
    struct errinfo info = {0};
    memset(&url, 0, sizeof url);
    if (redis_url_parse((struct str){.p = (const char *)data, .n = size}, &url, &info) != ERR_OK) {
        MUST(info.text[0] != '\0' && strstr(info.text, "canary") == NULL);
        return 0;
    }
    MUST(memchr(url.host, '\0', sizeof url.host) != NULL &&
         memchr(url.password, '\0', sizeof url.password) != NULL);
    MUST(memchr(url.user, '\0', sizeof url.user) != NULL && url.host[0] != '\0');
    return 0;
}
