/* SPDX-License-Identifier: Apache-2.0 */
/* Which kind of store it is; each kind is above object_store.c, and only this file above the kinds. */
#include "io/store/store.h"

enum err object_store_open(uv_loop_t *loop, const struct object_store_options *options,
                           struct object_store **ret_store, struct errinfo *info)
{
    if (options->kind == OBJECT_STORE_DIRECTORY)
        return store_dir_open(loop, options, ret_store, info);
    return store_s3_open(loop, options, ret_store, info);
}
