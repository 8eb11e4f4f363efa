-- SPDX-License-Identifier: Apache-2.0
-- A request of a client that it may cancel by the id that it gave: 'open' with the job that it is about, 'close' at its answer,
-- 'cancel' by whoever knows the id. A cancel that comes first is remembered. ARGV: what, owner, job, life in ms.
local what, owner, job, life = unpack(ARGV)
local r = call('HMGET', REQUEST, 'owner', 'status', 'job')
if r[1] and r[1] ~= owner then return {'missing'} end
if what == 'open' then
    if r[2] == 'open' and r[3] ~= job then return {'conflict'} end
    if r[2] == 'cancelled' then return {'fenced'} end
    call('HSET', REQUEST, 'owner', owner, 'status', 'open', 'job', job)
elseif what == 'close' then
    if r[2] ~= 'open' then return {'dup', r[3] or ''} end
    call('HSET', REQUEST, 'status', 'closed')
else
    if r[2] == 'closed' then return {'dup', r[3]} end
    call('HSET', REQUEST, 'owner', owner, 'status', 'cancelled')
end
call('PEXPIRE', REQUEST, life)
return {'ok', r[3] or ''}
