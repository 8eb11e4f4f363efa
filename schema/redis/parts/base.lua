-- SPDX-License-Identifier: Apache-2.0
-- Before this come the names of the keys and ACTIONS, the script's column of job_machine.def; behind it other parts
-- that scripts.def names for the script, then the script.
local call = redis.call
local GROUP = 'w'

-- A whole number as text: what Redis makes of a Lua number is the same, slower.
local function text(n)
    return string.format('%d', n)
end

local clock = nil
local function now()
    if not clock then
        local t = call('TIME')
        clock = t[1] * 1000 + math.floor(t[2] / 1000)
    end
    return clock
end

-- A HASH as a table, those of `numbers` 0 when absent; nil where there is none.
local function load_hash(key, numbers)
    local flat, t = call('HGETALL', key), {}
    if #flat == 0 then return nil end
    for i = 1, #flat, 2 do t[flat[i]] = flat[i + 1] end
    for _, name in ipairs(numbers) do t[name] = tonumber(t[name] or 0) end
    return t
end

-- Of the table `t`, what is in `changed`, in one command; with the fields of `list`, if given.
local function save_changed(key, t, changed, list)
    list = list or {}
    for name in pairs(changed) do
        local value = t[name]
        list[#list + 1] = name
        list[#list + 1] = type(value) == 'number' and text(value) or value
    end
    if #list > 0 then call('HSET', key, unpack(list)) end
end

-- Redis does not roll back. So every key is read, or looked at here, before it is written; only the first write of a
-- script needs no such look.
local function need(...)
    local list = {...}
    for i = 1, #list, 2 do
        local found = call('TYPE', list[i]).ok
        if found ~= 'none' and found ~= list[i + 1] then
            error({err = 'WRONGTYPE ' .. list[i] .. ' is a ' .. found .. ', not a ' .. list[i + 1]})
        end
    end
end
