/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/objects.h"

#include "base/log.h"
#include "json/json.h"

#include <stdio.h>

enum { ASK_EVERY_MS = 10000 };

static void on_check(void *arg, const struct object_result *result)
{
    struct objects *o = arg;
    bool ok = result->e == ERR_OK;
    if (ok && (!o->ok || !o->asked))
        log_info("the object store is there", F_STR("store", object_store_name(o->store)));
    if (!ok && (o->ok || !o->asked))
        log_warn("the object store cannot be used", F_STR("why", result->why));
    o->asked = true;
    o->ok = ok;
    snprintf(o->why, sizeof o->why, "%s", ok ? "" : result->why);
    uv_timer_start(&o->timer, o->timer.timer_cb, ASK_EVERY_MS, 0);
}

static void ask(uv_timer_t *timer)
{
    struct objects *o = timer->data;
    struct object_op *op;
    if (object_check(o->store, on_check, o, &op))
        uv_timer_start(timer, ask, ASK_EVERY_MS, 0);
}

static void options_of(const struct config *config, struct object_store_options *options)
{
    *options = (struct object_store_options){
        .kind = OBJECT_STORE_DIRECTORY,
        .path = config->object_store_path,
    };
    if (config->object_store != CONFIG_OBJECT_STORE_S3)
        return;
    *options = (struct object_store_options){
        .kind = OBJECT_STORE_S3,
        .s3 = {.endpoint = config->minio_endpoint,
               .bucket = config->minio_bucket,
               .region = config->minio_region,
               .access_key = config->minio_access_key,
               .secret_key = config->minio_secret_key,
               .session_token = config->minio_session_token,
               .ca_file = config->minio_ca_file,
               .secure = config->minio_secure,
               .virtual_host = config->minio_virtual_host,
               .use_iam = config->minio_use_iam,
               .timeout_ms = (int)config->minio_timeout_ms},
    };
}

enum err objects_open(struct objects *o, uv_loop_t *loop, const struct config *config, struct errinfo *info)
{
    struct object_store_options options;
    options_of(config, &options);
    *o = (struct objects){.why = "not asked yet"};
    enum err e = object_store_open(loop, &options, &o->store, info);
    if (e)
        return e;
    uv_timer_init(loop, &o->timer);
    uv_unref((uv_handle_t *)&o->timer);
    o->timer.data = o;
    uv_timer_start(&o->timer, ask, 0, 0);
    return ERR_OK;
}

static void on_store_closed(void *arg)
{
    struct objects *o = arg;
    o->store = NULL;
    if (o->closed)
        o->closed(o->arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct objects *o = handle->data;
    object_store_close(o->store, on_store_closed, o);
}

void objects_close(struct objects *o, void (*closed)(void *arg), void *arg)
{
    o->closed = closed;
    o->arg = arg;
    uv_close((uv_handle_t *)&o->timer, on_timer_closed);
}

void objects_write_health(const struct objects *o, struct buf *out)
{
    buf_printf(out, "{\"store\":\"%s\",\"ok\":%s,\"why\":", object_store_name(o->store),
               o->ok ? "true" : "false");
    if (o->ok)
        buf_append_cstr(out, "null");
    else
        json_write_string(out, str_of(o->why));
    buf_append_char(out, '}');
}
