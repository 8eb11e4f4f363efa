-- SPDX-License-Identifier: Apache-2.0
-- The log of a terminal job lies in a pack and was read back: what is in Redis of it goes, but for the projection, which
-- from now on says where the log is. Compare and set: the log must still be the one that was packed, and the pack must
-- be one that nobody has begun to delete.
local KEEP = {status = 1, tenant = 1, user = 1, session = 1, lang = 1, prio = 1, attempt = 1, seq = 1, n = 1, ms = 1,
              created = 1, started = 1, finished = 1, last = 1, idem = 1, eid = 1, pos = 1, ordered = 1, ttl = 1, bytes = 1,
              arch = 1}
local job, last, pack, place, ttl, spare = unpack(ARGV)
need(LOG, 'stream', REQ, 'string', DUE, 'zset', COUNT, 'hash', PACKS, 'zset')
local j = load(JOB)
if not j then return {'missing'} end
if j.arch then return {j.arch == place and 'dup' or 'conflict'} end
if j.finished == 0 or j.last ~= last then return {'conflict'} end
local until_ms = tonumber(call('ZSCORE', PACKS, pack) or 0)
if until_ms <= now() then return {'fenced'} end

local gone = {}
for name in pairs(j) do
    if not KEEP[name] and string.sub(name, 1, 2) ~= 'c:' then gone[#gone + 1] = name end
end
local bytes = j.bytes
set(j, 'arch', place)
set(j, 'ttl', now() + tonumber(ttl) - j.finished)
set(j, 'bytes', 0)
save(j)
call('HDEL', JOB, unpack(gone))
call('DEL', LOG, REQ)
call('HINCRBY', COUNT, 'bytes', text(-bytes))
call('ZADD', DUE, text(j.finished + j.ttl), job)
call('ZADD', PACKS, text(math.max(until_ms, j.finished + j.ttl + tonumber(spare))), pack)
return {'ok'}
