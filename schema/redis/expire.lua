-- SPDX-License-Identifier: Apache-2.0
-- Deletes a terminal job that is due, or (ARGV[3] = 1) before that.
local job, prefix, forced = unpack(ARGV)
need(IDEM, 'hash', TENANT, 'zset', DUE, 'zset', COUNT, 'hash')
local j = load(JOB)
local act = action(j)
if act == 'missing' then
    call('ZREM', DUE, job)
    return {act}
end
if act ~= 'delete' then return {act} end
if forced ~= '1' and j.finished + j.ttl > now() then
    call('ZADD', DUE, text(j.finished + j.ttl), job) -- an archiver's lease on it is over
    return {'conflict'}
end
call('DEL', JOB, LOG, REQ)
if j.idem and call('HGET', IDEM, 'job') == job then call('DEL', IDEM) end
call('ZREM', TENANT, job)
call('ZREM', DUE, job)
call('HINCRBY', COUNT, 'bytes', text(-j.bytes))
return {'ok'}
