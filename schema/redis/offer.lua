-- SPDX-License-Identifier: Apache-2.0
-- A worker tells what it offers; the answer is what all that are alive offer: 'ok', worker, text, ...
-- ARGV: worker ('' only asks), text ('' takes it back), for how many ms a word holds.
local worker, offered, life = ARGV[1], ARGV[2], tonumber(ARGV[3])
need(OFFERS, 'hash')
if worker ~= '' and offered == '' then
    call('HDEL', OFFERS, worker)
elseif worker ~= '' then
    call('HSET', OFFERS, worker, text(now()) .. ' ' .. offered)
end
local all, result = call('HGETALL', OFFERS), {'ok'}
for i = 1, #all, 2 do
    local told, said = string.match(all[i + 1], '^(%d+) (.*)$')
    if told and tonumber(told) + life >= now() then
        result[#result + 1] = all[i]
        result[#result + 1] = said
    else
        call('HDEL', OFFERS, all[i])
    end
end
return result
