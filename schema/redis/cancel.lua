-- The client wants it ended. ARGV[4]: the events' JSON object (the reason).
local job, prefix, tenant, d = unpack(ARGV)
need(JOB, 'hash', LOG, 'stream', COUNT, 'hash', DUE, 'zset', ORDER, 'list')
need_lane()
local j = load(JOB)
local act = action(j, 'cancel')
if j and j.tenant ~= tenant then return {'missing'} end
if act == 'request' then
    if j.cancel then return {'dup'} end
    emit(j, 'cancel_requested', d, '')
    if j.inb == 0 then set(j, 'inid', j.last) end
    set(j, 'inb', j.inb + 1)
    set(j, 'ins', j.seq)
    set(j, 'cancel', d)
    account(j)
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
-- Behind others of its session, in the backlog, or in the lane; there its entry stays and its claim finds it ended.
if not waits and call('ZREM', backlog(j.prio), member_of(j, job)) == 0 then add_share(j.tenant, -1) end
emit(j, 'cancelled', d, '')
close(j, job, f, 'cancelled')
account(j)
save(j)
refill(f)
save_fair(f)
publish(j, job, prefix)
return {'ok'}
