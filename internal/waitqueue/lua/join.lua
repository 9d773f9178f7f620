-- Puts a waiting process into the queue, or leaves it in its place if it is there already.
-- KEYS: lock, queue. ARGV: process, milliseconds after which a queue that nobody refreshes is forgotten, RPUSH to come
-- last or LPUSH to come first.
-- Returns the milliseconds that the lock has left; -1 if its key has no TTL, -2 if nobody holds it here. A key of another
-- type is an error, and nobody is put into the queue.
local holder = redis.pcall("GET", KEYS[1])
if type(holder) == "table" then
	return holder
end
if not redis.call("LPOS", KEYS[2], ARGV[1]) then
	redis.call(ARGV[3], KEYS[2], ARGV[1])
end
redis.call("PEXPIRE", KEYS[2], ARGV[2])
return redis.call("PTTL", KEYS[1])
