-- SPDX-License-Identifier: Apache-2.0
-- The client wants it ended. ARGV[4]: the events' JSON object (the reason).
local job, prefix, tenant, d = unpack(ARGV)
need(COUNT, 'hash', DUE, 'zset', ORDER, 'list', WAITING, 'zset')
need_lane()
local j = load(JOB)
local act = action(j)
if j and j.tenant ~= tenant then return {'missing'} end
if act == 'request' then
    if j.cancel then return {'dup'} end
    emit(j, 'cancel_requested', d, '')
    set(j, 'inb', j.inb + 1)
    set(j, 'ins', j.seq)
    set(j, 'cancel', d)
    save(j)
    publish(j, job, prefix, j.to)
    return {'ok'}
end
if act ~= 'end' then return {act} end
end_waiting(j, job, prefix, 'cancelled', d)
return {'ok'}
