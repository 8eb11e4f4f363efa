/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cidr.h"

#include <arpa/inet.h>
#include <string.h>

enum { V4_PREFIX = 96, TEXT_MAX = INET6_ADDRSTRLEN };

/* ret_width: bits of the family, 32 or 128. */
static bool parse_address(struct str text, unsigned char ret_address[16], unsigned *ret_width)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char copy[TEXT_MAX];
    if (text.n == 0 || text.n >= sizeof copy || memchr(text.p, '\0', text.n) != NULL)
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    *ret_width = 32;
    if (inet_pton(AF_INET, copy, ret_address + 12) == 1) {
        memcpy(ret_address, mapped, sizeof mapped);
        return true;
    }
    *ret_width = 128;
    return inet_pton(AF_INET6, copy, ret_address) == 1;
}

static bool bit(const unsigned char *address, unsigned at)
{
    return (address[at / 8] >> (7 - at % 8) & 1) != 0;
}

enum err cidr_parse(struct str text, struct cidr *ret_network)
{
    struct cidr network = {.bits = 128};
    struct str length = text;
    struct str address = str_split(&length, '/');
    unsigned width;
    if (!parse_address(address, network.address, &width))
        return ERR_INVALID;
    if (length.p != NULL) {
        uint64_t bits;
        if (str_to_u64(length, &bits) != ERR_OK || bits > width)
            return ERR_INVALID;
        network.bits = (unsigned)bits + (width == 32 ? V4_PREFIX : 0);
    }
    for (unsigned i = network.bits; i < 128; i++)
        if (bit(network.address, i))
            return ERR_INVALID;
    *ret_network = network;
    return ERR_OK;
}

bool cidr_contains(const struct cidr *network, struct str address)
{
    unsigned char bytes[16];
    unsigned width;
    if (!parse_address(address, bytes, &width))
        return false;
    unsigned whole = network->bits / 8;
    if (memcmp(bytes, network->address, whole) != 0)
        return false;
    for (unsigned i = whole * 8; i < network->bits; i++)
        if (bit(bytes, i) != bit(network->address, i))
            return false;
    return true;
}
