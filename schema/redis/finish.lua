-- SPDX-License-Identifier: Apache-2.0
-- The last append of an attempt: its facts, its end, and what follows for the queue, in one step.
local job, prefix, attempt, n, read = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local cost, worker, capacity, process, free = tonumber(ARGV[6]), ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local j = load(JOB)
local refused = refuse_step(j, attempt, n)
if refused then return {refused} end
need(COUNT, 'hash', DUE, 'zset', READY, 'stream', WAITING, 'zset')
if j.ordered == '1' then need(ORDER, 'list', B0, 'zset', B1, 'zset', B2, 'zset') end
if capacity ~= '' then need(WORKERS, 'hash') end
local f = load_fair(j.tenant, j.prio)
inputs_read(j, read)
local last = take_drafts(j, 11)
set(j, 'n', n)
leave_lane(j, f)
close(j, job, f, last)
local field = 't' .. j.prio .. ':' .. j.tenant
set_fair(f, field, math.max(0, f[field] + cost - j.cost))
tell(f, worker, capacity)
offer(f, worker, process, free)
save(j)
refill(f)
publish(j, job, prefix)
take_next(f, worker, prefix)
save_fair(f)
return {'ok'}
