/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/idmap.h"

void idmap_init(struct idmap *map)
{
    for (size_t i = 0; i < IDMAP_BUCKETS; i++)
        list_init(&map->buckets[i]);
    map->count = 0;
}

static struct list *bucket_of(struct idmap *map, struct str id)
{
    return &map->buckets[id_partition(id, IDMAP_BUCKETS)];
}

void idmap_add(struct idmap *map, struct idnode *node, const struct id *id)
{
    node->id = *id;
    list_append(bucket_of(map, str_of(id->text)), &node->link);
    map->count++;
}

void idmap_remove(struct idmap *map, struct idnode *node)
{
    list_remove(&node->link);
    map->count--;
}

struct idnode *idmap_find(struct idmap *map, struct str id)
{
    list_each(it, bucket_of(map, id), struct idnode, link)
    {
        if (str_eq(id, str_of(it->id.text)))
            return it;
    }
    return NULL;
}
