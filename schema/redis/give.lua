-- SPDX-License-Identifier: Apache-2.0
-- A worker had no slot for what was delivered to it: back into the backlog, with the old tag.
local job, prefix, entry = unpack(ARGV)
need_lane()
local j = load(JOB)
local act = action(j)
if #call('XPENDING', READY, GROUP, entry, entry, 1) == 0 then return {'dup'} end
if act == 'conflict' and j.entry == entry and j.status == 'running' then return {'conflict'} end
put_back(j, job, entry, act == 'back')
return {act == 'back' and 'ok' or act}
