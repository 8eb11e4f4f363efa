-- SPDX-License-Identifier: Apache-2.0
-- The end of a session. What is left for `keep` ms is its log and a tombstone, which wins over everything later.
-- Answers its files (id, record), so that their objects can be deleted.
local function session_close(s, session, kind, d, keep)
    local records = call('HGETALL', SFILES)
    sset(s, 'status', 'gone')
    sset(s, 'files', 0)
    sset(s, 'bytes', 0)
    session_emit(s, kind, d)
    session_save(s)
    for i = 1, #records, 2 do
        local object = file_object(s, session, records[i], records[i + 1])
        if object then call('RPUSH', DROP, object) end
    end
    local named, states = {}, call('HVALS', STATES)
    for i = 1, #states do
        local place = state_place(states[i])
        if place ~= '-' and not named[place] then
            named[place] = true
            call('RPUSH', DROP, place)
        end
    end
    call('DEL', SFILES, STATES, BLOBS)
    call('ZREM', SDUE, session)
    call('ZREM', SIDLE, session)
    call('PEXPIRE', SESSION, keep)
    call('PEXPIRE', SLOG, keep)
    return records
end
