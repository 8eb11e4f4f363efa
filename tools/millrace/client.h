/* SPDX-License-Identifier: Apache-2.0 */
/* What every command that speaks to an API needs: where it is, with which key, and one call at a time. */
#ifndef MILLRACE_TOOLS_CLIENT_H
#define MILLRACE_TOOLS_CLIENT_H

#include "io/http/client.h"
#include "schema/config.h"
#include "tools/millrace/cli.h"
#include "json/json.h"

enum { CLIENT_URL_MAX = 2048, CLIENT_ANSWER_MAX = 128 << 20 };

struct client {
    const struct cli *cli;
    uv_loop_t loop;
    struct http_client *http;
    struct config config;
    char base[1024]; /* without a slash at its end */
    char key_header[320];
    const char *headers[4]; /* the key's, the content type; NULL-terminated */
};

/* Prints what is wrong itself. */
MUST_CHECK enum err client_open(struct client *c, const struct cli *cli);
void client_close(struct client *c);

/* base + path. */
void client_url(const struct client *c, const char *path, char out[CLIENT_URL_MAX]);
/* Who signs the certificate of the API; NULL: the system's. */
const char *client_ca_file(const struct client *c);

struct client_answer {
    int status;
    json_t *body; /* NULL when there is none */
};
void client_answer_free(struct client_answer *answer);
#define auto_answer __attribute__((cleanup(client_answer_free))) struct client_answer

/* Runs the loop until the answer is there. `idempotency_key` may be NULL. What is safe to repeat (GET, DELETE, or with
   a key) is tried again for a while when the API is away or busy. Anything but a 2xx was printed and is ERR_INVALID. */
MUST_CHECK enum err client_call(struct client *c, const char *method, const char *path, struct str body,
                                const char *idempotency_key, struct client_answer *ret_answer);
/* "millrace: what went wrong", from the error body of the API. */
void client_print_fault(int status, struct str body);
void client_print_json(const json_t *value);

#endif
