-- SPDX-License-Identifier: Apache-2.0
-- A worker begins an attempt at the job of a lane entry.
local job, prefix, entry, worker, capacity, process, free = unpack(ARGV)
local j = load(JOB)
local f = load_fair()
local act = action(j)

local function answer(word)
    return told(word, j, call('GET', REQ) or '')
end

if act == 'again' then
    if j.entry == entry and j.worker == worker then return answer('dup') end
    return {'fenced'}
end
-- An entry that is no longer pending for this worker was given to another: a lease on it would be watched by nobody.
if #call('XPENDING', READY, GROUP, entry, entry, 1, worker) == 0 then return {'fenced'} end
need(WAITING, 'zset')
if capacity ~= '' then need(WORKERS, 'hash') end
if act ~= 'start' then
    drop_entry(entry)
    tell(f, worker, capacity)
    refill(f)
    save_fair(f)
    return {act}
end
begin(j, f, entry, worker, process)
save(j)
tell(f, worker, capacity)
offer(f, worker, process, free)
refill(f)
save_fair(f)
publish(j, job, prefix)
return answer('ok')
