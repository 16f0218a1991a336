-- Where goods go is personal, and from now on it is sealed: `address_sealed` holds what `address`
-- held in the clear. It opens only with the service's keys, and only in its own row.
--
-- This one takes a lock for an instant only; a shop may be open. `firstcome-order migrate` seals
-- old rows, a few hundred at a time, when this is done. A process of the last release that still
-- serves writes addresses in the clear meanwhile: run `migrate` once more when the last one has
-- ended. Postgres overwrites what it deletes in its own time; `vacuum full orders` does it at once.

alter table orders add column address_sealed bytea;

-- Whatever was paid says with what, and where it goes, in either form. Rows that were there kept
-- the older and narrower rule, so they need not be read again.
alter table orders drop constraint orders_paid_with_address;
alter table orders add constraint orders_paid_with_address check (
    state not in ('preparing', 'shipping', 'delivered', 'confirmed', 'return_requested', 'returned')
    or (payment_method is not null and (address is not null or address_sealed is not null))
) not valid;
