-- SPDX-License-Identifier: Apache-2.0
-- A worker goes, or is swept: it offers nothing more. ARGV[2]: what it last told, or '' to not compare.
local worker, told = unpack(ARGV)
need(WORKERS, 'hash')
need_lane()
local last = call('HGET', WORKERS, worker)
if told ~= '' and last ~= told then return {'conflict'} end
-- A consumer with pending entries must stay, or they would be lost.
local pending = redis.pcall('XPENDING', READY, GROUP, '-', '+', 1, worker)
local f = load_fair()
if f.hw == worker then set_fair(f, 'hn', 0) end
if last then
    set_fair(f, 'cap', math.max(0, f.cap - tonumber(string.match(last, '^%d+'))))
    call('HDEL', WORKERS, worker)
end
if not pending.err and #pending == 0 then call('XGROUP', 'DELCONSUMER', READY, GROUP, worker) end
save_fair(f)
return {'ok'}
