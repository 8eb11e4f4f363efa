-- SPDX-License-Identifier: Apache-2.0
-- The session's table of files: id -> record, which is the `d` of file_added with `ms` in front.
local function file_add(s, id, size, record)
    call('HSET', SFILES, id, '{"ms":' .. text(now()) .. ',' .. string.sub(record, 2))
    sset(s, 'files', s.files + 1)
    sset(s, 'bytes', s.bytes + size)
    session_emit(s, 'file_added', record)
end

local function file_remove(s, session, id, record)
    local r = cjson.decode(record)
    local object = file_object(s, session, id, record)
    if object then call('RPUSH', DROP, object) end
    call('HDEL', SFILES, id)
    sset(s, 'files', math.max(0, s.files - 1))
    sset(s, 'bytes', math.max(0, s.bytes - (r.size or 0)))
    session_emit(s, 'file_removed', '{"path":' .. cjson.encode(r.path) .. ',"id":"' .. id .. '"}')
end
