-- SPDX-License-Identifier: Apache-2.0
-- A worker keeps its leases, tells its capacity and learns what it has not read.
-- ARGV: worker, capacity, process, free slots, then for each job: attempt, lane entry, client events read. KEYS: the jobs behind the lane's.
local worker, capacity, process, free, first = ARGV[1], ARGV[2], ARGV[3], ARGV[4], 6
need(WORKERS, 'hash')
need_lane()
local keep, result, jobs = {}, {'ok'}, (#ARGV - 4) / 3
for i = 1, jobs do need(KEYS[first + i], 'hash') end
for i = 1, jobs do
    local key, attempt, entry, read = KEYS[first + i], ARGV[3 * i + 2], ARGV[3 * i + 3], tonumber(ARGV[3 * i + 4])
    local j = call('HMGET', key, 'status', 'attempt', 'entry', 'ins', 'inb')
    local act = not j[1] and ACTIONS.none or ACTIONS[j[1]] or ACTIONS.terminal
    if act == 'beat' and j[2] == attempt and j[3] == entry then
        call('HINCRBY', key, 'hb', 1)
        local ins = tonumber(j[4] or 0)
        if tonumber(j[5] or 0) > 0 and read >= ins then call('HSET', key, 'inb', 0) end
        keep[#keep + 1] = entry
        result[#result + 1] = ins
    else
        result[#result + 1] = -1
    end
end
if #keep > 0 then
    local command = {'XCLAIM', READY, GROUP, worker, 0}
    for _, entry in ipairs(keep) do command[#command + 1] = entry end
    command[#command + 1] = 'JUSTID'
    call(unpack(command))
end
local f = load_fair()
-- `w` is only kept along by the other scripts; here it is made right.
set_fair(f, 'w', call('ZCARD', B0) + call('ZCARD', B1) + call('ZCARD', B2))
tell(f, worker, capacity)
offer(f, worker, process, free)
refill(f)
save_fair(f)
return result
