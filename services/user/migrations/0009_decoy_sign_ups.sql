-- Sign-ups of addresses that are taken for good. Nothing comes of them, and their codes are mailed
-- to nobody; but whoever signed up and then logs in with the same password must be told what they
-- would be told if the address were free, "not verified", or they learn that somebody has an
-- account.

create table decoy_sign_ups (
    -- As in `users`. No reference: whether there is such an account is not looked at by a second
    -- statement. Deleting the account deletes this row with it.
    email_index   bytea       primary key,
    -- What the token is made from that the stranger was answered with: a code that is sent again
    -- goes with the same one.
    signup_id     uuid        not null,
    -- Of the password that was offered, as in `users`. The next sign-up of the address replaces it.
    password_hash text        not null,
    -- It lives as long as a sign-up that nobody verifies.
    created_at    timestamptz not null default clock_timestamp(),

    constraint decoy_sign_ups_email_index_hmac check (octet_length(email_index) = 32)
);

-- Oldest first: they are deleted when they are old.
create index decoy_sign_ups_by_age on decoy_sign_ups (created_at);
