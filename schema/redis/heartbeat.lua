-- A worker keeps its leases, tells its capacity and learns what it has not read.
-- ARGV: worker, capacity, then for each job: attempt, lane entry, client events read. KEYS: the jobs behind the lane's.
local worker, capacity, first = ARGV[1], tonumber(ARGV[2]), 6
need(WORKERS, 'hash')
need_lane()
local keep, result, jobs = {}, {'ok'}, (#ARGV - 2) / 3
for i = 1, jobs do need(KEYS[first + i], 'hash') end
for i = 1, jobs do
    local key, attempt, entry, read = KEYS[first + i], ARGV[3 * i], ARGV[3 * i + 1], tonumber(ARGV[3 * i + 2])
    local now_is = call('HMGET', key, 'status', 'attempt', 'entry', 'ins', 'inb')
    local act = action(now_is[1] and {status = now_is[1]} or nil, 'heartbeat')
    if act == 'beat' and now_is[2] == attempt and now_is[3] == entry then
        call('HINCRBY', key, 'hb', 1)
        local ins = tonumber(now_is[4] or 0)
        if tonumber(now_is[5] or 0) > 0 and read >= ins then call('HSET', key, 'inb', 0) end
        keep[#keep + 1] = entry
        result[#result + 1] = ins
    else
        result[#result + 1] = OFF.fencing and tonumber(now_is[4] or 0) or -1
    end
end
if #keep > 0 then
    local command = {'XCLAIM', READY, GROUP, worker, 0}
    for _, entry in ipairs(keep) do command[#command + 1] = entry end
    command[#command + 1] = 'JUSTID'
    call(unpack(command))
end
local f = load_fair()
tell(f, worker, capacity)
refill(f)
save_fair(f)
return result
