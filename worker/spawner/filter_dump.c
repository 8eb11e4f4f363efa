/* SPDX-License-Identifier: Apache-2.0 */
/* Part of the build: the system call filter of containers, for the runner to have inside it. filter_dump OUTPUT */
#include "base/cleanup.h"
#include "worker/spawner/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct errinfo info = {0};
    auto_fd filter = -1;
    if (argc != 2 || seccomp_build(false, &filter, &info) != ERR_OK) {
        fprintf(stderr, "filter_dump: %s\n", argc == 2 ? info.text : "one argument: the file to write");
        return 1;
    }
    static char bytes[64 * 1024];
    auto_fd out = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ssize_t n = pread(filter, bytes, sizeof bytes, 0);
    if (out < 0 || n <= 0 || n == (ssize_t)sizeof bytes || write(out, bytes, (size_t)n) != n) {
        fprintf(stderr, "filter_dump: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    return 0;
}
