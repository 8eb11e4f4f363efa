-- SPDX-License-Identifier: Apache-2.0
-- A job has waited for a worker as long as it may.
local job, prefix = unpack(ARGV)
need(COUNT, 'hash', DUE, 'zset', ORDER, 'list')
need_lane()
local j = load(JOB)
local act = action(j)
local till = call('ZSCORE', WAITING, job)
if act ~= 'lapse' then
    call('ZREM', WAITING, job) -- left there by a script of before
    return {act}
end
if not till or tonumber(till) > now() then return {'conflict'} end
local f = load_fair()
emit(j, 'failed', '{"reason":"queue_timeout","message":"no worker took it in ' .. text(j.wait) .. ' ms"}', '')
leave_queue(j, job, f)
close(j, job, f, 'failed')
save(j)
refill(f)
save_fair(f)
publish(j, job, prefix)
return {'ok'}
