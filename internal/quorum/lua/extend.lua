-- Renews those of the locks that are still ours, and never sets one anew: a renewal that arrives after the release finds nothing.
-- KEYS: locks. ARGV: the TTL in milliseconds, the holder's value of each lock.
-- Returns for each lock 1, or 0 if it is not ours, or the text of an error. The text is a string and not an error: go-redis stops
-- reading a list at an error of a type of its own.
local answers = {}
for i, lock in ipairs(KEYS) do
	local holder = redis.pcall("GET", lock)
	if holder == ARGV[i + 1] then
		answers[i] = redis.call("PEXPIRE", lock, ARGV[1])
	elseif type(holder) == "table" then
		answers[i] = holder.err
	else
		answers[i] = 0
	end
end
return answers
