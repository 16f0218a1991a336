#!lua name=fc_throttle_1

-- Wrong passwords. Two counters for each try, under one hash tag: of the account (or of an address
-- that has none), and of the account from one client address. Both live for a window that begins
-- with their first try. A third key says that a right password came from that client address: its
-- owner is not kept out by what others guess. What stands in their names are blind indexes.

-- throttle_take_1: counts a try before the password is looked at, if both windows have room, so
-- that parallel guesses get no more tries than serial ones. All is decided before the first write.
-- keys: account, pair, known. args: tries of each window, in that order; the window in milliseconds.
-- returns: 0, or the milliseconds until there is room.
redis.register_function('throttle_take_1', function(keys, args)
    local wait = 0
    -- A known pair is held by its own window only.
    for place = 1 + redis.call('EXISTS', keys[3]), 2 do
        local tries = tonumber(redis.call('GET', keys[place]) or '0')
        if tries >= tonumber(args[place]) then
            wait = math.max(wait, redis.call('PTTL', keys[place]), 1)
        end
    end
    if wait > 0 then
        return wait
    end
    for place = 1, 2 do
        if redis.call('INCR', keys[place]) == 1 then
            redis.call('PEXPIRE', keys[place], args[3])
        end
    end
    return 0
end)

-- throttle_give_back_1: takes a try back that was not a wrong password.
-- keys: account, pair, known. args: `forget` empties the pair's window and makes it known for so many
-- milliseconds, the password was right; `undo` takes back this try alone, nobody looked at the
-- password. returns: OK.
redis.register_function('throttle_give_back_1', function(keys, args)
    if args[1] == 'forget' then
        redis.call('DEL', keys[2])
        redis.call('SET', keys[3], '', 'PX', args[2])
    end
    for place = 1, 2 do
        -- A window that has ended meanwhile is not begun again.
        local tries = tonumber(redis.call('GET', keys[place]) or '0')
        if tries > 0 then
            redis.call('DECR', keys[place])
        end
    end
    return redis.status_reply('OK')
end)

-- throttle_clear_1: empties both windows: the owner has proved the address, from a pair that is known
-- from now on. keys: account, pair, known. args: for how many milliseconds. returns: OK.
redis.register_function('throttle_clear_1', function(keys, args)
    redis.call('DEL', keys[1], keys[2])
    redis.call('SET', keys[3], '', 'PX', args[1])
    return redis.status_reply('OK')
end)
