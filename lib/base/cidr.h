/* SPDX-License-Identifier: Apache-2.0 */
/* Networks of IPv4 and IPv6 ("10.0.0.0/8", "fd00::/8", "127.0.0.1"), and whether an address is in one. Pure. */
#ifndef MILLRACE_BASE_CIDR_H
#define MILLRACE_BASE_CIDR_H

#include "base/str.h"

/* IPv4 is kept as ::ffff:a.b.c.d, so that one comparison does for both. */
struct cidr {
    unsigned char address[16];
    unsigned bits; /* of `address` that count: 0 to 128 */
};

/* ERR_INVALID: not an address, or a prefix length that it cannot have, or bits set behind it. */
MUST_CHECK enum err cidr_parse(struct str text, struct cidr *ret_network);
/* `address`: numeric; IPv4 in an IPv6 address (::ffff:a.b.c.d) is that IPv4 address. False when it is none. */
bool cidr_contains(const struct cidr *network, struct str address);

#endif
