-- Ends the claimed lease, or all leases of the lock, and hands the lock over.
--
-- op: request (6 bytes)  names this request; a re-send carries the same
--     flags (1)          1: end every lease; 2: end the lease only if it is not confirmed: nobody has learnt of it
--     token (7)          0: not by token
--     sent (7)           if this is a re-send, when the first copy was sent, in µs on this server's clock; else 0
--     owner              empty: not by owner (nor by token: the oldest anonymous lease)
-- Returns  1: one lease ended, and none is left; {1, now, leases ended, holders left, also such as the lock was handed over to}; 0, or
--          {0, now}: the lock is free; -1, or {-1, now}: others hold it; {-6, now} a re-send, and it can't be told whether the first copy
--          ran: nothing was done; and news (queue.lua)
--
-- Invariant: a request that ended something never ends anything again.
local from, flags, by_token, sent = struct.unpack('<xc6BI7I7', op)
local by_owner, force, untold = #op > 22 and string.sub(op, 23) or '', flags % 2 == 1, flags >= 2

-- Most locks that are waited for are handed over like this: from one exclusive holder to the next, who asked this candado. It is what serve() and
-- hand_over() in queue.lua do then.
if exclusive and queued and sent == 0 and from ~= ended and flags == 0 and
  (by_token == last or by_token == 0 and by_owner == owner) then
  local queue = key .. ':q2'
  local head = redis.call('ZRANGEBYSCORE', queue, 0, '(5000000000000000', 'WITHSCORES', 'LIMIT', 0, 1)
  local entry, place = head[1], tonumber(head[2])
  if entry and (not pending or place > pending) then
    local number, candado, mode, span = struct.unpack('<xc8c16xBxxxxI6', entry)
    local token = math.max(last + 1, now, floor + 1)
    if candado == self and mode == 0 and span > 0 and token <= 9007199254740991 then
      local till, who, packed = now + 4000000, string.sub(entry, 38), nil
      if span > 4000 then
        packed = struct.pack('<BI7I7I6I6c8c6I2I7', 0x59, token, till, span, math.floor(now / 1000), number, from, 1, place) .. who
      else -- it is confirmed by nobody, and so it does not stay in the queue
        till = now + span * 1000
        if who ~= '' and tonumber(redis.call('ZSCORE', queue, 'o' .. who) or 0) == place - 8000000000000000 then
          redis.call('ZREM', queue, entry, 'o' .. who)
        else
          redis.call('ZREM', queue, entry)
        end
        packed = struct.pack(FORMAT, 0x49, token, till, span, math.floor(now / 1000), number, from, 1) .. who
      end
      if redis.pcall('SET', key, packed, 'PX', text(span + RETENTION)).err then
        redis.call('DEL', key .. ':w') -- as below
        redis.call('SET', key, packed, 'PX', text(span + RETENTION))
      end
      if span > 30000 then redis.call('PEXPIRE', queue, text(span + 60000)) end -- a shorter lease is over before the key expires
      return {1, now, 1, 1, {till, 1, number, token, till}}
    end
  end
end

if state ~= 2 and not queued then
  local reply
  if from == ended then
    reply = {1, now, count, exclusive and 1 or 0}
  elseif not exclusive then
    -- If others held since, the first copy may have ended the lease, and theirs has taken its number's place. A token is not below the
    -- time of its grant.
    reply = sent > 0 and (by_token ~= 0 and by_token < last or by_token == 0 and last + 1000 > sent) and {-6, now} or 0
  elseif sent > 0 and by_token ~= last and (granted + 1) * 1000 > sent then
    reply = {-6, now} -- a lease that the first copy can't have met; what it met may be over by the first copy's doing
  elseif not force and (by_token ~= 0 and by_token ~= last or by_token == 0 and by_owner ~= owner) then
    reply = -1
  elseif untold and confirmed then
    reply = {1, now, 0, 1}
  else
    local packed = struct.pack(FORMAT, 0x40, last, 0, 0, 0, request, from, 1)
    if redis.pcall('SET', key, packed, 'PX', text(RETENTION)).err then
      -- A server that is out of memory lets a script go on once it has written: a lease must end there too.
      redis.call('DEL', key)
      redis.call('SET', key, packed, 'PX', RETENTION)
    end
    return 1
  end
  redis.call('DEL', key .. ':w') -- an answer from reads alone must not come from a replica
  return reply
end
