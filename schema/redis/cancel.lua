-- SPDX-License-Identifier: Apache-2.0
-- The client wants it ended. ARGV[4]: the events' JSON object (the reason).
local job, prefix, tenant, d = unpack(ARGV)
need(COUNT, 'hash', DUE, 'zset', ORDER, 'list')
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
local f = load_fair()
local waits = false
if j.ordered == '1' then
    local first = call('LINDEX', ORDER, 0)
    waits = not first or string.match(first, '^%S+') ~= job
end
emit(j, 'cancelled', d, '')
-- Behind others of its session, in the backlog, or in the lane; there its entry stays and its claim finds it ended.
if not waits then
    if call('ZREM', backlog(j.prio), member_of(j, job)) == 1 then
        set_fair(f, 'w', f.w - 1)
    else
        add_share(f, j.tenant, -1)
    end
end
close(j, job, f, 'cancelled')
save(j)
refill(f)
save_fair(f)
publish(j, job, prefix)
return {'ok'}
