/* SPDX-License-Identifier: Apache-2.0 */
/* What the helper knows of warm interpreters. */
#ifndef MILLRACE_WORKER_SPAWNER_HELPER_TEMPLATE_H
#define MILLRACE_WORKER_SPAWNER_HELPER_TEMPLATE_H

#include "base/err.h"

/* A child of ours becomes the template of `set`, as `uid` without any capability; `control` is its descriptor 3. */
MUST_CHECK enum err helper_start_template(const char *set, int control, unsigned uid, struct errinfo *info);

#endif
