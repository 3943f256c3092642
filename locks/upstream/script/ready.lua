-- Whether this server can take writes, and what time it is there.
--
-- KEYS[1]  a key that never exists, below candado's prefix
-- Returns  {1, now}
redis.call('DEL', KEYS[1])
local time = redis.call('TIME')
return {1, time[1] * 1000000 + time[2]}
