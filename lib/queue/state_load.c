/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/state_load.h"

#include "base/cleanup.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool state_is_object(const struct state_view *view)
{
    return view->found && !str_eq(view->of.place, STR("-"));
}

const char *state_open(const struct state_keys *keys, struct str tenant, struct id session,
                       const struct state_view *view, struct state_seal *ret_seal)
{
    struct state_scope scope = {
        .tenant = tenant, .session = str_of(session.text), .version = view->of.version};
    struct state_seal seal;
    if (state_seal_parse(view->of.seal, &seal) != ERR_OK)
        return "its seal cannot be read";
    if (state_seal_check(keys, &scope, &seal) != ERR_OK)
        return "its seal is not one of this session, or of a key that is not known here";
    if (!state_is_object(view) && state_seal_blob(&seal, view->blob) != ERR_OK)
        return "its bytes are not those that were sealed";
    *ret_seal = seal;
    return NULL;
}

struct state_load {
    struct object_op *op;
    struct buf blob;
    state_load_cb cb;
    void *arg;
};

static void load_free(struct state_load *load)
{
    buf_free(&load->blob);
    free(load);
}

static void on_data(void *arg, struct str bytes)
{
    struct state_load *load = arg;
    buf_append_str(&load->blob, bytes);
}

static void on_done(void *arg, const struct object_result *result)
{
    struct state_load *load = arg;
    enum err e = result->e == ERR_OK ? buf_status(&load->blob) : result->e;
    load->cb(load->arg, e, &load->blob);
    load_free(load);
}

struct state_load *state_load(struct object_store *store, struct str place, const struct state_seal *seal,
                              size_t max, state_load_cb cb, void *arg)
{
    char key[OBJECT_KEY_MAX + 1];
    struct state_load *load = place.n < sizeof key && seal->size <= max ? calloc(1, sizeof *load) : NULL;
    if (load == NULL)
        return NULL;
    memcpy(key, place.p, place.n);
    key[place.n] = '\0';
    *load = (struct state_load){.blob = BUF_INIT((size_t)seal->size), .cb = cb, .arg = arg};
    struct object_get get = {.key = key, .sha256 = &seal->hash, .data = on_data};
    if (object_get(store, &get, on_done, load, &load->op) == ERR_OK)
        return load;
    load_free(load);
    return NULL;
}

void state_load_cancel(struct state_load *load)
{
    if (load == NULL)
        return;
    object_op_cancel(load->op);
    load_free(load);
}

/* A file in memory, for what is too large to be given as bytes. */
static enum err put_large(struct object_store *store, struct object_put *put, struct str blob, object_cb cb,
                          void *arg, struct object_op **ret_op)
{
    auto_fd fd = memfd_create("state", MFD_CLOEXEC);
    if (fd < 0)
        return ERR_SYSTEM;
    for (size_t at = 0; at < blob.n;) {
        ssize_t n = write(fd, blob.p + at, blob.n - at);
        if (n <= 0)
            return ERR_NOMEM;
        at += (size_t)n;
    }
    put->has_fd = true;
    put->fd = fd;
    put->size = blob.n;
    return object_put(store, put, cb, arg, ret_op);
}

enum err state_store(struct object_store *store, struct str place, struct str blob, const struct sha256 *hash,
                     object_cb cb, void *arg, struct object_op **ret_op)
{
    char key[OBJECT_KEY_MAX + 1];
    if (place.n >= sizeof key)
        return ERR_RANGE;
    memcpy(key, place.p, place.n);
    key[place.n] = '\0';
    struct object_put put = {.key = key, .sha256 = hash};
    if (blob.n > OBJECT_PUT_BYTES_MAX)
        return put_large(store, &put, blob, cb, arg, ret_op);
    put.bytes = blob;
    return object_put(store, &put, cb, arg, ret_op);
}

enum err state_object_name(struct str tenant, struct id session, struct str maker, struct buf *out)
{
    struct session_file none = {.hash = STR("state"), .id = session};
    auto_buf folder = BUF_INIT(OBJECT_KEY_MAX);
    enum err e = session_object_name(tenant, session, &none, &folder);
    if (e != ERR_OK)
        return e;
    struct str prefix = buf_str(&folder);
    while (prefix.n > 0 && prefix.p[prefix.n - 1] != '/')
        prefix.n--;
    buf_append_str(out, prefix);
    buf_append_cstr(out, "state-");
    for (size_t i = 0; i < maker.n; i++)
        buf_append_char(out, maker.p[i] == ':' ? '.' : maker.p[i]);
    return buf_status(out);
}
