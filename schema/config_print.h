/* SPDX-License-Identifier: Apache-2.0 */
/* What `millrace config validate|summary|template|export` prints. Pure; no secret is in any of it. */
#ifndef MILLRACE_SCHEMA_CONFIG_PRINT_H
#define MILLRACE_SCHEMA_CONFIG_PRINT_H

#include "schema/config.h"

enum config_form { CONFIG_TEXT, CONFIG_JSON };

/* validate: "the configuration is good", or a line for each problem. JSON: {"valid", "problems":[...]}.
   `config` is what config_load() was given, whatever it answered. */
void config_print_verdict(const struct config *config, enum config_form form, struct buf *out);
/* summary: every setting with its value and where it comes from, by section. JSON: a list of
   {"section","name","value","source","line"}. */
void config_print_summary(const struct config *config, enum config_form form, struct buf *out);
/* template: a whole .env with every setting commented out at its default. JSON: the table itself. */
void config_print_template(enum config_form form, struct buf *out);
/* export: .env lines that give this configuration again, secrets left out and named in a comment. JSON: one
   object NAME -> value with numbers and booleans as such, secrets null. */
void config_print_export(const struct config *config, enum config_form form, struct buf *out);
/* docs/CONFIGURATION.md, and `--help`. */
void config_print_markdown(struct buf *out);

#endif
