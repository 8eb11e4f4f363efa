-- A lapsed lease is taken over: only if entry, attempt and heartbeat counter are still the ones seen.
local job, prefix, entry, attempt, hb, most = unpack(ARGV)
need(JOB, 'hash', LOG, 'stream', COUNT, 'hash', DUE, 'zset', ORDER, 'list')
need_lane()
local j = load(JOB)
local act = action(j, 'reap')
if #call('XPENDING', READY, GROUP, entry, entry, 1) == 0 then return {'conflict'} end
local f = load_fair()
if act == 'back' or act == 'missing' or act == 'conflict' then
    -- delivered and never claimed, or left behind by an end that this worker did not see
    drop_entry(entry)
    if act == 'back' then
        add_share(j.tenant, -1)
        back_to_backlog(j, job)
    end
    refill(f)
    save_fair(f)
    return {act == 'back' and 'ok' or act}
end
if j.entry ~= entry then
    drop_entry(entry)
    return {'conflict'}
end
if j.attempt ~= tonumber(attempt) or j.hb ~= tonumber(hb) then return {'conflict'} end
emit(j, 'lease_lost', '{"worker":' .. cjson.encode(j.worker) .. '}', '')
another_attempt(j, job, f, '"lease_lost"', true, tonumber(most), j.released == j.attempt)
account(j)
save(j)
refill(f)
save_fair(f)
publish(j, job, prefix, j.to)
return {'ok'}
