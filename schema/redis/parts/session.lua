-- SPDX-License-Identifier: Apache-2.0
-- The session's projection and its log. Changes go through sset(); session_save() writes them in one command.
local SESSION_NUMBERS = {'seq', 'ms', 'created', 'due', 'files', 'bytes', 'version', 'cut'}
local CHECKPOINT_EVENTS = 128

-- Refused like a key of another type: one that lacks what makes a session, or has a number that is none.
local function session_load()
    local s = load_hash(SESSION, SESSION_NUMBERS)
    local sound = not s or (s.status and s.tenant and s.user)
    for _, name in ipairs(SESSION_NUMBERS) do sound = sound and (not s or s[name]) end
    if not sound then error({err = 'WRONGTYPE ' .. SESSION .. ' is no session'}) end
    return s
end

-- none, live, cold or gone. What is due is gone, also before it was swept.
local function session_state(s)
    if not s then return 'none' end
    if s.status ~= 'gone' and s.due <= now() then return 'gone' end
    return s.status
end

-- Who may use it: its tenant, and of that its user. A session that is shared, or was made without a user, belongs to
-- the whole tenant, and a caller without a user speaks for the tenant.
local function session_mine(s, tenant, user)
    return s.tenant == tenant and (s.shared == '1' or s.user == '' or user == '' or s.user == user)
end

-- What the command does to the session, or `missing`: foreign and unknown look the same.
local function session_action(s, tenant, user)
    if s and not session_mine(s, tenant, user) then return 'missing' end
    return ACTIONS[session_state(s)]
end

local session_changed = {}
local function sset(s, name, value)
    s[name] = value
    session_changed[name] = true
end

local function session_emit(s, kind, d)
    sset(s, 'seq', s.seq + 1)
    sset(s, 'ms', math.max(now(), s.ms))
    call('XADD', SLOG, '*', 'v', '1', 't', kind, 's', text(s.seq), 'm', text(s.ms), 'd', d)
end

-- A new session; `d` is the text of session_created's fields. To be followed by session_keep() and session_save().
local function session_make(tenant, user, shared, d)
    local s = {seq = 0, ms = 0, files = 0, bytes = 0, version = 0, due = 0, cut = 0}
    sset(s, 'status', 'live')
    sset(s, 'tenant', tenant)
    sset(s, 'user', user)
    sset(s, 'shared', shared)
    sset(s, 'created', now())
    session_emit(s, 'session_created', d)
    return s
end

-- It lives for `ttl` ms from now on, at least.
local function session_keep(s, session, ttl)
    local due = now() + ttl
    if due <= s.due then return end
    sset(s, 'due', due)
    call('ZADD', SDUE, due, session)
end

-- The name of a file's object, as session_object_name() makes it, for deletion; nil: a workspace's folder or link, which has none.
local function file_object(s, session, id, record)
    local read, d = pcall(cjson.decode, record)
    local hash = read and type(d) == 'table' and d.hash
    if type(hash) ~= 'string' then return nil end
    local tenant = string.gsub(s.tenant, '[^%w_-]', function(c) return string.format('.%02x', string.byte(c)) end)
    return tenant .. '/' .. session .. '/' .. hash .. '-' .. id
end

-- The text of a HASH's records as one JSON object; nil: it is no HASH.
local function session_table(key, pattern)
    local flat, list = redis.pcall('HGETALL', key), {}
    if flat.err then return nil end
    for i = 1, #flat, 2 do
        list[#list + 1] = '"' .. flat[i] .. '":' .. cjson.encode(string.match(flat[i + 1], pattern))
    end
    return '{' .. table.concat(list, ',') .. '}'
end

-- The log of a session is bounded: every CHECKPOINT_EVENTS an event says what all before it came to, and what lies before the
-- last such event but one goes. So the session is what its log says, from its first event or from the checkpoint that it begins with.
local function session_checkpoint(s)
    local files = session_table(SESSION .. ':files', '.*')
    local versions = session_table(SESSION .. ':states', '^%d+ %d+')
    if not files or not versions then return end
    session_emit(s, 'session_checkpoint', '{"status":"' .. s.status .. '","created":' .. text(s.created) .. ',"version":' ..
        text(s.version) .. ',"files":' .. files .. ',"versions":' .. versions .. '}')
    if s.cut > 0 then call('XTRIM', SLOG, 'MAXLEN', s.seq - s.cut + 1) end
    sset(s, 'cut', s.seq)
end

-- Last, when the session's tables are what its events say.
local function session_save(s)
    if s.seq - s.cut >= CHECKPOINT_EVENTS and s.status ~= 'gone' then session_checkpoint(s) end
    save_changed(SESSION, s, session_changed)
end
