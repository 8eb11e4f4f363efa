-- SPDX-License-Identifier: Apache-2.0
-- Takes one file out of the session's table; answers its record.
local session, tenant, user, id = unpack(ARGV)
need(SLOG, 'stream', SFILES, 'hash', SDUE, 'zset', DROP, 'list')
local s = session_load()
local act = session_action(s, tenant, user)
if act == 'missing' then return {act} end
local record = call('HGET', SFILES, id)
if not record then return {'missing'} end
file_remove(s, session, id, record)
session_save(s)
return {'ok', s.created, id, record}
