-- SPDX-License-Identifier: Apache-2.0
-- A new version of a session's state that comes from no run: an upload, a rewind, a fork, or (seal '') an empty one. It names
-- the version that it follows; makes the session where there is none. `copy`: the blob is that of an older version.
local session, tenant, user, created, expected, kind, base, place, from, seal, keep, ttl, d, copy, blob = unpack(ARGV)
need_state()
local s = session_load()
if s and (session_state(s) == 'gone' or not session_mine(s, tenant, user)) then return {'missing'} end
if s and seal ~= '' and s.version == tonumber(expected) + 1 then -- a repeat after a lost answer
    local record = call('HGET', STATES, s.version)
    if record and string.sub(record, -#seal) == seal then return {'ok', s.version, s.due, s.ms} end
end
if state_ahead(s) then error({err = 'WRONGTYPE ' .. STATES .. ' is ahead of its session'}) end
if (s and s.version or 0) ~= tonumber(expected) then return {'conflict', s and s.version or 0} end
if copy ~= '' then
    local record = call('HGET', STATES, copy)
    if not record then return {'conflict', s.version} end
    place = state_place(record)
    blob = place == '-' and call('HGET', BLOBS, copy) or ''
end
if not s then s = session_make(tenant, user, '0', created) end
state_put(s, session, kind, tonumber(base), place, from, seal, blob, tonumber(keep), tonumber(ttl), d)
session_save(s)
return {'ok', s.version, s.due, s.ms}
