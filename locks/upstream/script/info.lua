-- Describes the lock.
--
-- Returns  {1, now, last, waiters, mode, then for each holder, by token: token, owner, ttl left (ms, rounded up; -1: no expiry), ms held}
--          (mode: 0 exclusive, 1 shared, 2 free)
local reply = {1, now, last, 0, 2}

local function add(token, lease)
  local left = lease.expires > 0 and math.ceil((lease.expires - now) / 1000) or -1
  local held = math.max(math.floor(now / 1000) - lease.granted, 0)
  for _, v in ipairs({token, lease.owner, left, held}) do table.insert(reply, v) end
end

if exclusive then
  reply[5] = 0
  add(last, {expires = expires, granted = granted, owner = owner})
elseif settle() > 0 then
  reply[5] = 1
  local tokens = redis.call('ZRANGE', expiries, 0, -1)
  table.sort(tokens, function(a, b) return tonumber(a) < tonumber(b) end)
  for _, token in ipairs(tokens) do
    local lease = load(token)
    if lease then add(tonumber(token), lease) end
  end
end
return read(reply)
