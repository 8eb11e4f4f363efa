-- SPDX-License-Identifier: Apache-2.0
-- Makes the store's identity at first start, or tells it. ARGV: epoch, partitions, version.
need(STORE, 'hash')
if call('EXISTS', STORE) == 0 then
    if ARGV[1] == '' then return {'', '0', '0'} end -- it was here before: an empty store is a wrong one
    call('HSET', STORE, 'epoch', ARGV[1], 'partitions', ARGV[2], 'version', ARGV[3], 'created', now())
end
-- Shows that the store takes writes.
call('HSET', STORE, 'checked', now())
return call('HMGET', STORE, 'epoch', 'partitions', 'version')
