-- SPDX-License-Identifier: Apache-2.0
-- A version of an idle session's state lies in the object `place` and was read back: its blob leaves Redis, if it is still the
-- same version. The object stays a deletion that was put off, until here. Version '': nothing is left to move, or nothing ever
-- was, for a large state is an object from the first. A session without a blob in Redis is cold, and lives for `ttl` ms more.
local session, version, record, place, ttl = unpack(ARGV)
need_state()
need(PACKS, 'zset')
local s = session_load()
local alive = s and session_state(s) ~= 'gone'
local over = not s or s.status == 'gone' -- one that is only due leaves SIDLE when it is expired
if version ~= '' then
    local until_ms = tonumber(call('ZSCORE', PACKS, place) or 0)
    if until_ms <= now() then return {'fenced'} end
    if not alive or call('HGET', STATES, version) ~= record then
        call('ZADD', PACKS, text(now()), place)
        if over then call('ZREM', SIDLE, session) end
        return {'conflict'}
    end
    call('HSET', STATES, version, (string.gsub(record, '^(%d+ %d+) %- ', function(head) return head .. ' ' .. place .. ' ' end)))
    call('HDEL', BLOBS, version)
    call('ZREM', PACKS, place)
end
if (alive or over) and call('HLEN', BLOBS) == 0 then
    call('ZREM', SIDLE, session)
    if alive and s.status == 'live' and call('HLEN', STATES) > 0 then
        local present = call('HGET', STATES, s.version) -- none: it is an empty one
        local object = present and ',"object":"' .. state_place(present) .. '"' or ''
        sset(s, 'status', 'cold')
        session_emit(s, 'state_archived', '{"version":' .. text(s.version) .. object .. '}')
        session_keep(s, session, tonumber(ttl))
        session_save(s)
    end
end
return {'ok'}
