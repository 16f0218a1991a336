-- Address books: where somebody's goods go.
--
-- Exactly one address of a book is its default, and constraints alone see to it, whoever writes at
-- once. The default stands on the book: in one column there is at most one, and because the column
-- is not null, at least one. It is an address of the same book by a foreign key of both columns,
-- and there is no address without a book by another. A flag on each address, under a partial
-- unique index, would say "at most one" and leave "at least one" to triggers.

create table address_books (
    user_id            uuid        primary key references users,
    -- An address of this book; see the constraint below.
    default_address_id uuid        not null,
    created_at         timestamptz not null default clock_timestamp()
);

create table addresses (
    -- UUIDv5 of the user and the key that added it: the same key adds once.
    address_id     uuid        primary key,
    -- A book that goes takes its addresses with it: an account that is erased leaves none.
    user_id        uuid        not null references address_books on delete cascade,
    -- Where it stands in its book, for no other purpose than to count: 20 places, each once, are
    -- 20 addresses, however many are added at once.
    place          smallint    not null,
    -- Recipient, phone and all, sealed as `addresses.address` of this row.
    address_sealed bytea       not null,
    created_at     timestamptz not null default clock_timestamp(),
    -- When it was last replaced.
    updated_at     timestamptz not null default clock_timestamp(),

    constraint addresses_places check (place between 1 and 20),
    constraint addresses_place_once unique (user_id, place),
    -- What the book's default refers to.
    constraint addresses_of_their_book unique (user_id, address_id)
);

-- A book and its first address need each other, so this is looked at when a transaction ends. It
-- is also what refuses to delete the default, and to make an address the default that is gone.
alter table address_books add constraint address_books_default_is_there
    foreign key (user_id, default_address_id) references addresses (user_id, address_id)
    deferrable initially deferred;

-- What each key added. A row outlives its address by a day, longer than anybody retries: a late
-- retry must not bring back what its owner has deleted.
create table address_keys (
    user_id     uuid        not null references address_books on delete cascade,
    -- Made from the key.
    address_id  uuid        not null,
    -- An HMAC of what was to be added: with other contents the key is refused, and nobody can
    -- read here what they were.
    fingerprint bytea       not null,
    used_at     timestamptz not null default clock_timestamp(),
    -- When its address was deleted; null while that is there.
    gone_at     timestamptz,

    constraint address_keys_pkey primary key (user_id, address_id),
    constraint address_keys_fingerprint_sha256 check (octet_length(fingerprint) = 32)
);

-- Keys whose addresses are gone, longest first: they are deleted after their day.
create index address_keys_gone on address_keys (gone_at) where gone_at is not null;
