/* SPDX-License-Identifier: Apache-2.0 */
#include "api/router.h"

enum route_auth { AUTH, OPEN };

static const struct route routes[] = {
#define X(method_name, path_pattern, handler_name, auth, text)                                               \
    {.method = #method_name,                                                                                 \
     .pattern = (path_pattern),                                                                              \
     .handler = HANDLER_##handler_name,                                                                      \
     .open = (auth) == OPEN,                                                                                 \
     .doc = (text)},
#include "api/routes.def"
#undef X
};

static size_t route_count(void)
{
    return sizeof routes / sizeof routes[0];
}

static bool path_matches(struct str pattern, struct str path, struct str *ret_param)
{
    struct str param = {NULL, 0};
    while (pattern.p != NULL && path.p != NULL) {
        struct str wanted = str_split(&pattern, '/');
        struct str got = str_split(&path, '/');
        bool variable = wanted.n > 0 && wanted.p[0] == '{';
        if (variable ? got.n == 0 : !str_eq(wanted, got))
            return false;
        if (variable)
            param = got;
    }
    if (pattern.p != NULL || path.p != NULL)
        return false;
    *ret_param = param;
    return true;
}

static bool method_matches(const struct route *route, struct str method)
{
    if (str_eq(method, STR("HEAD")))
        method = STR("GET");
    return str_eq(str_of(route->method), method);
}

const struct route *route_find(struct str method, struct str path, struct str *ret_param, struct buf *allow)
{
    for (size_t i = 0; i < route_count(); i++) {
        struct str param;
        if (!path_matches(str_of(routes[i].pattern), path, &param))
            continue;
        if (method_matches(&routes[i], method)) {
            *ret_param = param;
            return &routes[i];
        }
        if (allow != NULL)
            buf_printf(allow, "%s%s%s", allow->len > 0 ? ", " : "", routes[i].method,
                       str_eq(str_of(routes[i].method), STR("GET")) ? ", HEAD" : "");
    }
    return NULL;
}
