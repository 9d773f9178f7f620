-- Deletes the lock if it is still ours, and takes the process that has waited longest off the queue. If the answer is
-- lost, nobody wakes that process: so it is noted for a while, for a repetition of this script.
-- KEYS: lock, queue, note. ARGV: the holder's value, milliseconds for which to keep the note.
-- Returns 1 if it was deleted, or the process to wake if there is one; 0 if somebody else holds it, -1 if nobody does.
local holder = redis.call("GET", KEYS[1])
if holder ~= ARGV[1] then
	local mine = ARGV[1] .. " "
	local note = redis.call("GET", KEYS[3])
	if note and string.sub(note, 1, #mine) == mine then
		return string.sub(note, #mine + 1)
	end
	return holder and 0 or -1
end
redis.call("DEL", KEYS[1])
local process = redis.call("LPOP", KEYS[2])
if not process then
	return 1
end
redis.call("SET", KEYS[3], ARGV[1] .. " " .. process, "PX", ARGV[2])
return process
