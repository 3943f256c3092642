-- Whether this server can take writes, and what time it is there.
--
-- KEYS[1]  a key below candado's prefix, of no other use
-- Returns  {1, now}
redis.call('SET', KEYS[1], '', 'PX', 1) -- an error on a replica, and where memory is used up
local time = redis.call('TIME')
return {1, time[1] * 1000000 + time[2]}
