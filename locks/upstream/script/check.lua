-- Whether a token is a live lease's.
--
-- ARGV[4]  token
-- Returns  {1, now, 1 or 0}
settle()
redis.call('DEL', key .. ':w') -- an answer from reads alone must not come from a replica
return {1, now, claimed(ARGV[4], '') and 1 or 0}
