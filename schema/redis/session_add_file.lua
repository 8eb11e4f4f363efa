-- SPDX-License-Identifier: Apache-2.0
-- Puts files (id, size, record) into the session's table, all or none; makes the session where there is none.
local FIRST = 12
local session, tenant, user, shared, created, ttl, max_files, max_bytes, job, attempt, source = unpack(ARGV)
need(SLOG, 'stream', SFILES, 'hash', SDUE, 'zset', DROP, 'list')
local s = session_load()
local act = session_action(s, tenant, user)
if act == 'missing' and (s or created == '') then return {act} end
if call('HEXISTS', SFILES, ARGV[FIRST]) == 1 then return {'dup'} end

-- Of an attempt: it must be the present one, and what an earlier one left goes.
local old = {}
if job ~= '' then
    local j = call('HMGET', JOB, 'status', 'attempt')
    if j[1] ~= 'running' or j[2] ~= attempt then return {'fenced'} end
end
local count, bytes, paths = 0, 0, {}
for i = FIRST, #ARGV, 3 do
    count = count + 1
    bytes = bytes + tonumber(ARGV[i + 1])
    paths[cjson.decode(ARGV[i + 2]).path] = true
end
local files, stored = s and s.files or 0, s and s.bytes or 0
local function is_full()
    return files + count > tonumber(max_files) or stored + bytes > tonumber(max_bytes)
end
-- Room is made by what a run replaces: its older outputs of the same path, the oldest first.
if s and ((job ~= '' and tonumber(attempt) > 1) or (source == 'run' and is_full())) then
    local flat, known = call('HGETALL', SFILES), {}
    for i = 1, #flat, 2 do
        local r = cjson.decode(flat[i + 1])
        local stale = job ~= '' and r.job == job and r.attempt < tonumber(attempt)
        known[#known + 1] = {id = flat[i], record = flat[i + 1], ms = r.ms, size = r.size, path = r.path,
                             stale = stale, run = r.source == 'run'}
    end
    table.sort(known, function(a, b)
        if a.ms ~= b.ms then return a.ms < b.ms end
        return a.id < b.id
    end)
    for _, f in ipairs(known) do
        if f.stale or (is_full() and f.run and paths[f.path]) then
            old[#old + 1] = f
            files, stored = files - 1, stored - f.size
        end
    end
end
if files + count > tonumber(max_files) then return {'full', 'files'} end
if stored + bytes > tonumber(max_bytes) then return {'full', 'bytes'} end

if not s then s = session_make(tenant, user, shared, created) end
local answer = {'ok', s.created}
for _, f in ipairs(old) do
    file_remove(s, session, f.id, f.record)
    answer[#answer + 1] = f.id
    answer[#answer + 1] = f.record
end
for i = FIRST, #ARGV, 3 do file_add(s, ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]) end
session_keep(s, session, tonumber(ttl))
session_save(s)
return answer
