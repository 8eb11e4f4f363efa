-- SPDX-License-Identifier: Apache-2.0
-- A lapsed lease is taken over: only if entry, attempt and heartbeat counter are still the ones seen.
local job, prefix, entry, attempt, hb, most = unpack(ARGV)
need(COUNT, 'hash', DUE, 'zset', ORDER, 'list', WAITING, 'zset')
need_lane()
local j = load(JOB)
local act = action(j)
if #call('XPENDING', READY, GROUP, entry, entry, 1) == 0 then return {'conflict'} end
if act == 'take' and j.entry == entry then
    if j.attempt ~= tonumber(attempt) or j.hb ~= tonumber(hb) then return {'conflict'} end
    local f = load_fair()
    emit(j, 'lease_lost', '{"worker":' .. cjson.encode(j.worker) .. '}', '')
    another_attempt(j, job, f, '"lease_lost"', true, tonumber(most), j.released == j.attempt)
    save(j)
    refill(f)
    save_fair(f)
    publish(j, job, prefix, j.to)
    return {'ok'}
end
-- Delivered and never claimed, or left behind by an end that its worker did not see.
put_back(j, job, entry, act == 'back')
return {act == 'back' and 'ok' or 'conflict'}
