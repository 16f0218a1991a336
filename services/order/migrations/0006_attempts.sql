-- Orders of several products are placed by attempts. The intent is a row before the first unit is
-- held; the order is written and the intent deleted in one transaction, so that a placement that
-- died is found here and nowhere else.

create sequence placement_attempts;

create table placements (
    -- The order that it is to become.
    order_id uuid primary key,
    user_id uuid not null,
    -- Over what was asked for, as on the order.
    fingerprint bytea not null
        constraint placements_fingerprint_16_bytes check (octet_length(fingerprint) = 16),
    -- Names the reservations together with the order. Never used twice: what an earlier attempt
    -- held can be freed without touching what a later one was told.
    attempt bigint not null default nextval('placement_attempts'),
    -- Earlier attempts whose process died, and which nobody is known to have freed.
    unfreed bigint[] not null default '{}',
    -- The list whose lines it orders; null when they were written out.
    basket text,
    -- The lines, by place, as they were when it began; sorted by product and SKU.
    product_ids uuid[] not null,
    sku_ids uuid[] not null,
    quantities integer[] not null,
    constraint placements_lines_match check (
        cardinality(sku_ids) between 1 and 50
        and cardinality(product_ids) = cardinality(sku_ids)
        and cardinality(quantities) = cardinality(sku_ids)
    ),
    -- Until then it belongs to the process that began or took over this attempt.
    next_try_at timestamptz not null,
    created_at timestamptz not null default now()
);

create index placements_due on placements (next_try_at);

-- The attempt that took the units; null for an order of one product, whose hold has its own id.
alter table orders add column attempt bigint;
-- By place, like the lines; null for an order of one product, which says both once.
alter table orders add column line_product_ids uuid[];
alter table orders add column line_sequences bigint[];

alter table orders drop constraint orders_lines_match;
alter table orders add constraint orders_lines_match check (
    cardinality(sku_ids) between 1 and 50
    and cardinality(quantities) = cardinality(sku_ids)
    and cardinality(unit_prices_minor) = cardinality(sku_ids)
);
alter table orders add constraint orders_attempt_whole check (
    (attempt is null) = (line_product_ids is null)
    and (attempt is null) = (line_sequences is null)
    and (attempt is null or (
        cardinality(line_product_ids) = cardinality(sku_ids)
        and cardinality(line_sequences) = cardinality(sku_ids)
    ))
);
