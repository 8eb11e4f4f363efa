-- SPDX-License-Identifier: Apache-2.0
-- A worker begins an attempt at the job of a lane entry.
local job, prefix, entry, worker, capacity, process = unpack(ARGV)
local j = load(JOB)
local f = load_fair()
local act = action(j)

local function answer(word)
    return {word, j.attempt, call('GET', REQ) or '', j.tenant, j.user, j.lang, j.session, j.retry, j.created, j.ms,
            j.seq, j.last, j.ins, j.class, j.cancel or ''}
end

if act == 'again' then
    if j.entry == entry and j.worker == worker then return answer('dup') end
    return {'fenced'}
end
-- An entry that is no longer pending for this worker was given to another: a lease on it would be watched by nobody.
if #call('XPENDING', READY, GROUP, entry, entry, 1, worker) == 0 then return {'fenced'} end
if capacity ~= '' then need(WORKERS, 'hash') end
if act ~= 'start' then
    drop_entry(entry)
    tell(f, worker, capacity)
    refill(f)
    save_fair(f)
    return {act}
end
set(j, 'status', 'running')
set(j, 'attempt', j.attempt + 1)
set(j, 'n', 0)
set(j, 'hb', 0)
set(j, 'entry', entry)
set(j, 'worker', worker)
set(j, 'to', process)
emit(j, 'claimed', '{"worker":' .. cjson.encode(worker) .. '}', '')
set(j, 'claimed', j.ms)
save(j)
tell(f, worker, capacity)
set_fair(f, 'run', f.run + 1)
refill(f)
save_fair(f)
publish(j, job, prefix)
return answer('ok')
