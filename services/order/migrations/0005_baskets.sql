-- Carts and wishlists: what somebody may order. Nothing is held by them and no price is kept.

create table basket_lines (
    -- The buyer.
    user_id uuid not null,
    -- Which of the two lists.
    basket text not null
        constraint basket_lines_basket_known check (basket in ('cart', 'wishlist')),
    -- What is wanted; a SKU stands in a list once.
    sku_id uuid not null,
    -- Its product, by which inventory finds it.
    product_id uuid not null,
    -- Units; more than an order's line may have could never be ordered.
    quantity integer not null
        constraint basket_lines_quantity check (quantity between 1 and 1000),
    -- The list's order. The database's clock.
    added_at timestamptz not null default now(),
    constraint basket_lines_pkey primary key (user_id, basket, sku_id)
);

-- The keys of additions, which are the only change of a list that done twice differs from done
-- once. Kept for a day, longer than anybody retries.
create table basket_keys (
    user_id uuid not null,
    basket text not null,
    idempotency_key text not null,
    -- What the key was used for: with other contents it is refused.
    sku_id uuid not null,
    quantity integer not null,
    used_at timestamptz not null default now(),
    constraint basket_keys_pkey primary key (user_id, basket, idempotency_key)
);

create index basket_keys_by_use on basket_keys (used_at);
