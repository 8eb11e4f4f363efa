-- SPDX-License-Identifier: Apache-2.0
-- What a run left in its workspace becomes the session's table, right before the run's finish. Files that it removed or replaced are only
-- marked `gone` by it: until another run of the workspace says so too, this one may be lost and run again, from what it had found.
local FIXED = 13
local session, tenant, user, shared, created, ttl, max_files, max_bytes, job, attempt, source, expected, drops = unpack(ARGV)
need(SLOG, 'stream', SFILES, 'hash', SDUE, 'zset', DROP, 'list')
need_state()
local FIRST = FIXED + tonumber(drops) + 1
local j = call('HMGET', JOB, 'status', 'attempt')
if j[1] ~= 'running' or j[2] ~= attempt then return {'fenced'} end
local s = session_load()
local live = s and session_state(s) ~= 'gone'
if live and not session_mine(s, tenant, user) then return {'missing'} end
if expected ~= '0' and not (live and text(s.created) == expected) then return {'missing'} end
if live and ARGV[FIRST] and call('HEXISTS', SFILES, ARGV[FIRST]) == 1 then return {'dup'} end

local dropped, known, kept, bytes = {}, {}, 0, 0
for i = FIXED + 1, FIRST - 1 do dropped[ARGV[i]] = true end
local flat = live and call('HGETALL', SFILES) or {}
for i = 1, #flat, 2 do
    local r = cjson.decode(flat[i + 1])
    local f = {id = flat[i], record = flat[i + 1], gone = r.gone, drop = dropped[flat[i]]}
    f.stale = r.job == job and tonumber(r.attempt) < tonumber(attempt) -- of a lost attempt
    f.over = f.stale or (r.gone and r.gone ~= job)
    known[#known + 1] = f
    if not f.over and not f.drop then
        kept = kept + 1
        bytes = bytes + (r.size or 0)
    end
end
for i = FIRST, #ARGV, 3 do
    kept = kept + 1
    bytes = bytes + tonumber(ARGV[i + 1])
end
if kept > tonumber(max_files) then return {'full', 'files'} end
if bytes > tonumber(max_bytes) then return {'full', 'bytes'} end

if not live then -- a new life: nothing of the one that is over is left
    if s and s.status ~= 'gone' then session_close(s, session, 'session_expired', '{"idle_ms":' .. text(now() - s.ms) .. '}', 1000) end
    call('DEL', SESSION, SLOG, SFILES)
    s = session_make(tenant, user, shared, created)
end
local answer = {'ok', s.created}
for _, f in ipairs(known) do
    if f.over then
        file_remove(s, session, f.id, f.record)
        answer[#answer + 1] = f.id
        answer[#answer + 1] = f.record
    elseif f.drop and not f.gone then
        call('HSET', SFILES, f.id, '{"gone":"' .. job .. '",' .. string.sub(f.record, 2))
    elseif f.gone and not f.drop then
        call('HSET', SFILES, f.id, '{' .. string.sub(f.record, #'{"gone":"",' + #job + 1))
    end
end
for i = FIRST, #ARGV, 3 do file_add(s, ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]) end
session_keep(s, session, tonumber(ttl))
session_save(s)
return answer
