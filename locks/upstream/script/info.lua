-- Describes the lock.
--
-- Returns  {1, now, last, waiters, mode, then for each holder, by token: token, owner, ttl left (ms, rounded up; -1: no expiry), ms held}
--          (mode: 0 exclusive, 1 shared, 2 free); and news (queue.lua)
catch_up()
local waiters = queued and count_waiters() or 0
if pending and not stands() then expires = (granted + ttl) * 1000 end -- it was heard of
local reply = {1, now, last, waiters, (state + 2) % 3}

local tokens = {digits(last)}
if state ~= 1 then tokens = state == 2 and redis.call('ZRANGE', expiries, 0, -1) or {} end
table.sort(tokens, function(a, b) return tonumber(a) < tonumber(b) end)
for _, token in ipairs(tokens) do
  local lease = load(token)
  if lease then
    local left = lease.expires > 0 and math.ceil((lease.expires - now) / 1000) or -1
    local held = math.max(math.floor(now / 1000) - lease.granted, 0)
    for _, v in ipairs({tonumber(token), lease.owner, left, held}) do table.insert(reply, v) end
  end
end
return done(reply)
