-- Common to all scripts. Before it come the names of the keys and TRANSITIONS (job_machine.def); behind it the script.
local call = redis.call
local OFF = {} -- defences taken out: a test build puts names here (scripts.c)
local MESSAGE_MAX, INBOX_MAX, REFILL_MAX, RESERVE_MS, RESERVE_FROM = 65536, 65536, 64, 10000, 4
local GROUP = 'w'
local SHARE = {[0] = 8, [1] = 3, [2] = 1}

local clock = nil
local function now()
    if not clock then
        local t = call('TIME')
        clock = t[1] * 1000 + math.floor(t[2] / 1000)
    end
    return clock
end

-- Redis does not roll back: whatever could fail is looked at before the first write.
local function need(...)
    local list = {...}
    for i = 1, #list, 2 do
        local found = call('TYPE', list[i]).ok
        if found ~= 'none' and found ~= list[i + 1] then
            error({err = 'WRONGTYPE ' .. list[i] .. ' is a ' .. found .. ', not a ' .. list[i + 1]})
        end
    end
end

local function need_lane()
    need(FAIR, 'hash', READY, 'stream', B0, 'zset', B1, 'zset', B2, 'zset')
end

---- the job's projection ----

-- NUMBERS are 0 when absent. Changes go through set(); save() writes them in one command.
local NUMBERS = {'prio', 'cost', 'attempt', 'seq', 'n', 'ms', 'created', 'claimed', 'started', 'finished', 'hb', 'fails',
                 'tag', 'ttl', 'ins', 'inb', 'bytes', 'released'}

local function load(key)
    local flat, j = call('HGETALL', key), {}
    if #flat == 0 then return nil end
    for i = 1, #flat, 2 do j[flat[i]] = flat[i + 1] end
    for _, name in ipairs(NUMBERS) do j[name] = tonumber(j[name] or 0) end
    return j
end

local changed, changes = {}, 0
local function set(j, name, value)
    j[name] = value
    if not changed[name] then changes = changes + 1 end
    changed[name] = true
end

local function save(j)
    if changes == 0 then return end
    local list = {}
    for name in pairs(changed) do
        list[#list + 1] = name
        list[#list + 1] = j[name]
    end
    call('HSET', JOB, unpack(list))
end

local function action(j, command)
    local state = 'none'
    if j then
        state = j.status
        if state ~= 'queued' and state ~= 'running' then state = 'terminal' end
    end
    return TRANSITIONS[state][command]
end

local ANSWERS = {dup = 1, missing = 1, fenced = 1, conflict = 1}

---- events ----

local events, stored = {}, 0
local function emit(j, kind, d, b)
    set(j, 'seq', j.seq + 1)
    set(j, 'ms', math.max(now(), j.ms))
    local entry = {'v', '1', 't', kind, 'a', j.attempt, 's', j.seq, 'm', j.ms}
    if d ~= '' then
        entry[#entry + 1] = 'd'
        entry[#entry + 1] = d
    end
    if b ~= '' then
        entry[#entry + 1] = 'b'
        entry[#entry + 1] = b
    end
    set(j, 'last', call('XADD', LOG, '*', unpack(entry)))
    stored = stored + 100 + #d + #b
    events[#events + 1] = {j.last .. ' ' .. kind .. ' ' .. j.attempt .. ' ' .. j.seq .. ' ' .. j.ms .. ' ' .. #d .. ' ' ..
                           #b .. '\n', d, b}
end

local function account(j)
    if stored == 0 then return end
    set(j, 'bytes', j.bytes + stored)
    call('HINCRBY', COUNT, 'bytes', stored)
    stored = 0
end

-- One message with all events of this script, or only its first line when that is too long.
local function publish(j, job, prefix, to)
    if #events == 0 then return end
    local parts, size = {job .. ' ' .. j.seq .. '\n'}, 0
    for _, e in ipairs(events) do
        size = size + #e[1] + #e[2] + #e[3]
        for i = 1, 3 do parts[#parts + 1] = e[i] end
    end
    local message = size <= MESSAGE_MAX and table.concat(parts) or parts[1]
    call('PUBLISH', prefix .. 'ev:' .. job, message)
    if j.sync then call('PUBLISH', prefix .. 'to:' .. j.sync, message) end
    if to then call('PUBLISH', prefix .. 'to:' .. to, message) end
end

---- the lane ----

local FAIR_FIELDS = {'v0', 'v1', 'v2', 'm0', 'm1', 'm2', 'cap', 'run', 'w1', 'w2', 'u1', 'u2'}
local function load_fair()
    local values, f = call('HMGET', FAIR, unpack(FAIR_FIELDS)), {changed = {}}
    for i, name in ipairs(FAIR_FIELDS) do
        if i <= 10 then f[name] = tonumber(values[i] or 0) else f[name] = values[i] end
    end
    return f
end

local function set_fair(f, name, value)
    if f[name] == value then return end
    f[name] = value
    f.changed[name] = true
end

local function save_fair(f)
    local list = {}
    for name in pairs(f.changed) do
        list[#list + 1] = name
        list[#list + 1] = f[name]
    end
    if #list > 0 then call('HSET', FAIR, unpack(list)) end
end

local function backlog(q)
    return q == 0 and B0 or q == 1 and B1 or B2
end

local function member_of(j, job)
    return job .. ' ' .. j.cost .. ' ' .. j.tenant
end

-- Jobs of a tenant in the lane or running.
local function share_of(tenant)
    return tonumber(call('HGET', FAIR, 'r:' .. tenant) or 0)
end

local function add_share(tenant, change)
    if call('HINCRBY', FAIR, 'r:' .. tenant, change) <= 0 then call('HDEL', FAIR, 'r:' .. tenant) end
end

-- May the tenant take one more slot? While others are about, one slot is kept free of those who hold all the rest.
local function may_take(f, tenant)
    if f.cap < RESERVE_FROM or OFF.fairness then return true end
    local other = f.w1
    if f.u1 == tenant then other = f.w2 end
    if other < now() - RESERVE_MS then return true end
    return share_of(tenant) < f.cap - 1
end

local function head_of(f, q)
    local head = call('ZRANGE', backlog(q), 0, 0, 'WITHSCORES')
    if #head == 0 then return nil end
    local job, cost, tenant = string.match(head[1], '^(%S+) (%d+) (.*)$')
    if not may_take(f, tenant) then return nil end
    return {member = head[1], tag = tonumber(head[2]), job = job, cost = tonumber(cost), tenant = tenant}
end

-- Smooth weighted round robin over the priorities that have a job.
local function choose(f, heads)
    local best, total, several = nil, 0, -1
    for q = 0, 2 do
        if heads[q] then several = several + 1 end
    end
    if several < 0 then return nil end
    for q = 0, 2 do
        if heads[q] then
            if several == 0 then return q end
            total = total + SHARE[q]
            set_fair(f, 'm' .. q, f['m' .. q] + SHARE[q])
            if not best or f['m' .. q] > f['m' .. best] then best = q end
        end
    end
    set_fair(f, 'm' .. best, f['m' .. best] - total)
    return best
end

local function refill(f)
    local room = math.min(REFILL_MAX, math.max(1, f.cap - f.run) - (call('XLEN', READY) - f.run))
    if room <= 0 then return end
    local heads = {}
    for q = 0, 2 do heads[q] = head_of(f, q) end
    while room > 0 do
        local q = choose(f, heads)
        if not q then return end
        local head = heads[q]
        call('ZREM', backlog(q), head.member)
        call('XADD', READY, '*', 'j', head.job)
        add_share(head.tenant, 1)
        set_fair(f, 'v' .. q, math.max(f['v' .. q], head.tag - head.cost))
        room = room - 1
        heads[q] = head_of(f, q)
    end
end

local function drop_entry(entry)
    call('XACK', READY, GROUP, entry)
    call('XDEL', READY, entry)
end

-- What a worker says of itself: the jobs that it holds and the slots that are free.
local function tell(f, worker, capacity)
    local old = tonumber(string.match(call('HGET', WORKERS, worker) or '0', '^%d+'))
    call('HSET', WORKERS, worker, capacity .. ' ' .. now())
    set_fair(f, 'cap', math.max(0, f.cap + capacity - old))
end

---- ends ----

-- The session's next ordered job leaves the queue of its session for the backlog of its class.
local function release_next(j, job, f)
    if j.ordered ~= '1' then return end
    local first = call('LINDEX', ORDER, 0)
    local was_first = first and string.match(first, '^%S+') == job
    call('LREM', ORDER, 1, table.concat({job, j.cost, j.prio, j.class, j.tag, j.tenant}, ' '))
    local next = was_first and call('LINDEX', ORDER, 0)
    if not next then return end
    local id, cost, q, class, tag, tenant = string.match(next, '^(%S+) (%d+) (%d) (%S+) (%d+) (.*)$')
    local target = backlog(tonumber(q))
    if class ~= j.class then target = string.gsub(COUNT, 'count$', 'c:' .. class .. ':b' .. q) end
    call('ZADD', target, tag, id .. ' ' .. cost .. ' ' .. tenant)
end

-- The job is over: `status` is the type of the terminal event just emitted.
local function close(j, job, f, status)
    set(j, 'status', status)
    set(j, 'finished', j.ms)
    call('HINCRBY', COUNT, 'jobs', -1)
    if call('HINCRBY', COUNT, 't:' .. j.tenant, -1) <= 0 then call('HDEL', COUNT, 't:' .. j.tenant) end
    call('ZADD', DUE, j.ms + j.ttl, job)
    release_next(j, job, f)
end

local function leave_lane(j, f)
    drop_entry(j.entry)
    add_share(j.tenant, -1)
    set_fair(f, 'run', math.max(0, f.run - 1))
end

local function back_to_backlog(j, job)
    call('ZADD', backlog(j.prio), j.tag, member_of(j, job))
end

-- An attempt ended without a result. `why` is a JSON string.
local function another_attempt(j, job, f, why, counts, most, released)
    leave_lane(j, f)
    if counts then
        set(j, 'fails', j.fails + 1)
        set(j, 'why', j.why and (j.why .. ',' .. why) or why)
    end
    if j.cancel then
        emit(j, 'cancelled', j.cancel, '')
        close(j, job, f, 'cancelled')
    elseif j.retry == '0' and released then
        emit(j, 'failed', '{"reason":"lease_lost","message":"the worker was lost and the job may not be run again"}', '')
        close(j, job, f, 'failed')
    elseif j.fails >= most then
        emit(j, 'dead', '{"reasons":[' .. (j.why or '') .. ']}', '')
        close(j, job, f, 'dead')
    else
        emit(j, 'retried', '{"reason":' .. why .. '}', '')
        set(j, 'status', 'queued')
        back_to_backlog(j, job)
    end
end

---- append and finish ----

-- The guard of a step: nil when it may be taken, else the answer.
local function refuse_step(j, act, attempt, n)
    if OFF.fencing and j then return nil end
    if ANSWERS[act] then return act end
    if attempt ~= j.attempt then return 'fenced' end
    if n <= j.n then return 'dup' end
    if act == 'over' then return 'fenced' end
    if n ~= j.n + 1 then return 'conflict' end
    return nil
end

-- Appends the drafts ARGV[from..] (type, d, b); returns the type of the last one.
local function take_drafts(j, from)
    local kind
    for i = from, #ARGV, 3 do
        kind = ARGV[i]
        emit(j, kind, ARGV[i + 1], ARGV[i + 2])
        if kind == 'started' then
            set(j, 'started', j.ms)
            set(j, 'released', j.attempt)
        end
    end
    return kind
end

-- The owner has read the client events up to `seq`.
local function inputs_read(j, seq)
    if j.inb > 0 and seq >= j.ins then set(j, 'inb', 0) end
end
