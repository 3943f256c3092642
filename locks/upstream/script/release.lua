-- Ends the claimed lease, or all leases of the lock, and hands the lock over.
--
-- ARGV[4]  request: 8 bytes that name this request; a re-send carries the same
-- ARGV[5]  token; empty: not by token
-- ARGV[6]  owner; empty: not by owner (both empty: the oldest anonymous lease)
-- ARGV[7]  force: 1 to end every lease
-- ARGV[8]  sent: if this is a re-send, when the first copy was sent, in µs on this server's clock; else 0
-- ARGV[9]  untold: 1 to end the lease only if it is not confirmed: nobody has learnt of it
-- Returns  {1, now, leases ended, holders left, also such as the lock was handed over to}, {0, now} the lock is free, {-1, now} others hold it,
--          {-6, now} a re-send, and it can't be told whether the first copy ran: nothing was done; and news (queue.lua)
--
-- Invariant: a request that ended something never ends anything again.
local from, by_token, by_owner, force = string.sub(ARGV[4], 1, 6), ARGV[5], ARGV[6], ARGV[7] == '1'
local sent, untold = tonumber(ARGV[8]), ARGV[9] == '1'

if state ~= 2 and not queued then
  local reply
  if from == ended then
    reply = {1, now, count, exclusive and 1 or 0}
  elseif not exclusive then
    -- If others held since, the first copy may have ended the lease, and theirs has taken its number's place.
    reply = {sent > 0 and by_token ~= '' and tonumber(by_token) < last and -6 or 0, now}
  elseif sent > 0 and tonumber(by_token) ~= last and (granted + 1) * 1000 > sent then
    reply = {-6, now} -- a lease that the first copy can't have met; what it met may be over by the first copy's doing
  elseif not force and (by_token ~= '' and tonumber(by_token) ~= last or by_token == '' and by_owner ~= owner) then
    reply = {-1, now}
  elseif untold and confirmed then
    reply = {1, now, 0, 1}
  else
    local packed = struct.pack(FORMAT, 0x40, last, 0, 0, 0, request, from, 1)
    if redis.pcall('SET', key, packed, 'PX', RETENTION).err then
      -- A server that is out of memory lets a script go on once it has written: a lease must end there too.
      redis.call('DEL', key)
      redis.call('SET', key, packed, 'PX', RETENTION)
    end
    return {1, now, 1, 0}
  end
  redis.call('DEL', key .. ':w') -- an answer from reads alone must not come from a replica
  return reply
end
