-- SPDX-License-Identifier: Apache-2.0
-- What append and finish share. The guard of a step: nil when it may be taken, else the answer.
local ANSWERS = {dup = 1, missing = 1, fenced = 1, conflict = 1}
local function refuse_step(j, attempt, n)
    local act = action(j)
    if ANSWERS[act] then return act end
    if attempt ~= j.attempt then return 'fenced' end
    if n <= j.n then return 'dup' end
    if act == 'over' then return 'fenced' end
    if n ~= j.n + 1 then return 'conflict' end
    return nil
end

-- Appends the drafts ARGV[from..] (type, d, b); returns the type of the last one.
local function take_drafts(j, from)
    local kind
    for i = from, #ARGV, 3 do
        kind = ARGV[i]
        emit(j, kind, ARGV[i + 1], ARGV[i + 2])
        if kind == 'started' then
            set(j, 'started', j.ms)
            set(j, 'released', j.attempt)
        end
    end
    return kind
end

-- The owner has read the client events up to `seq`.
local function inputs_read(j, seq)
    if j.inb > 0 and seq >= j.ins then set(j, 'inb', 0) end
end
