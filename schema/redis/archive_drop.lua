-- SPDX-License-Identifier: Apache-2.0
-- Objects that nothing names any more are put to those whose time will be over: whoever reads one now may end that.
local most, grace = unpack(ARGV)
need(DROP, 'list', PACKS, 'zset')
local names = call('LPOP', DROP, most) or {}
for _, name in ipairs(names) do call('ZADD', PACKS, text(now() + tonumber(grace)), name) end
return {'ok', #names}
