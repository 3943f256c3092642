-- Whether the server knows ZADD LT and ZMSCORE. It says so only from 7.0 on.
local LT = (redis.REDIS_VERSION_NUM or 0) >= 0x00060200

-- Takes the queue's entry of a lease that is not heard of yet out of the queue. Returns whether it was in: if not, the lease's candado
-- has heard of it, and has taken the entry out itself. See queue.lua.
local function take_out(key, place, number)
  local at = string.format('%.0f', place)
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', key .. ':q2', at, at)) do
    if string.sub(entry, 2, 9) == number then return redis.call('ZREM', key .. ':q2', entry) == 1 end
  end
  return false
end
