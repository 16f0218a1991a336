-- What happened to orders, for whoever acts on it: each transition writes a row here in its own
-- transaction, and a relay in any replica appends it to the event streams in Redis.
--
-- A row is part of the price of every payment, so it has the key and one small index that holds
-- what is not yet published.

create table outbox (
    -- The order in which a shard's rows are appended. Of one order, rows are written one
    -- transaction after the other, so its events keep their order.
    outbox_id bigint generated always as identity primary key,

    -- What consumers record with their effect: the same however often the event is told.
    event_id uuid not null default gen_random_uuid(),

    order_id uuid not null,

    user_id uuid not null,

    -- From where to where, in the words of `orders.state`.
    from_state text not null,
    state text not null,
    constraint outbox_states_known check (
        array[from_state, state] <@ array[
            'pending_payment', 'preparing', 'expired', 'payment_failed', 'cancelled', 'shipping',
            'delivered', 'confirmed', 'return_requested', 'returned'
        ]
    ),

    -- The sum of the order.
    total_minor bigint not null
        constraint outbox_total_not_negative check (total_minor >= 0),
    currency text not null
        constraint outbox_currency_code check (currency ~ '^[A-Z]{3}$'),

    -- When it happened. The database's clock.
    created_at timestamptz not null default now(),

    -- When it was known to stand in its stream; null until then, and again when the stream lost it.
    published_at timestamptz,

    -- The stream: the last byte of the order's id, which is a digest. The relay knows how many
    -- there are.
    shard smallint not null
        generated always as ((get_byte(uuid_send(order_id), 15) % 4)::smallint) stored
);

-- What is to be published. Partial: published rows, in the end nearly all, are not in it.
create index outbox_unpublished on outbox (shard, outbox_id) where published_at is null;

-- Who is at which stream, and what is known to stand there.
create table outbox_shards (
    shard smallint primary key,

    -- Drawn anew for each lease, so that whoever comes too late can change nothing.
    lease_id uuid not null default gen_random_uuid(),
    leased_until timestamptz not null default now(),

    -- The stream's entry that was appended last. While the stream has it, it has lost nothing; null
    -- before the first, and while everything is to be appended again.
    tail text,

    -- When the shard last got on: rows that wait since before then stand still.
    moved_at timestamptz not null default now()
);

insert into outbox_shards (shard) select generate_series(0, 3);
