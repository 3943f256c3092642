-- Takes a request back that nobody waits for any more: it leaves the queue, or the lease that it made ends, if nobody has learnt
-- of the lease since.
--
-- op: request (8 bytes)
-- Returns  {1, now, leases ended}; and news (queue.lua)
--
-- Invariant: a lease that somebody renewed, or acquired again, is left alone.
redis.call('DEL', key .. ':w') -- a server that is out of memory lets a script go on once it has written
local from = string.sub(op, 2)
local left = leave(from, waiter(from)) -- first: it must not be granted anything now. Also if the record, which would say that there is a queue, was lost
settle()
if left and not queued and redis.call('ZCARD', order) > 0 then queued, changed = true, true end
local token = of_request(from)
local lease = load(token)
local n = 0
if lease and not lease.confirmed then
  finish(token)
  n = 1
end
serve()
return done({1, now, n})
