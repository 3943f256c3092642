-- Grants a lease, or says that the lock is held.
--
-- ARGV[2]  request: 8 bytes that name this request; a re-send carries the same
-- ARGV[3]  doubted: the number of the same owner's earlier request, if that one got no answer; else empty
-- ARGV[4]  floor: the highest token that the caller has seen
-- ARGV[5]  mode: 0 exclusive, 1 shared
-- ARGV[6]  limit: grant only below so many shared leases; 0: no limit
-- ARGV[7]  ttl: ms; 0: no expiry
-- ARGV[8]  owner; empty: anonymous
-- Returns  {1, now, token} granted, {0, now, last} held, {-2, now} owner holds in the other mode, {-4, now} no token is left
--
-- Invariant: at most one live exclusive lease, and none beside live shared ones; tokens of a lock strictly increase; the
-- request that was granted last is not granted again.
local from, doubted, shared, span, who = ARGV[2], ARGV[3], ARGV[5] == '1', tonumber(ARGV[7]), ARGV[8]
local till = span > 0 and now + span * 1000 or 0
local next = math.max(last + 1, now, ARGV[4] + 1)

if exclusive or state ~= 2 and not shared then
  if exclusive and from ~= request then
    if who == '' or who ~= owner or shared then
      redis.call('DEL', key .. ':w') -- an answer from reads alone must not come from a replica
      return {who ~= '' and who == owner and -2 or 0, now, last}
    end
    -- Somebody may know of this lease, so no undo may end it; unless all that asked for it got no answer.
    if request ~= doubted then head = 0x45 end
    request = from
  elseif not exclusive then
    if from == request then
      -- Granted before, and ended since: the copy of a request must not be granted twice.
      redis.call('DEL', key .. ':w')
      return {1, now, last}
    end
    if next > 9007199254740991 then return {-4, now} end
    head, last, granted, request, owner = 0x41, next, math.floor(now / 1000), from, who
  end
  local packed = struct.pack(FORMAT, head, last, till, span, granted, request, ended, count) .. owner
  if span > 0 then redis.call('SET', key, packed, 'PX', span + RETENTION) else redis.call('SET', key, packed) end
  return {1, now, last}
end
