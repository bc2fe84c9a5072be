-- Publishes once: counts, keeps, and tells all who listen, in one step.
--
-- KEYS: 1 meta, 2 history, and 3, if there is an idempotency key, its result
-- ARGV: 1 an epoch, should there be none yet   2 the payload          3 the channel of Redis
--       4 PUBLISH or SPUBLISH                  5 list, stream, none   6 publications to keep
--       7 how long each, in ms                 8 how long the meta    9 how long the result
-- Returns EPOCH:OFFSET, or - if nothing is kept.
local result = '-'
local done = KEYS[3]
if done then
  local known = redis.call('GET', done)
  if known then return known end
end
local form, payload = ARGV[5], ARGV[2]
if form == 'none' then
  redis.call(ARGV[4], ARGV[3], 'u' .. payload)
else
  local meta, history = KEYS[1], KEYS[2]
  local number = redis.call('HINCRBY', meta, 's', 1)
  -- Numbers become text with 14 digits otherwise.
  local offset = string.format('%.0f', number)
  local epoch = redis.call('HGET', meta, 'e')
  if not epoch then
    epoch = ARGV[1]
    redis.call('HSET', meta, 'e', epoch)
  end
  redis.call('PEXPIRE', meta, ARGV[8])
  if number == 1 then redis.call('DEL', history) end
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local expiry = string.format('%.0f', now + tonumber(ARGV[7]))
  if form == 'list' then
    redis.call('RPUSH', history, offset .. ':' .. expiry .. ':' .. payload)
    redis.call('LTRIM', history, '-' .. ARGV[6], -1)
  else
    local id = offset .. '-0'
    local added = redis.pcall('XADD', history, 'MAXLEN', ARGV[6], id, 'e', expiry, 'd', payload)
    if type(added) == 'table' and added.err then
      -- What lies there is of another count.
      redis.call('DEL', history)
      redis.call('XADD', history, 'MAXLEN', ARGV[6], id, 'e', expiry, 'd', payload)
    end
  end
  redis.call('PEXPIRE', history, ARGV[7])
  result = epoch .. ':' .. offset
  redis.call(ARGV[4], ARGV[3], 'p' .. result .. ':' .. payload)
end
if done then redis.call('SET', done, result, 'PX', ARGV[9]) end
return result
