-- Deletes the lock if it is ours: the clean-up after an attempt that came to nothing, which wakes nobody.
-- KEYS: lock. ARGV: the value of the attempt.
if redis.call("GET", KEYS[1]) == ARGV[1] then
	return redis.call("DEL", KEYS[1])
end
return 0
