#!lua name=fc_code_1

-- Mailed codes. One hash for each address: code, signup, attempts. All functions take its one key.

-- code_put_1: replaces whatever code the address had.
-- args: code, sign-up id, life in milliseconds. returns: OK.
redis.register_function('code_put_1', function(keys, args)
    redis.call('DEL', keys[1])
    redis.call('HSET', keys[1], 'code', args[1], 'signup', args[2], 'attempts', 0)
    redis.call('PEXPIRE', keys[1], args[3])
    return redis.status_reply('OK')
end)

-- code_try_1: checks a code and counts a wrong one, in one step, so that parallel guesses get no
-- more tries than serial ones. A right code stays good until its life ends: whoever lost the
-- answer asks again.
-- args: code, wrong tries that burn the code. returns: the sign-up id, or nil.
redis.register_function('code_try_1', function(keys, args)
    local kept = redis.call('HMGET', keys[1], 'code', 'signup')
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
