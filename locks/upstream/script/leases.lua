-- The leases of a lock, however it is held. See DESIGN.md for the three keys of shared ones.
--
-- A shared lease is packed as confirmed (1 byte), expires (7, µs, 0: never), ttl (6, ms, 0: none), granted (6, ms), request (8), owner.
-- Invariant: a token is in :e exactly if it has a lease in :h, and in :a exactly if that lease is anonymous.
local LEASE, LEASE_SIZE = '<BI7I6I6c8', 28
local leases, expiries, anonymous = key .. ':h', key .. ':e', key .. ':a'
local holders, changed = 0, false -- live leases, once settled; whether the record has to be written

-- Tokens and times are doubles here: tostring would lose digits.
local function digits(n) return string.format('%.0f', n) end

-- Returns the live lease with that token (as of_request and its kin give it); nil if there is none, as when only some of the
-- keys were lost.
local function load(token)
  if not token then return nil end
  if state == 1 then
    return {confirmed = confirmed, expires = expires, ttl = ttl, granted = granted, request = request, owner = owner}
  end
  local packed = redis.call('HGET', leases, 't' .. token)
  if not packed then return nil end
  local flag, till, span, since, from = struct.unpack(LEASE, packed)
  return {confirmed = flag == 1, expires = till, ttl = span, granted = since, request = from,
    owner = string.sub(packed, LEASE_SIZE + 1)}
end

-- Writes a lease of the mode in which the lock is held.
local function store(token, lease)
  changed = true
  if state == 1 then
    if pending then take_out(key, pending, request) end
    pending = nil
    confirmed, expires, ttl, granted, request, owner =
      lease.confirmed, lease.expires, lease.ttl, lease.granted, lease.request, lease.owner
    return
  end
  local packed = struct.pack(LEASE, lease.confirmed and 1 or 0, lease.expires, lease.ttl, lease.granted, lease.request)
  redis.call('HSET', leases, 't' .. token, packed .. lease.owner, 'r' .. lease.request, token)
  redis.call('ZADD', expiries, lease.expires > 0 and digits(lease.expires) or '+inf', token)
  if lease.owner == '' then
    redis.call('ZADD', anonymous, token, token)
  else
    redis.call('HSET', leases, 'o' .. lease.owner, token)
  end
end

-- Takes one shared lease out of the three keys.
local function drop(token)
  local lease = load(token)
  redis.call('ZREM', expiries, token)
  redis.call('ZREM', anonymous, token)
  if lease then redis.call('HDEL', leases, 't' .. token, 'r' .. lease.request, 'o' .. lease.owner) end
end

-- Settle, first half: ends what has expired.
local function settle()
  if state == 2 then
    for _, token in ipairs(redis.call('ZRANGEBYSCORE', expiries, '-inf', digits(now))) do drop(token) end
    holders = redis.call('ZCARD', expiries)
  elseif exclusive then
    holders = 1
  end
  if holders == 0 then state = 0 end
end

-- Ends one live lease.
local function finish(token)
  if state == 2 then drop(token) end
  holders, changed = holders - 1, true
  if holders == 0 then state = 0 end
end

-- Ends every live lease.
local function finish_all()
  if state == 2 then redis.call('DEL', leases, expiries, anonymous) end
  holders, state, changed = 0, 0, true
end

-- Whether a request of that mode and limit can be granted, but for those who wait.
local function admits(mode, limit)
  return state == 0 or state == 2 and mode == 1 and (limit == 0 or holders < limit)
end

-- The token of the next lease; nil if there is none left.
local function mint()
  local token = math.max(last + 1, now, floor + 1)
  return token <= 9007199254740991 and token or nil
end

-- Makes the lease of a request, which must be admitted. It expires at till (µs; 0: never).
local function grant(token, from, mode, who, span, till)
  if mode == 1 and holders == 0 then redis.call('DEL', leases, expiries, anonymous) end -- what may be left if only some keys were lost
  state, last, request, holders = mode + 1, token, from, holders + 1
  store(digits(token), {confirmed = false, expires = till, ttl = span, granted = math.floor(now / 1000), request = from, owner = who})
end

-- The token of the live lease that a request made, or that an owner has; nil or false if there is none.
local function of_request(from)
  if state == 1 then return request == from and digits(last) end
  return state == 2 and redis.call('HGET', leases, 'r' .. from)
end

local function of_owner(who)
  if who == '' then return nil end
  if state == 1 then return owner == who and digits(last) end
  return state == 2 and redis.call('HGET', leases, 'o' .. who)
end

-- The token of the live lease that a claim names: by token (a number), by owner, or, if they are 0 and empty, the oldest anonymous one. Returns nil
-- or false if there is none.
local function claimed(by_token, by_owner)
  if state == 1 then return (by_token ~= 0 and by_token == last or by_token == 0 and by_owner == owner) and digits(last) end
  if state == 0 then return nil end
  if by_token ~= 0 then
    by_token = digits(by_token)
    return redis.call('HEXISTS', leases, 't' .. by_token) == 1 and by_token
  end
  if by_owner ~= '' then return of_owner(by_owner) end
  return redis.call('ZRANGE', anonymous, 0, 0)[1]
end

-- When the first lease expires, µs; 0: none does.
local function earliest()
  if state == 1 then return expires end
  local first = state == 2 and redis.call('ZRANGE', expiries, 0, 0, 'WITHSCORES')[2] or 'inf'
  return first ~= 'inf' and tonumber(first) or 0
end

-- Writes the record, if it has changed, and gives all keys of the leases the time that the longest needs.
local function save()
  if not changed then return end
  changed = false
  local px = RETENTION
  if state == 1 and pending then
    px = ttl + RETENTION
  elseif state == 1 then
    px = expires > 0 and math.ceil((expires - now) / 1000) + RETENTION or nil
  elseif state == 2 then
    local longest = redis.call('ZREVRANGE', expiries, 0, 0, 'WITHSCORES')[2]
    px = longest ~= 'inf' and math.ceil((longest - now) / 1000) + RETENTION or nil
    for _, k in ipairs({leases, expiries, anonymous}) do
      if px then redis.call('PEXPIRE', k, px) else redis.call('PERSIST', k) end
    end
  end
  local packed
  local flags = 0x40 + state + (queued and 8 or 0)
  if state == 1 then
    packed = struct.pack(FORMAT, flags + (confirmed and 4 or 0) + (pending and 16 or 0), last, expires, ttl, granted, request, ended, count)
      .. (pending and struct.pack('<I7', pending) or '') .. owner
  else
    packed = struct.pack(FORMAT, flags, last, 0, 0, 0, request, ended, count)
  end
  px = px and {'PX', digits(px)} or {}
  if state ~= 1 or pending then
    if not redis.pcall('SET', key, packed, unpack(px)).err then return end
    redis.call('DEL', key .. ':w') -- a server that is out of memory lets a script go on once it has written: there, too, leases end and are handed over
  end
  redis.call('SET', key, packed, unpack(px))
end
