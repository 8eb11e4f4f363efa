-- SPDX-License-Identifier: Apache-2.0
-- An event of a session that changes nothing else: it was forked.
local tenant, user, kind, d = unpack(ARGV)
need(SLOG, 'stream')
local s = session_load()
if not s or session_state(s) == 'gone' or not session_mine(s, tenant, user) then return {'missing'} end
session_emit(s, kind, d)
session_save(s)
return {'ok'}
