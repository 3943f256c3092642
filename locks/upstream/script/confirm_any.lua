-- Confirm where the lock is not held exclusively, or not any more. It goes on from confirm.lua.
catch_up()
token = claimed(token, '')
local lease = load(token)
if not lease then return done({0, now}) end
if lease.request == from and not lease.confirmed then
  lease.expires = lease.ttl > 0 and now + lease.ttl * 1000 or 0
  store(token, lease)
end
return done({1, now})
