-- Reads where channels are.
--
-- KEYS: their metas
-- ARGV: 1 an epoch for those that have none yet, and then for each how long its meta is kept, in ms
-- Returns EPOCH:OFFSET of each.
local positions = {}
for number, meta in ipairs(KEYS) do
  local found = redis.call('HMGET', meta, 'e', 's')
  local epoch = found[1]
  if not epoch then
    epoch = ARGV[1]
    redis.call('HSET', meta, 'e', epoch)
    redis.call('PEXPIRE', meta, ARGV[number + 1])
  end
  positions[number] = epoch .. ':' .. (found[2] or '0')
end
return positions
