-- A payment moves its order through four steps. While the columns that indexes look at stay the
-- same, Postgres writes the new version beside the old one and touches no index.

-- Whether a payment is under way, undoing included. On its own, because the steps within a payment
-- must not change what an index looks at; kept true by Postgres itself.
alter table orders add column paying boolean not null
    generated always as (step is not null and step not in ('expire', 'cancel')) stored;

-- One payment in flight per buyer, as before.
drop index orders_one_payment_per_user;
create unique index orders_one_payment_per_user on orders (user_id) where paying;

-- Room on each page for the versions that follow; orders written before keep their full pages.
alter table orders set (fillfactor = 75);
