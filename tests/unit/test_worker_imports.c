/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include "worker/imports.h"

#include <string.h>

#define NAMES "numpy|pandas|matplotlib"

static bool any(const char *code)
{
    return imports_any(str_of(code), NAMES);
}

static void statements_that_name_a_package(void **state)
{
    (void)state;
    static const char *const yes[] = {
        "import numpy",
        "import numpy as np\nprint(1)",
        "import os, pandas",
        "from numpy import array",
        "from numpy.linalg import norm",
        "import matplotlib.pyplot as plt",
        "print(1)\ntry:\n    import pandas\nexcept ImportError: pass",
        "x = 1; import numpy",
        "np = __import__('numpy')",
        "importlib.import_module(\"pandas.io\")",
    };
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        if (!any(yes[i]))
            fail_msg("not seen: %s", yes[i]);
}

static void other_programs(void **state)
{
    (void)state;
    static const char *const no[] = {
        "",
        "print(1)",
        "import",
        "import os",
        "numpy = 3\nimport os",
        "import my_numpy, numpyx",
        "from .numpy import x",
        "print('numpy')\nprint('import')",
    };
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        if (any(no[i]))
            fail_msg("seen: %s", no[i]);
    assert_false(imports_any((struct str){.p = NULL, .n = 0}, NAMES));
}

/* A line is cut; so a program of one line of imports costs no more than another. */
static void the_scan_is_bounded(void **state)
{
    (void)state;
    static char code[2 * IMPORTS_SCAN_MAX];
    memset(code, '\n', sizeof code);
    memcpy(code + IMPORTS_SCAN_MAX - 20, "import numpy", 12);
    assert_true(imports_any((struct str){.p = code, .n = sizeof code}, NAMES));
    memcpy(code + IMPORTS_SCAN_MAX - 20, "\n\n\n\n\n\n\n\n\n\n\n\n", 12);
    memcpy(code + IMPORTS_SCAN_MAX, "import numpy", 12);
    assert_false(imports_any((struct str){.p = code, .n = sizeof code}, NAMES));
    memset(code, 'x', sizeof code);
    memcpy(code, "import", 6);
    memcpy(code + 2 * IMPORTS_LINE_MAX, " numpy ", 7);
    assert_false(imports_any((struct str){.p = code, .n = sizeof code}, NAMES));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_that_name_a_package),
        cmocka_unit_test(other_programs),
        cmocka_unit_test(the_scan_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
