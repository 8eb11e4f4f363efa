/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/limits.h"

#include <assert.h>
#include <inttypes.h>

static const struct limit_row rows[] = {
#define X(symbol, field_, canonical_, fallback_, min_, max_, scale_, unit_, setting_, help_)                 \
    [LIMIT_##symbol] = {.field = (field_),                                                                   \
                        .canonical = #canonical_,                                                            \
                        .fallback = (fallback_),                                                             \
                        .min = (min_),                                                                       \
                        .max = (max_),                                                                       \
                        .scale = (scale_),                                                                   \
                        .unit = (unit_),                                                                     \
                        .help = (help_),                                                                     \
                        .setting_offset = offsetof(struct config, setting_),                                 \
                        .setting = #setting_},
#include "schema/limits.def"
#undef X
};

const char *const limit_fields[] = {
#define X(symbol, field, canonical, fallback, min, max, scale, unit, setting, help) field,
#include "schema/limits.def"
#undef X
    "timeout",
    NULL,
};

const struct limit_row *limit_row(enum limit limit)
{
    assert((unsigned)limit < LIMIT_COUNT);
    return &rows[limit];
}

void limits_configure(const struct config *config, struct limit_bounds *ret_bounds)
{
    for (unsigned i = 0; i < LIMIT_COUNT; i++) {
        const char *field = (const char *)config + rows[i].setting_offset;
        ret_bounds->max[i] = *(const int64_t *)(const void *)field;
        ret_bounds->fallback[i] = ret_bounds->max[i];
    }
}

/* What a language moves; all others are the same for every language. */
static unsigned (*const percent_of[LIMIT_COUNT])(const struct language_row *row) = {
    [LIMIT_TIMEOUT] = language_wall_percent,
    [LIMIT_CPU] = language_wall_percent,
    [LIMIT_MEMORY] = language_memory_percent,
};

void limits_of_language(const struct limit_bounds *bounds, enum language lang,
                        struct limit_bounds *ret_bounds)
{
    const struct language_row *row = language_row(lang);
    *ret_bounds = *bounds;
    for (unsigned i = 0; i < LIMIT_COUNT; i++) {
        if (percent_of[i] == NULL)
            continue;
        unsigned percent = percent_of[i](row);
        ret_bounds->max[i] = bounds->max[i] * percent / 100;
        ret_bounds->fallback[i] = bounds->fallback[i] * percent / 100;
    }
}

int64_t limit_min(enum limit limit)
{
    return limit_row(limit)->min;
}

int64_t limit_max(const struct limit_bounds *bounds, enum limit limit)
{
    return bounds->max[limit] / limit_row(limit)->scale;
}

enum err limit_check(const struct limit_bounds *bounds, enum limit limit, int64_t value,
                     int64_t *ret_canonical, struct errinfo *info)
{
    const struct limit_row *row = limit_row(limit);
    int64_t max = limit_max(bounds, limit);
    if (value < row->min || value > max)
        return errinfo_set(info, ERR_RANGE, 0,
                           "%s: %" PRId64 " is out of range; must be an integer from %" PRId64 " to %" PRId64
                           "%s%s",
                           row->field, value, row->min, max, row->unit[0] != '\0' ? " " : "", row->unit);
    *ret_canonical = value * row->scale;
    return ERR_OK;
}

int64_t limit_clamp(const struct limit_bounds *bounds, enum limit limit, int64_t value)
{
    int64_t min = limit_min(limit), max = limit_max(bounds, limit);
    return value < min ? min : value > max ? max : value;
}
