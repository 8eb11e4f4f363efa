-- A client event for the job's owner.
local job, prefix, tenant, sender, count, kind, d, b = unpack(ARGV)
need(JOB, 'hash', LOG, 'stream', COUNT, 'hash')
local j = load(JOB)
local act = action(j, 'send')
if j and j.tenant ~= tenant then return {'missing'} end
if j and tonumber(j['c:' .. sender] or 0) >= tonumber(count) then return {'dup'} end
if act ~= 'input' then return {act} end
local size = #b + #d
if j.inb + size > INBOX_MAX then return {'full'} end
emit(j, kind, d, b)
if j.inb == 0 then set(j, 'inid', j.last) end
set(j, 'inb', j.inb + math.max(size, 1))
set(j, 'ins', j.seq)
set(j, 'c:' .. sender, count)
account(j)
save(j)
publish(j, job, prefix, j.status == 'running' and j.to)
return {'ok'}
