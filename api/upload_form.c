/* SPDX-License-Identifier: Apache-2.0 */
#include "api/upload_form.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { RESOURCE_ID_MAX = 128, ENTITY_ID_MAX = 40 };

static enum err keep(char *to, size_t room, const char *name, struct str value, struct api_fault *fault)
{
    if (value.n >= room || memchr(value.p ? value.p : "", '\0', value.n))
        return api_fault_set(fault, CE_INVALID_FIELD, "%s: is too long", name);
    memcpy(to, value.p ? value.p : "", value.n);
    to[value.n] = '\0';
    return ERR_OK;
}

static enum err take_session(struct upload_form *form, struct str value, struct api_fault *fault)
{
    if (value.n == 0 || id_parse(value, &form->session) == ERR_OK)
        return ERR_OK;
    return api_fault_set(fault, CE_INVALID_FIELD, "session_id: must be 21 characters of A-Z a-z 0-9 _ and -");
}

enum err upload_form_take(struct upload_form *form, const char *name, struct str value,
                          struct api_fault *fault)
{
    const struct {
        const char *name;
        char *to;
        size_t room;
    } texts[] = {
        {"kind", form->kind, sizeof form->kind},
        {"id", form->id, sizeof form->id},
        {"version", form->version, sizeof form->version},
        {"entity_id", form->entity_id, sizeof form->entity_id},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(name, texts[i].name) == 0)
            return keep(texts[i].to, texts[i].room, name, value, fault);
    if (strcmp(name, "read_only") == 0)
        form->read_only = str_eq_nocase(value, STR("true")) || str_eq(value, STR("1"));
    else if (strcmp(name, "session_id") == 0 || strcmp(name, "storage_session_id") == 0)
        return take_session(form, value, fault);
    return ERR_OK;
}

static bool only(const char *text, const char *also, size_t most)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr(also, c)))
            return false;
    }
    return n <= most;
}

enum err upload_form_check(const struct upload_form *form, struct api_fault *fault)
{
    bool skill = strcmp(form->kind, "skill") == 0;
    bool known = skill || strcmp(form->kind, "agent") == 0 || strcmp(form->kind, "user") == 0;
    if (form->kind[0] && !known)
        return api_fault_set(fault, CE_BAD_REQUEST, "kind: must be one of: skill, agent, user");
    if (!only(form->id, "_.:-", RESOURCE_ID_MAX))
        return api_fault_set(fault, CE_BAD_REQUEST,
                             "id: must be 1 to 128 characters of A-Z a-z 0-9 _ . : and -");
    if (known && !form->id[0])
        return api_fault_set(fault, CE_BAD_REQUEST, "id: is required with kind");
    if (skill && !form->version[0])
        return api_fault_set(fault, CE_BAD_REQUEST, "version: is required for kind: 'skill'");
    if (known && !skill && form->version[0])
        return api_fault_set(fault, CE_BAD_REQUEST, "version: is only valid for kind: 'skill'");
    if (!only(form->version, "", 19) || strspn(form->version, "0123456789") != strlen(form->version))
        return api_fault_set(fault, CE_BAD_REQUEST, "version: must be a whole number");
    if (!only(form->entity_id, "_-", ENTITY_ID_MAX))
        return api_fault_set(fault, CE_INVALID_FIELD,
                             "entity_id: must be 1 to 40 characters of A-Z a-z 0-9 _ and -");
    return ERR_OK;
}

bool upload_form_shared(const struct upload_form *form)
{
    return strcmp(form->kind, "skill") == 0 || strcmp(form->kind, "agent") == 0 ||
           (!form->kind[0] && form->entity_id[0]);
}
