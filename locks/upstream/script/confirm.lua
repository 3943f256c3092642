-- Gives a lease that was granted from the queue its whole TTL: the candado that has the request has heard of it.
--
-- ARGV[4]  request
-- ARGV[5]  token
-- Returns  {1, now} the lease lives, {0, now} it is over; and news (queue.lua)
--
-- Invariant: a lease that the owner has acquired again since keeps the expiry that this gave it.
local from, token = ARGV[4], ARGV[5]
redis.call('DEL', key .. ':w') -- a server that is out of memory lets a script go on once it has written
settle()
serve()
local lease = load(claimed(token, ''))
if not lease then return done({0, now}) end
if lease.request == from then
  lease.expires = lease.ttl > 0 and now + lease.ttl * 1000 or 0
  store(token, lease)
end
return done({1, now})
