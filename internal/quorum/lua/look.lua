-- Finds out which commands of the other scripts the server refuses to the user. It leaves nothing behind.
-- KEYS: a key that no lock has. Returns the refusals.
local refused = {}
local function try(command, ...)
	local reply = redis.pcall(command, KEYS[1], ...)
	if type(reply) == "table" and reply.err then
		refused[#refused + 1] = command .. ": " .. reply.err
	end
end
try("GET")
try("PTTL")
try("RPUSH", "")
try("PEXPIRE", 1)
try("LPUSH", "")
try("LPOS", "")
try("LREM", 0, "")
try("LPOP")
try("LRANGE", 0, -1)
try("SET", "", "PX", 1)
try("DEL")
return refused
