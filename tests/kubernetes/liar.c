/* SPDX-License-Identifier: Apache-2.0 */
/* A runner that lies, for a test: it lets the worker in as a runner does, and then, by the language whose image it is said to be, says what
   no runner says. Static, so that its image holds nothing else. */
#include "worker/frame.h"
#include "worker/knock.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void say(int fd, uint32_t length, uint8_t type, const char *payload, size_t n)
{
    uint8_t head[FRAME_HEADER_SIZE] = {(uint8_t)length, (uint8_t)(length >> 8), (uint8_t)(length >> 16),
                                       (uint8_t)(length >> 24), type};
    if (write(fd, head, sizeof head) != sizeof head || write(fd, payload, n) != (ssize_t)n)
        _exit(3);
}

static void ready(int fd)
{
    const char version[4] = {FRAME_VERSION};
    say(fd, sizeof version, FRAME_READY, version, sizeof version);
}

/* Until the job is there. */
static void hear(int fd)
{
    char bytes[4096];
    if (read(fd, bytes, sizeof bytes) <= 0)
        _exit(4);
}

/* The connection stays open. */
static void hang(void)
{
    while (pause() < 0) {
    }
}

static void garbage(int fd)
{
    char bytes[65536];
    memset(bytes, 0xa5, sizeof bytes);
    ready(fd);
    hear(fd);
    if (write(fd, bytes, sizeof bytes) != sizeof bytes)
        _exit(3);
    hang();
}

static void oversized(int fd)
{
    ready(fd);
    hear(fd);
    say(fd, UINT32_MAX, FRAME_STDOUT, "", 0);
    hang();
}

static void out_of_turn(int fd)
{
    ready(fd);
    hear(fd);
    say(fd, 0, FRAME_DONE, "", 0);
    hang();
}

static void silent(int fd)
{
    ready(fd);
    hang();
}

/* What a runner with another token does. */
static void refusing(int fd)
{
    close(fd);
    hang();
}

static const struct {
    const char *program;
    void (*lie)(int fd);
} lies[] = {
    {"bash", garbage}, {"node", oversized}, {"go", out_of_turn}, {"php", silent}, {"Rscript", refusing}};

int main(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    char knock[KNOCK_SIZE];
    void (*lie)(int) = garbage;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--listen=", 9) == 0)
            to.sin_port = htons((uint16_t)strtoul(argv[i] + 9, NULL, 10));
        for (size_t k = 0; k < sizeof lies / sizeof lies[0]; k++)
            if (strncmp(argv[i], "--needs=", 8) == 0 && strstr(argv[i], lies[k].program))
                lie = lies[k].lie;
    }
    int door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(door, (const struct sockaddr *)&to, sizeof to) != 0 || listen(door, 1) != 0)
        return 1;
    int fd = accept(door, NULL, NULL);
    if (recv(fd, knock, sizeof knock, MSG_WAITALL) != sizeof knock)
        return 2;
    lie(fd);
}
