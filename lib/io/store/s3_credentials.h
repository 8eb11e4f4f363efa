/* SPDX-License-Identifier: Apache-2.0 */
/* Keys for S3: fixed ones, or those of the role that this process has, fetched when they are first needed and again
   before they expire. The standard variables say where from, the first that is set wins:
     AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN   STS (AWS_ENDPOINT_URL_STS)          Kubernetes service accounts
     AWS_CONTAINER_CREDENTIALS_FULL_URI, _RELATIVE_URI, AWS_CONTAINER_AUTHORIZATION_TOKEN, _TOKEN_FILE    ECS, EKS
     otherwise the instance's metadata, version 2 (AWS_EC2_METADATA_SERVICE_ENDPOINT) */
#ifndef MILLRACE_IO_STORE_S3_CREDENTIALS_H
#define MILLRACE_IO_STORE_S3_CREDENTIALS_H

#include "io/http/client.h"

struct s3_credentials;

struct s3_keys {
    const char *access_key, *secret_key, *session_token; /* token: "" for none */
};

/* Fixed when access_key is given. `http` must outlive it. */
MUST_CHECK enum err s3_credentials_open(struct http_client *http, const struct s3_keys *fixed,
                                        const char *region, struct s3_credentials **ret_credentials);
void s3_credentials_close(struct s3_credentials *c);
/* The keys, or NULL: then `ready` is called once on the loop when there are some or none can be had (`why`, else NULL). */
const struct s3_keys *s3_credentials_get(struct s3_credentials *c, void (*ready)(void *arg, const char *why),
                                         void *arg);
void s3_credentials_forget(struct s3_credentials *c, void *arg); /* `arg` waits no longer */
/* The store refused them: fetch anew. False: they are fixed. */
bool s3_credentials_refused(struct s3_credentials *c);

#endif
