-- SPDX-License-Identifier: Apache-2.0
-- A job has waited for a worker as long as it may.
local job, prefix = unpack(ARGV)
need(COUNT, 'hash', DUE, 'zset', ORDER, 'list')
need_lane()
local j = load(JOB)
local act = action(j)
local till = call('ZSCORE', WAITING, job)
if act ~= 'lapse' then
    call('ZREM', WAITING, job) -- left there by a script of before; the job may be deleted by now
    return {act}
end
if not till or tonumber(till) > now() then return {'conflict'} end
end_waiting(j, job, prefix, 'failed', '{"reason":"queue_timeout","message":"no worker took it in ' .. text(j.wait) .. ' ms"}')
return {'ok'}
