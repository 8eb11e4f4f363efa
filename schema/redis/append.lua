-- SPDX-License-Identifier: Apache-2.0
-- Events of a running attempt.
local job, prefix, attempt, n, read = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
need(COUNT, 'hash')
local j = load(JOB)
local refused = refuse_step(j, attempt, n)
if refused then return {refused, j and j.ins or 0} end
inputs_read(j, read)
take_drafts(j, 6)
set(j, 'n', n)
local owed = account(j, false)
if owed > 0 then call('HINCRBY', COUNT, 'bytes', owed) end
save(j)
publish(j, job, prefix)
return {'ok', j.ins, j.last}
