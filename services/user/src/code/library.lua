#!lua name=fc_code_4

-- Mailed codes. For each purpose and address one hash: code and token (an HMAC of each), subject,
-- since, attempts; and one counter of the mails that were asked for lately. For each address, over
-- all purposes, one counter of a day's mails, and one of those that one client network asked for.
-- What stands in their names are blind indexes. An older version (fc_code_3: code_put_3,
-- code_try_3) may be loaded beside this one; a code that was put by one is none for the other.

-- code_pace_4: takes one of the mails that an address may be sent, if one is left: lately, in the
-- day that begins with the first of one client network, and in the day that begins with its first
-- at all. Every mail puts off the time after which all of the former are there again, so that
-- asking at once brings nothing. All is decided before the first write.
-- keys: the counter of late, the network's day, the address's day. args: mails at most lately,
-- milliseconds without a mail after which they are there again, mails at most in a day for one
-- network, mails at most in a day, milliseconds of a day. returns: 0, or the milliseconds to wait.
redis.register_function('code_pace_4', function(keys, args)
    local most = { args[1], args[3], args[4] }
    local wait = 0
    for place = 1, 3 do
        local sent = tonumber(redis.call('GET', keys[place]) or '0')
        if sent >= tonumber(most[place]) then
            wait = math.max(wait, redis.call('PTTL', keys[place]), 1)
        end
    end
    if wait > 0 then
        return wait
    end
    redis.call('INCR', keys[1])
    -- A pause of 0 ms deletes the counter.
    redis.call('PEXPIRE', keys[1], args[2])
    for place = 2, 3 do
        if redis.call('INCR', keys[place]) == 1 then
            redis.call('PEXPIRE', keys[place], args[5])
        end
    end
    return 0
end)

-- code_put_4: replaces whatever code was there, unless that is of a newer subject: of two sign-ups
-- at once, the one that stands in Postgres keeps its code.
-- key: the hash. args: code, token, subject, since when the subject stands (a number), life in
-- milliseconds. returns: 1, or 0 when a newer one was there.
redis.register_function('code_put_4', function(keys, args)
    local since = redis.call('HGET', keys[1], 'since')
    if since and tonumber(since) > tonumber(args[4]) then
        return 0
    end
    redis.call('DEL', keys[1])
    redis.call('HSET', keys[1], 'code', args[1], 'token', args[2], 'subject', args[3],
        'since', args[4], 'attempts', 0)
    redis.call('PEXPIRE', keys[1], args[5])
    return 1
end)

-- code_try_4: checks a code and counts a wrong one, in one step, so that parallel guesses get no
-- more tries than serial ones. A right code stays good until its life ends: whoever lost the
-- answer asks again. With another token every code is wrong, and none is counted: the tries are
-- those of whoever the code was mailed for.
-- key: the hash. args: code, token, wrong tries that burn the code. returns: the subject, or nil.
redis.register_function('code_try_4', function(keys, args)
    local kept = redis.call('HMGET', keys[1], 'code', 'token', 'subject')
    if not kept[1] or kept[2] ~= args[2] then
        return nil
    end
    if kept[1] == args[1] then
        return kept[3]
    end
    if redis.call('HINCRBY', keys[1], 'attempts', 1) >= tonumber(args[3]) then
        redis.call('DEL', keys[1])
    end
    return nil
end)

-- code_burn_4: takes a code away, if it is still this one.
-- key: the hash. args: code. returns: 1, or 0 when another or none was there.
redis.register_function('code_burn_4', function(keys, args)
    if redis.call('HGET', keys[1], 'code') ~= args[1] then
        return 0
    end
    return redis.call('DEL', keys[1])
end)
