-- The sandbox tells its merchant what happened, and has cards that it pays by itself.

-- PENDING: asked for, neither reserved nor refused, and no answer given.
alter table charges drop constraint charges_state_known;
alter table charges add constraint charges_state_known check (
    state in ('PENDING', 'AUTHORIZED', 'DECLINED', 'CAPTURED', 'VOIDED', 'REFUNDED'));
-- When the sandbox will take the money by itself, whatever it answered meanwhile.
alter table charges add column pays_at timestamptz;
create index charges_to_pay on charges (pays_at) where pays_at is not null;

-- What the merchant has yet to be told, written by the statement that moves the charge and gone
-- when it was heard. At least once: whoever is told twice sees the same id.
create table events (
    -- The event's id for the merchant, as `evt_…`.
    event_id    bigint      generated always as identity,
    charge_key  uuid        not null,
    -- The state that the charge came to.
    told        text        not null,
    occurred_at timestamptz not null default clock_timestamp(),
    -- How often it was told in vain; each further time comes later.
    tries       integer     not null default 0,
    due_at      timestamptz not null default clock_timestamp(),

    -- One index to take the next by and to let it go by.
    constraint events_by_turn primary key (due_at, event_id)
);
