-- Grants a lease, or says that the lock is held, or lets the request wait.
--
-- ARGV[4]  request: 8 bytes that name this request; a re-send carries the same
-- ARGV[5]  doubted: the number of the same owner's earlier request, if that one got no answer; else empty
-- ARGV[6]  mode: 0 exclusive, 1 shared
-- ARGV[7]  limit: grant only below so many shared leases; 0: no limit
-- ARGV[8]  ttl: ms; 0: no expiry
-- ARGV[9]  owner; empty: anonymous
-- ARGV[10] place: empty: the request does not wait; 0: it does; else the place that it had in the queue and lost
-- ARGV[11] most: how many requests may wait
-- Returns  {1, now, token} granted, {0, now, last} held (also: another request of the owner waits in its place), {2, now, last, place}
--          it waits, {-2, now} owner holds in the other mode, {-4, now} no token is left, {-7, now} the queue is full; and news (queue.lua)
--
-- Invariant: at most one live exclusive lease, and none beside live shared ones; tokens of a lock strictly increase; the
-- request that was granted last is not granted again; nothing is granted past those who wait.
local from, doubted, shared, span, who, place = ARGV[4], ARGV[5], ARGV[6] == '1', tonumber(ARGV[8]), ARGV[9], tonumber(ARGV[10])
local till = span > 0 and now + span * 1000 or 0
local again = who ~= '' and who == owner

if exclusive and (from == request or again or not place) or not exclusive and state ~= 2 and not shared and not queued then
  if exclusive and from ~= request then
    if not again or shared or place and place > 0 then
      redis.call('DEL', key .. ':w') -- an answer from reads alone must not come from a replica
      return {again and shared and -2 or 0, now, last}
    end
    -- Somebody may know of this lease, so no undo may end it; unless all that asked for it got no answer.
    if request ~= doubted then head = queued and 0x4d or 0x45 end
    request = from
  elseif exclusive and place and place > 0 and confirmed then
    redis.call('DEL', key .. ':w')
    if queued then return {1, now, last, {expires}} end
    return {1, now, last} -- somebody else has set its expiry since
  elseif not exclusive then
    if from == request and not (place and place > 0) then
      -- Granted before, and ended since: the copy of a request must not be granted twice.
      redis.call('DEL', key .. ':w')
      return {1, now, last}
    end
    local next = math.max(last + 1, now, ARGV[2] + 1)
    if next > 9007199254740991 then return {-4, now} end
    head, last, granted, request, owner = 0x41, next, math.floor(now / 1000), from, who
  end
  local packed = struct.pack(FORMAT, head, last, till, span, granted, request, ended, count) .. owner
  if span > 0 then redis.call('SET', key, packed, 'PX', span + RETENTION) else redis.call('SET', key, packed) end
  if queued then return {1, now, last, {till}} end
  return {1, now, last}
end
