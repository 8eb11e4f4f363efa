/* SPDX-License-Identifier: Apache-2.0 */
/* Which kinds of pods a worker keeps, and how many of each: from the tables and the settings. Pure. */
#ifndef MILLRACE_WORKER_POOL_PLAN_H
#define MILLRACE_WORKER_POOL_PLAN_H

#include "schema/config.h"
#include "schema/languages.h"
#include "worker/pool.h"

/* Fills one row for each kind of kinds.def, Python first; returns how many. `there`: is this file on the host? A kind whose
   file is missing is `missing`, and a language without its program counts for nothing. */
size_t pool_plan(const struct config *config, bool (*there)(const char *path),
                 struct pool_kind kinds[POOL_KINDS_MAX]);
/* For a backend whose pods are made from an image for each language: a kind for each, and for each package set. */
size_t pool_plan_images(const struct config *config, struct pool_kind kinds[POOL_KINDS_MAX]);
/* The kind of such a backend for a program of this language that wants `kind` of kinds.def. */
const char *pool_plan_image_kind(enum language lang, const char *kind);
bool pool_plan_there(const char *path);

#endif
