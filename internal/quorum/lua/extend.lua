-- Renews the lock if it is still ours, and never sets it anew: a renewal that arrives after the release finds nothing.
-- KEYS: lock. ARGV: the holder's value, the TTL in milliseconds.
if redis.call("GET", KEYS[1]) == ARGV[1] then
	return redis.call("PEXPIRE", KEYS[1], ARGV[2])
end
return 0
