-- SPDX-License-Identifier: Apache-2.0
-- The job's projection. NUMBERS are 0 when absent. Changes go through set(); save() writes them in one command.
local NUMBERS = {'prio', 'cost', 'attempt', 'seq', 'n', 'ms', 'created', 'finished', 'hb', 'fails', 'tag', 'ttl', 'ins',
                 'inb', 'bytes', 'owed', 'released', 'wait'}

local function load(key)
    return load_hash(key, NUMBERS)
end

local changed = {}
local function set(j, name, value)
    j[name] = value
    changed[name] = true
end

local function save(j)
    save_changed(JOB, j, changed)
end

local function action(j)
    if not j then return ACTIONS.none end
    return ACTIONS[j.status] or ACTIONS.terminal
end
