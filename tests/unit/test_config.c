/* SPDX-License-Identifier: Apache-2.0 */
/* Millrace's settings through all their sources. */
#include "io/config_load.h"
#include "schema/config.h"

#include "base/log.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct place {
    char directory[64];
    char yaml[128];
};

static void write_file(const char *directory, const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int enter(void **state)
{
    static struct place place;
    snprintf(place.directory, sizeof place.directory, "/tmp/millrace-config-XXXXXX");
    if (mkdtemp(place.directory) == NULL)
        return -1;
    snprintf(place.yaml, sizeof place.yaml, "%s/m.yaml", place.directory);
    *state = &place;
    return 0;
}

static int leave(void **state)
{
    const struct place *place = *state;
    char path[200];
    snprintf(path, sizeof path, "%s/.env", place->directory);
    unlink(path);
    unlink(place->yaml);
    return rmdir(place->directory);
}

static const char *const nothing[] = {"PATH=/bin", NULL};

#define LOAD(cfg, place, env, info)                                                                          \
    config_load(&config_table, &(cfg)->base,                                                                 \
                &(struct config_request){.directory = (place)->directory, .environment = (env)}, (info))

static void defaults(void **state)
{
    struct config cfg = {0};
    struct errinfo info = {0};
    assert_int_equal(LOAD(&cfg, (struct place *)*state, nothing, &info), ERR_OK);
    assert_string_equal(cfg.api_host, "0.0.0.0");
    assert_int_equal(cfg.api_port, 8000);
    assert_string_equal(cfg.api_key, "");
    assert_int_equal(cfg.api_keys.count, 0);
    assert_int_equal(cfg.profile, PROFILE_PRODUCTION);
    assert_int_equal(cfg.max_body_bytes, 64 << 20);
    assert_int_equal(cfg.lease_ms, 10000);
    assert_int_equal(cfg.pod_pool_py, 5);
    assert_int_equal(cfg.pod_pool_js, 2);
    assert_int_equal(cfg.max_execution_ms, 30000);
    assert_int_equal(cfg.log_level, LOG_INFO);
    assert_int_equal(cfg.log_format, LOG_FORMAT_AUTO);
    assert_true(cfg.pod_pool_enabled);
    config_release(&cfg.base);
}

static void later_sources_win(void **state)
{
    struct place *place = *state;
    write_file(place->directory, "m.yaml",
               "api:\n  api_port: 1001\n  api_host: yaml\nLEASE_SECONDS: 11\nREDIS_DB: 1\n");
    write_file(place->directory, ".env",
               "API_PORT=1002\nLEASE_SECONDS=12\nREDIS_DB=2\nCOMPOSE_PROJECT_NAME=x\n");
    const char *const environment[] = {"API_PORT=1003", "LEASE_SECONDS=13", NULL};
    struct config_request request = {.file = place->yaml,
                                     .directory = place->directory,
                                     .environment = environment,
                                     .sets = {"API_PORT=1004"},
                                     .set_count = 1};
    struct config cfg = {0};
    struct errinfo info = {0};
    assert_int_equal(config_load(&config_table, &cfg.base, &request, &info), ERR_OK);
    assert_int_equal(cfg.api_port, 1004);
    assert_int_equal(cfg.lease_ms, 13000);
    assert_int_equal(cfg.redis_db, 2);
    assert_string_equal(cfg.api_host, "yaml");
    config_release(&cfg.base);
    request.file = NULL;
    char variable[200];
    snprintf(variable, sizeof variable, "MILLRACE_CONFIG=%s", place->yaml);
    const char *const named[] = {variable, NULL};
    request.environment = named;
    assert_int_equal(config_load(&config_table, &cfg.base, &request, &info), ERR_OK);
    assert_string_equal(cfg.api_host, "yaml");
    config_release(&cfg.base);
}

static void values_of_every_type(void **state)
{
    const char *const environment[] = {"MILLRACE_PROFILE=Development",
                                       "POD_POOL_ENABLED=no",
                                       "HEARTBEAT_SECONDS=250ms",
                                       "LEASE_SECONDS=0.6",
                                       "DRAIN_SECONDS=2m",
                                       "MAX_FILE_SIZE_MB=0.5",
                                       "API_KEYS= one:0123456789abcdef , fedcba9876543210,",
                                       "POD_ACCEPT_MISSING=landlock,memory",
                                       "LOG_LEVEL=WARNING",
                                       "JOB_RESULT_TTL_SECONDS=1h",
                                       "API_KEY=",
                                       NULL};
    struct config cfg = {0};
    struct errinfo info = {0};
    assert_int_equal(LOAD(&cfg, (struct place *)*state, environment, &info), ERR_OK);
    assert_int_equal(cfg.profile, PROFILE_DEVELOPMENT);
    assert_false(cfg.pod_pool_enabled);
    assert_int_equal(cfg.heartbeat_ms, 250);
    assert_int_equal(cfg.lease_ms, 600);
    assert_int_equal(cfg.drain_ms, 120000);
    assert_int_equal(cfg.max_file_bytes, 512 << 10);
    assert_int_equal(cfg.job_result_ttl_ms, 3600000);
    assert_int_equal(cfg.log_level, LOG_WARN);
    assert_int_equal(cfg.pod_accept_missing.count, 2);
    assert_string_equal(cfg.pod_accept_missing.items[1], "memory");
    struct config_key key;
    assert_true(config_key_at(&cfg, 0, &key));
    assert_true(str_eq(key.tenant, STR("one")) && str_eq(key.key, STR("0123456789abcdef")));
    assert_true(config_key_at(&cfg, 1, &key));
    assert_true(str_eq(key.tenant, STR("default")) && str_eq(key.key, STR("fedcba9876543210")));
    assert_false(config_key_at(&cfg, 2, &key));
    config_release(&cfg.base);
}

static void refused_by_name(void **state)
{
    static const struct {
        const char *setting, *why;
    } rows[] = {
        {"API_PROT=1", "API_PROT (environment): there is no such setting; did you mean API_PORT?"},
        {"REDIS_XYZ=1", "REDIS_XYZ (environment): there is no such setting"},
        {"MILLRACE_PROFIL=production", "did you mean MILLRACE_PROFILE?"},
        {"MAX_MEMROY_MB=1", "did you mean MAX_MEMORY_MB?"},
        {"API_PORT=70000", "API_PORT (environment): \"70000\" is not allowed; give integer, 0 to 65535"},
        {"API_PORT=", "API_PORT (environment): the value is empty"},
        {"API_PORT=80 ", "not allowed"},
        {"API_PORT=0x50", "not allowed"},
        {"API_PORT=99999999999999999999", "not allowed"},
        {"LEASE_SECONDS=NaN", "give seconds, 0.5 to 600"},
        {"LEASE_SECONDS=1e3", "not allowed"},
        {"LEASE_SECONDS=-1", "not allowed"},
        {"LEASE_SECONDS=9223372036854775807h", "not allowed"},
        {"LEASE_SECONDS=1.2.3", "not allowed"},
        {"LEASE_SECONDS=s", "not allowed"},
        {"MAX_BODY_MB=0", "give MiB, 1 to 512"},
        {"MILLRACE_PROFILE=prod", "give one of production or development"},
        {"POD_BACKEND=docker", "give one of local"},
        {"POD_POOL_ENABLED=maybe", "give true or false"},
        {"API_HOST=a\nb", "control characters"},
        {"API_KEY=short", "API_KEY (environment): has 5 bytes; must have 16 to 256"},
        {"API_KEYS=a b:0123456789abcdef", "tenant of key 1"},
        {"API_KEYS=0123456789abcdef,x:0123456789abcdef", "keys 1 and 2 are the same"},
        {"API_KEYS=abcdefghijklmn:short", "key 1 has 5 bytes"},
        {"HEARTBEAT_SECONDS=5", "twice of it must be less than LEASE_SECONDS"},
        {"WORKER_ID=a/b", "WORKER_ID"},
        {"REDIS_KEY_PREFIX={x}", "REDIS_KEY_PREFIX"},
        {"SESSION_ID_LENGTH=32", "SESSION_ID_LENGTH: must be 21"},
        {"SESSION_ID_LENGTH=21", NULL},
        {"ARCHIVE_SWEEP_GRACE_SECONDS=3599", "ARCHIVE_SWEEP_GRACE_SECONDS"},
        {"STATE_ARCHIVE_AFTER_SECONDS=7200", "STATE_ARCHIVE_AFTER_SECONDS"},
        {"QUEUE_MAX_JOBS=5", "QUEUE_MAX_JOBS_PER_TENANT"},
        {"MAX_CODE_MB=64", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *const environment[] = {rows[i].setting, NULL};
        struct config cfg = {0};
        struct errinfo info = {0};
        enum err e = LOAD(&cfg, (struct place *)*state, environment, &info);
        config_release(&cfg.base);
        if (rows[i].why == NULL) {
            assert_int_equal(e, ERR_OK);
            continue;
        }
        assert_int_equal(e, ERR_INVALID);
        if (strstr(info.text, rows[i].why) == NULL)
            fail_msg("%s: \"%s\" lacks \"%s\"", rows[i].setting, info.text, rows[i].why);
    }
}

static void refused_in_files(void **state)
{
    struct place *place = *state;
    static const struct {
        const char *name, *text, *why;
    } rows[] = {
        {".env", "\nREDS_URL=x\n",
         "REDS_URL (.env line 2): there is no such setting; did you mean REDIS_URL?"},
        {".env", "API_PORT=x\n", "API_PORT (.env line 1)"},
        {".env", "API_PORT\n", ".env: line 1: no '='"},
        {"m.yaml", "api:\n  api_prot: 1\n",
         "api.api_prot (configuration file line 2): there is no such setting; did "
         "you mean api.API_PORT?"},
        {"m.yaml", "redis:\n  api_port: 1\n", "redis.api_port (configuration file line 2)"},
        {"m.yaml", "unrelated: 1\n", "unrelated (configuration file line 1)"},
        {"m.yaml", "api: {API_PORT: 1}\nAPI_PORT: 2\n", "was given before, in line 1"},
        {"m.yaml", "API_PORT: 1\nAPI_PORT: 2\n", "line 2: this key was given before"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_file(place->directory, ".env", "");
        write_file(place->directory, "m.yaml", "");
        write_file(place->directory, rows[i].name, rows[i].text);
        struct config_request request = {
            .file = place->yaml, .directory = place->directory, .environment = nothing};
        struct config cfg = {0};
        struct errinfo info = {0};
        assert_int_equal(config_load(&config_table, &cfg.base, &request, &info), ERR_INVALID);
        config_release(&cfg.base);
        if (strstr(info.text, rows[i].why) == NULL)
            fail_msg("\"%s\" lacks \"%s\"", info.text, rows[i].why);
    }
    struct config cfg = {0};
    struct errinfo info = {0};
    struct config_request request = {
        .file = "/nonexistent/m.yaml", .environment = nothing, .directory = "/nonexistent"};
    assert_int_equal(config_load(&config_table, &cfg.base, &request, &info), ERR_INVALID);
    assert_non_null(strstr(info.text, "/nonexistent/m.yaml does not exist"));
    config_release(&cfg.base);
}

static void all_problems_are_told(void **state)
{
    const char *const environment[] = {"API_PORT=x", "REDIS_DB=99", "LOG_LEVEL=loud", NULL};
    struct config cfg = {0};
    struct errinfo info = {0};
    assert_int_equal(LOAD(&cfg, (struct place *)*state, environment, &info), ERR_INVALID);
    assert_int_equal(cfg.base.problems.count, 3);
    assert_non_null(strstr(info.text, "and 2 more"));
    assert_non_null(strstr(cfg.base.problems.items[2].text, "LOG_LEVEL"));
    config_release(&cfg.base);
}

static void foreign_names_are_left_alone(void **state)
{
    const char *const environment[] = {"REDIS_SERVICE_HOST=10.0.0.1",
                                       "REDIS_PORT_6379_TCP=tcp://10.0.0.1:6379",
                                       "REDIS_PORT=tcp://10.0.0.1:6379",
                                       "POD_NAME=x",
                                       "MILLRACE_SPAWNER_FD=3",
                                       "MILLRACE_BUILD=/build",
                                       "HOME=/",
                                       "LANG=C",
                                       NULL};
    struct config cfg = {0};
    struct errinfo info = {0};
    assert_int_equal(LOAD(&cfg, (struct place *)*state, environment, &info), ERR_OK);
    config_release(&cfg.base);
}

static void secrets_are_never_told(void **state)
{
    const char *const environment[] = {"API_KEY=canary-canary-canary\n", "API_KEYS=x:canary-shor", NULL};
    struct config_request request = {.directory = ((struct place *)*state)->directory,
                                     .environment = environment,
                                     .sets = {"REDIS_PASSWORD=canary"},
                                     .set_count = 1};
    struct config cfg = {0};
    struct errinfo info = {0};
    assert_int_equal(config_load(&config_table, &cfg.base, &request, &info), ERR_INVALID);
    assert_int_equal(cfg.base.problems.count, 3);
    for (size_t i = 0; i < cfg.base.problems.count; i++)
        assert_null(strstr(cfg.base.problems.items[i].text, "canary"));
    config_release(&cfg.base);
}

static void values_are_shown_without_secrets(void **state)
{
    const char *const environment[] = {"API_KEY=canary-canary-canary",
                                       "REDIS_URL=redis://user:canary@host:1/2",
                                       "MILLRACE_URL=http://canary@h/x@y", "LEASE_SECONDS=4.5", NULL};
    static const struct {
        const char *name, *shown;
    } rows[] = {{"API_KEY", "(hidden)"},
                {"API_KEYS", ""},
                {"REDIS_URL", "redis://***@host:1/2"},
                {"MILLRACE_URL", "http://***@h/x@y"},
                {"LEASE_SECONDS", "4.5"},
                {"MAX_BODY_MB", "64"},
                {"MILLRACE_PROFILE", "production"},
                {"POD_POOL_ENABLED", "true"}};
    struct config cfg = {0};
    struct errinfo info = {0};
    assert_int_equal(LOAD(&cfg, (struct place *)*state, environment, &info), ERR_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        auto_buf out = BUF_INIT(200);
        config_write_value(config_find(&config_table, str_of(rows[i].name)), &cfg.base, &out);
        assert_string_equal(buf_cstr(&out), rows[i].shown);
    }
    config_release(&cfg.base);
}

static void redis_url_from_its_parts(void **state)
{
    static const struct {
        const char *environment[5], *url;
    } rows[] = {
        {{NULL}, "redis://localhost:6379/0"},
        {{"REDIS_HOST=::1", "REDIS_PORT=1", "REDIS_DB=3", NULL}, "redis://[::1]:1/3"},
        {{"REDIS_PASSWORD=a/b@c:d", "REDIS_SSL=true", NULL}, "rediss://:a%2Fb%40c%3Ad@localhost:6379/0"},
        {{"REDIS_URL=unix:///run/r.sock", "REDIS_PORT=1", NULL}, "unix:///run/r.sock"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct config cfg = {0};
        struct errinfo info = {0};
        assert_int_equal(LOAD(&cfg, (struct place *)*state, rows[i].environment, &info), ERR_OK);
        auto_buf url = BUF_INIT(200);
        config_redis_url(&cfg, &url);
        assert_string_equal(buf_cstr(&url), rows[i].url);
        config_release(&cfg.base);
    }
}

static void arguments_are_taken_out(void **state)
{
    char words[9][32] = {"prog", "--set", "A=1", "x", "--config=f", "--set=B=2", "--", "--set", "C=3"};
    char *argv[10] = {0};
    int argc = 9;
    (void)state;
    for (int i = 0; i < argc; i++)
        argv[i] = words[i];
    struct config_request request = {0};
    struct errinfo info = {0};
    assert_int_equal(config_take_args(&request, &argc, argv, &info), ERR_OK);
    assert_int_equal(argc, 5);
    assert_string_equal(argv[1], "x");
    assert_string_equal(argv[2], "--");
    assert_null(argv[5]);
    assert_string_equal(request.file, "f");
    assert_int_equal(request.set_count, 2);
    assert_string_equal(request.sets[1], "B=2");
    argc = 2;
    argv[1] = words[1];
    argv[2] = NULL;
    assert_int_equal(config_take_args(&request, &argc, argv, &info), ERR_INVALID);
}

static void a_client_heeds_its_own_settings_only(void **state)
{
    struct place *place = *state;
    static const char *const env[] = {"LOG_LEVEL=verbose", "API_TOKEN=x", "MILLRACE_API_KEY=k", NULL};
    static const char *const typo[] = {"MILLRACE_ULR=x", NULL};
    struct config cfg = {0}, bad = {0};
    struct errinfo info = {0};
    write_file(place->directory, ".env", "API_KEYS=short\nREDIS_URI=y\nMILLRACE_URL=http://there\n");
    const struct config_request request = {.directory = place->directory, .environment = env};
    assert_int_equal(config_load(&config_client_table, &cfg.base, &request, &info), ERR_OK);
    assert_string_equal(cfg.client_url, "http://there");
    assert_string_equal(cfg.client_api_key, "k");
    assert_int_equal(cfg.api_keys.count, 0);
    assert_int_equal(cfg.log_level, LOG_INFO);
    const struct config_request other = {.directory = place->directory, .environment = typo};
    assert_int_equal(config_load(&config_client_table, &bad.base, &other, &info), ERR_INVALID);
    assert_non_null(strstr(info.text, "MILLRACE_URL"));
    config_release(&cfg.base);
    config_release(&bad.base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(defaults, enter, leave),
        cmocka_unit_test_setup_teardown(later_sources_win, enter, leave),
        cmocka_unit_test_setup_teardown(values_of_every_type, enter, leave),
        cmocka_unit_test_setup_teardown(refused_by_name, enter, leave),
        cmocka_unit_test_setup_teardown(refused_in_files, enter, leave),
        cmocka_unit_test_setup_teardown(all_problems_are_told, enter, leave),
        cmocka_unit_test_setup_teardown(foreign_names_are_left_alone, enter, leave),
        cmocka_unit_test_setup_teardown(secrets_are_never_told, enter, leave),
        cmocka_unit_test_setup_teardown(values_are_shown_without_secrets, enter, leave),
        cmocka_unit_test_setup_teardown(redis_url_from_its_parts, enter, leave),
        cmocka_unit_test_setup_teardown(a_client_heeds_its_own_settings_only, enter, leave),
        cmocka_unit_test(arguments_are_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
