-- Personal data is sealed from here on: each field under a data key, bound to its row and column.
-- What the last release wrote in the clear stands in `email`, `name` and `phone` until the
-- `migrate` command has sealed it, right after this file; from then on these three are null.

alter table users
    alter column email drop not null,
    alter column name drop not null,
    add column email_sealed     bytea,
    -- HMAC-SHA256 of the address in its one spelling, under a key that is in no database: the way
    -- to find an account, and where two sign-ups at once meet.
    add column email_index      bytea,
    add column name_sealed      bytea,
    -- Null for operators.
    add column phone_sealed     bytea,
    -- Null until somebody says something.
    add column greeting_sealed  bytea,
    add column image_url_sealed bytea,
    -- Of mails and pages.
    add column language         text not null default 'en',
    -- Null until the first log-in. Moved on, too, when dormancy finds a session that is in use.
    add column last_login_at    timestamptz,

    add constraint users_email_index_once unique (email_index),
    add constraint users_email_index_hmac check (octet_length(email_index) = 32),
    add constraint users_email_found check (num_nulls(email_sealed, email_index) in (0, 2)),
    add constraint users_language_known check (language in ('en', 'ko')),
    -- A field is clear or sealed, never both.
    add constraint users_sealed_or_clear check (
        num_nonnulls(email, email_sealed) <= 1
        and num_nonnulls(name, name_sealed) <= 1
        and num_nonnulls(phone, phone_sealed) <= 1),
    -- Nobody is left without a name and an address, unless nothing of them is left.
    add constraint users_whole_or_erased check (
        case when state = 'DELETED'
            then num_nonnulls(email, name, phone, email_sealed, name_sealed, phone_sealed,
                              greeting_sealed, image_url_sealed) = 0
            else num_nonnulls(email, email_sealed) = 1 and num_nonnulls(name, name_sealed) = 1
        end) not valid;

-- `not valid`: nobody could delete an account in the last release, but an operator may have marked
-- one so. The command erases such a row where it seals others.

-- Rows that are still clear: none, once the command has run.
create index users_clear on users (user_id) where email is not null;

-- Sign-ups that nobody verified, oldest first: they are deleted when they are old.
create index users_unverified on users (created_at) where state = 'INACTIVE';

-- Accounts by their last use, for dormancy.
create index users_by_use on users (coalesce(last_login_at, created_at)) where state = 'ACTIVE';
