/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of an object store that may say anything. */
#include "fuzz.h"
#include "io/store/s3_answer.h"

#include <string.h>

static enum err on_entry(void *arg, const struct s3_listed *listed)
{
    (void)arg;
    MUST(listed->key[0] != '\0' && listed->key[0] != '/' && strstr(listed->key, "..") != listed->key);
    return ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {.p = (const char *)data, .n = size};
    struct s3_error error;
    char text[S3_UPLOAD_ID_MAX + 1];
    bool truncated = false;
    if (s3_read_error(in, &error))
        MUST(error.code[0] != '\0');
    if (s3_read_value(in, "InitiateMultipartUploadResult", "UploadId", text, sizeof text) == ERR_OK)
        MUST(strlen(text) < sizeof text);
    enum err e = s3_read_list(in, &truncated, on_entry, NULL);
    MUST(e == ERR_OK || e == ERR_PROTOCOL);
    return 0;
}
