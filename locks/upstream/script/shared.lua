-- The leases of a lock that is held shared. See DESIGN.md for the three keys.
--
-- A lease is packed as confirmed (1 byte), expires (7, µs, 0: never), ttl (6, ms, 0: none), granted (6, ms), request (8), owner.
-- Invariant: a token is in :e exactly if it has a lease in :h, and in :a exactly if that lease is anonymous.
local LEASE, LEASE_SIZE = '<BI7I6I6c8', 28
local leases, expiries, anonymous = key .. ':h', key .. ':e', key .. ':a'

-- Tokens and times are doubles here: tostring would lose digits.
local function digits(n) return string.format('%.0f', n) end

-- Returns the lease with that token; nil if there is none, as when only some of the keys were lost.
local function load(token)
  local packed = token and redis.call('HGET', leases, 't' .. token)
  if not packed then return nil end
  local flag, till, span, since, from = struct.unpack(LEASE, packed)
  return {confirmed = flag == 1, expires = till, ttl = span, granted = since, request = from,
    owner = string.sub(packed, LEASE_SIZE + 1)}
end

local function store(token, lease)
  local packed = struct.pack(LEASE, lease.confirmed and 1 or 0, lease.expires, lease.ttl, lease.granted, lease.request)
  redis.call('HSET', leases, 't' .. token, packed .. lease.owner, 'r' .. lease.request, token)
  redis.call('ZADD', expiries, lease.expires > 0 and digits(lease.expires) or '+inf', token)
  if lease.owner == '' then
    redis.call('ZADD', anonymous, token, token)
  else
    redis.call('HSET', leases, 'o' .. lease.owner, token)
  end
end

-- Ends one lease.
local function drop(token)
  local lease = load(token)
  redis.call('ZREM', expiries, token)
  redis.call('ZREM', anonymous, token)
  if lease then redis.call('HDEL', leases, 't' .. token, 'r' .. lease.request, 'o' .. lease.owner) end
end

-- Settle: ends what has expired. Returns the number of live leases.
local function settle()
  if state ~= 2 then return 0 end
  for _, token in ipairs(redis.call('ZRANGEBYSCORE', expiries, '-inf', digits(now))) do drop(token) end
  return redis.call('ZCARD', expiries)
end

-- Writes the record of a lock that is held shared, or has just become free (kind 2, 0); px: how long it lasts in ms, nil: for ever.
local function put(kind, px)
  local packed = struct.pack(FORMAT, 0x40 + kind, last, 0, 0, 0, request, ended, count)
  if px then redis.call('SET', key, packed, 'PX', px) else redis.call('SET', key, packed) end
end

-- Gives all keys of the lock the time that its longest lease needs.
local function keep()
  local longest = redis.call('ZREVRANGE', expiries, 0, 0, 'WITHSCORES')[2]
  local px = longest ~= 'inf' and math.ceil((longest - now) / 1000) + RETENTION or nil
  put(2, px)
  for _, k in ipairs({leases, expiries, anonymous}) do
    if px then redis.call('PEXPIRE', k, px) else redis.call('PERSIST', k) end
  end
end

-- Writes what follows from the end of a lease, of which left remain.
local function after(left)
  if left == 0 then put(0, RETENTION) else keep() end
end

-- The token (a string) of the live shared lease that a claim names: by token, by owner, or, if both are empty, the oldest
-- anonymous one. Returns nil if there is none.
local function claimed(by_token, by_owner)
  if by_token ~= '' then return redis.call('HEXISTS', leases, 't' .. by_token) == 1 and by_token or nil end
  if by_owner ~= '' then return redis.call('HGET', leases, 'o' .. by_owner) or nil end
  return redis.call('ZRANGE', anonymous, 0, 0)[1]
end

-- Gives a reply that was made from reads alone. It must not come from a replica's stale data: deleting a key that never exists is
-- nothing on a primary, and an error on a read-only replica.
local function read(reply)
  redis.call('DEL', key .. ':w')
  return reply
end
