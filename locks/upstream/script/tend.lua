-- Looks after a lock on behalf of a candado whose requests wait for it: says that the candado lives, ends what has expired, grants
-- what can be granted, and says what has become of the candado's requests.
--
-- ARGV[4…] the entries of some of its requests (queue.lua); none: it has none, and looks only at what has expired
-- Returns  {1, now, then for each entry: 0 it waits, -1 it is gone, else the token of its lease}; and news (queue.lua)
redis.call('DEL', key .. ':w') -- a server that is out of memory lets a script go on once it has written
if not queued and redis.call('EXISTS', queue) == 1 then queued, changed = true, true end -- the record was lost, the queue was not
if queued and #ARGV > 3 then speak() end
settle()
serve()

-- Requests of a candado that has died are dropped once they are first (serve). They also count, so they are looked for from the front to
-- the back, some in each script; 'p' says how far that has come. Only one who has just said that he lives does so: then those who could
-- not have been forgiven.
if queued and #ARGV > 3 then
  local dead = redis.call('ZRANGEBYSCORE', queue, digits(SILENT + 1 - now), '(0')
  if #dead > 0 then redis.call('ZREM', queue, unpack(dead)) end
  local from = #dead > 0 and 0 or tonumber(redis.call('ZSCORE', queue, 'p') or nil)
  if from then
    local some = redis.call('ZRANGEBYSCORE', queue, '(' .. digits(from / -2), WAITERS, 'WITHSCORES', 'LIMIT', 0, MOST)
    for i = 1, #some, 2 do
      local w = waiter(some[i], some[i + 1])
      if not redis.call('ZSCORE', queue, 'c' .. w.candado) and not (w.place == pending and w.number == request) then leave(w) end
    end
    local more = #some == 2 * MOST
    if more then redis.call('ZADD', queue, digits(-2 * some[#some]), 'p') else redis.call('ZREM', queue, 'p') end
    serve()
    if more and queued then news[1] = now end
  end
end

if queued and #ARGV > 3 then
  -- How many wait, and whose owners do, is made exact from time to time: what was granted has left both as they were.
  redis.call('ZADD', queue, digits(FAR - tidy()), 'z')
end

local reply = {1, now}
local places = queued and LT and #ARGV > 3 and redis.call('ZMSCORE', queue, unpack(ARGV, 4))
for i = 4, #ARGV do
  local waits = places and places[i - 3] or not places and queued and place_of(ARGV[i])
  table.insert(reply, tonumber(of_request(string.sub(ARGV[i], 2, 9)) or waits and 0 or -1)) -- a holder's own entry may be there, too
end
return done(reply)
