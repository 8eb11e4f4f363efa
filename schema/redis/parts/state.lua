-- SPDX-License-Identifier: Apache-2.0
-- The versions of a session's state. STATES: version -> record '<base> <ms> <place> <from> <seal>'; place '-' is BLOBS, else the
-- name of an object; from is 'job:attempt', 'upload', 'fork' or 'rewind'. A version without a record is empty.
-- '-' also of a record that cannot be read.
local function state_place(record)
    return string.match(record, '^%d+ %d+ (%S+) ') or '-'
end

-- What lies further back than the last `keep` versions goes. Objects that no record names any more are noted for deletion.
local function state_trim(s, keep)
    if call('HLEN', STATES) <= keep then return end
    local flat, named, old = call('HGETALL', STATES), {}, {}
    for i = 1, #flat, 2 do
        if (tonumber(flat[i]) or 0) <= s.version - keep then
            old[flat[i]] = state_place(flat[i + 1])
        else
            named[state_place(flat[i + 1])] = true
        end
    end
    for version, place in pairs(old) do
        call('HDEL', STATES, version)
        if place == '-' then
            call('HDEL', BLOBS, version)
        elseif not named[place] then
            call('RPUSH', DROP, place)
            named[place] = true
        end
    end
end

-- There is a record of the version that is to be made: the session's own number was lost.
local function state_ahead(s)
    return call('HEXISTS', STATES, (s and s.version or 0) + 1) == 1
end

-- The next version. seal '': an empty one. `d`: what else the event says, '' or ',"name":value...'. A live session with any version
-- that is not empty is in SIDLE, wherever the version lies, so that an archiver finds it.
local function state_put(s, session, kind, base, place, from, seal, blob, keep, ttl, d)
    local version = s.version + 1
    sset(s, 'version', version)
    sset(s, 'status', 'live')
    session_emit(s, kind, '{"version":' .. text(version) .. ',"base":' .. text(base) .. d .. '}')
    if seal ~= '' then
        call('HSET', STATES, version, table.concat({text(base), text(s.ms), place, from, seal}, ' '))
        if place == '-' then call('HSET', BLOBS, version, blob) end
    end
    state_trim(s, keep)
    if seal ~= '' or call('HLEN', STATES) > 0 then
        call('ZADD', SIDLE, now(), session)
    else
        call('ZREM', SIDLE, session)
    end
    session_keep(s, session, ttl)
end

local function need_state()
    need(SESSION, 'hash', SLOG, 'stream', SDUE, 'zset', STATES, 'hash', BLOBS, 'hash', DROP, 'list', SIDLE, 'zset')
end
