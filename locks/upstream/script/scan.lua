-- One page of held locks. It looks at the whole database, so it is for people and dashboards, not for programs in a loop.
--
-- KEYS[1]  a key that never exists, below candado's prefix
-- ARGV[1]  cursor
-- ARGV[2]  glob pattern of the records to look at
-- ARGV[3]  count: about how many keys to look at
-- Returns  {1, now, next cursor, then the record keys of held locks}
redis.call('DEL', KEYS[1]) -- refuses to answer from a read-only replica
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local reply = {1, now, page[1]}
for _, key in ipairs(page[2]) do
  -- pcall: a foreign value under a name like ours is not a reason to fail the page.
  local raw = string.sub(key, -1) == '}' and redis.pcall('GET', key)
  if type(raw) == 'string' and #raw >= 43 then
    local head, last, expires = struct.unpack('<BI7I7', raw)
    local state = head % 4
    local held = state == 1 and (expires == 0 or expires > now)
    if head == 0x59 and not held and #raw >= 50 then
      -- It was granted from the queue: it is over if its entry is still there.
      local ttl, granted = struct.unpack('<I6I6', raw, 16)
      local place = string.format('%.0f', struct.unpack('<I7', raw, 44))
      local left = redis.pcall('ZCOUNT', key .. ':q2', place, place)
      held = left == 0 and (granted + ttl) * 1000 > now
    end
    if state == 2 then
      local live = redis.pcall('ZCOUNT', key .. ':e', string.format('(%.0f', now), '+inf')
      held = type(live) == 'number' and live > 0
    end
    if head >= 0x40 and (head <= 0x4f or head == 0x59) and last <= 9007199254740991 and held then table.insert(reply, key) end
  end
end
return reply
