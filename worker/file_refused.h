/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MILLRACE_WORKER_FILE_REFUSED_H
#define MILLRACE_WORKER_FILE_REFUSED_H

enum file_refused {
#define X(symbol, name, text) FILE_REFUSED_##symbol,
#include "worker/file_refused.def"
#undef X
    FILE_REFUSED_COUNT,
};

const char *file_refused_name(enum file_refused why);
const char *file_refused_text(enum file_refused why);

#endif
