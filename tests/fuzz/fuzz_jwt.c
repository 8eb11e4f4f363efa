/* SPDX-License-Identifier: Apache-2.0 */
/* A token: what is accepted has the issuer and audience asked for, a subject that can be printed, and has not expired. */
#include "api/jwt.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct jwt_rules rules = {.algorithm = "EdDSA",
                                           .issuer = "librechat",
                                           .audience = "codeapi",
                                           .key_id = "",
                                           .skew_s = 30,
                                           .max_ttl_s = 300};
    enum { NOW = 1790000010 };
    struct jwt jwt;
    struct jwt_facts facts;
    struct errinfo info;
    if (jwt_read((struct str){.p = (const char *)data, .n = size}, &jwt, &info) != ERR_OK)
        return 0;
    MUST(json_is_object(jwt.header) && json_is_object(jwt.claims) && jwt.signed_part.n < size);
    if (jwt_check_header(&jwt, &rules, &info) == ERR_OK &&
        jwt_check_claims(&jwt, &rules, NOW, &facts, &info) == ERR_OK) {
        MUST(facts.subject.n >= 1 && facts.subject.n <= JWT_SUBJECT_MAX && facts.expires_s >= NOW);
        for (size_t i = 0; i < facts.subject.n; i++)
            MUST(facts.subject.p[i] > 0x20 && facts.subject.p[i] < 0x7f);
    }
    jwt_free(&jwt);
    return 0;
}
