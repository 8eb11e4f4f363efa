-- SPDX-License-Identifier: Apache-2.0
-- Ends a session that is due.
local session, keep = unpack(ARGV)
need(SFILES, 'hash')
need_state()
local s = session_load()
if not s or s.status == 'gone' then
    call('ZREM', SDUE, session)
    return {s and 'dup' or 'missing'}
end
if s.due > now() then return {'conflict'} end
local d = '{"idle_ms":' .. text(now() - s.ms) .. '}'
return {'ok', s.created, s.tenant, unpack(session_close(s, session, 'session_expired', d, keep))}
