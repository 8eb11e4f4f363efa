-- SPDX-License-Identifier: Apache-2.0
-- The bytes that are stored, how long ago an archiver looked, and the time now.
local count = call('HMGET', COUNT, 'bytes', 'archiver')
return {tonumber(count[1] or 0), now() - tonumber(count[2] or 0), now()}
