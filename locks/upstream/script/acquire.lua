-- Grants a lease, or says that the lock is held, or lets the request wait.
--
-- op: request (8 bytes) names this request; a re-send carries the same
--     doubted (8)        the number of the same owner's earlier request, if that one got no answer; else zeros
--     place (7)          0: the request does not wait; 1: it does; else one more than the place that it had in the queue and lost
--     back (1)           1: it was in the queue before
--     mode (1)           0 exclusive, 1 shared
--     limit (4)          grant only below so many shared leases; 0: no limit
--     ttl (6)            ms; 0: no expiry
--     owner              empty: anonymous
-- Returns  the token, or {1, now, token}: granted; {0, now, last} held (also: another request of the owner waits in its place),
--          {2, now, last, place} it waits, {-2, now} owner holds in the other mode, {-4, now} no token is left, {-7, now} the queue is
--          full; and news (queue.lua)
--
-- Invariant: at most one live exclusive lease, and none beside live shared ones; tokens of a lock strictly increase; the
-- request that was granted last is not granted again; nothing is granted past those who wait.
local from, doubted, place, mode, limit, span = struct.unpack('<xc8c8I7xBI4I6', op)
local shared, who = mode == 1, #op > 36 and string.sub(op, 37) or ''
place = place > 0 and place - 1 or nil
local till = span > 0 and now + span * 1000 or 0
local again = who ~= '' and who == owner

if exclusive and (from == request or again or not place) or not exclusive and state ~= 2 and not shared and not queued then
  if exclusive and from ~= request then
    if not again or shared or place and place > 0 then
      redis.call('DEL', key .. ':w') -- an answer from reads alone must not come from a replica
      return {again and shared and -2 or 0, now, last}
    end
    if pending then take_out(key, pending, request) end
    -- Somebody may know of this lease, so no undo may end it; unless all that asked for it got no answer.
    if request ~= doubted then head = queued and 0x4d or 0x45 end
    request = from
  elseif exclusive and place and place > 0 and confirmed then
    redis.call('DEL', key .. ':w')
    if queued then return {1, now, last, {expires}} end
    return last -- somebody else has set its expiry since
  elseif exclusive then
    if pending then take_out(key, pending, request) end
  else
    if from == request and not (place and place > 0) then
      -- Granted before, and ended since: the copy of a request must not be granted twice.
      redis.call('DEL', key .. ':w')
      return last
    end
    local next = math.max(last + 1, now, floor + 1)
    if next > 9007199254740991 then return {-4, now} end
    head, last, granted, request, owner = 0x41, next, math.floor(now / 1000), from, who
  end
  local packed = struct.pack(FORMAT, head, last, till, span, granted, request, ended, count) .. owner
  if span > 0 then redis.call('SET', key, packed, 'PX', text(span + RETENTION)) else redis.call('SET', key, packed) end
  if queued then return {1, now, last, {till}} end
  return last
end

-- Most that wait come to a lock that is held exclusively, and is waited for. This is what enter() in queue.lua does, for one who comes to the end
-- of a queue in which somebody has just spoken: there, nobody has to be forgiven. The key's expiry is set anew by the first in every 16 s: those
-- who come here follow one another within gap, so it does not expire between them.
if exclusive and queued and place == 0 and (LT or who ~= '') then
  local queue, far, gap = key .. ':q2', 8000000000000000, 1500000
  local ends = redis.call('ZREVRANGE', queue, 0, 1, 'WITHSCORES') -- how many wait, and the last of them, or whose last word is oldest
  local n, word = ends[1] == 'z' and far - ends[2] or most, tonumber(ends[4] or 0)
  local age = now - math.abs(word)
  local mine = who ~= '' and redis.call('ZSCORE', queue, 'o' .. who) -- where the owner waits, or did
  if mine then
    mine = string.format('%.0f', mine + far)
    mine = redis.call('ZRANGEBYSCORE', queue, mine, mine)[1]
  end
  if n < most and n % 1024 ~= 1023 and age >= -gap and age <= gap and not mine then
    local at = word < now and now or word + 1
    local entry, spoke, size = 'w' .. from .. self .. string.sub(op, 25), string.format('-%.0f', now), string.format('%.0f', far - n - 1)
    if who ~= '' then
      redis.call('ZADD', queue, string.format('%.0f', at), entry, spoke, 'c' .. self, size, 'z', string.format('%.0f', at - far), 'o' .. who)
    elseif redis.call('ZADD', queue, 'LT', string.format('%.0f', at), entry, spoke, 'c' .. self, size, 'z') == 0 then
      -- What is there has kept the lower score: this is the copy of a request that waits.
      at = tonumber(redis.call('ZSCORE', queue, entry))
    end
    if math.floor(now / 16000000) ~= math.floor(math.abs(word) / 16000000) then redis.call('PEXPIRE', queue, text(60000 + (pending and ttl or 0))) end
    return {2, now, last, at, {expires}}
  end
end
