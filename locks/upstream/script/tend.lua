-- Looks after a lock on behalf of a candado whose requests wait for it: says that the candado lives, ends what has expired, grants
-- what can be granted, and says what has become of the candado's requests.
--
-- ARGV[4…] the numbers of some of its requests; none: it has none, and looks only at what has expired
-- Returns  {1, now, then for each number: 0 it waits, -1 it is gone, else the token of its lease}; and news (queue.lua)
redis.call('DEL', key .. ':w') -- a server that is out of memory lets a script go on once it has written
if not queued and redis.call('EXISTS', order) == 1 then queued, changed = true, true end -- the record was lost, the queue was not
if queued and #ARGV > 3 then refresh() end
settle()
serve()

-- Requests of a candado that has died are dropped once they are first (serve). They also count, so they are looked for from the front to
-- the back, some in each script; 'w' in :n is how far that has come. Only one who has just said that he lives does so: then those who could
-- not have been forgiven.
if queued and #ARGV > 3 then
  local dead = redis.call('ZRANGEBYSCORE', alive, '-inf', digits(now - SILENT - 1))
  if #dead > 0 then
    redis.call('ZREM', alive, unpack(dead))
    redis.call('HSET', waiting, 'w', '0')
  end
  local place = redis.call('HGET', waiting, 'w')
  if place then
    local some = redis.call('ZRANGEBYSCORE', order, '(' .. place, '+inf', 'WITHSCORES', 'LIMIT', 0, MOST)
    for i = 1, #some, 2 do
      local w = waiter(some[i])
      if not w or not redis.call('ZSCORE', alive, w.candado) then leave(some[i], w) end
    end
    local more = #some == 2 * MOST
    if more then redis.call('HSET', waiting, 'w', some[#some]) else redis.call('HDEL', waiting, 'w') end
    serve()
    if more and queued then news[1] = now end
  end
end

local reply = {1, now}
for i = 4, #ARGV do
  local from = ARGV[i]
  local fate = queued and redis.call('HEXISTS', waiting, 'n' .. from) == 1 and 0 or tonumber(of_request(from) or -1)
  table.insert(reply, fate)
end
return done(reply)
