-- The life after the payment: shipping, delivery, confirmation, cancelling and returning. Every
-- state but the last ones waits for something, so from now on a next step stands on each of them.
--
-- This one writes `orders` anew, under a lock: a shop that is open must be closed for it. No shop
-- was open when it was written.

alter table orders drop constraint orders_state_known;
alter table orders drop constraint orders_step_known;
alter table orders drop constraint orders_step_while_pending;
alter table orders drop constraint orders_paid_with_address;

-- What was paid before this begins its day now.
update orders set step = 'ship', next_step_at = now() + interval '1 day' where state = 'preparing';

alter table orders add constraint orders_state_known check (
    state in (
        'pending_payment', 'preparing', 'shipping', 'delivered', 'confirmed',
        'return_requested', 'returned', 'expired', 'payment_failed', 'cancelled'
    )
);

-- 'ship', 'deliver' and 'confirm' wait for their day; 'take_back' and 'pay_back' undo a purchase
-- that was paid, and tell by the state whether it ends cancelled or returned.
alter table orders add constraint orders_step_known check (
    step in (
        'expire', 'cancel',
        'pin', 'authorize', 'settle', 'capture',
        'restock', 'void', 'refund', 'release',
        'ship', 'deliver', 'confirm', 'take_back', 'pay_back'
    )
);

-- Only what is over has no next step: an order can be late, and never forgotten.
alter table orders add constraint orders_step_until_the_end check (
    (step is null) =
        (state in ('confirmed', 'returned', 'expired', 'payment_failed', 'cancelled'))
);

-- Whatever was paid says with what, and where it goes.
alter table orders add constraint orders_paid_with_address check (
    state not in ('preparing', 'shipping', 'delivered', 'confirmed', 'return_requested', 'returned')
    or (payment_method is not null and address is not null)
);

-- Whether a payment is under way, undoing included: only a pending order's steps are a payment's.
-- What a generated column says cannot be altered, so it is made anew with its index.
drop index orders_one_payment_per_user;
alter table orders drop column paying;
alter table orders add column paying boolean not null
    generated always as (
        state = 'pending_payment' and step not in ('expire', 'cancel')
    ) stored;
create unique index orders_one_payment_per_user on orders (user_id) where paying;

-- Everybody's orders, newest first, for the shop's own people. Batches are inserted with one
-- instant, at the index's right end.
create index orders_by_creation on orders (created_at desc, order_id desc);
