-- SPDX-License-Identifier: Apache-2.0
-- A job that ends while it waits, behind others of its session, in the backlog, or in the lane: there its entry stays, and its
-- claim finds it ended.
local function leave_queue(j, job, f)
    call('ZREM', WAITING, job)
    if j.ordered == '1' then
        local first = call('LINDEX', ORDER, 0)
        if not first or string.match(first, '^%S+') ~= job then return end
    end
    if call('ZREM', backlog(j.prio), member_of(j, job)) == 1 then
        set_fair(f, 'w', f.w - 1)
    else
        add_share(f, j.tenant, -1)
    end
end

-- The end of a job that waits: `status` is the type of its last event.
local function end_waiting(j, job, prefix, status, d)
    local f = load_fair()
    emit(j, status, d, '')
    leave_queue(j, job, f)
    close(j, job, f, status)
    save(j)
    refill(f)
    save_fair(f)
    publish(j, job, prefix)
end
