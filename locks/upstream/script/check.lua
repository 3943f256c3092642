-- Whether a token is a live lease's.
--
-- ARGV[2]  token
-- Returns  {1, now, 1 or 0}
if exclusive then return read({1, now, tonumber(ARGV[2]) == last and 1 or 0}) end
return read({1, now, settle() > 0 and claimed(ARGV[2], '') and 1 or 0})
