/* SPDX-License-Identifier: Apache-2.0 */
/* Millrace's settings, one field for each row of config.def. Fill with config_load() (io/config_load.h):
     struct config cfg = {0};
     enum err e = config_load(&config_table, &cfg.base, &request, &info);
     ...
     config_release(&cfg.base);
   Durations are in milliseconds (_ms) and sizes in bytes, whatever unit the setting's name has. */
#ifndef MILLRACE_SCHEMA_CONFIG_H
#define MILLRACE_SCHEMA_CONFIG_H

#include "base/config_engine.h"

struct config {
    struct config_base base;
#define X(section, NAME, TYPE, field, fallback, min, max, choices, help) config_c_##TYPE field;
#include "schema/config.def"
#undef X
};

extern const struct config_table config_table;
/* The same, of which only the section `client` is heeded: what a server's settings are is none of its business. */
extern const struct config_table config_client_table;

/* Values of the ENUM fields, in the order of their choices. */
enum config_profile { PROFILE_PRODUCTION, PROFILE_DEVELOPMENT };
enum config_pod_backend { POD_BACKEND_LOCAL, POD_BACKEND_KUBERNETES };
enum config_pull_policy { K8S_PULL_IF_NOT_PRESENT, K8S_PULL_ALWAYS, K8S_PULL_NEVER };
enum config_seccomp_profile { K8S_SECCOMP_RUNTIME_DEFAULT, K8S_SECCOMP_LOCALHOST, K8S_SECCOMP_UNCONFINED };
enum config_object_store { CONFIG_OBJECT_STORE_DIRECTORY, CONFIG_OBJECT_STORE_S3 };
enum config_execution_profile {
    CONFIG_EXECUTION_PROFILE_BOTH,
    CONFIG_EXECUTION_PROFILE_DEFAULT,
    CONFIG_EXECUTION_PROFILE_STATEFUL,
};
enum config_log_format { LOG_FORMAT_AUTO, LOG_FORMAT_JSON, LOG_FORMAT_TEXT };
/* log_level is an enum log_level of base/log.h. */
/* The log as the configuration wants it; `program` is a literal. */
void config_open_log(const struct config *config, const char *program);

#define TENANT_DEFAULT "default"
struct config_key {
    struct str tenant, key; /* views of the configuration */
};
/* API_KEY first (when set), then API_KEYS. False when there is no such key. */
bool config_key_at(const struct config *config, size_t index, struct config_key *ret_key);

/* What a tenant that only tokens name begins with. */
#define CONFIG_TOKEN_TENANT "jwt-"
/* The tenant that CODEAPI_JWT_TENANTS gives a token's tenant_id; a view of the configuration. */
bool config_token_tenant(const struct config *config, struct str claim, struct str *ret_tenant);
/* One or more of A-Z a-z 0-9 _ and -. */
bool config_word_valid(struct str s);

/* `java.memory_limit=1Gi` of K8S_LANGUAGE_RESOURCES: views of `item`. False: not of that shape. */
bool config_k8s_resource(const char *item, struct str *ret_language, struct str *ret_what,
                         struct str *ret_value);

/* SESSION_TTL_HOURS in milliseconds; for ever is a hundred years. */
int64_t config_session_ttl_ms(const struct config *config);
/* REDIS_URL, or the URL that the single settings make. It holds the password: never log it. */
void config_redis_url(const struct config *config, struct buf *out);

#endif
