-- Mails about orders. Order tells what happened in event streams, each event at least once; a row
-- here is written before its mail is sent, so no event is ever mailed twice.

create table order_mails (
    -- The event that the mail tells of.
    event_id    uuid        primary key,
    order_id    uuid        not null,
    -- What the mail says.
    news        text        not null,
    -- Rows outlast the time in which an event may be told again.
    recorded_at timestamptz not null default clock_timestamp(),
    -- Null while the mail is on its way, and for ever when nobody knows whether it left.
    sent_at     timestamptz,

    constraint order_mails_news_known check (
        news in ('ordered', 'shipped', 'cancelled', 'cancelled_and_refunded', 'refunded'))
);

-- Old rows are looked for by their age.
create index order_mails_by_record on order_mails (recorded_at);

-- Events that nobody could act on, put aside so that they stop nobody. An operator looks at them,
-- mends the cause and deletes them; `verify` shows what is here.
create table parked_events (
    parked_id  bigint      generated always as identity primary key,
    -- Where it stood: the stream, and the entry's place in it.
    stream     text        not null,
    entry      text        not null,
    -- Null when the bytes do not decode.
    event_id   uuid,
    -- As it came.
    event      bytea       not null,
    deliveries integer     not null,
    -- Why it failed the last time.
    error      text        not null,
    parked_at  timestamptz not null default clock_timestamp()
);

-- An event that is told again, and fails again, is parked once.
create unique index parked_events_once on parked_events (sha256(event));
