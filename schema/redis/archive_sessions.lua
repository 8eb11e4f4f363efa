-- SPDX-License-Identifier: Apache-2.0
-- Sessions that are due, the first first.
return call('ZRANGE', SDUE, '-inf', text(now()), 'BYSCORE', 'LIMIT', 0, ARGV[1])
