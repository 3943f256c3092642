-- Release where the lock is held shared, or has a queue. It goes on from release.lua.
if state == 2 then redis.call('DEL', key .. ':w') end -- a server that is out of memory lets a script go on once it has written
catch_up()
if from == ended then return done({1, now, count, holders}) end
if sent > 0 and by_token ~= 0 and not claimed(by_token, '') and by_token < last
  and (state ~= 1 or (granted + 1) * 1000 > sent) then
  return done({-6, now}) -- the first copy may have ended it
end
if holders == 0 then return done(sent > 0 and by_token == 0 and last + 1000 > sent and {-6, now} or {0, now}) end
if sent > 0 and by_token == 0 and (state == 2 or (granted + 1) * 1000 > sent) then return done({-6, now}) end
local n = 1
if force then
  n = holders
  finish_all()
else
  local token = claimed(by_token, by_owner)
  if not token then return done({-1, now}) end
  if untold and load(token).confirmed then return done({1, now, 0, holders}) end
  finish(token)
end
ended, count = from, math.min(n, 65535)
serve()
return done({1, now, n, holders})
