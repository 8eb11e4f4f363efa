-- SPDX-License-Identifier: Apache-2.0
-- Sessions whose state nobody changed or read for `after` ms. Taken ones are idle again when the lease is over.
local most, after, lease = unpack(ARGV)
need(SIDLE, 'zset')
local limit = now() - tonumber(after)
local sessions = call('ZRANGE', SIDLE, '-inf', text(limit), 'BYSCORE', 'LIMIT', 0, most, 'WITHSCORES')
local answer = {'ok', now()}
for i = 1, #sessions, 2 do
    call('ZADD', SIDLE, text(limit + tonumber(lease)), sessions[i])
    answer[#answer + 1] = sessions[i]
    answer[#answer + 1] = tonumber(sessions[i + 1])
end
return answer
