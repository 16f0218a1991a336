-- Since when an order's next step is due. Whoever takes an order up pushes `next_step_at` to the
-- end of its lease, and so does the next one: by that clock, what nobody can do is never late.
--
-- This one takes a lock for an instant only; a shop may be open. A process of the last release that
-- still serves leaves the column as it finds it: until then an order may look later than it is.

-- Null until somebody takes the order up for a step that is due, then when that was first so. An
-- order that moves begins without one. In no index, so that it costs a move nothing: whoever looks
-- for the longest due reads the next few thousand of `orders_due`.
alter table orders add column due_since timestamptz;
