-- Reads where a channel is, and of what is kept what may be wanted, in one step.
--
-- KEYS: 1 meta, 2 history
-- ARGV: 1 an epoch, should there be none yet   2 how long the meta, in ms   3 list or stream
--       4 after (an offset), or last           5 that offset, or how many   6 the most that are wanted after it
-- Returns EPOCH:OFFSET, the time in ms, and the publications: of a list its entries in order, of a stream its
-- entries from the last to the first.
local found = redis.call('HMGET', KEYS[1], 'e', 's')
local epoch, offset = found[1], found[2] or '0'
if not epoch then
  epoch = ARGV[1]
  redis.call('HSET', KEYS[1], 'e', epoch)
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
local count = tonumber(ARGV[5])
if ARGV[4] == 'after' then
  count = tonumber(offset) - count
  if count > tonumber(ARGV[6]) then count = 0 end
end
local entries = {}
if count > 0 then
  local text = string.format('%.0f', count)
  if ARGV[3] == 'list' then
    entries = redis.call('LRANGE', KEYS[2], '-' .. text, -1)
  else
    entries = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', text)
  end
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return { epoch .. ':' .. offset, string.format('%.0f', now), entries }
