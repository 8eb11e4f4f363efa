-- SPDX-License-Identifier: Apache-2.0
-- What was delivered and never claimed leaves its lane; a job that still waits goes back into the backlog, with the old tag.
local function put_back(j, job, entry, waits)
    local f = load_fair()
    drop_entry(entry)
    if waits then
        add_share(f, j.tenant, -1)
        to_backlog(f, j.prio, j.tag, member_of(j, job))
    end
    refill(f)
    save_fair(f)
end
