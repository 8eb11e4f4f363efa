/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration file in YAML as flat pairs, through libyaml's event API. Only mappings, sequences of
   scalars and scalars; everything is a string. Duplicate keys, merge keys, anchors, aliases, tags and a
   second document are refused, depth and size are capped. */
#ifndef MILLRACE_IO_YAML_H
#define MILLRACE_IO_YAML_H

#include "base/arena.h"

struct yaml_pair {
    const char *path;  /* keys joined with '.': "api.port" */
    const char *value; /* a sequence: its items joined with ',' */
    unsigned line;     /* of the key, from 1 */
};

struct yaml_pairs {
    const struct yaml_pair *items;
    size_t count;
};

enum { YAML_DEPTH_MAX = 4, YAML_PAIRS_MAX = 1024, YAML_TEXT_MAX = 1 << 20 };
enum { YAML_TREE_DEPTH_MAX = 16, YAML_TREE_PAIRS_MAX = 8192 };

/* ERR_INVALID with line and reason; ERR_NOMEM. Everything lives in `memory`. A key without a value (or null)
   is left out. */
MUST_CHECK enum err yaml_parse(struct arena *memory, struct str text, struct yaml_pairs *ret_pairs,
                               struct errinfo *info);
/* As above, for files that are not ours: lists hold anything, their items are numbered ("users.0.name"). */
MUST_CHECK enum err yaml_parse_tree(struct arena *memory, struct str text, struct yaml_pairs *ret_pairs,
                                    struct errinfo *info);

#endif
