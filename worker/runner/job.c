/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/runner/job.h"

#include "worker/templates/template_proto.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static bool read_all(int fd, void *to, size_t len)
{
    char *p = to;
    while (len > 0) {
        ssize_t n = read(fd, p, len);
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

char *job_wait(int go_fd, size_t *ret_len)
{
    struct program_go go;
    if (!read_all(go_fd, &go, sizeof go))
        _exit(0);
    if (go.magic != TEMPLATE_MAGIC || go.length > SPEC_SIZE_MAX)
        _exit(JOB_NOT_STARTED);
    char *bytes =
        mmap(NULL, (size_t)go.length + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED || !read_all(go_fd, bytes, go.length))
        _exit(JOB_NOT_STARTED);
    *ret_len = go.length;
    return bytes;
}

enum err job_write_source(const struct spec *spec, struct errinfo *info)
{
    int fd = open(spec->source_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "create the source file");
    for (size_t at = 0; at < spec->source.n;) {
        ssize_t n = write(fd, spec->source.p + at, spec->source.n - at);
        if (n <= 0) {
            enum err e = errinfo_set(info, ERR_SYSTEM, errno, "write the source file");
            close(fd);
            return e;
        }
        at += (size_t)n;
    }
    close(fd);
    return ERR_OK;
}
