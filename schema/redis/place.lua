-- SPDX-License-Identifier: Apache-2.0
-- The place in the queue of a job that waits, 1 is next: the lane, the backlog of its priority, what waits behind its session. 0: it waits no more.
local job = unpack(ARGV)
local j = load(JOB)
if not j or j.status ~= 'queued' then return 0 end
local f = load_fair()
local lane = lane_of(f)
local rank = call('ZRANK', backlog(j.prio), member_of(j, job))
if rank then return lane + rank + 1 end
for i, entry in ipairs(call('XREVRANGE', READY, '+', '-', 'COUNT', REFILL_MAX)) do
    if entry[2][2] == job then return math.max(1, lane - i + 1) end
end
for i, one in ipairs(call('LRANGE', ORDER, 0, -1)) do
    if string.match(one, '^%S+') == job then return lane + call('ZCARD', backlog(j.prio)) + i - 1 end
end
return 1
