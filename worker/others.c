/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/others.h"

#include "json/json.h"

static bool is_empty(const json_t *text)
{
    return json_is_string(text) && json_string_length(text) == 0;
}

static uint32_t one_can(struct str offer, const struct pool_stats *stats, size_t n)
{
    auto_json root = NULL;
    if (json_parse(offer, &root, NULL) != ERR_OK)
        return 0;
    const json_t *told = json_object_get(root, QUEUE_OFFER_KUBERNETES),
                 *pools = json_object_get(told, "pools");
    uint32_t can = 0;
    if (!is_empty(json_object_get(told, "why"))) /* it takes no jobs */
        return 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *pool = json_object_get(pools, stats[i].kind);
        if (is_empty(json_object_get(pool, "why")) && is_empty(json_object_get(pool, "missing")))
            can |= 1u << i;
    }
    return can;
}

uint32_t others_can(const struct queue_offered *list, size_t count, struct str self,
                    const struct pool_stats *stats, size_t n)
{
    uint32_t can = 0;
    for (size_t i = 0; i < count; i++)
        if (!str_eq(list[i].worker, self))
            can |= one_can(list[i].text, stats, n);
    return can;
}
