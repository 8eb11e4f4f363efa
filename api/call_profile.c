/* SPDX-License-Identifier: Apache-2.0 */
/* The execution profile that a request expects, and the one that each answer names. */
#include "api/app.h"
#include "api/profile.h"

#include "base/utf8.h"
#include "json/json.h"

#include <stdio.h>
#include <string.h>

#define EXPECTED_PROFILE "x-codeapi-expected-profile"

static enum config_execution_profile my_profile(const struct api *api)
{
    return (enum config_execution_profile)api->config.execution_profile;
}

bool call_check_profile(struct call *c)
{
    struct str expected = http_header(c->request, EXPECTED_PROFILE);
    enum profile_fit fit =
        profile_check(my_profile(c->api), expected, http_header_count(c->request, EXPECTED_PROFILE));
    if (fit == PROFILE_FITS)
        return true;
    enum client_error error = fit == PROFILE_OTHER ? CE_PROFILE_MISMATCH : CE_INVALID_PROFILE;
    const char *actual = profile_name(my_profile(c->api), expected);
    char detail[256];
    snprintf(detail, sizeof detail, "Expected the %.*s execution profile, but reached %s",
             expected.n < 64 ? (int)expected.n : 64, expected.p, actual);
    struct api_fault clean;
    if (api_fault_set(&clean, error, "%s", detail) == ERR_OK)
        return true;
    auto_buf body = BUF_INIT(8192);
    client_error_write(error, clean.detail, http_request_id(c->request), 0, &body);
    body.len -= 2; /* "}\n": two members more */
    buf_append_cstr(&body, ",\"expected_profile\":");
    auto_buf text = BUF_INIT(1024);
    utf8_sanitize(&text, (struct str){expected.p, expected.n < 64 ? expected.n : 64});
    json_write_string(&body, buf_str(&text));
    buf_printf(&body, ",\"actual_profile\":\"%s\"}\n", actual);
    call_json(c, client_error_row(error)->status, &body);
    return false;
}

bool call_is_stateful(const struct call *c)
{
    return strcmp(profile_name(my_profile(c->api), http_header(c->request, EXPECTED_PROFILE)), "stateful") ==
           0;
}

void call_write_fields(void *arg, const struct http_request *r, struct buf *out)
{
    struct api *api = arg;
    struct str expected = r != NULL ? http_header(r, EXPECTED_PROFILE) : (struct str){NULL, 0};
    buf_printf(out, "X-CodeAPI-Execution-Profile: %s\r\n", profile_name(my_profile(api), expected));
}
