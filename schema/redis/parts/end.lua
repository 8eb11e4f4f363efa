-- SPDX-License-Identifier: Apache-2.0
-- Ends of jobs and of attempts.

-- The session's next ordered job leaves the queue of its session for the backlog of its class.
local function release_next(j, job, f)
    if j.ordered ~= '1' then return end
    local first = call('LINDEX', ORDER, 0)
    local was_first = first and string.match(first, '^%S+') == job
    call('LREM', ORDER, 1, table.concat({job, j.cost, j.prio, j.class, j.tag, j.tenant}, ' '))
    local next = was_first and call('LINDEX', ORDER, 0)
    if not next then return end
    local id, cost, q, class, tag, tenant = string.match(next, '^(%S+) (%d+) (%d) (%S+) (%d+) (.*)$')
    local member = id .. ' ' .. cost .. ' ' .. tenant
    if class == j.class then
        to_backlog(f, tonumber(q), tag, member)
    else -- that lane's next heartbeat finds it
        call('ZADD', (string.gsub(COUNT, 'count$', 'c:' .. class .. ':b' .. q)), tag, member)
    end
end

-- The job is over: `status` is the type of the terminal event just emitted.
local function close(j, job, f, status)
    set(j, 'status', status)
    set(j, 'finished', j.ms)
    local count = call('HMGET', COUNT, 'jobs', 't:' .. j.tenant, 'bytes')
    call('HSET', COUNT, 'jobs', math.max(0, tonumber(count[1] or 0) - 1), 't:' .. j.tenant,
         math.max(0, tonumber(count[2] or 0) - 1), 'bytes', tonumber(count[3] or 0) + account(j, true))
    call('ZADD', DUE, j.ms + j.ttl, job)
    release_next(j, job, f)
end

local function leave_lane(j, f)
    drop_entry(j.entry)
    add_share(f, j.tenant, -1)
    set_fair(f, 'run', math.max(0, f.run - 1))
end
