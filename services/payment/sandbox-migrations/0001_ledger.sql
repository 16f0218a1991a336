-- The sandbox provider's own ledger. It plays somebody else's system: payment never reads it, and
-- `verify` compares the two.

create table charges (
    -- The idempotency key that the merchant sent.
    key            uuid        primary key,
    -- Null in a tombstone: a charge that was voided before it was seen.
    amount_minor   bigint,
    currency       text,
    payment_method text,
    state          text        not null,
    decline_code   text,
    created_at     timestamptz not null default clock_timestamp(),
    updated_at     timestamptz not null default clock_timestamp(),

    constraint charges_state_known check (
        state in ('AUTHORIZED', 'DECLINED', 'CAPTURED', 'VOIDED', 'REFUNDED')),
    constraint charges_whole check (
        state = 'VOIDED' or num_nulls(amount_minor, currency, payment_method) = 0),
    constraint charges_declined_has_code check ((state = 'DECLINED') = (decline_code is not null))
)
with (fillfactor = 80);

-- Every movement of money, in order, never changed and never deleted. There is deliberately no
-- uniqueness here: this is evidence, and a double capture must be seen, not turned into an error.
create table movements (
    movement_id  bigint      generated always as identity primary key,
    charge_key   uuid        not null,
    kind         text        not null,
    amount_minor bigint      not null,
    currency     text        not null,
    moved_at     timestamptz not null default clock_timestamp(),

    constraint movements_kind_known check (kind in ('AUTHORIZE', 'CAPTURE', 'VOID', 'REFUND'))
);
