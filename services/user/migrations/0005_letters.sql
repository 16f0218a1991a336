-- Letters that are to leave. A letter is saved with what it tells of, before anybody is answered,
-- and whoever sends it marks its row as taken first: so it leaves at most once. Where it surely did
-- not leave, its taker puts it back; else its row is deleted, and nothing of it stays behind. A
-- letter whose taker died stays taken and is deleted at its end.

create table letters (
    -- Also the mail's Message-ID. A letter about an order has the id of the event it tells of.
    letter_id     uuid        primary key,
    -- To whom, in which language, and what: sealed as one. A letter to nobody looks the same.
    letter_sealed bytea       not null,
    -- Somebody waits for it. Those that come unasked, many at once, never stand in its way.
    is_awaited    boolean     not null,
    posted_at     timestamptz not null default clock_timestamp(),
    -- Not before then is it tried, the first time or again.
    due_at        timestamptz not null default clock_timestamp(),
    -- Nobody needs it any more: a code in it has ended, or its news are old.
    expires_at    timestamptz not null,
    -- How often it was turned away.
    refusals      integer     not null default 0,
    -- How often it was taken. Only who took it last puts it back: a call that is repeated because
    -- its answer was lost finds that another has taken the letter meanwhile.
    takings       integer     not null default 0,
    -- True while somebody sends it, and for ever when nobody knows whether it left.
    is_taken      boolean     not null default false,

    constraint letters_refusals_counted check (refusals >= 0),
    constraint letters_takings_counted check (takings >= 0 and (takings > 0 or not is_taken))
);

-- Whoever sends takes what is due, oldest first.
create index letters_by_due on letters (is_awaited, due_at) where not is_taken;

-- What stayed taken, by its end.
create index letters_by_end on letters (expires_at) where is_taken;

-- Its letters leave by the table above now, so the record of an order's mail says only that there
-- is one. `order_mails.sent_at` is written by the release before this one and read by none; the
-- next one drops it.
comment on column order_mails.sent_at is 'no longer written';
