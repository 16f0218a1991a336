-- What providers tell us unasked, and what that needs of a payment.

-- Webhooks by event: each is on record once, before its provider is told that we have it. An event
-- is a wake-up and carries no truth: whoever takes it up looks the charge up at the provider.
create table webhook_events (
    -- Who tells, as in the path of the webhook.
    provider    text        not null,
    -- The provider's own id of the event; a redelivery has the same.
    event_id    text        not null,
    -- Whose charge; null where the event is not about one of ours.
    payment_id  uuid,
    -- What the event says has happened, in the provider's word; for people.
    told        text        not null,
    received_at timestamptz not null default clock_timestamp(),
    -- How often somebody began to follow it up; each further time comes later.
    tries       integer     not null default 0,
    -- When it is somebody's turn (again). Null once nothing is left to do, which for most events is
    -- at once: the payment knows already.
    due_at      timestamptz,

    constraint webhook_events_once primary key (provider, event_id)
);
-- The worker's look at what is due; nearly always empty.
create index webhook_events_due on webhook_events (due_at) where due_at is not null;
-- Forgetting old events: rows lie in the order of their arrival, so a few pages of index do.
create index webhook_events_by_age on webhook_events using brin (received_at);

-- The provider's own name of a charge, where it gives one (`pi_…`); without it a charge can only be
-- found by asking for it again.
alter table payments add column provider_reference text;

-- A payment that was given up and is paid all the same is given back. It may have been given up
-- before it was begun, and says nothing then of how much it was.
alter table payments drop constraint payments_whole;
alter table payments add constraint payments_whole check (
    state in ('VOIDED', 'REFUNDED') or num_nulls(amount_minor, currency, payment_method) = 0);
