/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "base/str.h"
#include "queue/queue.h"
#include "schema/config.h"

enum err queue_open_configured(uv_loop_t *loop, const struct config *config,
                               void (*on_state)(void *arg, bool ready, const char *why), void *arg,
                               struct queue **ret_queue, struct errinfo *info)
{
    auto_buf url = BUF_INIT(4096);
    config_redis_url(config, &url);
    struct queue_options options = {
        .redis_url = buf_cstr(&url),
        .key_prefix = config->redis_key_prefix,
        .partitions = (unsigned)config->partitions,
        .development = config->profile == PROFILE_DEVELOPMENT,
        .connect_timeout_ms = (int)config->redis_connect_timeout_ms,
        .command_timeout_ms = (int)config->redis_timeout_ms,
        .max_jobs = (uint64_t)config->queue_max_jobs,
        .max_jobs_per_tenant = (uint64_t)config->queue_max_jobs_per_tenant,
        .max_bytes = (uint64_t)config->queue_max_bytes,
        .result_ttl_ms = config->job_result_ttl_ms,
        .sync_result_ttl_ms = config->sync_result_ttl_ms,
        .lease_ms = (uint32_t)config->lease_ms,
        .heartbeat_ms = (uint32_t)config->heartbeat_ms,
        .max_attempts = (uint32_t)config->job_max_attempts,
        .ca_file = text_or_null(config->redis_ca_file),
        .on_state = on_state,
        .arg = arg,
    };
    return queue_open(loop, &options, ret_queue, info);
}
