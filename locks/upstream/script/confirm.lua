-- Gives a lease that was granted from the queue its whole TTL: the candado that has the request has heard of it.
--
-- op: request (8 bytes), token (7)
-- Returns  1, or {1, now} the lease lives; 0, or {0, now} it is over; and news (queue.lua)
--
-- Invariant: a lease that was renewed or acquired again since keeps the expiry that this gave it.
local from, token = struct.unpack('<xc8I7', op)
redis.call('DEL', key .. ':w') -- a server that is out of memory lets a script go on once it has written

if exclusive then
  if token ~= last then return 0 end
  if request == from and not confirmed then
    if pending then take_out(key, pending, request) end
    expires = ttl > 0 and now + ttl * 1000 or 0
    local packed = struct.pack(FORMAT, head, last, expires, ttl, granted, request, ended, count) .. owner
    if ttl > 0 then redis.call('SET', key, packed, 'PX', ttl + RETENTION) else redis.call('SET', key, packed) end
  end
  if queued then return {1, now, {expires}} end
  return 1
end
