-- SPDX-License-Identifier: Apache-2.0
-- The backlog, the fair order, the ready lane.
local REFILL_MAX, RESERVE_MS, RESERVE_FROM = 64, 10000, 4

-- With the tag and share of one tenant, if given. Changes go through set_fair(), save_fair() writes them at once.
local function load_fair(tenant, q)
    local tag = tenant and 't' .. q .. ':' .. tenant or 'none'
    local share = tenant and 'r:' .. tenant or 'none'
    local v = call('HMGET', FAIR, 'v0', 'v1', 'v2', 'm0', 'm1', 'm2', 'cap', 'run', 'w', 'w1', 'w2', 'u1', 'u2', 'hn', 'hw', 'hp',
                   tag, share)
    local f = {v0 = tonumber(v[1] or 0), v1 = tonumber(v[2] or 0), v2 = tonumber(v[3] or 0), m0 = tonumber(v[4] or 0),
               m1 = tonumber(v[5] or 0), m2 = tonumber(v[6] or 0), cap = tonumber(v[7] or 0), run = tonumber(v[8] or 0),
               w = tonumber(v[9] or 0), w1 = tonumber(v[10] or 0), w2 = tonumber(v[11] or 0), u1 = v[12], u2 = v[13],
               hn = tonumber(v[14] or 0), hw = v[15], hp = v[16], changed = {}}
    if tenant then
        f[tag] = tonumber(v[17] or 0)
        f[share] = tonumber(v[18] or 0)
    end
    return f
end

local function set_fair(f, name, value)
    if f[name] == value then return end
    f[name] = value
    f.changed[name] = true
end

local function save_fair(f)
    save_changed(FAIR, f, f.changed)
end

local function backlog(q)
    return q == 0 and B0 or q == 1 and B1 or B2
end

local function need_lane()
    need(FAIR, 'hash', READY, 'stream', B0, 'zset', B1, 'zset', B2, 'zset')
end

local function member_of(j, job)
    return job .. ' ' .. j.cost .. ' ' .. j.tenant
end

local function to_backlog(f, q, tag, member)
    if call('ZADD', backlog(q), tag, member) == 1 then set_fair(f, 'w', f.w + 1) end
end

-- Jobs of a tenant in the lane or running.
local function share_of(f, tenant)
    local name = 'r:' .. tenant
    if not f[name] then f[name] = tonumber(call('HGET', FAIR, name) or 0) end
    return f[name]
end

local function add_share(f, tenant, change)
    set_fair(f, 'r:' .. tenant, math.max(0, share_of(f, tenant) + change))
end

-- May the tenant take one more slot? While others are about, one slot is kept free of those who hold all the rest.
local function may_take(f, tenant)
    if f.cap < RESERVE_FROM then return true end
    local other = f.u1 == tenant and f.w2 or f.w1
    if other < now() - RESERVE_MS then return true end
    return share_of(f, tenant) < f.cap - 1
end

-- How many wait in the lane: what is claimed stays in it until its end.
local function lane_of(f)
    return math.max(0, call('XLEN', READY) - f.run)
end

-- How many more the lane may hold, that holds so many.
local function room_of(f, lane)
    return math.min(REFILL_MAX, math.max(1, f.cap - f.run) - lane)
end

local function to_lane(f, q, job, tag, cost, tenant)
    add_share(f, tenant, 1)
    set_fair(f, 'v' .. q, math.max(f['v' .. q], tag - cost))
    return call('XADD', READY, '*', 'j', job)
end

local function head_of(f, q)
    local head = redis.pcall('ZRANGE', backlog(q), 0, 0, 'WITHSCORES')
    if head.err or #head == 0 then return false end
    local job, cost, tenant = string.match(head[1], '^(%S+) (%d+) (.*)$')
    if not may_take(f, tenant) then return false end
    return {member = head[1], tag = tonumber(head[2]), job = job, cost = tonumber(cost), tenant = tenant}
end

-- Smooth weighted round robin, 8:3:1, over the priorities that have a job.
local SHARES = {[0] = 8, [1] = 3, [2] = 1}
local function choose(f, heads)
    local best, only, count, total = nil, nil, 0, 0
    for q = 0, 2 do
        if heads[q] then
            only = q
            count = count + 1
        end
    end
    if count < 2 then return only end
    for q = 0, 2 do
        if heads[q] then
            total = total + SHARES[q]
            set_fair(f, 'm' .. q, f['m' .. q] + SHARES[q])
            if not best or f['m' .. q] > f['m' .. best] then best = q end
        end
    end
    set_fair(f, 'm' .. best, f['m' .. best] - total)
    return best
end

local function refill(f)
    if f.w <= 0 then return end
    local room = room_of(f, lane_of(f))
    if room <= 0 then return end
    local heads = {}
    for q = 0, 2 do heads[q] = head_of(f, q) end
    while room > 0 do
        local q = choose(f, heads)
        if not q then return end
        local head = heads[q]
        call('ZREM', backlog(q), head.member)
        set_fair(f, 'w', f.w - 1)
        to_lane(f, q, head.job, head.tag, head.cost, head.tenant)
        room = room - 1
        if room > 0 then heads[q] = head_of(f, q) end
    end
end

local function drop_entry(entry)
    call('XACK', READY, GROUP, entry)
    call('XDEL', READY, entry)
end

-- What a worker says of itself: the jobs that it holds and the slots that are free. '' says: as it told last.
local function tell(f, worker, capacity)
    if capacity == '' then return end
    local old = tonumber(string.match(call('HGET', WORKERS, worker) or '0', '^%d+'))
    call('HSET', WORKERS, worker, capacity .. ' ' .. now())
    set_fair(f, 'cap', math.max(0, f.cap + tonumber(capacity) - old))
end

-- The last worker that had a free slot stands in the fair order (its name, its process, how many), so that submit can hand a
-- job to it without a claim. Too many is harmless: it takes one more than it has slots for.
local function offer(f, worker, process, free)
    if free == '0' and f.hw ~= worker then return end
    set_fair(f, 'hn', tonumber(free))
    set_fair(f, 'hw', worker)
    set_fair(f, 'hp', process)
end
