-- Accepts a job, or says why not.
local job, prefix, session, tenant, user, class, prio, lang, request, hash, sync, retry, ordered, cost, ttl, max_jobs,
      max_tenant, max_bytes, submitted, queued, idem = unpack(ARGV)
need(JOB, 'hash', LOG, 'stream', REQ, 'string', TENANT, 'zset', ORDER, 'list', COUNT, 'hash')
need_lane()
if idem ~= '' and not OFF.idempotency then
    need(IDEM, 'hash')
    local known = call('HMGET', IDEM, 'job', 'session', 'eid', 'pos', 'hash')
    if known[1] then
        if known[5] ~= hash then return {'conflict'} end
        return {'dup', known[1], known[2], known[3], tonumber(known[4])}
    end
end
local old = load(JOB)
if action(old, 'submit') ~= 'accept' then return {'dup', job, old.session, old.eid, tonumber(old.pos)} end

local count = call('HMGET', COUNT, 'jobs', 't:' .. tenant, 'bytes')
if tonumber(count[1] or 0) >= tonumber(max_jobs) then return {'full', 'jobs'} end
if tonumber(count[2] or 0) >= tonumber(max_tenant) then return {'full', 'tenant'} end
if tonumber(count[3] or 0) + #request > tonumber(max_bytes) then return {'full', 'bytes'} end

local f = load_fair()
local q = tonumber(prio)
local field = 't' .. q .. ':' .. tenant
local tag = math.max(f['v' .. q], tonumber(call('HGET', FAIR, field) or 0)) + tonumber(cost)
if OFF.fairness then tag = math.max(now(), f['v' .. q]) end -- first come, first served
f.changed[field] = true
f[field] = tag
if f.u1 and f.u1 ~= tenant then
    set_fair(f, 'u2', f.u1)
    set_fair(f, 'w2', f.w1)
end
set_fair(f, 'u1', tenant)
set_fair(f, 'w1', now())

local j = {seq = 0, ms = 0, attempt = 0, bytes = 0, cost = cost, tenant = tenant}
for name, value in pairs({status = 'queued', tenant = tenant, user = user, session = session, lang = lang,
                          class = class, prio = prio, cost = cost, attempt = 0, created = now(), retry = retry,
                          ordered = ordered, tag = tag, ttl = ttl}) do
    set(j, name, value)
end
if sync ~= '' then set(j, 'sync', sync) end
if idem ~= '' then set(j, 'idem', idem) end

local waiting = 0
if ordered == '1' then
    waiting = call('RPUSH', ORDER, table.concat({job, cost, prio, class, tag, tenant}, ' ')) - 1
end
if waiting == 0 then back_to_backlog({prio = q, tag = tag, cost = cost, tenant = tenant}, job) end
local pos = waiting == 0 and call('ZRANK', backlog(q), member_of(j, job)) + 1 or call('ZCARD', backlog(q)) + waiting
call('SET', REQ, request)
stored = #request
emit(j, 'submitted', submitted, '')
emit(j, 'queued', queued .. pos .. '}', '')
set(j, 'eid', j.last)
set(j, 'pos', pos)
if idem ~= '' then call('HSET', IDEM, 'job', job, 'session', session, 'eid', j.last, 'pos', pos, 'hash', hash) end
call('ZADD', TENANT, j.ms, job)
call('HINCRBY', COUNT, 'jobs', 1)
call('HINCRBY', COUNT, 't:' .. tenant, 1)
account(j)
save(j)
refill(f)
save_fair(f)
return {'ok', job, session, j.eid, pos}
