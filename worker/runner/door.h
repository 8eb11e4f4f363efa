/* SPDX-License-Identifier: Apache-2.0 */
/* The runner's listening socket: until an order comes, connections are taken, and the newest one that has the token is the
   worker's. Few at a time, each for a short time, none is answered. */
#ifndef MILLRACE_WORKER_RUNNER_DOOR_H
#define MILLRACE_WORKER_RUNNER_DOOR_H

#include "worker/knock.h"
#include "worker/runner/digest.h"
#include "worker/runner/runner.h"

enum { DOOR_STRANGERS_MAX = 8 };

struct door {
    int listener;
    uint8_t digest[DIGEST_SIZE]; /* of the token */
    struct {
        int fd; /* -1: free */
        size_t got;
        int64_t until_ns;
        uint8_t bytes[KNOCK_SIZE];
    } strangers[DOOR_STRANGERS_MAX];
};

MUST_CHECK enum err door_open(struct door *door, unsigned port, const uint8_t digest[DIGEST_SIZE],
                              struct errinfo *info);
/* Returns when the worker's first order can be read, at RUNNER_FD_CONTROL; the door is closed then. */
void door_wait(struct door *door, struct runner *r);

#endif
