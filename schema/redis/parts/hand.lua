-- SPDX-License-Identifier: Apache-2.0
-- A job is handed to a worker that has a free slot: the claim is made for it, and it learns by a message what a claim would have
-- answered. A message that is lost leaves a pending entry of a lease that nobody keeps: the worker finds it when it
-- has reconnected, or the reaper takes it.
local HAND_MAX = 32768

local function hears(f, prefix)
    return call('PUBSUB', 'NUMSUB', prefix .. 'to:' .. f.hp)[2] > 0
end

-- Only where the lane is empty, so that nobody is passed by.
local function may_hand(f, room, prefix)
    return f.hn > 0 and room >= math.min(REFILL_MAX, math.max(1, f.cap - f.run)) and hears(f, prefix)
end

-- As if the worker had read the lane: entry, job.
local function deliver(f)
    local got = redis.pcall('XREADGROUP', 'GROUP', GROUP, f.hw, 'COUNT', 1, 'STREAMS', READY, '>')
    if not got or got.err then return nil end
    local first = got[1][2][1]
    return first[1], first[2][2]
end

-- Its attempt begins, unless its request is too much for a message: then the worker claims.
local function hand_begin(j, f, entry, request)
    set_fair(f, 'hn', f.hn - 1)
    if #request <= HAND_MAX then begin(j, f, entry, f.hw, f.hp) end
end

-- Line "handed JOB CLASS ENTRY", then the claim's answer, if there was one, each value behind its length.
local function hand_tell(j, job, f, entry, request, prefix)
    local message = table.concat({'handed', job, j.class, entry}, ' ') .. '\n'
    if #request <= HAND_MAX then
        local values = told('ok', j, request)
        for i, value in ipairs(values) do
            value = type(value) == 'number' and text(value) or value
            values[i] = #value .. ':' .. value
        end
        message = message .. table.concat(values)
    end
    call('PUBLISH', prefix .. 'to:' .. f.hp, message)
end
