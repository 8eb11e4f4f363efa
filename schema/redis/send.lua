-- SPDX-License-Identifier: Apache-2.0
-- A client event for the job's owner.
local INBOX_MAX, RESERVE = 65536, 4096
local job, prefix, tenant, sender, count, kind, d, b = unpack(ARGV)
local j = load(JOB)
local act = action(j)
if j and j.tenant ~= tenant then return {'missing'} end
if j and tonumber(j['c:' .. sender] or 0) >= tonumber(count) then return {'dup'} end
if act ~= 'input' then return {act} end
-- Its program's standard input has ended already. The api writes this near the request's end, and no string can hold it unescaped.
if kind == 'input' and string.find(call('GETRANGE', REQ, -1024, -1), '"stdin_open":false', 1, true) then return {'closed'} end
local size = math.max(1, #b + #d)
-- Input that the program does not read leaves room for what ends or interrupts it.
local room = (kind == 'input' or kind == 'tool_result') and INBOX_MAX or INBOX_MAX + RESERVE
-- What a tool gave back has a bound of its own, the api's; it goes in when the owner has read all before it.
if j.inb + size > room and not (kind == 'tool_result' and j.inb == 0) then return {'full'} end
emit(j, kind, d, b)
set(j, 'inb', j.inb + size)
set(j, 'ins', j.seq)
set(j, 'c:' .. sender, count)
save(j)
publish(j, job, prefix, j.status == 'running' and j.to)
return {'ok'}
