#!lua name=firstcome_stock_1
-- The gate: who is admitted to a product, in what order, as long as this Redis lives.
--
-- Every function takes the keys of one product, which share one hash tag:
--   stock        hash: epoch, state (loading | open), run, next (chunk), opens, closes, limit, seq,
--                last (ms), and per SKU the field 'a' .. sku with the units available
--   taken        hash: reservation id -> seq (8 bytes) .. contents; and 'epoch'
--   buyers       hash: buyer id -> units held or owned; and 'epoch'
--   unconfirmed  stream: per admitting call one entry {ids = reservation ids, 16 bytes each}
-- Ids are 16 raw bytes. Contents are buyer (16) .. fingerprint (16) .. line count (1) .. lines,
-- each sku (16) .. quantity (4, big endian).
--
-- A gate counts as missing when any key is gone, when the hashes' epochs differ, or when another
-- Redis process loaded it: a restarted or promoted one may have forgotten what it promised.

local BUYER_AT, LINES_AT, LINE_BYTES = 17, 49, 20
local LINES_MAX, QUANTITY_MAX = 10, 1000

-- Answers of `reserve` for one item; gate.rs has the same table.
local ADMITTED, REPLAYED, KEY_REUSED, NOT_OPEN, CLOSED = 0, 1, 2, 3, 4
local LIMIT_PER_BUYER, SOLD_OUT, UNKNOWN_SKU, MALFORMED = 5, 6, 7, 8

-- What `reserve` answers to who gets nothing: the code, and 0 where a seq would stand. Made when
-- first used: while a library is being loaded, there is no `struct`.
local refused_by_code = {}

local function refused(code)
  local bytes = refused_by_code[code]
  if not bytes then
    bytes = struct.pack('>BI8', code, 0)
    refused_by_code[code] = bytes
  end
  return bytes
end

local run_id_of_this_process

-- The run id never changes while the process lives, and the library is loaded into one process.
local function run_id()
  if not run_id_of_this_process then
    run_id_of_this_process = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  end
  return run_id_of_this_process
end

-- A clock that never goes back, whatever the machine's does.
local function clock_ms(last)
  local t = redis.call('TIME')
  return math.max(t[1] * 1000 + math.floor(t[2] / 1000), tonumber(last) or 0)
end

-- What stands between the caller and an open gate of its epoch; nil when nothing does.
local function obstacle(epoch, gate_epoch, state, run, taken_epoch, buyers_epoch)
  if not gate_epoch or run ~= run_id() or taken_epoch ~= gate_epoch
    or buyers_epoch ~= gate_epoch then
    return {'MISSING'}
  end
  if gate_epoch ~= epoch then
    return {'EPOCH', gate_epoch}
  end
  if state ~= 'open' then
    return {'LOADING', gate_epoch}
  end
end

-- Lines as {sku, quantity, ...} and the units of all together, of bytes that start with their
-- count; nil when malformed.
local function parse_lines(bytes)
  local count = string.byte(bytes)
  if not count or count < 1 or count > LINES_MAX or #bytes ~= 1 + count * LINE_BYTES then
    return nil
  end
  local lines, units = {}, 0
  for i = 1, count do
    local start = 2 + (i - 1) * LINE_BYTES
    local sku = string.sub(bytes, start, start + 15)
    local quantity = struct.unpack('>I4', bytes, start + 16)
    if quantity < 1 or quantity > QUANTITY_MAX then
      return nil
    end
    for l = 1, #lines, 2 do
      if lines[l] == sku then
        return nil
      end
    end
    lines[2 * i - 1], lines[2 * i] = sku, quantity
    units = units + quantity
  end
  return lines, units
end

local function hmget_map(key, first, fields)
  local values = redis.call('HMGET', key, first, unpack(fields))
  local map = {}
  for i, field in ipairs(fields) do
    map[field] = values[i + 1]
  end
  return map, values[1]
end

-- reserve: admits reservations in the order given, all lines of one or none.
--   keys  stock, taken, buyers, unconfirmed
--   args  epoch, then per item (at most 512) its id .. contents
--   gives {'OK', now_ms, entry, answers, sku, available, ...}: `entry` names what stands in
--         `unconfirmed` ('' when nothing was admitted); `answers` has 9 bytes an item, a code and
--         a seq (of the admission or the replayed record, else 0); then what is available now
--         of each SKU named
--         {'MISSING'} | {'EPOCH', gate's} | {'LOADING', gate's}: nothing was done
-- Everything is decided before the first write, and the first write is the entry in
-- `unconfirmed`, so that no unit can leave the stock without a trace.
--
-- In a rush this runs for every loser, and nearly all items want the same: what is equal is read
-- once, and a refusal makes no string of its own.
local function reserve(keys, args)
  local stock, taken, buyers, unconfirmed = keys[1], keys[2], keys[3], keys[4]
  local count = #args - 1

  local ids, wanted, wanted_by_bytes, sku_fields, stock_fields = {}, {}, {}, {}, {}
  for i = 1, count do
    local item = args[i + 1]
    ids[i] = string.sub(item, 1, 16)
    local bytes = string.sub(item, LINES_AT)
    local want = wanted_by_bytes[bytes]
    if want == nil then
      local lines, units = parse_lines(bytes)
      want = lines and {lines = lines, units = units} or false
      wanted_by_bytes[bytes] = want
      for l = 1, lines and #lines or 0, 2 do
        sku_fields[#sku_fields + 1] = lines[l]
        stock_fields[#stock_fields + 1] = 'a' .. lines[l]
      end
    end
    wanted[i] = want
  end

  local gate = redis.call('HMGET', stock, 'epoch', 'state', 'run', 'opens', 'closes', 'limit',
    'seq', 'last', unpack(stock_fields))
  local opens, closes, limit = tonumber(gate[4]), tonumber(gate[5]), tonumber(gate[6])
  local known = redis.call('HMGET', taken, 'epoch', unpack(ids))
  local buyer_of = {}
  if limit and limit > 0 then
    for i = 1, count do
      buyer_of[i] = string.sub(args[i + 1], BUYER_AT, BUYER_AT + 15)
    end
  end
  local owned = redis.call('HMGET', buyers, 'epoch', unpack(buyer_of))
  local obstructed = obstacle(args[1], gate[1], gate[2], gate[3], known[1], owned[1])
  if obstructed then
    return obstructed
  end

  local now, seq = clock_ms(gate[8]), tonumber(gate[7])
  local available = {}
  for i, sku in ipairs(sku_fields) do
    available[sku] = tonumber(gate[8 + i])
  end
  local is_closed = opens == 0 or (closes ~= 0 and now >= closes)

  -- What this call has admitted so far: records by id, units by buyer.
  local records, units_of = {}, {}

  -- The answer's code, and the packed seq of a record.
  local function decide(i)
    local record = records[ids[i]] or known[i + 1]
    if record then
      local is_same = string.sub(record, 9) == string.sub(args[i + 1], 17)
      return is_same and REPLAYED or KEY_REUSED, string.sub(record, 1, 8)
    end
    local want = wanted[i]
    if not want then return MALFORMED end
    if is_closed then return CLOSED end
    if now < opens then return NOT_OPEN end
    local lines = want.lines
    for l = 1, #lines, 2 do
      if not available[lines[l]] then return UNKNOWN_SKU end
    end
    local buyer, after = buyer_of[i], nil
    if buyer then
      after = (units_of[buyer] or tonumber(owned[i + 1]) or 0) + want.units
      if after > limit then return LIMIT_PER_BUYER end
    end
    for l = 1, #lines, 2 do
      if available[lines[l]] < lines[l + 1] then return SOLD_OUT end
    end
    for l = 1, #lines, 2 do
      available[lines[l]] = available[lines[l]] - lines[l + 1]
    end
    if buyer then units_of[buyer] = after end
    seq = seq + 1
    local packed = struct.pack('>I8', seq)
    records[ids[i]] = packed .. string.sub(args[i + 1], 17)
    return ADMITTED, packed
  end

  local answers, admitted, set_taken = {}, {}, {}
  for i = 1, count do
    local code, at = decide(i)
    answers[i] = at and string.char(code) .. at or refused(code)
    if code == ADMITTED then
      admitted[#admitted + 1] = ids[i]
      set_taken[#set_taken + 1] = ids[i]
      set_taken[#set_taken + 1] = records[ids[i]]
    end
  end

  local entry = ''
  if #admitted > 0 then
    entry = redis.call('XADD', unconfirmed, 'NOMKSTREAM', '*', 'ids', table.concat(admitted))
    if not entry then
      return {'MISSING'}
    end
    local set_stock = {'seq', string.format('%.0f', seq), 'last', string.format('%.0f', now)}
    for sku, units in pairs(available) do
      set_stock[#set_stock + 1] = 'a' .. sku
      set_stock[#set_stock + 1] = string.format('%.0f', units)
    end
    redis.call('HSET', stock, unpack(set_stock))
    redis.call('HSET', taken, unpack(set_taken))
    local set_buyers = {}
    for buyer, units in pairs(units_of) do
      set_buyers[#set_buyers + 1] = buyer
      set_buyers[#set_buyers + 1] = string.format('%.0f', units)
    end
    if #set_buyers > 0 then
      redis.call('HSET', buyers, unpack(set_buyers))
    end
  end

  local reply = {'OK', string.format('%.0f', now), entry, table.concat(answers)}
  for sku, units in pairs(available) do
    reply[#reply + 1] = sku
    reply[#reply + 1] = string.format('%.0f', units)
  end
  return reply
end

-- The records that these (id .. seq) items name exactly, by id. A record with another seq is
-- another admission and none of the caller's business.
local function exact_records(taken, args)
  local ids, seqs = {}, {}
  for i = 2, #args do
    local id = string.sub(args[i], 1, 16)
    ids[#ids + 1] = id
    seqs[#seqs + 1] = string.sub(args[i], 17, 24)
  end
  local records, taken_epoch = hmget_map(taken, 'epoch', ids)
  local exact, found = {}, {}
  for i, id in ipairs(ids) do
    local record = records[id]
    if record and not exact[id] and string.sub(record, 1, 8) == seqs[i] then
      exact[id] = record
      found[#found + 1] = id
    end
  end
  return exact, found, taken_epoch
end

-- free: puts units back on sale and gives the buyers' limits back.
--   keys  stock, taken, buyers
--   args  epoch, then per item (at most 512) its id .. seq (8 bytes)
--   gives {'OK', freed}: items without exactly this record were freed before
--         {'MISSING'} | {'EPOCH', gate's} | {'LOADING', gate's}: nothing was done
local function free(keys, args)
  local stock, taken, buyers = keys[1], keys[2], keys[3]
  local gate = redis.call('HMGET', stock, 'epoch', 'state', 'run')
  local exact, found, taken_epoch = exact_records(taken, args)

  local back, sku_fields, less, buyer_fields = {}, {}, {}, {}
  for _, id in ipairs(found) do
    local record = exact[id]
    local lines = parse_lines(string.sub(record, 41))
    local buyer, units = string.sub(record, 9, 24), 0
    for l = 1, #lines, 2 do
      if not back[lines[l]] then
        back[lines[l]] = 0
        sku_fields[#sku_fields + 1] = 'a' .. lines[l]
      end
      back[lines[l]] = back[lines[l]] + lines[l + 1]
      units = units + lines[l + 1]
    end
    if not less[buyer] then
      less[buyer] = 0
      buyer_fields[#buyer_fields + 1] = buyer
    end
    less[buyer] = less[buyer] + units
  end

  local units_of, buyers_epoch = hmget_map(buyers, 'epoch', buyer_fields)
  local obstructed = obstacle(args[1], gate[1], gate[2], gate[3], taken_epoch, buyers_epoch)
  if obstructed then
    return obstructed
  end
  if #found == 0 then
    return {'OK', 0}
  end

  local available = redis.call('HMGET', stock, unpack(sku_fields))
  local set_stock, set_buyers, del_buyers = {}, {}, {}
  for i, field in ipairs(sku_fields) do
    set_stock[#set_stock + 1] = field
    set_stock[#set_stock + 1] =
      string.format('%.0f', (tonumber(available[i]) or 0) + back[string.sub(field, 2)])
  end
  for _, buyer in ipairs(buyer_fields) do
    local units = tonumber(units_of[buyer])
    if units and units > less[buyer] then
      set_buyers[#set_buyers + 1] = buyer
      set_buyers[#set_buyers + 1] = string.format('%.0f', units - less[buyer])
    elseif units then
      del_buyers[#del_buyers + 1] = buyer
    end
  end
  redis.call('HSET', stock, unpack(set_stock))
  redis.call('HDEL', taken, unpack(found))
  if #set_buyers > 0 then redis.call('HSET', buyers, unpack(set_buyers)) end
  if #del_buyers > 0 then redis.call('HDEL', buyers, unpack(del_buyers)) end
  return {'OK', #found}
end

-- forget: drops settled records whose return window ended; units and limits stay as they are.
--   keys, args, gives  as `free`
local function forget(keys, args)
  local gate = redis.call('HMGET', keys[1], 'epoch', 'state', 'run')
  local _, found, taken_epoch = exact_records(keys[2], args)
  local buyers_epoch = redis.call('HGET', keys[3], 'epoch')
  local obstructed = obstacle(args[1], gate[1], gate[2], gate[3], taken_epoch, buyers_epoch)
  if obstructed then
    return obstructed
  end
  if #found > 0 then redis.call('HDEL', keys[2], unpack(found)) end
  return {'OK', #found}
end

-- load: makes the gate of a new epoch from the ledger, in numbered chunks, and opens it last.
--   keys  stock, taken, buyers, unconfirmed
--   args  epoch, chunk, then
--         chunk 0: 'begin', opens, closes, limit, seq, sku, available, ...
--         chunk n: 'records', count, id, record, ..., buyer, units, ...
--         last:    'open'
--   gives {'OK'}
--         {'EPOCH', gate's}: the gate has this epoch or a newer one; nothing was done
--         {'OUT_OF_TURN'}: this chunk does not follow the one before; nothing was done
local function load(keys, args)
  local stock, taken, buyers, unconfirmed = keys[1], keys[2], keys[3], keys[4]
  local epoch, chunk, kind = args[1], tonumber(args[2]), args[3]
  local gate = redis.call('HMGET', stock, 'epoch', 'state', 'run', 'next', 'last')

  if kind == 'begin' then
    if gate[1] and tonumber(gate[1]) >= tonumber(epoch) then
      return {'EPOCH', gate[1]}
    end
    redis.call('UNLINK', stock, taken, buyers, unconfirmed)
    local set_stock = {'epoch', epoch, 'state', 'loading', 'run', run_id(), 'next', '1',
      'opens', args[4], 'closes', args[5], 'limit', args[6], 'seq', args[7],
      'last', string.format('%.0f', clock_ms(gate[5]))}
    for i = 8, #args, 2 do
      set_stock[#set_stock + 1] = 'a' .. args[i]
      set_stock[#set_stock + 1] = args[i + 1]
    end
    redis.call('HSET', stock, unpack(set_stock))
    redis.call('HSET', taken, 'epoch', epoch)
    redis.call('HSET', buyers, 'epoch', epoch)
    -- An empty stream that exists tells a live gate from one that lost this key.
    redis.call('XDEL', unconfirmed, redis.call('XADD', unconfirmed, '*', 'ids', ''))
    return {'OK'}
  end

  if gate[1] and gate[1] ~= epoch then
    return {'EPOCH', gate[1]}
  end
  if gate[2] ~= 'loading' or gate[3] ~= run_id() or tonumber(gate[4]) ~= chunk then
    return {'OUT_OF_TURN'}
  end
  if kind == 'open' then
    redis.call('HSET', stock, 'state', 'open')
    return {'OK'}
  end
  local count = tonumber(args[4])
  local records_end = 4 + 2 * count
  if count > 0 then
    redis.call('HSET', taken, unpack(args, 5, records_end))
  end
  if #args > records_end then
    redis.call('HSET', buyers, unpack(args, records_end + 1, #args))
  end
  redis.call('HSET', stock, 'next', tostring(chunk + 1))
  return {'OK'}
end

-- snapshot: what the gate says of itself.
--   keys  stock, taken, buyers, unconfirmed
--   args  none
--   gives {'OK', epoch, state, now_ms, opens, closes, seq, reservations taken, entries
--         unconfirmed, sku, available, ...}, or {'MISSING'}
local function snapshot(keys)
  local fields = redis.call('HGETALL', keys[1])
  local gate, skus = {}, {}
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 1) == 'a' and #fields[i] == 17 then
      skus[#skus + 1] = string.sub(fields[i], 2)
      skus[#skus + 1] = fields[i + 1]
    else
      gate[fields[i]] = fields[i + 1]
    end
  end
  local taken_epoch = redis.call('HGET', keys[2], 'epoch')
  local buyers_epoch = redis.call('HGET', keys[3], 'epoch')
  local stream = redis.call('EXISTS', keys[4])
  if stream == 0 or not gate.epoch or gate.run ~= run_id() or taken_epoch ~= gate.epoch
    or buyers_epoch ~= gate.epoch then
    return {'MISSING'}
  end
  local reply = {'OK', gate.epoch, gate.state, string.format('%.0f', clock_ms(gate.last)),
    gate.opens, gate.closes, gate.seq, tostring(redis.call('HLEN', keys[2]) - 1),
    tostring(redis.call('XLEN', keys[4]))}
  for _, value in ipairs(skus) do
    reply[#reply + 1] = value
  end
  return reply
end

redis.register_function('reserve_1', reserve)
redis.register_function('free_1', free)
redis.register_function('forget_1', forget)
redis.register_function('load_1', load)
redis.register_function{
  function_name = 'snapshot_1', callback = snapshot, flags = {'no-writes'},
}
