-- SPDX-License-Identifier: Apache-2.0
-- A session and its files: all of them (ARGV[3] = '*'), or those named.
local s = session_load()
if not s then -- it holds nothing yet, but jobs that use its state wait or run
    local job = call('LINDEX', ORDER, 0)
    local owner = job and string.match(job, '^%S+ %d+ %d %S+ %d+ (.*)$')
    if owner ~= ARGV[1] then return {'missing'} end
    return {'ok', owner, '', '0', 'live', 0, 0, 0, 0, 0, 0, 0, now()}
end
if session_state(s) == 'gone' or not session_mine(s, ARGV[1], ARGV[2]) then return {'missing'} end
local list = {'ok', s.tenant, s.user, s.shared, s.status, s.created, s.ms, s.due, s.files, s.bytes, s.seq, s.version, now()}
if ARGV[3] == '*' then
    local flat = call('HGETALL', SFILES)
    for i = 1, #flat do list[#list + 1] = flat[i] end
    return list
end
for i = 3, #ARGV do
    local record = call('HGET', SFILES, ARGV[i])
    if record then
        list[#list + 1] = ARGV[i]
        list[#list + 1] = record
    end
end
return list
