create table outbox (
    outbox_id bigint generated always as identity primary key,
    event_id uuid not null default gen_random_uuid(),
    order_id uuid not null,
    user_id uuid not null,
    from_state text not null,
    state text not null,
    total_minor bigint not null,
    currency text not null,
    created_at timestamptz not null default now()
);
