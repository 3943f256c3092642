-- Heartbeat where the lock is held shared, or an exclusive lease has expired and others wait. It goes on from heartbeat.lua.
redis.call('DEL', key .. ':w') -- a server that is out of memory lets a script go on once it has written
catch_up()
if holders == 0 then return done({0, now}) end
local token = claimed(by_token, by_owner)
local lease = load(token)
if not lease then return done({-1, now}) end
span = span or lease.ttl
lease.expires, lease.confirmed = span > 0 and now + span * 1000 or 0, true
store(token, lease)
return done({1, now, tonumber(token), span, state - 1, lease.owner})
