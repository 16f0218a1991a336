-- Accounts, the sessions that they opened, and the keys that sign their tokens.

create table users (
    user_id       uuid        primary key,
    -- Trimmed and in lower case: the same address in another spelling is the same account.
    email         text        not null,
    name          text        not null,
    -- E.164. Null for operators.
    phone         text,
    -- An argon2id PHC string: parameters, salt and hash.
    password_hash text        not null,
    state         text        not null,
    role          text        not null,
    -- The sign-up whose name and password stand here. A mailed code activates exactly the sign-up
    -- it was mailed for: of two sign-ups with one address, the newer.
    signup_id     uuid        not null,
    created_at    timestamptz not null default clock_timestamp(),
    -- When anything above last changed.
    updated_at    timestamptz not null default clock_timestamp(),

    -- Two sign-ups at once meet here.
    constraint users_email_once unique (email),
    constraint users_email_normal check (email = lower(email) and length(email) <= 254),
    constraint users_state_known check (
        state in ('INACTIVE', 'ACTIVE', 'DORMANT', 'BANNED', 'DELETED')),
    constraint users_role_known check (role in ('USER', 'ADMIN'))
);

create table sessions (
    -- Made from the user and the log-in's idempotency key: the same log-in is the same session.
    session_id    uuid        primary key,
    user_id       uuid        not null references users,
    -- How often the refresh token was rotated. Each generation has one token.
    generation    bigint      not null default 0,
    -- SHA-256 of this generation's refresh token, and of the one before.
    refresh_hash  bytea       not null,
    previous_hash bytea,
    -- When the previous token was spent: it gives the same answer for a short while after.
    rotated_at    timestamptz,
    -- When this generation's refresh token ends; every rotation puts it off.
    expires_at    timestamptz not null,
    -- Logged out, or ended because a spent refresh token came back. Never opened again.
    ended_at      timestamptz,
    created_at    timestamptz not null default clock_timestamp(),
    last_used_at  timestamptz not null default clock_timestamp(),

    constraint sessions_hash_sha256 check (octet_length(refresh_hash) = 32),
    constraint sessions_previous_with_rotation check (
        num_nulls(previous_hash, rotated_at) in (0, 2))
);

-- All sessions of one user: to list them, to end them.
create index sessions_by_user on sessions (user_id);

create table signing_keys (
    -- The `kid` of the tokens that this key signs.
    key_id      text        primary key,
    -- Counts from 1. Replicas that start at once all want to make the first, and one does.
    rotation    integer     not null,
    -- Ed25519: PKCS #8, and the 32 raw bytes.
    private_key bytea       not null,
    public_key  bytea       not null,
    created_at  timestamptz not null default clock_timestamp(),

    constraint signing_keys_rotation_once unique (rotation),
    constraint signing_keys_public_raw check (octet_length(public_key) = 32)
);

create table secrets (
    -- `refresh`: refresh tokens are derived from it, unless the configuration brings one.
    name       text        primary key,
    value      bytea       not null,
    created_at timestamptz not null default clock_timestamp()
);
