-- SPDX-License-Identifier: Apache-2.0
-- `finish_state` is `finish` with the session's new state in one step: its arguments stand behind the drafts, and the draft
-- `state_saved` is the place where it happens. A state that was made from another version than the present one is not taken:
-- the job ends all the same, and `state_kept` says why. Nor is one taken where the session's keys are not what they should be.
local state_blob, state_d, state_seal, state_place_arg, state_created, state_user, state_session, state_ttl, state_keep, state_base =
    table.remove(ARGV), table.remove(ARGV), table.remove(ARGV), table.remove(ARGV), table.remove(ARGV), table.remove(ARGV),
    table.remove(ARGV), tonumber(table.remove(ARGV)), tonumber(table.remove(ARGV)), tonumber(table.remove(ARGV))
local state_sound, state_of = pcall(function()
    need_state()
    return session_load()
end)

local function state_refused(j)
    local s = state_of
    if not state_sound or state_ahead(s) then return 'damaged' end
    if not s then return state_base ~= 0 and 'conflict' or nil end
    if session_state(s) == 'gone' or not session_mine(s, j.tenant, state_user) then return 'session_gone' end
    return s.version ~= state_base and 'conflict' or nil
end

local function state_commit(j)
    local s = state_of
    if not s then s = session_make(j.tenant, state_user, '0', state_created) end
    local from = ARGV[1] .. ':' .. text(j.attempt)
    state_put(s, state_session, 'state_committed', state_base, state_place_arg, from, state_seal, state_blob, state_keep,
              state_ttl, state_d)
    session_save(s)
end

local take_drafts_plain = take_drafts
local function take_drafts(j, first)
    for i = first, #ARGV, 3 do
        if ARGV[i] == 'state_saved' then
            local why = state_refused(j)
            if why then
                ARGV[i] = 'state_kept'
                local version = not state_sound and state_base or state_of and state_of.version or 0
                ARGV[i + 1] = '{"version":' .. text(version) .. ',"reason":"' .. why .. '"}'
                if state_place_arg ~= '-' and pcall(need, DROP, 'list') then call('RPUSH', DROP, state_place_arg) end
            else
                state_commit(j)
            end
        end
    end
    return take_drafts_plain(j, first)
end
