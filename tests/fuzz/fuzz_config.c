/* SPDX-License-Identifier: Apache-2.0 */
/* Lines NAME=value applied to Millrace's table, then the check of relations: no value breaks it, what is
   refused is told, what is set can be shown. */
#include "fuzz.h"
#include "schema/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config cfg = {0};
    MUST(config_begin(&config_table, &cfg.base) == ERR_OK);
    unsigned line = 0;
    for (struct str rest = {.p = (const char *)data, .n = size}; rest.p != NULL;) {
        struct str value = str_split(&rest, '\n');
        struct str name = str_split(&value, '=');
        if (value.p != NULL)
            config_apply(&config_table, &cfg.base, name, value,
                         (struct config_origin){.source = CONFIG_DOTENV, .line = ++line});
    }
    size_t before = cfg.base.problems.count;
    config_table.check(&cfg.base);
    MUST(cfg.base.problems.count >= before);
    for (size_t i = 0; i < config_table.count; i++) {
        auto_buf shown = BUF_INIT(1 << 20);
        config_write_value(&config_table.rows[i], &cfg.base, &shown);
        MUST(buf_status(&shown) == ERR_OK);
    }
    struct errinfo info = {0};
    MUST((config_verdict(&cfg.base, &info) == ERR_OK) == (cfg.base.problems.count == 0));
    config_release(&cfg.base);
    return 0;
}
