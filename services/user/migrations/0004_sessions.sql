-- What a session's owner is shown of it. Both are sealed, and erased when the session ends.

alter table sessions
    -- As the device named itself; null when it did not.
    add column device_sealed  bytea,
    -- The client address of the last log-in or refresh; null when the edge did not say.
    add column address_sealed bytea,

    add constraint sessions_erased_at_end check (
        ended_at is null or num_nonnulls(device_sealed, address_sealed) = 0);

-- Sessions by their end, however they ended: they are deleted when that is long ago.
create index sessions_by_end on sessions (least(ended_at, expires_at));
