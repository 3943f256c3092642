-- The head of a script about one lock.
--
-- KEYS[1]  the lock's record
-- ARGV[1]  deadline: µs on this server's clock after which the script must not run; 0: none
-- ARGV[2]  floor: the highest token that the caller has seen
-- ARGV[3]  self: what the candado that calls is named among those whose requests wait
-- Returns  {-3, now} if the script is late; else goes on with record.lua
--
-- Defines  now (µs), key, floor, self, take_out and LT (entry.lua)
local key, deadline, floor, self = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if deadline > 0 and now > deadline then return {-3, now} end
-- include: entry
