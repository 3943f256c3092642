-- The requests that wait for a lock, and whom to tell what becomes of them. See DESIGN.md for what is in the key beside them.
--
-- A request's entry is 'w', number (8 bytes), candado (16), back (1: it was there before, and comes back), mode (1), limit (4),
-- ttl (6, ms, 0: none), owner. Who comes back has another entry: what was to take the first one out can't take this.
-- Invariant: an owner's place is there if a request of his waits; the head can't be admitted once a script has ended, unless
-- serve() stopped at MOST, or before somebody of whom it is not known whether he lives. A pending holder's entry (record.lua) is in the
-- queue, and does not wait.
--
-- News is what a script's reply ends with if the lock has a queue, or had: {when the first lease expires (µs; 0: never; now:
-- there is more to serve), then for each request of the calling candado that there is news of: kind, number, token, expires}.
-- Other candados get the same four, packed, on their channel. Kind: 1 granted, 2 the owner waits with another request, 3 no token is left.
local ENTRY, ENTRY_SIZE, NEWS = '<xc8c16xBI4I6', 37, '<Bc8I7I7'
local KEPT = 60000          -- ms that the key outlives the last word from a candado, and the TTL of a pending lease beside it
local SILENT = 3000000      -- µs after which a candado that has said nothing is taken for dead
local FORGOTTEN = 5000000   -- the same, in the eyes of a candado that has no request waiting
local GAP = 1500000         -- µs within which each says so, if it can
local GRACE = 2500000       -- µs that candados have to speak once they can again; for the first second of them they count as heard of (GAP)
local PROVISIONAL = 4000000 -- µs that a granted lease lasts until its candado confirms that it was heard of
local UNHEARD = 2000000     -- the same, if nobody listened: its candado tends the lock before that, or never
local TIDY = 1024           -- the queue is cleared up by one of so many that enter, at least: it may be used and never tended
local MOST = 256            -- waiters that one script serves: others want to use the server too
local queue = key .. ':q2'
local news, wrote = {0}, false -- whether anything was written but the record

-- What is in the queue is told apart by its score: a request's is its place. See DESIGN.md.
local FAR = 8000000000000000
local WAITERS, SIGNS = '(5000000000000000', '(-2500000000000000'

-- Tells a candado. Returns whether it listens.
local function tell(candado, kind, from, token, till)
  if candado == self then
    for _, v in ipairs({kind, from, token, till}) do table.insert(news, v) end
    return true
  end
  local channel = string.match(key, '^[^{]*') .. 'news:' .. candado
  -- pcall: who may not publish can still serve its own requests, once a second.
  local heard = redis.pcall('PUBLISH', channel, struct.pack(NEWS, kind, from, token, till))
  return type(heard) == 'number' and heard > 0
end

-- The request of an entry that stands at a place.
local function waiter(entry, place)
  local number, candado, mode, limit, span = struct.unpack(ENTRY, entry)
  return {entry = entry, place = tonumber(place), number = number, candado = candado, mode = mode, limit = limit, ttl = span,
    owner = string.sub(entry, ENTRY_SIZE + 1)}
end

local function place_of(entry) return tonumber(redis.call('ZSCORE', queue, entry) or nil) end

-- The request with which an owner waits; nil if there is none.
local function waiter_of(who)
  local at = redis.call('ZSCORE', queue, 'o' .. who)
  if not at then return nil end
  at = digits(at + FAR)
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', queue, at, at)) do
    local w = waiter(entry, at)
    if w.owner == who and not (w.place == pending and w.number == request) then return w end
  end
end

-- The first request in the queue, be it the holder's own; nil if there is none.
local function first()
  local some = redis.call('ZRANGEBYSCORE', queue, 0, WAITERS, 'WITHSCORES', 'LIMIT', 0, 1)
  return some[1] and waiter(some[1], some[2])
end

-- Whether the entry of the holder stands at its place: nobody is known to have heard of his lease.
local function stands()
  local at = digits(pending)
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', queue, at, at)) do
    if string.sub(entry, 2, 9) == request then return true end
  end
  return false
end

-- How many requests wait.
local function count_waiters()
  return redis.call('ZCOUNT', queue, 0, WAITERS) - (pending and stands() and 1 or 0)
end

-- How many requests wait, once it has cleared away where the owners were whose requests were granted.
local function tidy()
  local w = first()
  redis.call('ZREMRANGEBYSCORE', queue, '-inf', '(' .. digits((w and w.place or FAR / 2) - FAR))
  return count_waiters()
end

-- Takes a request out of the queue.
local function leave(w)
  redis.call('ZREM', queue, w.entry)
  if w.owner ~= '' and tonumber(redis.call('ZSCORE', queue, 'o' .. w.owner) or 0) == w.place - FAR then
    redis.call('ZREM', queue, 'o' .. w.owner)
  end
end

-- If nobody could say that he lives, because this server stood still or its clock was set, silence proves nothing: then each gets
-- a little time to say so. But it may also be that nobody who lives had anything to say it for: so each is forgiven once until he speaks,
-- or the dead would be served one after the other. Half a microsecond marks who was.
local function forgive()
  local all = redis.call('ZRANGEBYSCORE', queue, SIGNS, '(0', 'WITHSCORES') -- the latest first
  if math.abs(all[2] and now + all[2] or 0) <= GAP then return end
  local said = now - SILENT + GRACE
  for i = 1, #all, 2 do
    local word = -all[i + 1]
    if word < said and word % 1 == 0 or word > now then redis.call('ZADD', queue, -said - 0.5, all[i]) end
  end
end

-- Sets the key's expiry anew. Beside a pending lease the key must not be gone before that is over: then it would count as heard of.
local function keep() redis.call('PEXPIRE', queue, digits(KEPT + (pending and ttl or 0))) end

-- Says that the calling candado lives, and has requests waiting here.
local function speak()
  forgive() -- first: who speaks first must not make the others look dead
  redis.call('ZADD', queue, digits(-now), 'c' .. self)
  keep()
  wrote = true
end

-- How long ago a candado said that it lives, if that was within so many µs; else false.
local function heard(candado, silent)
  local said = redis.call('ZSCORE', queue, 'c' .. candado)
  local age = said and now + said
  return age and age <= silent and age >= -GAP and age -- a clock may be set back a little
end

-- Puts the calling candado's request into the queue, at a place that it had before (0: at the end), which also says that the candado
-- lives. Returns the place; nil if the queue is full.
local function enter(entry, place, who)
  local ends = redis.call('ZREVRANGE', queue, 0, 1, 'WITHSCORES')
  local n = ends[1] == 'z' and FAR - ends[2] or count_waiters()
  if n % TIDY == TIDY - 1 or place == 0 and n >= most then n = tidy() end
  if place == 0 and n >= most then return nil end
  if place == 0 then place = math.max(now, (ends[4] or 0) + 1) end
  speak()
  redis.call('ZADD', queue, digits(place), entry, digits(FAR - n - 1), 'z')
  if who ~= '' then redis.call('ZADD', queue, digits(place - FAR), 'o' .. who) end
  if not queued then queued, changed = true, true end
  return place
end

-- How long ago a candado that lives has said so, whose request is w; false if it is dead. One that has nothing waiting here can't tell
-- whether others could speak meanwhile: if there is room for doubt, it leaves the judgement to those who wait, and the second value is true. One
-- that should have spoken itself, and has not, knows that nobody could.
local function lives(w)
  if w.candado == self then return 0 end -- it runs this script
  local age = now - w.place -- who enters says that he lives
  if math.abs(age) <= GAP then return age end
  age = heard(w.candado, GAP)
  if age then return age end
  if not redis.call('ZSCORE', queue, 'c' .. self) then return false, heard(w.candado, FORGOTTEN) and true end
  if not heard(self, GAP) then forgive() end
  return heard(w.candado, SILENT)
end

-- Hands the lock over to a request that waits, said to live so long ago. It is dropped instead if it can't be told, unless its candado has
-- just said that it lives: then that will find the lease when it tends the lock, as after a message that was lost.
local function hand_over(w, age)
  local token = mint()
  if not token then
    leave(w)
    tell(w.candado, 3, w.number, 0, 0)
    return
  end
  local span = w.ttl > 0 and w.ttl * 1000 or PROVISIONAL
  local till = now + math.min(span, PROVISIONAL)
  -- A write comes first: a server that takes none would let a message out, and then refuse the lease.
  if w.mode == 1 or span <= PROVISIONAL then
    leave(w)
    local told = tell(w.candado, 1, w.number, token, till)
    if not told then till = now + math.min(span, UNHEARD) end
    if told or age <= GAP then grant(token, w.number, w.mode, w.owner, w.ttl, till) end
    return
  end
  local former, latest = last, request
  grant(token, w.number, 0, w.owner, w.ttl, till)
  pending = w.place
  if ttl > KEPT / 2 then keep() end -- shorter ones are over before the key expires
  if w.candado ~= self then save() end
  if tell(w.candado, 1, w.number, token, till) then return end
  changed = true
  if age <= GAP then
    expires = now + UNHEARD
    return
  end
  state, holders, pending, last, request = 0, 0, nil, former, latest
  leave(w)
end

-- Settle, second half: grants what can be granted to those who wait, in their order.
local function serve()
  if not queued or state == 1 and pending then return end
  for _ = 1, MOST do
    local w = first()
    if pending then
      -- The entry of the lease that has ended here is in the queue, unless it was confirmed; if so, it is at its place.
      if w and w.place <= pending and take_out(key, pending, request) then w = first() end
      pending = nil
    end
    if not w then
      redis.call('DEL', queue)
      queued, changed = false, true
      return
    end
    if state == 1 then return end -- nobody is admitted beside an exclusive holder
    local age, unsure = lives(w)
    if unsure or age and not admits(w.mode, w.limit) then return end
    if age then hand_over(w, age) else leave(w) end
    if state == 1 then return end
  end
  news[1] = now
end

-- Brings the lock up to date at the beginning of a script. Beside an exclusive lease that lives there is nothing to serve.
local function catch_up()
  settle()
  if not exclusive then serve() end
end

-- Ends a script: writes what has changed, and adds the news to the reply.
local function done(reply)
  if not changed and not wrote then redis.call('DEL', key .. ':w') end -- an answer from reads alone must not come from a replica
  local had = queued or #news > 1
  save()
  if had then
    if news[1] == 0 then news[1] = queued and earliest() or 0 end
    table.insert(reply, news)
  end
  return reply
end
