-- SPDX-License-Identifier: Apache-2.0
-- Appending to the log, and telling of it.
local MESSAGE_MAX, OWED_MAX = 65536, 65536

local events = {}
local function emit(j, kind, d, b)
    set(j, 'seq', j.seq + 1)
    set(j, 'ms', math.max(now(), j.ms))
    local a, s, m, id = text(j.attempt), text(j.seq), text(j.ms), nil
    if b ~= '' then
        id = call('XADD', LOG, '*', 'v', '1', 't', kind, 'a', a, 's', s, 'm', m, 'd', d, 'b', b)
    elseif d ~= '' then
        id = call('XADD', LOG, '*', 'v', '1', 't', kind, 'a', a, 's', s, 'm', m, 'd', d)
    else
        id = call('XADD', LOG, '*', 'v', '1', 't', kind, 'a', a, 's', s, 'm', m)
    end
    set(j, 'last', id)
    set(j, 'owed', j.owed + 100 + #d + #b)
    events[#events + 1] = table.concat({id, kind, a, s, m, #d, #b}, ' ') .. '\n' .. d .. b
end

-- What the job stores is counted for its partition when it is much, and at its end.
local function account(j, all)
    if j.owed <= (all and 0 or OWED_MAX) then return 0 end
    local owed = j.owed
    set(j, 'bytes', j.bytes + owed)
    set(j, 'owed', 0)
    return owed
end

-- One message with the events of this script from the given one on, or only its first line when that is too long.
local function message_of(j, job, from)
    local head = job .. ' ' .. j.seq .. '\n'
    local message = head .. table.concat(events, '', from)
    return #message > MESSAGE_MAX and head or message
end

local function publish(j, job, prefix, to)
    if #events == 0 then return end
    local message = message_of(j, job, 1)
    call('PUBLISH', prefix .. 'ev:' .. job, message)
    if j.sync then call('PUBLISH', prefix .. 'to:' .. j.sync, message) end
    if to then call('PUBLISH', prefix .. 'to:' .. to, message) end
end
