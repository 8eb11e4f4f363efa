/* SPDX-License-Identifier: Apache-2.0 */
/* A map from ids to nodes that live inside their objects. */
#ifndef MILLRACE_QUEUE_IDMAP_H
#define MILLRACE_QUEUE_IDMAP_H

#include "base/id.h"
#include "base/list.h"

enum { IDMAP_BUCKETS = 1024 };

struct idnode {
    struct list link;
    struct id id;
};

struct idmap {
    struct list buckets[IDMAP_BUCKETS];
    size_t count;
};

void idmap_init(struct idmap *map);
void idmap_add(struct idmap *map, struct idnode *node, const struct id *id);
void idmap_remove(struct idmap *map, struct idnode *node);
struct idnode *idmap_find(struct idmap *map, struct str id);

#define idmap_each(it, map, type, member)                                                                    \
    for (size_t it##_bucket = 0; it##_bucket < IDMAP_BUCKETS; it##_bucket++)                                 \
    list_each(it, &(map)->buckets[it##_bucket], type, member.link)

#endif
