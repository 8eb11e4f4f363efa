-- SPDX-License-Identifier: Apache-2.0
-- The owner hands a claimed job back. ARGV[4]: the reason as a JSON string, [5]: counts as an attempt without a
-- result, [6]: how many of those there may be, [7]: the program was released.
local job, prefix, attempt, why, counts, most, released, worker, capacity = unpack(ARGV)
need(COUNT, 'hash', DUE, 'zset', ORDER, 'list', WAITING, 'zset', WORKERS, 'hash')
need_lane()
local j = load(JOB)
local act = action(j)
attempt = tonumber(attempt)
if act == 'missing' then return {act} end
if attempt ~= j.attempt then return {'fenced'} end
if act ~= 'hand' then return {'dup'} end
local f = load_fair()
another_attempt(j, job, f, why, counts == '1', tonumber(most), released == '1' or j.released == j.attempt)
tell(f, worker, capacity)
save(j)
refill(f)
save_fair(f)
publish(j, job, prefix)
return {'ok'}
