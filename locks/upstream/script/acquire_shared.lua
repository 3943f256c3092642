-- Acquire where the lock is held shared, or is free and to be held shared. It goes on from acquire.lua.
local limit, holders = tonumber(ARGV[6]), settle()
local token = holders > 0 and (redis.call('HGET', leases, 'r' .. from) or who ~= '' and redis.call('HGET', leases, 'o' .. who))
if token then
  if not shared then return read({-2, now}) end
  local lease = load(token)
  if lease.request ~= from then
    redis.call('HDEL', leases, 'r' .. lease.request)
    lease.request, lease.confirmed = from, lease.confirmed or lease.request ~= doubted
  end
  lease.expires, lease.ttl = till, span
  store(token, lease)
  keep()
  return {1, now, tonumber(token)}
end
if from == request then return read({1, now, last}) end -- granted before, and ended since
if holders > 0 and (not shared or limit > 0 and holders >= limit) then return read({0, now, last}) end

if next > 9007199254740991 then return {-4, now} end
last, request = next, from
local lease = {confirmed = false, expires = till, ttl = span, granted = math.floor(now / 1000), request = from, owner = who}
if shared then
  store(digits(last), lease)
  keep()
else -- the shared leases have all expired
  local packed = struct.pack(FORMAT, 0x41, last, till, span, lease.granted, from, ended, count) .. who
  if span > 0 then redis.call('SET', key, packed, 'PX', span + RETENTION) else redis.call('SET', key, packed) end
end
return {1, now, last}
