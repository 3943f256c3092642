-- Takes a request back that nobody waits for any more: it leaves the queue, or the lease that it made ends, if nobody has learnt
-- of the lease since.
--
-- op: request (8 bytes), then as in acquire.lua: back (1), mode (1), limit (4), ttl (6), owner
-- Returns  {1, now, leases ended}; and news (queue.lua)
--
-- Invariant: a lease that somebody renewed, or acquired again, is left alone.
redis.call('DEL', key .. ':w') -- a server that is out of memory lets a script go on once it has written
settle()
local from = string.sub(op, 2, 9)
local token = of_request(from)
local lease = load(token)
local n = 0
if lease and not lease.confirmed then
  finish(token)
  n = 1
elseif not lease then
  -- It must not be granted anything now. Also if the record, which would say that there is a queue, was lost.
  local entry = 'w' .. from .. self .. string.sub(op, 10)
  local place = place_of(entry)
  if place then
    leave(waiter(entry, place))
    if not queued and count_waiters() > 0 then queued, changed = true, true end
  end
end
serve()
return done({1, now, n})
