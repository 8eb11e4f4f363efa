/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over the files of a folder without a fuzzer: each file, every prefix of it (up to a
   bound) and a byte changed at each place, from a seed that does not change. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

enum { FILE_MAX = 1 << 20, CHANGES_MAX = 2048 };

/* A copy of exactly `size` bytes, so that the sanitizers see every read behind its end. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    MUST(copy != NULL);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 16;
}

static void run_variants(uint8_t *data, size_t size)
{
    unsigned seed = 1;
    run(data, size);
    for (size_t n = 0; n < size && n < CHANGES_MAX; n++)
        run(data, n);
    for (size_t at = 0; at < size && at < CHANGES_MAX; at++) {
        uint8_t was = data[at];
        data[at] = (uint8_t)next_random(&seed);
        run(data, size);
        data[at] = was;
    }
}

static int run_file(const char *folder, const char *name)
{
    static uint8_t data[FILE_MAX];
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    run_variants(data, size);
    return 0;
}

int main(int argc, char **argv)
{
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (folder == NULL) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    int failed = 0, count = 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        failed += run_file(argv[1], entry->d_name);
        count++;
    }
    closedir(folder);
    printf("%d files\n", count);
    return failed > 0 || count == 0 ? 1 : 0;
}
