-- Acquire where the lock is held shared, or is free and to be held shared. It goes on from acquire.lua.
local limit, holders = tonumber(ARGV[6]), settle()
local token = holders > 0 and (redis.call('HGET', leases, 'r' .. from) or who ~= '' and redis.call('HGET', leases, 'o' .. who))
local mine = load(token)
if mine then
  if not shared then return read({-2, now}) end
  if mine.request ~= from then
    redis.call('HDEL', leases, 'r' .. mine.request)
    mine.request, mine.confirmed = from, mine.confirmed or mine.request ~= doubted
  end
  mine.expires, mine.ttl = till, span
  store(token, mine)
  keep()
  return {1, now, tonumber(token)}
end
if from == request then return read({1, now, last}) end -- granted before, and ended since
if holders > 0 and (not shared or limit > 0 and holders >= limit) then return read({0, now, last}) end

if next > 9007199254740991 then return {-4, now} end
last, request = next, from
local lease = {confirmed = false, expires = till, ttl = span, granted = math.floor(now / 1000), request = from, owner = who}
if holders == 0 then redis.call('DEL', leases, expiries, anonymous) end -- what may be left if only some keys were lost
if shared then
  store(digits(last), lease)
  keep()
else -- the shared leases have all expired
  local packed = struct.pack(FORMAT, 0x41, last, till, span, lease.granted, from, ended, count) .. who
  if span > 0 then redis.call('SET', key, packed, 'PX', span + RETENTION) else redis.call('SET', key, packed) end
end
return {1, now, last}
