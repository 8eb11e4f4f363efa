/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing else runs in the pod while the program comes or goes: before START there is only a program of ours that waits, and
   between compiling and running every process but PID 1 is dead, or it is an interpreter that waits for us. So what is kept is
   what the compiler made, and no user's code had a hand in it. */
#include "base/cleanup.h"
#include "worker/runner/pod_fds.h"
#include "worker/runner/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

void artifact_close(struct runner *r)
{
    if (r->artifact >= 0)
        close(r->artifact);
    r->artifact = -1;
}

static enum err make(struct runner *r, struct errinfo *info)
{
    if (r->artifact >= 0)
        return ERR_OK;
    r->artifact = open(POD_PROGRAM, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0700);
    if (r->artifact < 0 || files_give(r->contained, r->artifact) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "make the program's file");
    return ERR_OK;
}

enum err artifact_put(struct runner *r, struct str bytes, struct errinfo *info)
{
    enum err e = make(r, info);
    if (e != ERR_OK)
        return e;
    for (size_t at = 0; at < bytes.n;) {
        ssize_t n = write(r->artifact, bytes.p + at, bytes.n - at);
        if (n <= 0)
            return errinfo_set(info, ERR_SYSTEM, n < 0 ? errno : ENOSPC, "write the program's file");
        at += (size_t)n;
    }
    return ERR_OK;
}

/* Its offset is the same one for the worker and every pod, so it is not used. */
enum err artifact_copy(struct runner *r, int from, struct errinfo *info)
{
    auto_fd program = from;
    struct stat st;
    if (fstat(program, &st) != 0)
        return errinfo_set(info, ERR_SYSTEM, errno, "take the kept program");
    enum err e = make(r, info);
    for (off_t at = 0; e == ERR_OK && at < st.st_size;) {
        ssize_t n = sendfile(r->artifact, program, &at, (size_t)(st.st_size - at));
        if (n <= 0)
            e = errinfo_set(info, ERR_SYSTEM, n < 0 ? errno : ENOSPC, "write the program's file");
    }
    return e;
}

bool artifact_open(struct runner *r)
{
    struct stat st;
    if (r->spec.keep == 0)
        return false;
    r->artifact = open(POD_PROGRAM, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (r->artifact >= 0 && fstat(r->artifact, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
        (uint64_t)st.st_size <= r->spec.keep)
        return true;
    artifact_close(r);
    return false;
}

enum err artifact_send(struct runner *r)
{
    enum err e = channel_flush(&r->channel);
    while (e == ERR_OK && r->artifact >= 0) {
        if (!channel_idle(&r->channel))
            return ERR_AGAIN;
        ssize_t n = read(r->artifact, channel_chunk(&r->channel), CHANNEL_CHUNK_MAX);
        if (n < 0)
            return ERR_CLOSED; /* a file of ours in memory: this cannot go on */
        e = channel_put_chunk(&r->channel, FRAME_COMPILED, (size_t)n);
        if (n == 0)
            artifact_close(r);
    }
    return e;
}
