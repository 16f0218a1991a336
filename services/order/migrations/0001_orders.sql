-- Orders: one row per purchase, written once in the rush and then moved by its life.
--
-- A row is the winner's price on the hot path, so an order of one product is one row with its
-- lines inside, and three indexes. Losers never get here.

create table orders (
    -- UUIDv5 of buyer and idempotency key: a replay finds the row by what it knows already.
    order_id uuid primary key,

    -- The buyer; whoever else asks is told that there is no such order.
    user_id uuid not null,

    -- What the buyer sees. Everything that is under way (being paid, cancelled or expired) is
    -- still pending; `step` says what.
    state text not null
        constraint orders_state_known check (
            state in ('pending_payment', 'preparing', 'expired', 'payment_failed', 'cancelled')
        ),

    -- SHA-256, cut to 16 bytes, over the lines of the whole order: the same key with other
    -- contents is another purchase, and refused.
    fingerprint bytea not null
        constraint orders_fingerprint_16_bytes check (octet_length(fingerprint) = 16),

    -- The product whose shard holds the units; with the order id it names the hold.
    product_id uuid not null,

    -- The lines, by place: SKU, units, and the price of one unit when the order was placed. Inside
    -- the row, because they are always read with it and never change.
    sku_ids uuid[] not null,
    quantities integer[] not null,
    unit_prices_minor bigint[] not null,
    constraint orders_lines_match check (
        cardinality(sku_ids) between 1 and 10
        and cardinality(quantities) = cardinality(sku_ids)
        and cardinality(unit_prices_minor) = cardinality(sku_ids)
    ),

    -- Of all amounts of this order; ISO 4217.
    currency text not null
        constraint orders_currency_code check (currency ~ '^[A-Z]{3}$'),

    -- The sum of the lines, which is what the card is asked for.
    total_minor bigint not null
        constraint orders_total_not_negative check (total_minor >= 0),

    -- The place in the order of admissions that the buyer was told; anyone can audit it.
    sequence bigint not null
        constraint orders_sequence_counts_from_one check (sequence >= 1),

    -- When the hold ends by inventory's clock. Not a clock of ours: at this time we only ask.
    pay_by timestamptz not null,

    -- The next step of the order's life, saved before the step is done, so that whoever finds a
    -- dead process's order knows where to go on. 'expire' while the order waits for its payment;
    -- null once nothing is left to do.
    step text
        constraint orders_step_known check (
            step in (
                'expire', 'cancel',
                'pin', 'authorize', 'settle', 'capture',
                'restock', 'void', 'refund', 'release'
            )
        ),
    constraint orders_step_while_pending check ((state = 'pending_payment') = (step is not null)),

    -- When a worker may do that step: pay_by while the order waits, the end of the lease while
    -- somebody is at it; null once nothing is left to do.
    next_step_at timestamptz,
    constraint orders_step_has_a_time check ((step is null) = (next_step_at is null)),

    -- Why the payment failed. Saved when the undoing begins, so that PayOrder gives the same
    -- reason however often it is asked.
    failure text
        constraint orders_failure_known check (
            failure in (
                'card_declined', 'insufficient_funds', 'no_answer', 'out_of_stock', 'not_captured'
            )
        ),
    constraint orders_failure_when_failed check (state <> 'payment_failed' or failure is not null),

    -- The provider's token of the card, kept with the order because the saga may be resumed by a
    -- process that never saw the call.
    payment_method text,

    -- Where the goods go, as it was when the order was paid; the address book may change.
    address jsonb,
    constraint orders_paid_with_address check (
        state <> 'preparing' or (payment_method is not null and address is not null)
    ),

    -- The list's order, and the buyer's receipt. The database's clock.
    created_at timestamptz not null default now(),

    -- When `state` last changed. The database's clock.
    updated_at timestamptz not null default now()
);

-- A buyer's list, newest first, by key set.
create index orders_of_user on orders (user_id, created_at desc, order_id desc);

-- What is due. Partial: finished orders, in the end nearly all, are not in it.
create index orders_due on orders (next_step_at) where next_step_at is not null;

-- One payment in flight per buyer: a second one meets this constraint, whichever replica it
-- reaches. Undoing counts as in flight.
create unique index orders_one_payment_per_user on orders (user_id)
    where step not in ('expire', 'cancel');
