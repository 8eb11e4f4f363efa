/* SPDX-License-Identifier: Apache-2.0 */
/* How a worker makes itself known to the runner of a pod that is reached over TCP (DECISIONS 7): the first bytes of the
   connection, once, before the frames of frame.h. A pod's specification holds only the SHA-256 of its token, so whoever reads
   it cannot speak to the pod; the token is HMAC-SHA-256(key of the deployment, nonce of the pod), so every worker of the
   deployment can. The runner says nothing to anybody before it saw the token, and nothing but a closed connection afterwards
   to those who have another.

   An idle pod may be taken over by a later connection with its token; from the first frame of an order on it listens to
   nobody else, and ends with that connection. */
#ifndef MILLRACE_WORKER_KNOCK_H
#define MILLRACE_WORKER_KNOCK_H

enum { KNOCK_MAGIC_SIZE = 8, KNOCK_TOKEN_SIZE = 32, KNOCK_SIZE = KNOCK_MAGIC_SIZE + KNOCK_TOKEN_SIZE };
#define KNOCK_MAGIC "MRKNOCK1"

/* From the arrival of a connection to its last byte of the token. */
enum { KNOCK_SECONDS = 3 };

#endif
