/* SPDX-License-Identifier: Apache-2.0 */
/* What the canary pod says of the cluster: its runner writes one line as its termination message, CANARY_MAGIC and the names of the
   rows of canary.def that it found missing; the worker reads it from the pod's status. Nothing has to be connected for it. */
#ifndef MILLRACE_WORKER_CANARY_H
#define MILLRACE_WORKER_CANARY_H

#define CANARY_MAGIC "MRCANARY1"
/* Followed by the bytes of the working volume, ',' and those of the temporary one. */
#define CANARY_OPTION "--canary="

enum canary_row {
#define C(NAME, name, needed, text) CANARY_##NAME,
#include "worker/canary.def"
#undef C
    CANARY_COUNT
};

#endif
