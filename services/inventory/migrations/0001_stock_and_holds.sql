-- What is sold, what is left of it, and who holds it: the truth that Redis is rebuilt from.

create table products (
    product_id      uuid primary key,
    name            text not null,
    description     text not null,
    -- One currency for all SKUs, so that an order always has one sum.
    currency        text not null,
    -- The window; a product without opens_at is not scheduled and sells nothing.
    opens_at        timestamptz,
    -- null: open-ended.
    closes_at       timestamptz,
    -- Units one buyer may hold or own; 0: no limit.
    limit_per_buyer integer not null default 0,
    hold_ttl_ms     integer not null default 300000,
    -- CreateProduct's key and what it was used for: the same key gives the same product.
    idempotency_key text not null,
    fingerprint     bytea not null,
    created_at      timestamptz not null default clock_timestamp(),
    constraint products_name_key unique (name),
    constraint products_idempotency_key unique (idempotency_key),
    constraint products_window_check check (closes_at > opens_at),
    constraint products_limit_check check (limit_per_buyer >= 0),
    constraint products_hold_ttl_check check (hold_ttl_ms between 1000 and 3600000)
);

-- ListProducts pages newest first.
create index products_by_creation on products (created_at desc, product_id desc);

create table skus (
    sku_id      uuid primary key,
    product_id  uuid not null references products,
    -- The order in which the SKUs were given.
    position    integer not null,
    label       text not null,
    price_minor bigint not null,
    constraint skus_label_key unique (product_id, label),
    constraint skus_price_check check (price_minor >= 0)
);

-- The counters, apart from the descriptions, because a drop updates these rows all the time.
create table stock (
    sku_id     uuid primary key references skus,
    product_id uuid not null references products,
    -- Units that exist; total - held - settled are available.
    total      integer not null,
    held       integer not null default 0,
    settled    integer not null default 0,
    -- The gate that may admit; all rows of a product carry the same. An admission commits only
    -- under the epoch that admitted it.
    epoch      bigint not null default 0,
    touched_at timestamptz not null default clock_timestamp(),
    constraint stock_counters_check check (held >= 0 and settled >= 0),
    -- G1, whatever Redis says or forgets.
    constraint stock_no_oversell check (held + settled <= total)
) with (fillfactor = 50);

create index stock_by_product on stock (product_id);
-- The audit looks at what changed since it last looked.
create index stock_by_touch on stock (touched_at);

-- One row per reservation, for ever: the life of a hold is this row's state.
create table holds (
    product_id     uuid not null,
    reservation_id uuid not null,
    buyer_id       uuid not null,
    -- The place in the order of admissions, given by the gate; continues for ever.
    seq            bigint not null,
    state          text not null,
    -- Over the whole order that this is part of.
    fingerprint    bytea not null,
    sku_ids        uuid[] not null,
    quantities     integer[] not null,
    admitted_at    timestamptz not null default clock_timestamp(),
    -- Only this clock, Postgres's own, decides whether a hold is overdue.
    expires_at     timestamptz not null,
    settled_at     timestamptz,
    -- The gate no longer keeps the record of this settled hold: its return window is over.
    forgotten      boolean not null default false,
    -- Only this conflict does nothing: it is a replay.
    constraint holds_pkey primary key (product_id, reservation_id),
    -- A gate that issues one number twice has forgotten an admission.
    constraint holds_seq_key unique (product_id, seq),
    constraint holds_state_check check (state in
        ('held', 'pinned', 'settled', 'released', 'expired', 'cancelled', 'returned')),
    constraint holds_lines_check check (cardinality(sku_ids) = cardinality(quantities))
);

create index holds_overdue on holds (expires_at) where state = 'held';
create index holds_to_forget on holds (settled_at) where state = 'settled' and not forgotten;

-- What the gate has yet to be told of ended holds, written in the transaction that ended them.
create table gate_outbox (
    outbox_id      bigint generated always as identity primary key,
    product_id     uuid not null,
    reservation_id uuid not null,
    seq            bigint not null,
    -- free: the units go back on sale. forget: only the record goes.
    action         text not null,
    next_try_at    timestamptz not null default clock_timestamp(),
    constraint gate_outbox_action_check check (action in ('free', 'forget'))
);

create index gate_outbox_due on gate_outbox (next_try_at);

-- Every change of a total, for whoever asks where the units came from.
create table stock_changes (
    change_id  bigint generated always as identity primary key,
    sku_id     uuid not null references skus,
    total_from integer not null,
    total_to   integer not null,
    changed_at timestamptz not null default clock_timestamp()
);
