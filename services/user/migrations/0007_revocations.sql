-- What the edges must hear of sessions that ended: their access tokens verify without a look here,
-- and live for minutes more.

-- This transaction, as a number that later ones exceed.
create function this_transaction() returns bigint
language sql as $$
    select pg_current_xact_id()::text::bigint
$$;

create table revocations (
    -- No reference: a session's row may go, and its tokens are refused all the same.
    session_id uuid        primary key,
    -- The transaction that ended it. An edge asks for what was ended by transactions that had not
    -- ended when it was answered last: its cursor is the oldest that was under way then, and every
    -- transaction that the answer could not see has that number or a later one. So none is missed
    -- that commits late, in whatever order they commit; a time would need a guess of how late. What
    -- had committed by then and is not older than the cursor is told twice, which harms nobody.
    revoked_in bigint      not null default this_transaction(),
    -- Rows are deleted once no access token of the session can live.
    revoked_at timestamptz not null default clock_timestamp()
);

-- What ended before there were edges that ask.
insert into revocations (session_id, revoked_at)
select session_id, ended_at from sessions where ended_at > clock_timestamp() - interval '1 day';

create index revocations_by_transaction on revocations (revoked_in);

-- Whoever ends a session, and whatever for: its row here is written with it or not at all. A row
-- that is deleted takes its session with it.
create function revoke_session() returns trigger
language plpgsql as $$
begin
    insert into revocations (session_id) values (old.session_id)
    on conflict (session_id) do update
        set revoked_in = excluded.revoked_in, revoked_at = excluded.revoked_at;
    return null;
end
$$;

create trigger sessions_ended after update of ended_at on sessions
    for each row when (old.ended_at is null and new.ended_at is not null)
    execute function revoke_session();

-- Not of one that expired long ago: its tokens ended with it, or a little later.
create trigger sessions_deleted after delete on sessions
    for each row when (
        old.ended_at is null and old.expires_at > clock_timestamp() - interval '1 day')
    execute function revoke_session();

-- Only seeding, in development, opens a session again. Edges that heard of its end forget it in
-- their own time.
create function readmit_session() returns trigger
language plpgsql as $$
begin
    delete from revocations where session_id = new.session_id;
    return null;
end
$$;

create trigger sessions_reopened after update of ended_at on sessions
    for each row when (old.ended_at is not null and new.ended_at is null)
    execute function readmit_session();
