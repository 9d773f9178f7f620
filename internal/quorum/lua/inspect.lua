-- Returns the value of a lock and the milliseconds that it has left, or nothing if nobody holds it here. A negative number
-- says that it does not end.
-- KEYS: lock.
local value = redis.call("GET", KEYS[1])
return value and {value, redis.call("PTTL", KEYS[1])}
