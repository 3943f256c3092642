-- Does operations on locks, one after the other. Each is one atomic step, fails alone, and finds what those before it have done.
--
-- KEYS[n]    the record of the nth operation's lock
-- ARGV[1]    deadline: µs on this server's clock after which nothing must be done; 0: none
-- ARGV[2]    floor: the highest token that the caller has seen
-- ARGV[3]    self: what the candado that calls is named among those whose requests wait
-- ARGV[4]    most: how many requests may wait for one lock
-- ARGV[4+n]  the nth operation, packed: a byte that says which, then what its file says
-- Returns    {-3, now} if it is late; else {1, now, then what each operation came to: a number, or an array that begins with its status}.
--            An operation that an error ended came to {-8, now, error}.
--
-- The functions are made when the first operation needs them: making one costs as much as some operations do.
local deadline, floor, self, most = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if deadline > 0 and now > deadline then return {-3, now} end

-- Numbers as text. The server would make it of each number that it is given, more slowly.
local texts = {[60000] = '60000', [90000] = '90000'}
local function text(n)
  local s = texts[n]
  if not s then
    s = string.format('%.0f', n)
    texts[n] = s
  end
  return s
end

-- A server that is out of memory lets a script go on once it has written: an acquire must not profit from what others in its batch
-- have done, nor a shared one from clearing away what was left. This writes nothing, and is refused there.
local full
if #KEYS > 1 or string.byte(ARGV[5]) == 1 and string.byte(ARGV[5], 26) == 1 then
  local said = redis.pcall('SET', KEYS[1] .. ':w', '', 'XX')
  full = type(said) == 'table' and said.err and string.find(said.err, 'OOM', 1, true) and said.err
end

-- include: entry
local acquire, release, heartbeat, check, confirm, undo
local replies = {1, now}
for n = 1, #KEYS do
  local op, run = ARGV[4 + n], nil
  local kind = string.byte(op)
  if kind == 1 then
    acquire = acquire or function(key, op)
      -- include: record acquire leases queue acquire_any
    end
    run = acquire
  elseif kind == 2 then
    release = release or function(key, op)
      -- include: record release leases queue release_any
    end
    run = release
  elseif kind == 3 then
    heartbeat = heartbeat or function(key, op)
      -- include: record heartbeat leases queue heartbeat_any
    end
    run = heartbeat
  elseif kind == 4 then
    check = check or function(key, op)
      -- include: record leases check
    end
    run = check
  elseif kind == 5 then
    confirm = confirm or function(key, op)
      -- include: record confirm leases queue confirm_any
    end
    run = confirm
  elseif kind == 6 then
    undo = undo or function(key, op)
      -- include: record leases queue undo
    end
    run = undo
  end
  local ok, reply
  if full and kind == 1 then ok, reply = true, {-8, now, full} else ok, reply = pcall(run, KEYS[n], op) end
  if not ok then reply = {-8, now, type(reply) == 'table' and reply.err or tostring(reply)} end
  replies[n + 2] = reply
end
return replies
