/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of an upload's form beside its files (CONTRACT 2.2, 2.3, 3.4): pure. */
#ifndef MILLRACE_API_UPLOAD_FORM_H
#define MILLRACE_API_UPLOAD_FORM_H

#include "api/fault.h"
#include "base/id.h"

#include <stdbool.h>

enum { UPLOAD_FIELD_MAX = 1024 };

struct upload_form {
    char kind[16], id[UPLOAD_FIELD_MAX + 1], version[32], entity_id[UPLOAD_FIELD_MAX + 1];
    struct id session; /* "" : a fresh one */
    bool read_only;
};

/* One field that is whole; those that are not known are passed over. ERR_INVALID: `fault` says which and why. */
MUST_CHECK enum err upload_form_take(struct upload_form *form, const char *name, struct str value,
                                     struct api_fault *fault);
/* All fields are there. ERR_INVALID as above. */
MUST_CHECK enum err upload_form_check(const struct upload_form *form, struct api_fault *fault);
/* The files belong to the whole tenant: a skill's or an agent's. */
bool upload_form_shared(const struct upload_form *form);

#endif
