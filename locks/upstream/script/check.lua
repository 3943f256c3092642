-- Whether a token is a live lease's.
--
-- op: token (7 bytes)
-- Returns  1 or 0
settle()
redis.call('DEL', key .. ':w') -- an answer from reads alone must not come from a replica
local token = struct.unpack('<xI7', op)
return token > 0 and claimed(token, '') and 1 or 0
