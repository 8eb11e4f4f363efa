/* SPDX-License-Identifier: Apache-2.0 */
/* A network, a line end, an address. The network holds its own first address. */
#include "base/cidr.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str address = {.p = (const char *)data, .n = size};
    struct str text = str_split(&address, '\n');
    struct cidr network;
    if (cidr_parse(text, &network) != ERR_OK)
        return 0;
    struct str first = str_split(&text, '/');
    MUST(network.bits <= 128 && cidr_contains(&network, first));
    (void)cidr_contains(&network, address);
    return 0;
}
