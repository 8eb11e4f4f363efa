-- SPDX-License-Identifier: Apache-2.0
-- A version of a session's state ('' = the present one) with its blob, or ('*') all records. `none`: there is no such session,
-- which is nobody's and free to be used, or (`pending`) will be this tenant's when a job of it ends; `missing`: it is somebody else's, or gone.
local tenant, user, version = unpack(ARGV)
local s = session_load()
if not s then
    need(ORDER, 'list')
    local first = call('LINDEX', ORDER, 0) -- its first jobs have not ended yet
    return {first and string.match(first, ' (%S+)$') == tenant and 'pending' or 'none'}
end
if session_state(s) == 'gone' or not session_mine(s, tenant, user) then return {'missing'} end
local head = {'ok', s.version, s.due, now(), s.created}
if version == '*' then
    local flat = call('HGETALL', STATES)
    for i = 1, #flat do head[#head + 1] = flat[i] end
    return head
end
local wanted = version == '' and text(s.version) or version
local record = call('HGET', STATES, wanted)
if not record then return head end
head[6] = wanted
head[7] = record
if state_place(record) == '-' then head[8] = call('HGET', BLOBS, wanted) or '' end
return head
