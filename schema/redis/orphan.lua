-- SPDX-License-Identifier: Apache-2.0
-- An object that has been in the store for long: does anything name it? `name` as in PACKS, `file` the id in it, or ''. If
-- nothing does, it is put to those whose time will be over. Whoever is to name it would have by now.
local name, file, grace = unpack(ARGV)
need(SFILES, 'hash', STATES, 'hash', PACKS, 'zset')
if call('ZSCORE', PACKS, name) then return {'dup'} end
if file ~= '' and call('HEXISTS', SFILES, file) == 1 then return {'conflict'} end
for _, record in ipairs(call('HVALS', STATES)) do
    if state_place(record) == name then return {'conflict'} end
end
call('ZADD', PACKS, text(now() + tonumber(grace)), name)
return {'ok'}
