/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/config.h"

#include "base/cidr.h"
#include "base/id.h"
#include "base/log.h"

#include <string.h>
#include <unistd.h>

enum { SWEEP_GRACE_LEAST_MS = 3600 * 1000 };

static const struct config_row rows[] = {
#define X(section_, NAME, TYPE, field, fallback_, min_, max_, choices_, help_)                               \
    {.section = (section_),                                                                                  \
     .name = #NAME,                                                                                          \
     .type = CONFIG_##TYPE,                                                                                  \
     .offset = offsetof(struct config, field),                                                               \
     .fallback = (fallback_),                                                                                \
     .min = (min_),                                                                                          \
     .max = (max_),                                                                                          \
     .choices = (choices_),                                                                                  \
     .help = (help_)},
#include "schema/config.def"
#undef X
};

/* The name of the file, our own hand-over to a child, what tests and tools are told, and what Kubernetes puts
   into every container (service links, the downward API). */
static const char *const foreign[] = {
    "MILLRACE_CONFIG",
    "MILLRACE_SPAWNER_*",
    "MILLRACE_TEST_*",
    "MILLRACE_BUILD",
    "MILLRACE_PRESET",
    "MILLRACE_COUNTS",
    "MILLRACE_SEED",
    "*_SERVICE_HOST",
    "*_SERVICE_PORT",
    "*_TCP",
    "*_TCP_PROTO",
    "*_TCP_PORT",
    "*_TCP_ADDR",
    "POD_NAME",
    "POD_NAMESPACE",
    "POD_IP",
    "POD_UID",
    "MINIO_ROOT_*",
    "MINIO_BROWSER",
    /* LibreChat's own half of the tokens, where both read one .env. */
    "CODEAPI_JWT_ENABLED",
    "CODEAPI_JWT_PRIVATE_*",
    "CODEAPI_JWT_TTL_SECONDS",
    "CODEAPI_JWT_SINGLE_TENANT_ID",
    "CODEAPI_AUTH_PROVIDER",
    NULL,
};

static bool word_valid(struct str s, size_t max)
{
    if (s.n == 0 || s.n > max)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                    c == '_';
        if (!good)
            return false;
    }
    return true;
}

bool config_word_valid(struct str s)
{
    return word_valid(s, SIZE_MAX);
}

static struct config_key split_key(const char *text)
{
    struct str rest = str_of(text);
    struct str first = str_split(&rest, ':');
    if (rest.p == NULL)
        return (struct config_key){.tenant = STR(TENANT_DEFAULT), .key = first};
    return (struct config_key){.tenant = first, .key = rest};
}

bool config_key_at(const struct config *config, size_t index, struct config_key *ret_key)
{
    bool has_first = config->api_key[0] != '\0';
    if (has_first && index == 0) {
        *ret_key = (struct config_key){.tenant = STR(TENANT_DEFAULT), .key = str_of(config->api_key)};
        return true;
    }
    index -= has_first ? 1 : 0;
    if (index >= config->api_keys.count)
        return false;
    *ret_key = split_key(config->api_keys.items[index]);
    return true;
}

static void check_keys(struct config *c)
{
    struct config_key key;
    for (size_t i = 0; config_key_at(c, i, &key); i++) {
        if (!word_valid(key.tenant, 64))
            config_problem(&c->base, "API_KEYS: the tenant of key %zu must be 1 to 64 of A-Z a-z 0-9 _ -",
                           i + 1);
        if (key.key.n < 16 || key.key.n > 256)
            config_problem(&c->base, "API_KEYS: key %zu has %zu bytes; must have 16 to 256", i + 1,
                           key.key.n);
        struct config_key other;
        for (size_t j = 0; j < i && config_key_at(c, j, &other); j++)
            if (str_eq(key.key, other.key))
                config_problem(&c->base, "API_KEYS: keys %zu and %zu are the same", j + 1, i + 1);
    }
}

/* The last ':' parts them: a claim may hold one, a tenant not. */
static bool split_mapping(const char *item, struct str *ret_claim, struct str *ret_tenant)
{
    const char *colon = strrchr(item, ':');
    if (colon == NULL || colon == item)
        return false;
    *ret_claim = (struct str){item, (size_t)(colon - item)};
    *ret_tenant = str_of(colon + 1);
    return word_valid(*ret_tenant, 64);
}

bool config_token_tenant(const struct config *config, struct str claim, struct str *ret_tenant)
{
    struct str named, tenant;
    bool found = false;
    for (size_t i = 0; i < config->codeapi_jwt_tenants.count; i++) {
        if (!split_mapping(config->codeapi_jwt_tenants.items[i], &named, &tenant))
            continue;
        bool same = str_eq(named, claim);
        if (same || (str_eq(named, STR("*")) && !found))
            *ret_tenant = tenant;
        if (same)
            return true;
        found |= str_eq(named, STR("*"));
    }
    return found;
}

static void check_schemes(struct config *c)
{
    struct cidr network;
    struct str claim, tenant;
    for (size_t i = 0; i < c->auth_trusted_networks.count; i++)
        if (cidr_parse(str_of(c->auth_trusted_networks.items[i]), &network) != ERR_OK)
            config_problem(&c->base,
                           "AUTH_TRUSTED_NETWORKS: \"%.64s\" must be an address or a network like 10.0.0.0/8",
                           c->auth_trusted_networks.items[i]);
    for (size_t i = 0; i < c->codeapi_jwt_tenants.count; i++)
        if (!split_mapping(c->codeapi_jwt_tenants.items[i], &claim, &tenant))
            config_problem(
                &c->base,
                "CODEAPI_JWT_TENANTS: \"%.64s\" must be tenant_id:tenant, the tenant 1 to 64 of A-Z a-z 0-9 _ -",
                c->codeapi_jwt_tenants.items[i]);
}

static void check_state_keys(struct config *c)
{
    for (size_t i = 0; i < c->state_keys.count; i++) {
        struct str secret = str_of(c->state_keys.items[i]);
        struct str id = str_split(&secret, ':');
        if (secret.n < 16 || !word_valid(id, 16) || memchr(id.p, '_', id.n) || memchr(id.p, '-', id.n))
            config_problem(
                &c->base,
                "STATE_KEYS: key %zu must be an id of 1 to 16 letters and digits, `:`, and a secret of 16 bytes "
                "or more",
                i + 1);
    }
    if (c->state_keys.count > 8)
        config_problem(&c->base, "STATE_KEYS: at most 8 keys");
}

static void check_objects(struct config *c)
{
    bool keys = c->minio_access_key[0] != '\0' && c->minio_secret_key[0] != '\0';
    if (c->object_store_path[0] != '/')
        config_problem(&c->base, "OBJECT_STORE_PATH: must be an absolute path");
    if (c->object_store == CONFIG_OBJECT_STORE_S3 && !c->minio_use_iam && !keys)
        config_problem(&c->base,
                       "OBJECT_STORE: s3 needs MINIO_ACCESS_KEY and MINIO_SECRET_KEY, or MINIO_USE_IAM=true");
    if (strchr(c->minio_endpoint, '/') != NULL)
        config_problem(&c->base, "MINIO_ENDPOINT: must be host[:port]; MINIO_SECURE=true asks for https");
}

/* A quantity of Kubernetes: digits, perhaps a fraction, and a suffix. */
static bool quantity_valid(struct str s)
{
    static const char *const suffixes[] = {"", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"};
    size_t n = 0;
    while (n < s.n && ((s.p[n] >= '0' && s.p[n] <= '9') || (s.p[n] == '.' && n > 0)))
        n++;
    struct str suffix = {.p = s.p + n, .n = s.n - n};
    for (size_t i = 0; n > 0 && i < sizeof suffixes / sizeof suffixes[0]; i++)
        if (str_eq(suffix, str_of(suffixes[i])))
            return true;
    return false;
}

static void check_quantity(struct config *c, const char *name, struct str value)
{
    if (!quantity_valid(value))
        config_problem(&c->base, "%s: \"%.*s\" must be a quantity like 500m, 1 or 512Mi", name,
                       (int)(value.n < 64 ? value.n : 64), value.n > 0 ? value.p : "");
}

bool config_k8s_resource(const char *item, struct str *ret_language, struct str *ret_what,
                         struct str *ret_value)
{
    static const char *const known[] = {"cpu_limit", "memory_limit", "cpu_request", "memory_request"};
    struct str rest = str_of(item);
    *ret_language = str_split(&rest, '.');
    *ret_what = str_split(&rest, '=');
    *ret_value = rest;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (str_eq(*ret_what, str_of(known[i])))
            return ret_language->n > 0 && rest.n > 0;
    return false;
}

static void check_pairs(struct config *c, const char *name, const struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct str rest = str_of(list->items[i]);
        struct str key = str_split(&rest, '=');
        if (key.n == 0 || rest.n == 0)
            config_problem(&c->base, "%s: \"%.64s\" must be name=value", name, list->items[i]);
    }
}

static void check_kubernetes(struct config *c)
{
    struct str language, what, value;
    check_quantity(c, "K8S_CPU_LIMIT", str_of(c->k8s_cpu_limit));
    check_quantity(c, "K8S_MEMORY_LIMIT", str_of(c->k8s_memory_limit));
    check_quantity(c, "K8S_CPU_REQUEST", str_of(c->k8s_cpu_request));
    check_quantity(c, "K8S_MEMORY_REQUEST", str_of(c->k8s_memory_request));
    for (size_t i = 0; i < c->k8s_language_resources.count; i++) {
        if (!config_k8s_resource(c->k8s_language_resources.items[i], &language, &what, &value))
            config_problem(&c->base,
                           "K8S_LANGUAGE_RESOURCES: \"%.64s\" must be language.cpu_limit=1, or memory_limit, "
                           "cpu_request or memory_request",
                           c->k8s_language_resources.items[i]);
        else
            check_quantity(c, "K8S_LANGUAGE_RESOURCES", value);
    }
    check_pairs(c, "K8S_IMAGES", &c->k8s_images);
    check_pairs(c, "K8S_POD_LABELS", &c->k8s_pod_labels);
    if ((c->k8s_seccomp_profile_type == K8S_SECCOMP_LOCALHOST) != (c->k8s_seccomp_profile[0] != '\0'))
        config_problem(
            &c->base,
            "K8S_SECCOMP_PROFILE: goes with K8S_SECCOMP_PROFILE_TYPE=Localhost, and is needed then");
}

static void check(struct config_base *base)
{
    struct config *c = (struct config *)base;
    check_keys(c);
    check_state_keys(c);
    check_schemes(c);
    if (c->heartbeat_ms * 2 >= c->lease_ms)
        config_problem(base, "HEARTBEAT_SECONDS: twice of it must be less than LEASE_SECONDS");
    if (!word_valid(str_of(c->api_key_header), 64))
        config_problem(base, "API_KEY_HEADER: must be of A-Z a-z 0-9 _ -");
    if (c->worker_id[0] != '\0' && !word_valid(str_of(c->worker_id), 64))
        config_problem(base, "WORKER_ID: must be 1 to 64 of A-Z a-z 0-9 _ -");
    if (c->queue_max_jobs_per_tenant > c->queue_max_jobs)
        config_problem(base, "QUEUE_MAX_JOBS_PER_TENANT: must not be above QUEUE_MAX_JOBS");
    if (c->max_code_bytes > c->max_body_bytes)
        config_problem(base, "MAX_CODE_MB: must not be above MAX_BODY_MB");
    if (c->max_file_bytes > c->max_total_file_bytes)
        config_problem(base, "MAX_FILE_SIZE_MB: must not be above MAX_TOTAL_FILE_SIZE_MB");
    check_objects(c);
    check_kubernetes(c);
    if (c->state_archive_enabled && c->state_archive_after_ms >= c->state_ttl_ms)
        config_problem(
            base,
            "STATE_ARCHIVE_AFTER_SECONDS: must be less than STATE_TTL_SECONDS, or no state would ever be archived");
    if (c->session_id_length != ID_LEN)
        config_problem(
            base, "SESSION_ID_LENGTH: must be 21, the length of all ids: clients and stored keys rely on it");
    if (c->profile != PROFILE_DEVELOPMENT && c->archive_sweep_grace_ms < SWEEP_GRACE_LEAST_MS)
        config_problem(
            base, "ARCHIVE_SWEEP_GRACE_SECONDS: must be at least 3600, or what is being written could go");
    if (strpbrk(c->redis_key_prefix, "{}") != NULL)
        config_problem(base, "REDIS_KEY_PREFIX: must not hold { or }, which mark partitions");
}

const struct config_table config_table = {
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
    .foreign = foreign,
    .check = check,
};

const struct config_table config_client_table = {
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
    .section = "client",
    .foreign = foreign,
};

/* Percent-encodes all but what RFC 3986 leaves unreserved. */
static void append_encoded(struct buf *out, const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        if (word_valid((struct str){.p = p, .n = 1}, 1) || *p == '.' || *p == '~')
            buf_append_char(out, *p);
        else
            buf_printf(out, "%%%02X", (unsigned char)*p);
    }
}

void config_open_log(const struct config *config, const char *program)
{
    const int64_t format = config->log_format;
    log_open(program, (enum log_level)config->log_level,
             format == LOG_FORMAT_TEXT || (format == LOG_FORMAT_AUTO && isatty(STDERR_FILENO)));
}

int64_t config_session_ttl_ms(const struct config *config)
{
    const int64_t hour = 3600 * 1000, for_ever = hour * 24 * 36525;
    return config->session_ttl_hours ? config->session_ttl_hours * hour : for_ever;
}

void config_redis_url(const struct config *config, struct buf *out)
{
    if (config->redis_url[0] != '\0') {
        buf_append_cstr(out, config->redis_url);
        return;
    }
    buf_append_cstr(out, config->redis_ssl ? "rediss://" : "redis://");
    if (config->redis_password[0] != '\0') {
        buf_append_char(out, ':');
        append_encoded(out, config->redis_password);
        buf_append_char(out, '@');
    }
    bool bare_v6 = strchr(config->redis_host, ':') != NULL && config->redis_host[0] != '[';
    buf_printf(out, bare_v6 ? "[%s]:%lld/%lld" : "%s:%lld/%lld", config->redis_host,
               (long long)config->redis_port, (long long)config->redis_db);
}
