-- What signs tokens is sealed at rest, as personal data is: who reads a dump must not be able to
-- make tokens. What stands here in the clear is sealed by `migrate`, right after this; the release
-- before finds no key in its place, so its replicas serve on but start no more.

alter table signing_keys
    -- The PKCS #8 form, sealed. Exactly one of the two forms is there.
    add column private_key_sealed bytea,
    alter column private_key drop not null,
    add constraint signing_keys_private_once check (
        num_nonnulls(private_key, private_key_sealed) = 1),
    -- A new key is listed at once and signs a little later, when every edge knows it. It signs
    -- until the next one does, and is listed until the last token of its has ended.
    add column signs_from timestamptz;

update signing_keys set signs_from = created_at;

alter table signing_keys
    alter column signs_from set default clock_timestamp(),
    alter column signs_from set not null;

alter table secrets
    -- Likewise.
    add column value_sealed bytea,
    alter column value drop not null,
    add constraint secrets_value_once check (num_nonnulls(value, value_sealed) = 1);
