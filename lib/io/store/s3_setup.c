/* SPDX-License-Identifier: Apache-2.0 */
/* The first thing done with a bucket: is it there (made if not), and does it know conditional writes? An operation of
   the store's own, before which all others wait. */
#include "io/store/s3.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct setup {
    char body[512];
    char probe[64];
};

static void on_done(void *arg, const struct object_result *result)
{
    struct s3_store *s = arg;
    struct list waiting;
    s->setup = result->e ? S3_SETUP_NONE : S3_SETUP_DONE;
    if (!result->e)
        log_info("the bucket is there", F_STR("bucket", s->bucket),
                 F_STR("conditional_writes", s->conditional ? "yes" : "no"));
    list_init(&waiting);
    while (!list_empty(&s->waiting)) {
        struct list *node = s->waiting.next;
        list_remove(node);
        list_append(&waiting, node);
    }
    while (!list_empty(&waiting)) {
        struct s3_op *op = list_first(&waiting, struct s3_op, waiting);
        list_remove(&op->waiting);
        if (result->e)
            s3_op_fail(op, result->e, result->why);
        else
            s3_op_start(op);
    }
}

/* ---- the probe: the second writer of a name must be refused ---- */

static void probe_gone(struct s3_op *op, int status, struct str body)
{
    (void)status, (void)body;
    s3_op_finish(op, ERR_OK, NULL);
}

static void end_probe(struct s3_op *op, bool conditional)
{
    struct setup *setup = op->kind;
    op->give_up = NULL;
    s3_of(op)->conditional = conditional;
    s3_request(op, "DELETE", setup->probe);
    s3_send(op, probe_gone);
}

static void probe_request(struct s3_op *op, void (*answered)(struct s3_op *op, int status, struct str body))
{
    struct setup *setup = op->kind;
    struct s3_request *r = s3_request(op, "PUT", setup->probe);
    r->body = STR("");
    s3_header(op, "if-none-match", "*");
    s3_send(op, answered);
}

static void probe_second(struct s3_op *op, int status, struct str body)
{
    (void)body;
    end_probe(op, status == 412);
}

static void probe_first(struct s3_op *op, int status, struct str body)
{
    (void)body;
    if (status == 200 || status == 412) /* the name is new: a try whose answer was lost has made it */
        probe_request(op, probe_second);
    else
        end_probe(op, false);
}

static bool probe_failed(struct s3_op *op, enum err e)
{
    if (e != ERR_UNSUPPORTED)
        return false;
    end_probe(op, false);
    return true;
}

static void begin_probe(struct s3_op *op)
{
    struct setup *setup = op->kind;
    op->give_up = probe_failed;
    snprintf(setup->probe, sizeof setup->probe, "millrace-probe/%s", id_new().text);
    probe_request(op, probe_first);
}

/* ---- the bucket ---- */

static void on_made(struct s3_op *op, int status, struct str body)
{
    (void)body;
    if (status == 200 || status == 409)
        begin_probe(op);
    else
        s3_unexpected(op, status);
}

static void make_bucket(struct s3_op *op)
{
    struct s3_store *s = s3_of(op);
    struct setup *setup = op->kind;
    struct s3_request *r = s3_request(op, "PUT", NULL);
    /* The first region of all has no name here. */
    if (strcmp(s->region, "us-east-1") != 0)
        snprintf(
            setup->body, sizeof setup->body,
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>%s"
            "</LocationConstraint></CreateBucketConfiguration>",
            s->region);
    r->body = str_of(setup->body);
    struct sha256 hash = sha256_of(r->body);
    sha256_hex(&hash, r->sha256);
    s3_send(op, on_made);
}

static void on_headed(struct s3_op *op, int status, struct str body)
{
    (void)body;
    if (status == 200)
        begin_probe(op);
    else if (status == 404)
        make_bucket(op);
    else
        s3_unexpected(op, status);
}

static void begin(struct s3_op *op)
{
    s3_request(op, "HEAD", NULL);
    s3_send(op, on_headed);
}

static void on_start(uv_timer_t *timer)
{
    begin(timer->data);
}

void s3_setup_start(struct s3_store *s)
{
    struct s3_op *op;
    struct object_result failed = {.e = ERR_NOMEM, .why = "out of memory"};
    enum err e = s3_op_new(&s->base, "", begin, on_done, s, &op);
    if (e) {
        on_done(s, &failed);
        return;
    }
    s->setup = S3_SETUP_RUNNING;
    op->kind = calloc(1, sizeof(struct setup));
    if (!op->kind)
        s3_op_fail(op, ERR_NOMEM, "out of memory");
    else
        uv_timer_start(&op->timer, on_start, 0, 0);
}
