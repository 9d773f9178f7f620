-- Puts a waiting process into the queue, or leaves it in its place if it is there already.
-- KEYS: lock, queue. ARGV: process, milliseconds after which a queue that nobody refreshes is forgotten, RPUSH to come
-- last or LPUSH to come first.
-- Returns the milliseconds that the lock has left, or a negative number if nobody holds it here.
if not redis.call("LPOS", KEYS[2], ARGV[1]) then
	redis.call(ARGV[3], KEYS[2], ARGV[1])
end
redis.call("PEXPIRE", KEYS[2], ARGV[2])
return redis.call("PTTL", KEYS[1])
