-- Deletes the lock if it is still ours, and takes the process that has waited longest off the queue.
-- KEYS: lock, queue. ARGV: the holder's value.
-- Returns 1 if it was deleted, or the process to wake if there is one; 0 if somebody else holds it, -1 if nobody does.
local holder = redis.call("GET", KEYS[1])
if not holder then
	return -1
end
if holder ~= ARGV[1] then
	return 0
end
redis.call("DEL", KEYS[1])
return redis.call("LPOP", KEYS[2]) or 1
