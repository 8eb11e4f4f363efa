-- SPDX-License-Identifier: Apache-2.0
-- Ends a session because its owner wants so.
local session, keep, tenant, user, d = unpack(ARGV)
need(SFILES, 'hash')
need_state()
local s = session_load()
local act = session_action(s, tenant, user)
if act ~= 'end' then return {act} end
return {'ok', s.created, s.tenant, unpack(session_close(s, session, 'session_deleted', d, keep))}
