-- SPDX-License-Identifier: Apache-2.0
-- The slot that an end makes free goes at once to the next job of the lane. The last thing that a script does: JOB, LOG and REQ
-- become those of that job, in the same slot.
local function take_next(f, worker, prefix)
    if f.hw ~= worker or f.hn <= 0 or call('XLEN', READY) <= f.run or not hears(f, prefix) then return end
    local entry, job = deliver(f)
    if not entry then return end
    JOB = string.gsub(JOB, '[^:]+$', job)
    LOG, REQ, changed, events = JOB .. ':log', JOB .. ':req', {}, {}
    local j = call('TYPE', JOB).ok == 'hash' and load(JOB)
    if not j or (j.status ~= 'queued' and j.status ~= 'running') then
        drop_entry(entry)
    elseif j.status == 'queued' then
        local request = call('GET', REQ) or ''
        hand_begin(j, f, entry, request)
        save(j)
        publish(j, job, prefix)
        hand_tell(j, job, f, entry, request, prefix)
    end
end
