-- Acquire where the lock is held shared, or to be held shared, or has a queue, or is to get one. It goes on from acquire.lua.
catch_up()

local token = of_request(from) or of_owner(who)
local mine = load(token)
if mine then
  if shared ~= (state == 2) then return done({-2, now}) end
  if mine.request ~= from then
    if place and place > 0 then return done({0, now, last}) end -- the owner got it by another request
    if state == 2 then redis.call('HDEL', leases, 'r' .. mine.request) end
    mine.request, mine.confirmed = from, mine.confirmed or mine.request ~= doubted
  end
  if not (place and place > 0 and mine.confirmed) then mine.expires, mine.ttl = till, span end -- else somebody else has set them since
  store(token, mine)
  return done({1, now, tonumber(token)})
end
if from == request and not (place and place > 0) then return done({1, now, last}) end -- granted before, and ended since

local entry = 'w' .. from .. self .. string.sub(op, 25)
local other = queued and who ~= '' and waiter_of(who)
if not place or other and other.number ~= from and place > 0 then
  if queued or not admits(mode, limit) then return done({0, now, last}) end
elseif queued and place_of(entry) then
  speak()
  return done({2, now, last, place_of(entry)}) -- a copy of a request that waits
elseif other and other.number ~= from then
  -- The owner asks anew: this request takes the place of the earlier one.
  leave(other)
  tell(other.candado, 2, other.number, 0, 0)
  enter(entry, other.place, who)
  serve()
  return done({2, now, last, other.place})
elseif queued or not admits(mode, limit) then
  if place > 0 and queued then redis.call('ZREM', queue, 'w' .. from .. self .. '\0' .. string.sub(op, 26)) end -- never two entries of one
  local at = enter(entry, place, who)
  if not at then return done({-7, now}) end
  if place > 0 then serve() end -- it may stand before the head now, and be content with less
  return done({2, now, last, at})
end

local fresh = mint()
if not fresh then return done({-4, now}) end
grant(fresh, from, mode, who, span, till)
return done({1, now, fresh})
