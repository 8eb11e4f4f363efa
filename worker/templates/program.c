/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/templates/program.h"

#include "base/cleanup.h"
#include "worker/templates/template_proto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum err program_tell_ready(int go, const struct errinfo *failure)
{
    struct program_ready ready = {.magic = TEMPLATE_MAGIC, .pid = getpid()};
    if (failure != NULL) {
        ready.error = failure->sys != 0 ? failure->sys : EINVAL;
        snprintf(ready.text, sizeof ready.text, "%.*s", (int)sizeof ready.text - 1, failure->text);
    }
    ssize_t n = send(go, &ready, sizeof ready, MSG_NOSIGNAL);
    return n == (ssize_t)sizeof ready ? ERR_OK : ERR_CLOSED;
}

enum err program_receive(int fd, void *into, size_t len)
{
    char *at = into;
    while (len > 0) {
        ssize_t n = recv(fd, at, len, MSG_WAITALL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR_CLOSED;
        at += n;
        len -= (size_t)n;
    }
    return ERR_OK;
}

enum err program_wait(int go, struct spec *ret_spec, char **ret_bytes, struct errinfo *info)
{
    struct program_go head;
    enum err e = program_receive(go, &head, sizeof head);
    if (e != ERR_OK)
        return errinfo_set(info, e, 0, "the go socket was closed");
    if (head.magic != TEMPLATE_MAGIC || head.length > SPEC_SIZE_MAX)
        return errinfo_set(info, ERR_PROTOCOL, 0, "the run specification is too long or not one");
    auto_free char *bytes = malloc(head.length + 1);
    if (bytes == NULL)
        return errinfo_set(info, ERR_NOMEM, ENOMEM, "memory for the run specification");
    if ((e = program_receive(go, bytes, head.length)) != ERR_OK)
        return errinfo_set(info, e, 0, "the run specification was cut");
    if ((e = spec_parse(bytes, head.length, ret_spec)) != ERR_OK)
        return errinfo_set(info, e, 0, "the run specification is not understood");
    *ret_bytes = steal_ptr(&bytes);
    return ERR_OK;
}

static enum err write_all(int fd, struct str bytes)
{
    while (bytes.n > 0) {
        ssize_t n = write(fd, bytes.p, bytes.n);
        if (n < 0)
            return ERR_SYSTEM;
        bytes.p += n;
        bytes.n -= (size_t)n;
    }
    return ERR_OK;
}

enum err program_write_source(const char *folder, const struct spec *spec, char path[PROGRAM_PATH_MAX],
                              int *ret_fd, struct errinfo *info)
{
    const char *name = spec->source_name != NULL ? spec->source_name : "main.py";
    if (snprintf(path, PROGRAM_PATH_MAX, "%s/%s", folder, name) >= PROGRAM_PATH_MAX)
        return errinfo_set(info, ERR_RANGE, 0, "the name of the source is too long");
    auto_fd fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "making %s", path);
    if (write_all(fd, spec->source) != ERR_OK || lseek(fd, 0, SEEK_SET) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "writing %s", path);
    *ret_fd = steal_fd(&fd);
    return ERR_OK;
}

enum err program_set_environment(const struct spec_list *env, struct errinfo *info)
{
    if (clearenv() != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "clearing the environment");
    for (size_t i = 0; i < env->n; i++)
        if (putenv(env->at[i]) != 0)
            return errinfo_set(info, ERR_NOMEM, errno, "setting the environment");
    return ERR_OK;
}
