-- SPDX-License-Identifier: Apache-2.0
-- An archived version comes back, if it is still what it was when its object was read.
local session, version, record, blob, grace = unpack(ARGV)
need_state()
need(PACKS, 'zset')
local s = session_load()
if not s or session_state(s) == 'gone' then return {'missing'} end
if call('HGET', STATES, version) ~= record then return {'conflict'} end
local place = state_place(record)
call('HSET', STATES, version, (string.gsub(record, '^(%d+ %d+) %S+ ', '%1 - ')))
call('HSET', BLOBS, version, blob)
call('ZADD', SIDLE, now(), session)
local named = false
for _, other in ipairs(call('HVALS', STATES)) do named = named or state_place(other) == place end
if not named then call('ZADD', PACKS, text(now() + tonumber(grace)), place) end
sset(s, 'status', 'live')
session_emit(s, 'state_restored', '{"version":' .. version .. '}')
session_save(s)
return {'ok'}
