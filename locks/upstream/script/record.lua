-- Reads a lock's record.
--
-- Needs    key: the record's; now: µs
-- Returns  {-5, now} if the key holds something that is no record; else goes on
--
-- Defines  the record's fields, exclusive (whether a live exclusive lease exists), queued (whether the lock has a queue), pending (the
--          place of the holder's entry in the queue, if its lease was granted from there and nobody is known to have heard of it; else nil)
-- Invariant: a record expires not before its lock's last lease has been over for RETENTION ms.
--
-- A pending lease lasts until expires if its entry is in the queue then, else until its whole TTL has passed since it was granted: its
-- candado hears of it, takes the entry out, and then answers the client (DESIGN.md, 6.1). So who finds it in takes it out.
--
-- There are no functions here and in what follows for exclusive locks: making a closure costs more than running it once.
local RETENTION, FORMAT, SIZE = 60000, '<BI7I7I6I6c8c6I2', 43 -- the first in ms

local head, last, expires, ttl, granted = 0x40, 0, 0, 0, 0
local request, ended, count, owner = '\0\0\0\0\0\0\0\0', '\0\0\0\0\0\0', 0, ''
local raw, pending = redis.call('GET', key), nil
if raw then
  -- 0x40 is the format's number; flags beyond those known here belong to a later one. A token is below 2^53, which no
  -- text of so many bytes is; what is not held exclusively has no expiry and no owner here.
  if #raw < SIZE then return {-5, now} end
  head, last, expires, ttl, granted, request, ended, count = struct.unpack(FORMAT, raw)
  if head == 0x59 and #raw >= SIZE + 7 then
    head, pending, owner = 0x49, struct.unpack('<I7', raw, SIZE + 1), string.sub(raw, SIZE + 8)
  elseif #raw > SIZE then
    owner = string.sub(raw, SIZE + 1)
  end
  if head < 0x40 or head > 0x4f or head % 4 == 3 or last == 0 or last > 9007199254740991
    or head % 4 ~= 1 and (expires + ttl + granted > 0 or owner ~= '') then
    return {-5, now}
  end
end
local state = head % 4 -- 0 free, 1 exclusive, 2 shared
local confirmed, queued = head % 8 >= 4, head >= 0x48
if pending and expires <= now then
  if take_out(key, pending, request) then
    -- Who looks next must not take it for confirmed.
    redis.call('SET', key, struct.pack(FORMAT, 0x49, last, expires, ttl, granted, request, ended, count) .. owner, 'PX', RETENTION)
  else
    expires = (granted + ttl) * 1000
  end
  pending = nil
end
local exclusive = state == 1 and (expires == 0 or expires > now)
