-- Deletes the lock if it is ours: the clean-up after an attempt that came to nothing, which wakes nobody.
-- KEYS: lock. ARGV: the value of the attempt.
-- Returns 1 if it was deleted; 0 if somebody else holds it, -1 if nobody does.
local holder = redis.call("GET", KEYS[1])
if holder ~= ARGV[1] then
	return holder and 0 or -1
end
return redis.call("DEL", KEYS[1])
