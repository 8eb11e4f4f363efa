/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/credentials.h"

#include "base/clock.h"
#include "base/log.h"
#include "io/small_file.h"
#include "kube/exec.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MS = 1000000,
    EARLY_MS = 30000, /* a plug-in is run again so long before what it gave expires */
    PAUSE_MS = 5000,  /* between two runs of it, when it fails or gives what is refused */
    TOKEN_MAX = 64 << 10,
};

enum file { FILE_TOKEN, FILE_CA, FILE_CERT, FILE_KEY, FILE_COUNT };

struct kube_credentials {
    uv_loop_t *loop;
    struct kube_access access;
    struct buf files[FILE_COUNT];
    int64_t read_ns;
    struct kube_exec_run *run;
    struct kube_exec_answer answer; /* of the plug-in; its memory is empty before the first */
    bool stale;                     /* what the plug-in gave was refused */
    int64_t ran_ns;                 /* when it last ended; 0: never */
    char why[512];                  /* what went wrong then; "" nothing */
    void (*changed)(void *arg);
    void *arg;
};

/* ---- files ---- */

static const char *path_of(const struct kube_access *a, enum file file)
{
    const char *const paths[] = {[FILE_TOKEN] = a->token_file,
                                 [FILE_CA] = a->ca_file,
                                 [FILE_CERT] = a->cert_file,
                                 [FILE_KEY] = a->key_file};
    return paths[file];
}

/* A token is one line without blanks; the others are PEM. */
static enum err check_file(enum file file, struct buf *text, const char *path, struct errinfo *info)
{
    while (file == FILE_TOKEN && text->len && strchr("\r\n \t", text->data[text->len - 1]))
        text->data[--text->len] = '\0';
    if (file == FILE_TOKEN && (!text->len || strcspn(text->data, "\r\n \t") != text->len))
        return errinfo_set(info, ERR_INVALID, 0, "%.150s holds no token", path);
    if (file != FILE_TOKEN && !strstr(buf_cstr(text), "-----BEGIN "))
        return errinfo_set(info, ERR_INVALID, 0, "%.150s holds no PEM text", path);
    return ERR_OK;
}

static enum err read_one(struct kube_credentials *c, enum file file, struct errinfo *info)
{
    const char *path = path_of(&c->access, file);
    struct buf text = BUF_INIT(file == FILE_TOKEN ? TOKEN_MAX : KUBE_ACCESS_FILE_MAX);
    enum err e = small_file_read(AT_FDCWD, path, &text, info);
    if (e == ERR_NOT_FOUND)
        e = errinfo_set(info, e, 0, "%.150s does not exist", path);
    e = e ? e : check_file(file, &text, path, info);
    if (e) {
        buf_free(&text);
        return e;
    }
    buf_free(&c->files[file]);
    c->files[file] = text;
    return ERR_OK;
}

/* What cannot be read while it is being replaced stays as it was. */
static enum err read_files(struct kube_credentials *c, struct errinfo *info)
{
    enum err first = ERR_OK;
    c->read_ns = clock_mono_ns();
    for (enum file file = 0; file < FILE_COUNT; file++) {
        struct errinfo own = {0};
        enum err e = path_of(&c->access, file) ? read_one(c, file, &own) : ERR_OK;
        if (e && !first) {
            first = e;
            *info = own;
        }
    }
    return first;
}

static void read_again(struct kube_credentials *c)
{
    struct errinfo info = {0};
    if (read_files(c, &info))
        log_limited(LOG_WARN, "cannot read the Kubernetes credentials again; the old ones stay",
                    F_STR("why", info.text));
}

/* ---- the plug-in ---- */

static void on_ran(void *arg, const struct kube_exec_answer *answer, const char *why)
{
    struct kube_credentials *c = arg;
    c->run = NULL;
    c->ran_ns = clock_mono_ns();
    snprintf(c->why, sizeof c->why, "%s", why ? why : "");
    if (answer) {
        arena_free(&c->answer.memory);
        c->answer = *answer;
        c->stale = false;
    } else {
        log_limited(LOG_WARN, "no Kubernetes credentials", F_STR("why", why));
    }
    c->changed(c->arg);
}

static bool expired(const struct kube_credentials *c, int64_t early_ms)
{
    return c->answer.expires_ms && clock_wall_ms() + early_ms >= c->answer.expires_ms;
}

static bool has_answer(const struct kube_credentials *c)
{
    return c->answer.token || c->answer.cert;
}

/* ERR_OK: what it gave can be used, though it may be being run again. */
static enum err ask_plugin(struct kube_credentials *c, const char **ret_why)
{
    bool usable = has_answer(c) && !c->stale && !expired(c, 0);
    bool wanted = !usable || expired(c, EARLY_MS);
    bool paused = c->ran_ns && clock_mono_ns() - c->ran_ns < (int64_t)PAUSE_MS * MS;
    if (wanted && !paused && !c->run && kube_exec_start(c->loop, &c->access, on_ran, c, &c->run))
        snprintf(c->why, sizeof c->why, "out of memory");
    if (usable)
        return ERR_OK;
    *ret_why = c->why[0] ? c->why : "the credential plug-in gave credentials that are refused or expired";
    return c->run ? ERR_AGAIN : ERR_DENIED;
}

/* ---- outside ---- */

enum err kube_credentials_open(uv_loop_t *loop, struct kube_access *access, void (*changed)(void *arg),
                               void *arg, struct kube_credentials **ret_credentials, struct errinfo *info)
{
    struct kube_credentials *c = calloc(1, sizeof *c);
    if (!c)
        return errinfo_set(info, ERR_NOMEM, 0, "out of memory");
    c->loop = loop;
    c->access = *access;
    c->changed = changed;
    c->arg = arg;
    enum err e = read_files(c, info);
    if (e) {
        for (enum file file = 0; file < FILE_COUNT; file++)
            buf_free(&c->files[file]);
        free(c);
        return errinfo_wrap(info, "credentials of %.80s", access->source);
    }
    *ret_credentials = c;
    return ERR_OK;
}

void kube_credentials_close(struct kube_credentials *c)
{
    if (c->run)
        kube_exec_cancel(c->run);
    for (enum file file = 0; file < FILE_COUNT; file++)
        buf_free(&c->files[file]);
    arena_free(&c->answer.memory);
    kube_access_free(&c->access);
    free(c);
}

static struct str either(const struct buf *file, const char *text)
{
    return file->len ? buf_str(file) : text ? str_of(text) : (struct str){.p = NULL, .n = 0};
}

enum err kube_credentials_get(struct kube_credentials *c, struct kube_material *ret_material,
                              const char **ret_why)
{
    const struct kube_access *a = &c->access;
    if (clock_mono_ns() - c->read_ns >= (int64_t)KUBE_REREAD_MS * MS)
        read_again(c);
    enum err e = a->exec.command ? ask_plugin(c, ret_why) : ERR_OK;
    if (e)
        return e;
    *ret_material = (struct kube_material){
        .token = either(&c->files[FILE_TOKEN], a->exec.command ? c->answer.token : a->token),
        .ca = either(&c->files[FILE_CA], a->ca_data),
        .cert = either(&c->files[FILE_CERT], a->exec.command ? c->answer.cert : a->cert_data),
        .key = either(&c->files[FILE_KEY], a->exec.command ? c->answer.key : a->key_data),
    };
    return ERR_OK;
}

bool kube_credentials_refused(struct kube_credentials *c)
{
    bool files = false;
    for (enum file file = 0; file < FILE_COUNT; file++)
        files = files || (file != FILE_CA && path_of(&c->access, file));
    if (files)
        read_again(c);
    c->stale = c->access.exec.command != NULL;
    return files || c->stale;
}

const struct kube_access *kube_credentials_access(const struct kube_credentials *c)
{
    return &c->access;
}
