-- The requests that wait for a lock, and whom to tell what becomes of them. See DESIGN.md for the three keys.
--
-- A waiter is packed as mode (1 byte), limit (4), ttl (6, ms, 0: none), candado (16), owner.
-- Invariant: a number is in :q exactly if it has a waiter in :n; an owner is in :n exactly if it has one; the head of :q can't
-- be admitted once a script has ended, unless serve() stopped at MOST, or before somebody of whom it is not known whether he lives.
--
-- News is what a script's reply ends with if the lock has a queue, or had: {when the first lease expires (µs; 0: never; now:
-- there is more to serve), then for each request of the calling candado that there is news of: kind, number, token, expires}.
-- Other candados get the same four, packed, on their channel. Kind: 1 granted, 2 the owner waits with another request, 3 no token is left.
local WAITER, WAITER_SIZE, NEWS = '<BI4I6c16', 27, '<Bc8I7I7'
local KEPT = 60000          -- ms that the keys outlive the last word from a candado
local SILENT = 3000000      -- µs after which a candado that has said nothing is taken for dead
local FORGOTTEN = 5000000   -- the same, in the eyes of a candado that has no request waiting
local GAP = 1500000         -- µs within which each says so, if it can
local GRACE = 2500000       -- µs that candados have to speak once they can again; for the first second of them they count as heard of (GAP)
local PROVISIONAL = 4000000 -- µs that a granted lease lasts until its candado confirms that it was heard of
local UNHEARD = 2000000     -- the same, if nobody listened: its candado tends the lock before that, or never
local MOST = 256            -- waiters that one script serves: others want to use the server too
local order, waiting, alive = key .. ':q', key .. ':n', key .. ':c'
local news = {0}

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

local function waiter(from)
  local packed = redis.call('HGET', waiting, 'n' .. from)
  if not packed then return nil end
  local mode, limit, span, candado = struct.unpack(WAITER, packed)
  return {mode = mode, limit = limit, ttl = span, candado = candado, owner = string.sub(packed, WAITER_SIZE + 1)}
end

-- Takes a request, whose waiter is w (nil if it has none), out of the queue. Returns whether it was in.
local function leave(from, w)
  if w then
    redis.call('HDEL', waiting, 'n' .. from)
    if w.owner ~= '' and redis.call('HGET', waiting, 'o' .. w.owner) == from then redis.call('HDEL', waiting, 'o' .. w.owner) end
  end
  return redis.call('ZREM', order, from) == 1
end

-- If nobody could say that he lives, because this server stood still or its clock was set, silence proves nothing: then each gets
-- a little time to say so. But it may also be that nobody who lives had anything to say it for: so each is forgiven once until he speaks,
-- or the dead would be served one after the other. Half a microsecond marks who was.
local function forgive()
  local all = redis.call('ZREVRANGE', alive, 0, -1, 'WITHSCORES')
  if math.abs(all[2] and now - all[2] or 0) <= GAP then return end
  local said = now - SILENT + GRACE
  for i = 1, #all, 2 do
    local word = tonumber(all[i + 1])
    if word < said and word % 1 == 0 or word > now then redis.call('ZADD', alive, said + 0.5, all[i]) end
  end
end

-- Says that the calling candado lives, and has requests waiting here.
local function refresh()
  forgive() -- first: who speaks first must not make the others look dead
  redis.call('ZADD', alive, now, self)
  for _, k in ipairs({order, waiting, alive}) do redis.call('PEXPIRE', k, KEPT) end
end

-- How long ago a candado said that it lives, if that was within so many µs; else false.
local function heard(candado, silent)
  local said = redis.call('ZSCORE', alive, candado)
  local age = said and now - said
  return age and age <= silent and age >= -GAP and age -- a clock may be set back a little
end

-- Puts the calling candado's request into the queue, at a place that it had before (0: at the end). Returns the place.
local function enter(from, place, mode, limit, span, who)
  if place == 0 then
    local tail = redis.call('ZREVRANGE', order, 0, 0, 'WITHSCORES')[2]
    place = math.max(now, tail and tail + 1 or 0)
  end
  redis.call('ZADD', order, digits(place), from)
  redis.call('HSET', waiting, 'n' .. from, struct.pack(WAITER, mode, limit, span, self) .. who)
  if who ~= '' then redis.call('HSET', waiting, 'o' .. who, from) end
  if not queued or not heard(self, GAP) then refresh() end -- its last word may be an earlier request's
  if not queued then queued, changed = true, true end
  return place
end

-- How long ago a candado that lives has said so; false if it is dead. One that has nothing waiting here can't tell whether others could
-- speak meanwhile: if there is room for doubt, it leaves the judgement to those who wait, and the second value is true. One that should have
-- spoken itself, and has not, knows that nobody could.
local function lives(candado)
  local age = heard(candado, GAP)
  if age then return age end
  if not redis.call('ZSCORE', alive, self) then return false, heard(candado, FORGOTTEN) and true end
  if not heard(self, GAP) then forgive() end
  return heard(candado, SILENT)
end

-- Settle, second half: grants what can be granted to those who wait, in their order. A waiter that can't be told is dropped, unless its
-- candado has just said that it lives: then that will find the lease when it tends the lock, as after a message that was lost.
local function serve()
  if not queued then return end
  for _ = 1, MOST do
    local from = redis.call('ZRANGE', order, 0, 0)[1]
    if not from then
      redis.call('DEL', order, waiting, alive)
      queued, changed = false, true
      return
    end
    if state == 1 then return end -- nobody is admitted beside an exclusive holder
    local w, age, unsure = waiter(from), false, false
    if w then age, unsure = lives(w.candado) end
    if unsure or age and not admits(w.mode, w.limit) then return end
    leave(from, w) -- first: a server that takes no writes would let a message out, and then refuse the lease
    if age then
      local token = mint()
      local span = w.ttl > 0 and w.ttl * 1000 or PROVISIONAL
      local told = tell(w.candado, token and 1 or 3, from, token or 0, now + math.min(span, PROVISIONAL))
      local till = now + math.min(span, told and PROVISIONAL or UNHEARD)
      if token and (told or age <= GAP) then grant(token, from, w.mode, w.owner, w.ttl, till) end
    end
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
  if not changed then redis.call('DEL', key .. ':w') end -- an answer from reads alone must not come from a replica
  local had = queued or #news > 1
  save()
  if had then
    if news[1] == 0 then news[1] = queued and earliest() or 0 end
    table.insert(reply, news)
  end
  return reply
end
