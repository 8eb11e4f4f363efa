-- SPDX-License-Identifier: Apache-2.0
-- The job's projection. NUMBERS are 0 when absent. Changes go through set(); save() writes them in one command.
local NUMBERS = {'prio', 'cost', 'attempt', 'seq', 'n', 'ms', 'created', 'finished', 'hb', 'fails', 'tag', 'ttl', 'ins',
                 'inb', 'bytes', 'owed', 'released'}

local function load(key)
    local flat, j = call('HGETALL', key), {}
    if #flat == 0 then return nil end
    for i = 1, #flat, 2 do j[flat[i]] = flat[i + 1] end
    for _, name in ipairs(NUMBERS) do j[name] = tonumber(j[name] or 0) end
    return j
end

local changed = {}
local function set(j, name, value)
    j[name] = value
    changed[name] = true
end

local function save(j)
    local list = {}
    for name in pairs(changed) do
        local value = j[name]
        list[#list + 1] = name
        list[#list + 1] = type(value) == 'number' and text(value) or value
    end
    call('HSET', JOB, unpack(list))
end

local function action(j)
    if not j then return ACTIONS.none end
    return ACTIONS[j.status] or ACTIONS.terminal
end
