-- SPDX-License-Identifier: Apache-2.0
-- An archiver takes jobs whose logs are to leave: those due, or (ARGV[2] = 1: memory presses) the oldest of the others.
-- Answers the store's clock and the jobs with their scores. Taken ones are due again when the lease is over, so that
-- nobody else takes them meanwhile and none is forgotten.
local most, pressed, lease = unpack(ARGV)
need(COUNT, 'hash', DUE, 'zset')
call('HSET', COUNT, 'archiver', text(now()))
local until_ms = now() + tonumber(lease)
local from, to = '-inf', text(now())
if pressed == '1' then from, to = '(' .. text(until_ms), '+inf' end
local jobs = call('ZRANGE', DUE, from, to, 'BYSCORE', 'LIMIT', 0, most, 'WITHSCORES')
local answer = {'ok', now()}
for i = 1, #jobs, 2 do
    call('ZADD', DUE, until_ms, jobs[i])
    answer[#answer + 1] = jobs[i]
    answer[#answer + 1] = tonumber(jobs[i + 1])
end
return answer
