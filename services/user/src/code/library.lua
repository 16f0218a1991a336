#!lua name=fc_code_2

-- Mailed codes. For each purpose and address one hash: code, subject, since, attempts; and one
-- counter of the mails that were asked for lately. What stands in their names is a blind index.
-- The last version (fc_code_1: code_put_1, code_try_1) may be loaded beside this one.

-- code_pace_2: takes one of the mails that an address may be sent, if one is left. Every mail puts
-- off the time after which all are there again, so that asking at once brings nothing.
-- key: the counter. args: mails at most, milliseconds without a mail after which they are there
-- again. returns: 0, or the milliseconds to wait.
redis.register_function('code_pace_2', function(keys, args)
    local sent = tonumber(redis.call('GET', keys[1]) or '0')
    if sent >= tonumber(args[1]) then
        return math.max(redis.call('PTTL', keys[1]), 1)
    end
    redis.call('SET', keys[1], sent + 1)
    -- A pause of 0 ms deletes the counter.
    redis.call('PEXPIRE', keys[1], args[2])
    return 0
end)

-- code_put_2: replaces whatever code was there, unless that is of a newer subject: of two sign-ups
-- at once, the one that stands in Postgres keeps its code.
-- key: the hash. args: code, subject, since when the subject stands (a number), life in
-- milliseconds. returns: 1, or 0 when a newer one was there.
redis.register_function('code_put_2', function(keys, args)
    local since = redis.call('HGET', keys[1], 'since')
    if since and tonumber(since) > tonumber(args[3]) then
        return 0
    end
    redis.call('DEL', keys[1])
    redis.call('HSET', keys[1], 'code', args[1], 'subject', args[2], 'since', args[3],
        'attempts', 0)
    redis.call('PEXPIRE', keys[1], args[4])
    return 1
end)

-- code_try_2: checks a code and counts a wrong one, in one step, so that parallel guesses get no
-- more tries than serial ones. A right code stays good until its life ends: whoever lost the
-- answer asks again.
-- key: the hash. args: code, wrong tries that burn the code. returns: the subject, or nil.
redis.register_function('code_try_2', function(keys, args)
    local kept = redis.call('HMGET', keys[1], 'code', 'subject')
    if not kept[1] then
        return nil
    end
    if kept[1] == args[1] then
        return kept[2]
    end
    if redis.call('HINCRBY', keys[1], 'attempts', 1) >= tonumber(args[2]) then
        redis.call('DEL', keys[1])
    end
    return nil
end)

-- code_burn_2: takes a code away, if it is still this one.
-- key: the hash. args: code. returns: 1, or 0 when another or none was there.
redis.register_function('code_burn_2', function(keys, args)
    if redis.call('HGET', keys[1], 'code') ~= args[1] then
        return 0
    end
    return redis.call('DEL', keys[1])
end)
