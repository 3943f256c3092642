-- Ends the lease that a request made, if nobody has learnt of the lease since: the request was never answered.
--
-- ARGV[2]  request
-- Returns  {1, now, leases ended}
--
-- Invariant: a lease that somebody renewed, or acquired again, is left alone.
local from = ARGV[2]

if exclusive then
  if request ~= from or head == 0x45 then return read({1, now, 0}) end
  redis.call('DEL', key) -- a server that is out of memory lets a script go on once it has written
  after(0)
  return {1, now, 1}
end

local holders = settle()
local token = holders > 0 and redis.call('HGET', leases, 'r' .. from)
local lease = load(token)
if not lease or lease.confirmed then return read({1, now, 0}) end
drop(token)
after(holders - 1)
return {1, now, 1}
