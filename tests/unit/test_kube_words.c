/* SPDX-License-Identifier: Apache-2.0 */
/* What is sent to an API server, what it says of it, the lines of a watch, and the pace. */
#include "kube/exec.h"
#include "kube/lines.h"
#include "kube/pace.h"
#include "kube/request.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

/* ---- statuses ---- */

#define STATUS(code, reason, message)                                                                        \
    "{\"kind\":\"Status\",\"status\":\"Failure\",\"code\":" #code ",\"reason\":\"" reason                    \
    "\",\"message\":\"" message "\"}"

static void statuses_have_their_reason(void **state)
{
    (void)state;
    /* The sentences are those of Kubernetes 1.34. */
    static const struct {
        int http;
        const char *body;
        enum kube_reason reason;
    } rows[] = {
        {401, STATUS(401, "Unauthorized", "Unauthorized"), KUBE_UNAUTHORIZED},
        {403,
         STATUS(
             403, "Forbidden",
             "pods is forbidden: User \\\"x\\\" cannot create resource \\\"pods\\\" in API group \\\"\\\" in the "
             "namespace \\\"n\\\""),
         KUBE_FORBIDDEN},
        {403,
         STATUS(
             403, "Forbidden",
             "pods \\\"p\\\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"),
         KUBE_QUOTA},
        {403,
         STATUS(403, "Forbidden",
                "pods \\\"p\\\" is forbidden: failed quota: q: must specify limits.cpu for: c"),
         KUBE_QUOTA},
        {403,
         STATUS(403, "Forbidden",
                "pods \\\"p\\\" is forbidden: maximum memory usage per Container is 1Mi, but limit is 2Mi"),
         KUBE_QUOTA},
        {403,
         STATUS(403, "Forbidden",
                "pods \\\"p\\\" is forbidden: violates PodSecurity \\\"restricted:latest\\\": x"),
         KUBE_POD_SECURITY},
        {403,
         STATUS(
             403, "Forbidden",
             "pods \\\"p\\\" is forbidden: unable to create new content in namespace n because it is being "
             "terminated"),
         KUBE_NAMESPACE_MISSING},
        {403,
         STATUS(403, "Forbidden",
                "pods \\\"p\\\" is forbidden: error looking up service account n/default: serviceaccount "
                "\\\"default\\\" not found"),
         KUBE_ADMISSION},
        {403, STATUS(403, "Forbidden", "admission webhook \\\"w\\\" denied the request: no"), KUBE_ADMISSION},
        {422,
         STATUS(422, "Invalid",
                "ConfigMap \\\"o\\\" is invalid: metadata.uid: Invalid value: \\\"0\\\": field is immutable"),
         KUBE_CONFLICT},
        {422,
         STATUS(
             422, "Invalid",
             "pods \\\"p\\\" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'y' denied request: z"),
         KUBE_ADMISSION},
        {404, STATUS(404, "NotFound", "pods \\\"p\\\" not found"), KUBE_NOT_FOUND},
        {404, STATUS(404, "NotFound", "namespaces \\\"n\\\" not found"), KUBE_NAMESPACE_MISSING},
        {404, "404 page not found\n", KUBE_NOT_FOUND},
        {409, STATUS(409, "AlreadyExists", "pods \\\"p\\\" already exists"), KUBE_ALREADY_EXISTS},
        {409, STATUS(409, "Conflict", "the object has been modified"), KUBE_CONFLICT},
        {410, STATUS(410, "Expired", "The resourceVersion for the provided watch is too old."), KUBE_EXPIRED},
        {0, STATUS(410, "Expired", "too old resource version: 1 (2)"), KUBE_EXPIRED},
        {0, STATUS(410, "Gone", "too old resource version: 1 (2)"), KUBE_EXPIRED},
        {0, STATUS(500, "InternalError", "unable to decode"), KUBE_SERVER_ERROR},
        {0, "{}", KUBE_GARBAGE},
        {0, "", KUBE_GARBAGE},
        {422, STATUS(422, "Invalid", "Pod \\\"p\\\" is invalid"), KUBE_INVALID},
        {400, STATUS(400, "BadRequest", "x"), KUBE_INVALID},
        {429, STATUS(429, "TooManyRequests", "x"), KUBE_BUSY},
        {429, "slow down", KUBE_BUSY},
        {500, STATUS(500, "InternalError", "etcdserver: request timed out"), KUBE_SERVER_ERROR},
        {500, STATUS(500, "ServerTimeout", "x"), KUBE_UNAVAILABLE},
        {504, STATUS(504, "Timeout", "x"), KUBE_UNAVAILABLE},
        {502, "<html>bad gateway</html>", KUBE_UNAVAILABLE},
        {503, "apiserver not ready", KUBE_UNAVAILABLE},
        {415, STATUS(415, "UnsupportedMediaType", "x"), KUBE_REFUSED},
        {301, "", KUBE_REFUSED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kube_status status;
        kube_status_read(rows[i].http, str_of(rows[i].body), &status);
        if (status.reason != rows[i].reason)
            fail_msg("%d %s: %s", rows[i].http, rows[i].body, kube_reason_name(status.reason));
        assert_true(status.message[0] != '\0');
        assert_int_equal(status.retry_after_s, -1);
    }
}

static void statuses_are_cut(void **state)
{
    (void)state;
    static char body[4096];
    struct kube_status status;
    memcpy(body,
           "{\"kind\":\"Status\",\"code\":429,\"details\":{\"retryAfterSeconds\":7},\"message\":\"a\\nb", 78);
    size_t n = strlen(body);
    for (; n < 3000; n += 3)
        memcpy(body + n, "\xe2\x82\xac", 3);
    memcpy(body + n, "\"}", 3);
    kube_status_read(429, str_of(body), &status);
    assert_int_equal(status.retry_after_s, 7);
    assert_memory_equal(status.message, "a b\xe2\x82\xac", 6);
    n = strlen(status.message);
    assert_true(n <= KUBE_MESSAGE_MAX && n > KUBE_MESSAGE_MAX - 4);
    assert_memory_equal(status.message + n - 3, "\xe2\x82\xac", 3);
}

/* ---- lines ---- */

static void lines_from_any_pieces(void **state)
{
    (void)state;
    static const char text[] = "one\n\ntwo two\nthree\n\n\nfour\nnot complete";
    for (size_t piece = 1; piece <= sizeof text; piece++) {
        struct kube_lines lines;
        auto_buf got = BUF_INIT(256);
        kube_lines_init(&lines, 64);
        for (size_t at = 0; at < sizeof text - 1; at += piece) {
            size_t left = sizeof text - 1 - at;
            struct str rest = {.p = text + at, .n = left < piece ? left : piece}, line;
            bool found = true;
            while (found) {
                assert_int_equal(kube_lines_next(&lines, &rest, &found, &line), ERR_OK);
                if (found)
                    buf_printf(&got, STR_FMT ";", STR_ARG(line));
            }
            assert_int_equal(rest.n, 0);
        }
        assert_string_equal(buf_cstr(&got), "one;two two;three;four;");
        kube_lines_free(&lines);
    }
}

static void nothing_is_no_line(void **state)
{
    (void)state;
    struct kube_lines lines;
    struct str nothing = {.p = NULL, .n = 0}, line;
    bool found = true;
    kube_lines_init(&lines, 64);
    assert_int_equal(kube_lines_next(&lines, &nothing, &found, &line), ERR_OK);
    assert_false(found);
    kube_lines_free(&lines);
}

static void long_lines_are_refused(void **state)
{
    (void)state;
    static const char text[] = "123456789\n1234567890\n";
    for (size_t piece = 1; piece <= sizeof text; piece++) {
        struct kube_lines lines;
        enum err e = ERR_OK;
        unsigned count = 0;
        kube_lines_init(&lines, 10);
        for (size_t at = 0; at < sizeof text - 1 && !e; at += piece) {
            size_t left = sizeof text - 1 - at;
            struct str rest = {.p = text + at, .n = left < piece ? left : piece}, line;
            for (bool found = true; found && !e;) {
                e = kube_lines_next(&lines, &rest, &found, &line);
                count += !e && found;
            }
        }
        assert_int_equal(e, ERR_FULL);
        assert_int_equal(count, 1);
        kube_lines_free(&lines);
    }
}

/* ---- pace ---- */

enum { SECOND = 1000000000 };

static void bucket_bounds_the_rate(void **state)
{
    (void)state;
    struct kube_bucket b;
    int64_t now = 5 * (int64_t)SECOND;
    unsigned sent = 0;
    kube_bucket_init(&b, 10, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(kube_bucket_take(&b, now), 0);
    assert_int_equal(kube_bucket_take(&b, now), SECOND / 10);
    assert_int_equal(kube_bucket_take(&b, now + SECOND / 20), SECOND / 20);
    assert_int_equal(kube_bucket_take(&b, now + SECOND / 10), 0);
    for (int64_t t = now + SECOND / 10; t <= now + SECOND + SECOND / 10; t += SECOND / 1000)
        sent += kube_bucket_take(&b, t) == 0;
    assert_int_equal(sent, 10);
    now += 100 * (int64_t)SECOND; /* no more than the burst is saved up */
    for (sent = 0; kube_bucket_take(&b, now) == 0;)
        sent++;
    assert_int_equal(sent, 3);
}

static void pauses_grow(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (unsigned failures = 1; failures < 40; failures++) {
        int64_t bound = KUBE_PAUSE_FIRST_MS, least = INT64_MAX, most = 0;
        for (unsigned i = 1; i < failures && bound < KUBE_PAUSE_MAX_MS; i++)
            bound *= 2;
        bound = bound < KUBE_PAUSE_MAX_MS ? bound : KUBE_PAUSE_MAX_MS;
        for (int i = 0; i < 1000; i++) {
            int64_t pause = kube_pause_ms(failures, -1, &random);
            least = pause < least ? pause : least;
            most = pause > most ? pause : most;
        }
        assert_true(least >= bound / 2 && most <= bound);
        assert_true(most - least > bound / 4); /* there is jitter */
    }
    for (int i = 0; i < 1000; i++) {
        int64_t pause = kube_pause_ms(1, 5, &random), bounded = kube_pause_ms(1, 86399, &random);
        assert_true(pause >= 5000 && pause <= 6000);
        assert_true(bounded >= KUBE_RETRY_AFTER_MAX_S * 1000 &&
                    bounded <= KUBE_RETRY_AFTER_MAX_S * 1000 + 1000);
        assert_true(kube_pause_ms(30, 1, &random) >= KUBE_PAUSE_MAX_MS / 2);
    }
}

/* ---- requests ---- */

static void requests_are_built(void **state)
{
    (void)state;
    struct kube_request r;
    struct kube_ref ref = {.kind = KUBE_KIND_POD, .ns = "n", .name = "p.1"};
    assert_int_equal(kube_request_begin(&r, "GET", "get", &ref), ERR_OK);
    kube_request_query(&r, "labelSelector", "a=b,c in (d)");
    kube_request_query(&r, "fieldSelector", NULL);
    kube_request_number(&r, "limit", 5);
    assert_string_equal(buf_cstr(&r.target),
                        "/api/v1/namespaces/n/pods/p.1?labelSelector=a%3Db%2Cc%20in%20%28d%29&limit=5");
    assert_string_equal(buf_cstr(&r.what), "get pods p.1 in namespace n");
    assert_int_equal(kube_request_status(&r), ERR_OK);
    kube_request_free(&r);

    ref = (struct kube_ref){.kind = KUBE_KIND_NAMESPACE, .ns = "ignored", .name = "n"};
    assert_int_equal(kube_request_begin(&r, "GET", "get", &ref), ERR_OK);
    assert_string_equal(buf_cstr(&r.target), "/api/v1/namespaces/n");
    kube_request_free(&r);

    ref = (struct kube_ref){.kind = KUBE_KIND_NETWORK_POLICY, .ns = "n"};
    assert_int_equal(kube_request_begin(&r, "GET", "list", &ref), ERR_OK);
    assert_string_equal(buf_cstr(&r.target), "/apis/networking.k8s.io/v1/namespaces/n/networkpolicies");
    kube_request_free(&r);
}

static void names_cannot_leave_the_path(void **state)
{
    (void)state;
    static const char *const bad[] = {"",  ".",    "..",  "a/b", "a?b",  "a b",
                                      "A", "a%2f", "a\n", ".a",  "a..b", "a#"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kube_request r;
        struct kube_ref name = {.kind = KUBE_KIND_POD, .ns = "n", .name = bad[i]};
        struct kube_ref ns = {.kind = KUBE_KIND_POD, .ns = bad[i]};
        assert_int_equal(kube_request_begin(&r, "GET", "get", &name), ERR_INVALID);
        assert_int_equal(kube_request_begin(&r, "GET", "list", &ns), ERR_INVALID);
    }
}

static void bodies_are_built(void **state)
{
    (void)state;
    struct kube_request r;
    struct kube_ref ref = {.kind = KUBE_KIND_POD, .ns = "n", .name = "p"};
    assert_int_equal(kube_request_begin(&r, "DELETE", "delete", &ref), ERR_OK);
    kube_request_delete_body(&r, &(struct kube_delete){.grace_s = 0, .uid = "u\"1", .background = true});
    assert_string_equal(buf_cstr(&r.body),
                        "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"gracePeriodSeconds\":0,"
                        "\"propagationPolicy\":\"Background\",\"preconditions\":{\"uid\":\"u\\\"1\"}}");
    kube_request_free(&r);

    assert_int_equal(kube_request_begin(&r, "DELETE", "delete", &ref), ERR_OK);
    kube_request_delete_body(&r, &(struct kube_delete){.grace_s = -1});
    assert_string_equal(buf_cstr(&r.body), "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\"}");
    kube_request_free(&r);

    struct kube_change labels[] = {{"a", "1"}, {"b", NULL}}, data[] = {{"k", "v"}};
    assert_int_equal(kube_request_begin(&r, "PATCH", "patch", &ref), ERR_OK);
    kube_request_patch_body(&r, &(struct kube_patch){.labels = labels,
                                                     .label_count = 2,
                                                     .data = data,
                                                     .data_count = 1,
                                                     .uid = "u",
                                                     .resource_version = "7"});
    assert_string_equal(buf_cstr(&r.body), "{\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"7\","
                                           "\"labels\":{\"a\":\"1\",\"b\":null}},\"data\":{\"k\":\"v\"}}");
    assert_string_equal(r.type, "application/merge-patch+json");
    kube_request_free(&r);

    kube_request_can(
        &r, &(struct kube_right){
                .verb = "create", .group = "", .resource = "pods", .subresource = "exec", .ns = "n"});
    assert_string_equal(buf_cstr(&r.what), "create pods/exec in namespace n");
    assert_non_null(strstr(buf_cstr(&r.body), "{\"namespace\":\"n\",\"verb\":\"create\",\"group\":\"\","
                                              "\"resource\":\"pods\",\"subresource\":\"exec\"}"));
    kube_request_free(&r);
}

/* ---- credential plug-ins ---- */

static void plugin_answers(void **state)
{
    (void)state;
#define CREDENTIAL(status)                                                                                   \
    "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":" status "}"
    static const struct {
        const char *text, *why; /* NULL: it is good */
    } rows[] = {
        {CREDENTIAL("{\"token\":\"t\",\"expirationTimestamp\":\"1970-01-01T00:00:09Z\"}"), NULL},
        {CREDENTIAL("{\"token\":\"t\",\"clientCertificateData\":\"c\",\"clientKeyData\":\"k\"}"), NULL},
        {CREDENTIAL("{\"clientCertificateData\":\"c\"}"), "one of"},
        {CREDENTIAL("{}"), "neither"},
        {CREDENTIAL("[]"), "neither"},
        {CREDENTIAL("{\"token\":\"a\\nb\"}"), "blank"},
        {CREDENTIAL("{\"token\":\"a b\"}"), "blank"},
        {CREDENTIAL("{\"token\":\"t\",\"expirationTimestamp\":\"soon\"}"), "not a time"},
        {"{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1beta1\"}",
         "no ExecCredential"},
        {"{\"kind\":\"Pod\"}", "no ExecCredential"},
        {"token", "no JSON"},
        {"", "no JSON"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kube_exec_answer answer = {.expires_ms = 0};
        struct errinfo info = {0};
        enum err e = kube_exec_read(str_of(rows[i].text), "client.authentication.k8s.io/v1", &answer, &info);
        assert_int_equal(e, rows[i].why ? ERR_INVALID : ERR_OK);
        if (rows[i].why && !strstr(info.text, rows[i].why))
            fail_msg("%s: %s", rows[i].text, info.text);
        if (i == 0)
            assert_int_equal(answer.expires_ms, 9000);
        arena_free(&answer.memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_have_their_reason),
        cmocka_unit_test(statuses_are_cut),
        cmocka_unit_test(lines_from_any_pieces),
        cmocka_unit_test(long_lines_are_refused),
        cmocka_unit_test(nothing_is_no_line),
        cmocka_unit_test(bucket_bounds_the_rate),
        cmocka_unit_test(pauses_grow),
        cmocka_unit_test(requests_are_built),
        cmocka_unit_test(names_cannot_leave_the_path),
        cmocka_unit_test(bodies_are_built),
        cmocka_unit_test(plugin_answers),
    };
    json_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
