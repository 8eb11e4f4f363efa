-- SPDX-License-Identifier: Apache-2.0
-- The beginning of an attempt: `claimed`, and what its owner is told.
local function begin(j, f, entry, worker, process)
    set(j, 'status', 'running')
    if (j.wait or 0) > 0 then call('ZREM', WAITING, (string.match(JOB, '[^:]+$'))) end
    set(j, 'attempt', j.attempt + 1)
    set(j, 'n', 0)
    set(j, 'hb', 0)
    set(j, 'entry', entry)
    set(j, 'worker', worker)
    set(j, 'to', process)
    emit(j, 'claimed', '{"worker":' .. cjson.encode(worker) .. '}', '')
    set(j, 'claimed', j.ms)
    set_fair(f, 'run', f.run + 1)
end

local function told(word, j, request)
    local values = {word, j.attempt, request, j.tenant, j.user, j.lang, j.session, j.retry, j.created, j.ms, j.seq, j.last,
                    j.ins, j.class, j.cancel or ''}
    given(j, values)
    return values
end
