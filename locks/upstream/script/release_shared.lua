-- Release where the lock is held shared. It goes on from release.lua.
local holders = settle()
if from == ended then return read({1, now, count, holders}) end
if holders == 0 then return read({0, now}) end
if sent > 0 and by_token == '' then return read({-6, now}) end
if force then
  redis.call('DEL', leases, expiries, anonymous)
  ended, count = from, math.min(holders, 65535)
  after(0)
  return {1, now, holders, 0}
end
local token = claimed(by_token, by_owner)
if not token then return read({-1, now}) end
drop(token)
ended, count = from, 1
after(holders - 1)
return {1, now, 1, holders - 1}
