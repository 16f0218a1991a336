-- Every admission moves its stock row, and every payment pins and settles its hold. While the
-- columns that indexes look at stay the same, Postgres writes the new version beside the old one
-- and touches no index.
--
-- This one writes `holds` anew, under a lock, and takes indexes away that the build before looks
-- for: a shop that is open must be closed for it. No shop was open when it was written.

-- The audit reads the few rows of this table whole, every two seconds: an index on what every
-- purchase changes costs each of them more.
drop index stock_by_touch;

-- Whether a hold may yet end unpaid, and whether it is sold. On their own, because a hold that is
-- pinned must not change what an index looks at; kept true by Postgres itself.
alter table holds
    add column is_open boolean not null
        generated always as (state in ('held', 'pinned')) stored,
    add column is_sold boolean not null
        generated always as (state = 'settled') stored;

-- What is overdue. A pinned hold stays in it until its payment is decided, and is passed over.
drop index holds_overdue;
create index holds_overdue on holds (expires_at) where is_open;

-- What the gate may forget.
drop index holds_to_forget;
create index holds_to_forget on holds (settled_at) where is_sold and not forgotten;

-- Room on each page for the versions that follow; holds written before keep their full pages.
alter table holds set (fillfactor = 80);
