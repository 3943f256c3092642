-- Sets the claimed lease's TTL anew.
--
-- op: token (7 bytes)  0: not by token
--     ttl (6)          one more than the ms; 1: no expiry; 0: the TTL that the lease was acquired with
--     owner            empty: not by owner (nor by token: the oldest anonymous lease)
-- Returns  {1, now, token, ttl, mode, owner} (ttl 0: no expiry; mode 0 exclusive, 1 shared); 0, or {0, now}: the lock is free;
--          -1, or {-1, now}: others hold it; and news (queue.lua)
--
-- Invariant: a heartbeat never makes a lease, and never changes the TTL that a lease was acquired with.
local by_token, span = struct.unpack('<xI7I6', op)
local by_owner = string.sub(op, 15)
span = span > 0 and span - 1 or nil

if exclusive or state ~= 2 and not queued then
  if not exclusive or by_token ~= 0 and by_token ~= last or by_token == 0 and by_owner ~= owner then
    redis.call('DEL', key .. ':w') -- an answer from reads alone must not come from a replica
    return exclusive and -1 or 0
  end
  if pending then take_out(key, pending, request) end
  span = span or ttl
  expires = span > 0 and now + span * 1000 or 0
  local packed = struct.pack(FORMAT, queued and 0x4d or 0x45, last, expires, ttl, granted, request, ended, count) .. owner
  local px = span > 0 and {'PX', span + RETENTION} or {}
  if redis.pcall('SET', key, packed, unpack(px)).err then
    -- A server that is out of memory lets a script go on once it has written: a lease must not be lost there.
    redis.call('DEL', key .. ':w')
    redis.call('SET', key, packed, unpack(px))
  end
  if queued then return {1, now, last, span, 0, owner, {expires}} end
  return {1, now, last, span, 0, owner}
end
