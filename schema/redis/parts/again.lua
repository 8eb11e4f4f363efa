-- SPDX-License-Identifier: Apache-2.0
-- An attempt ended without a result. `why` is a JSON string.
local function another_attempt(j, job, f, why, counts, most, released)
    leave_lane(j, f)
    if counts then
        set(j, 'fails', j.fails + 1)
        set(j, 'why', j.why and (j.why .. ',' .. why) or why)
    end
    if j.cancel then
        emit(j, 'cancelled', j.cancel, '')
        close(j, job, f, 'cancelled')
    elseif j.retry == '0' and released then
        emit(j, 'failed', '{"reason":"lease_lost","message":"the worker was lost and the job may not be run again"}', '')
        close(j, job, f, 'failed')
    elseif j.fails >= most then
        emit(j, 'dead', '{"reasons":[' .. (j.why or '') .. ']}', '')
        close(j, job, f, 'dead')
    else
        emit(j, 'retried', '{"reason":' .. why .. '}', '')
        set(j, 'status', 'queued')
        to_backlog(f, j.prio, j.tag, member_of(j, job))
        if j.wait > 0 then call('ZADD', WAITING, text(now() + j.wait), job) end
    end
end
