-- What a session's owner is shown of it. Both are sealed, and erased when the session ends.

alter table sessions
    -- As the device named itself; null when it did not.
    add column device_sealed  bytea,
    -- The client address of the last log-in or refresh; null when the edge did not say.
    add column address_sealed bytea,

    add constraint sessions_erased_at_end check (
        ended_at is null or num_nonnulls(device_sealed, address_sealed) = 0);

-- Whoever ends a session erases them with it, also a process of the release before, which knows of
-- neither: it must be able to log people out while it still serves.
create function erase_ended_session() returns trigger
language plpgsql as $$
begin
    new.device_sealed := null;
    new.address_sealed := null;
    return new;
end
$$;

create trigger sessions_erased before update on sessions
    for each row when (new.ended_at is not null)
    execute function erase_ended_session();

-- Sessions by their end, however they ended: they are deleted when that is long ago.
create index sessions_by_end on sessions (least(ended_at, expires_at));
