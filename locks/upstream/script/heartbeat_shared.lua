-- Heartbeat where the lock is held shared. It goes on from heartbeat.lua.
if settle() == 0 then return read({0, now}) end
local token = claimed(by_token, by_owner)
local lease = load(token)
if not lease then return read({-1, now}) end
span = span or lease.ttl
lease.expires, lease.confirmed = span > 0 and now + span * 1000 or 0, true
redis.call('DEL', key .. ':w') -- a server that is out of memory lets a script go on once it has written
store(token, lease)
keep()
return {1, now, tonumber(token), span, 1, lease.owner}
