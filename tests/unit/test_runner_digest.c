/* SPDX-License-Identifier: Apache-2.0 */
/* The runner's SHA-256 against OpenSSL's, for every length that it takes. */
#include "unit.h"

#include "io/crypto.h"
#include "worker/runner/digest.h"

#include <string.h>

static void every_length(void **state)
{
    (void)state;
    char text[DIGEST_TEXT_MAX];
    for (size_t n = 0; n <= sizeof text; n++) {
        uint8_t ours[DIGEST_SIZE];
        for (size_t i = 0; i < n; i++)
            text[i] = (char)(31 * n + i * i);
        struct sha256 theirs = sha256_of((struct str){.p = text, .n = n});
        digest_of(text, n, ours);
        assert_memory_equal(ours, theirs.bytes, DIGEST_SIZE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_length)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
