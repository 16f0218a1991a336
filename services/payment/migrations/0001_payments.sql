-- Payments: one row for each charge that somebody asked for, and how far it came.
-- The provider's ledger is the truth about the money; this row follows it and never runs ahead.

create table payments (
    -- The idempotency key of everything that happens to this charge, here and at the provider.
    payment_id     uuid        primary key,
    -- Who pays, and who may look.
    user_id        uuid        not null,
    -- What was asked of the card. Null only where a payment was voided before it was begun.
    amount_minor   bigint,
    currency       text,
    -- The provider's token of a card: never a card's number.
    payment_method text,
    state          text        not null,
    -- Why the card was refused, in the provider's word.
    decline_code   text,
    created_at     timestamptz not null default clock_timestamp(),
    -- When the state last changed.
    updated_at     timestamptz not null default clock_timestamp(),

    constraint payments_state_known check (
        state in ('AUTHORIZING', 'AUTHORIZED', 'DECLINED', 'CAPTURED', 'VOIDED', 'REFUNDED')),
    constraint payments_amount_not_negative check (amount_minor >= 0),
    -- Whatever was charged says how much, of what, and how.
    constraint payments_whole check (
        state = 'VOIDED' or num_nulls(amount_minor, currency, payment_method) = 0),
    constraint payments_declined_has_code check ((state = 'DECLINED') = (decline_code is not null))
)
-- A row is updated twice in its life, in place, where its page has room.
with (fillfactor = 80);

-- ListPayments: newest first, the id breaks ties.
create index payments_by_user on payments (user_id, created_at desc, payment_id desc);
