-- SPDX-License-Identifier: Apache-2.0
-- Accepts a job, or says why not.
local job, prefix, session, tenant, user, class, prio, lang, request, hash, sync, retry, ordered, cost, ttl, max_jobs,
      max_tenant, max_bytes, submitted, queued, idem, max_ordered, wait = unpack(ARGV)
if idem ~= '' then
    local known = call('HMGET', IDEM, 'job', 'session', 'eid', 'pos', 'hash')
    if known[1] then
        if known[5] ~= hash then return {'conflict'} end
        return {'dup', known[1], known[2], known[3], tonumber(known[4])}
    end
end
if call('EXISTS', JOB, LOG, REQ) > 0 then
    local old = load(JOB)
    if action(old) == 'dup' then return {'dup', job, old.session, old.eid, tonumber(old.pos)} end
    return redis.error_reply('WRONGTYPE parts of a job that does not exist')
end
local q = tonumber(prio)
local count = call('HMGET', COUNT, 'jobs', 't:' .. tenant, 'bytes')
local jobs, mine, bytes = tonumber(count[1] or 0), tonumber(count[2] or 0), tonumber(count[3] or 0)
if jobs >= tonumber(max_jobs) then return {'full', 'jobs'} end
if mine >= tonumber(max_tenant) then return {'full', 'tenant'} end
if bytes + #request > tonumber(max_bytes) then return {'full', 'bytes'} end

local f = load_fair(tenant, q)
local lane = lane_of(f)
local room = room_of(f, lane)
local field = 't' .. q .. ':' .. tenant
local tag = math.max(f['v' .. q], f[field]) + tonumber(cost)
set_fair(f, field, tag)
if f.u1 and f.u1 ~= tenant then
    set_fair(f, 'u2', f.u1)
    set_fair(f, 'w2', f.w1)
end
set_fair(f, 'u1', tenant)
set_fair(f, 'w1', now())
if ordered == '1' then need(ORDER, 'list') end
if max_ordered ~= '0' and call('LLEN', ORDER) >= tonumber(max_ordered) then return {'full', 'session'} end
local first = ordered == '1' and call('EXISTS', ORDER) == 0 -- nothing of its session is before it
local direct = (ordered == '0' or first) and f.w == 0 and room > 0 and may_take(f, tenant)
local handed = direct and may_hand(f, room, prefix)
need(WAITING, 'zset')
if not direct then need(backlog(q), 'zset') end

call('ZADD', TENANT, now(), job)
local j = {seq = 0, ms = now(), owed = 0, cost = cost, tenant = tenant}
set(j, 'status', 'queued')
set(j, 'attempt', 0)
local member, pos, entry = member_of(j, job), lane + 1, nil
local place = ordered == '1' and table.concat({job, cost, prio, class, tag, tenant}, ' ')
if direct then
    if first then call('RPUSH', ORDER, place) end
    entry = to_lane(f, q, job, tag, cost, tenant)
else
    local waiting = 0
    if ordered == '1' then
        waiting = call('RPUSH', ORDER, place) - 1
    end
    if waiting == 0 then
        to_backlog(f, q, tag, member)
        pos = pos + call('ZRANK', backlog(q), member)
    else
        pos = lane + call('ZCARD', backlog(q)) + waiting
    end
    refill(f)
end
call('SET', REQ, request)
emit(j, 'submitted', submitted, '')
emit(j, 'queued', queued .. pos .. '}', '')
local stored, eid = #request + j.owed, j.last
j.owed, changed.owed = 0, nil
if handed then
    local read, other = deliver(f)
    if read and read ~= entry then -- an older one, that no count knew of: it goes behind
        drop_entry(read)
        call('XADD', READY, '*', 'j', other)
    end
    handed = read == entry
end
if handed then
    j.user, j.session, j.lang, j.class, j.retry, j.created, j.ins, j.ordered = user, session, lang, class, retry, now(), 0, ordered
    hand_begin(j, f, entry, request)
end
if j.status == 'queued' then call('ZADD', WAITING, text(now() + wait), job) end
local fields = {'tenant', tenant, 'user', user, 'session', session, 'lang', lang, 'class', class, 'prio', prio, 'cost', cost,
                'created', text(now()), 'retry', retry, 'ordered', ordered, 'tag', tag, 'ttl', ttl, 'eid', eid, 'pos', pos,
                'bytes', stored, 'wait', wait}
local function field_if(name, value)
    if value == '' then return end
    fields[#fields + 1] = name
    fields[#fields + 1] = value
end
field_if('sync', sync)
field_if('idem', idem)
save_changed(JOB, j, changed, fields)
if idem ~= '' then call('HSET', IDEM, 'job', job, 'session', session, 'eid', eid, 'pos', pos, 'hash', hash) end
call('HSET', COUNT, 'jobs', jobs + 1, 't:' .. tenant, mine + 1, 'bytes', bytes + stored)
if handed then hand_tell(j, job, f, entry, request, prefix) end
save_fair(f)
-- Nobody can listen to a job before it is told here; who waits for its end gets the beginning of its attempt with the answer.
local begun = sync ~= '' and j.status == 'running' and message_of(j, job, #events) or ''
return {'ok', job, session, eid, pos, begun}
