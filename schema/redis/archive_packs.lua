-- SPDX-License-Identifier: Apache-2.0
-- Packs whose time is over: no log is put into them any more (archive.lua), and nothing in Redis names them, for what does
-- ends earlier. They are marked as being deleted by a score below zero: whose deletion they are until that lease is over.
local most, lease = unpack(ARGV)
need(PACKS, 'zset')
local packs = call('ZRANGE', PACKS, text(-now()), text(now()), 'BYSCORE', 'LIMIT', 0, most)
for _, pack in ipairs(packs) do call('ZADD', PACKS, text(-now() - tonumber(lease)), pack) end
return {'ok', unpack(packs)}
