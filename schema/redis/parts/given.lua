-- SPDX-License-Identifier: Apache-2.0
-- What a run begins with that uses its session: the version of the state, its record and its blob, told with the attempt where the
-- blob lies here and is little, so that its worker need not ask. The keys are named after JOB's, in the same slot. It only reads,
-- and tells nothing where anything is in its way: then the worker asks, and hears what.
local GIVEN_MAX = 16384

local function given(j, values)
    if j.ordered ~= '1' then return end
    local session = string.gsub(JOB, 'j:[^:]+$', 's:' .. j.session)
    local s = redis.pcall('HMGET', session, 'tenant', 'user', 'shared', 'status', 'due', 'version')
    if s.err or not s[1] or s[1] ~= j.tenant or s[4] == 'gone' or (tonumber(s[5]) or 0) <= now() then return end
    if s[2] ~= j.user and s[2] ~= '' and j.user ~= '' and s[3] ~= '1' then return end
    local version, record, blob = s[6] or '0', '', ''
    if version ~= '0' then
        record = redis.pcall('HGET', session .. ':states', version)
        if record == '' or record and record.err then return end
        record = record or ''
    end
    if record ~= '' then
        if not string.find(record, '^%d+ %d+ %- ') then return end
        blob = redis.pcall('HGET', session .. ':blobs', version)
        if not blob or blob.err or #blob > GIVEN_MAX then return end
    end
    values[#values + 1] = version
    values[#values + 1] = record
    values[#values + 1] = blob
end
