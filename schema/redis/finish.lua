-- The last append of an attempt: its facts, its end, and what follows for the queue, in one step.
local job, prefix, attempt, n, read = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local cost, worker, capacity = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
need(JOB, 'hash', LOG, 'stream', COUNT, 'hash', DUE, 'zset', ORDER, 'list', WORKERS, 'hash')
need_lane()
local j = load(JOB)
local refused = refuse_step(j, action(j, 'finish'), attempt, n)
if refused then return {refused} end
local f = load_fair()
inputs_read(j, read)
local last = take_drafts(j, 9)
set(j, 'n', n)
leave_lane(j, f)
close(j, job, f, last)
local field = 't' .. j.prio .. ':' .. j.tenant
local tag = tonumber(call('HGET', FAIR, field) or 0) + cost - j.cost
f[field] = math.max(tag, 0)
f.changed[field] = true
tell(f, worker, capacity)
account(j)
save(j)
refill(f)
save_fair(f)
publish(j, job, prefix)
return {'ok'}
