-- taken at 1795324039356
-- secret user-data-key ce0dad1e1f7fa61e2b741cfca5a0af8585cba7a558464a0a8a389fc7441df427
-- secret user-index-key e47f60ae21b996e1663c04739c4c5a1534b32fcb053e8b994f66b52a1bb471f4
-- secret order-data-key 5cee606a65612c2797a2fc667574555c0e1f73306efde30a2d4731f4a6edd7c8

-- role fc_user
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE FUNCTION fc_user.erase_ended_session() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    new.device_sealed := null;
    new.address_sealed := null;
    return new;
end
$$;
CREATE FUNCTION fc_user.readmit_session() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    delete from revocations where session_id = new.session_id;
    return null;
end
$$;
CREATE FUNCTION fc_user.revoke_session() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    insert into revocations (session_id) values (old.session_id)
    on conflict (session_id) do update
        set revoked_in = excluded.revoked_in, revoked_at = excluded.revoked_at;
    return null;
end
$$;
CREATE FUNCTION fc_user.this_transaction() RETURNS bigint
    LANGUAGE sql
    AS $$
    select pg_current_xact_id()::text::bigint
$$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE fc_user._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);
CREATE TABLE fc_user.address_books (
    user_id uuid NOT NULL,
    default_address_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE fc_user.address_keys (
    user_id uuid NOT NULL,
    address_id uuid NOT NULL,
    fingerprint bytea NOT NULL,
    used_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    gone_at timestamp with time zone,
    CONSTRAINT address_keys_fingerprint_sha256 CHECK ((octet_length(fingerprint) = 32))
);
CREATE TABLE fc_user.addresses (
    address_id uuid NOT NULL,
    user_id uuid NOT NULL,
    place smallint NOT NULL,
    address_sealed bytea NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT addresses_places CHECK (((place >= 1) AND (place <= 20)))
);
CREATE TABLE fc_user.decoy_sign_ups (
    email_index bytea NOT NULL,
    signup_id uuid NOT NULL,
    password_hash text NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT decoy_sign_ups_email_index_hmac CHECK ((octet_length(email_index) = 32))
);
CREATE TABLE fc_user.letters (
    letter_id uuid NOT NULL,
    letter_sealed bytea NOT NULL,
    is_awaited boolean NOT NULL,
    posted_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    due_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    refusals integer DEFAULT 0 NOT NULL,
    takings integer DEFAULT 0 NOT NULL,
    is_taken boolean DEFAULT false NOT NULL,
    CONSTRAINT letters_refusals_counted CHECK ((refusals >= 0)),
    CONSTRAINT letters_takings_counted CHECK (((takings >= 0) AND ((takings > 0) OR (NOT is_taken))))
);
CREATE TABLE fc_user.order_mails (
    event_id uuid NOT NULL,
    order_id uuid NOT NULL,
    news text NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    sent_at timestamp with time zone,
    CONSTRAINT order_mails_news_known CHECK ((news = ANY (ARRAY['ordered'::text, 'shipped'::text, 'cancelled'::text, 'cancelled_and_refunded'::text, 'refunded'::text])))
);
COMMENT ON COLUMN fc_user.order_mails.sent_at IS 'no longer written';
CREATE TABLE fc_user.parked_events (
    parked_id bigint NOT NULL,
    stream text NOT NULL,
    entry text NOT NULL,
    event_id uuid,
    event bytea NOT NULL,
    deliveries integer NOT NULL,
    error text NOT NULL,
    parked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
ALTER TABLE fc_user.parked_events ALTER COLUMN parked_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME fc_user.parked_events_parked_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE fc_user.revocations (
    session_id uuid NOT NULL,
    revoked_in bigint DEFAULT fc_user.this_transaction() NOT NULL,
    revoked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE fc_user.secrets (
    name text NOT NULL,
    value bytea,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    value_sealed bytea,
    CONSTRAINT secrets_value_once CHECK ((num_nonnulls(value, value_sealed) = 1))
);
CREATE TABLE fc_user.sessions (
    session_id uuid NOT NULL,
    user_id uuid NOT NULL,
    generation bigint DEFAULT 0 NOT NULL,
    refresh_hash bytea NOT NULL,
    previous_hash bytea,
    rotated_at timestamp with time zone,
    expires_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    last_used_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    device_sealed bytea,
    address_sealed bytea,
    CONSTRAINT sessions_erased_at_end CHECK (((ended_at IS NULL) OR (num_nonnulls(device_sealed, address_sealed) = 0))),
    CONSTRAINT sessions_hash_sha256 CHECK ((octet_length(refresh_hash) = 32)),
    CONSTRAINT sessions_previous_with_rotation CHECK ((num_nulls(previous_hash, rotated_at) = ANY (ARRAY[0, 2])))
);
CREATE TABLE fc_user.signing_keys (
    key_id text NOT NULL,
    rotation integer NOT NULL,
    private_key bytea,
    public_key bytea NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    private_key_sealed bytea,
    signs_from timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT signing_keys_private_once CHECK ((num_nonnulls(private_key, private_key_sealed) = 1)),
    CONSTRAINT signing_keys_public_raw CHECK ((octet_length(public_key) = 32))
);
CREATE TABLE fc_user.users (
    user_id uuid NOT NULL,
    email text,
    name text,
    phone text,
    password_hash text NOT NULL,
    state text NOT NULL,
    role text NOT NULL,
    signup_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    email_sealed bytea,
    email_index bytea,
    name_sealed bytea,
    phone_sealed bytea,
    greeting_sealed bytea,
    image_url_sealed bytea,
    language text DEFAULT 'en'::text NOT NULL,
    last_login_at timestamp with time zone,
    CONSTRAINT users_email_found CHECK ((num_nulls(email_sealed, email_index) = ANY (ARRAY[0, 2]))),
    CONSTRAINT users_email_index_hmac CHECK ((octet_length(email_index) = 32)),
    CONSTRAINT users_email_normal CHECK (((email = lower(email)) AND (length(email) <= 254))),
    CONSTRAINT users_language_known CHECK ((language = ANY (ARRAY['en'::text, 'ko'::text]))),
    CONSTRAINT users_role_known CHECK ((role = ANY (ARRAY['USER'::text, 'ADMIN'::text]))),
    CONSTRAINT users_sealed_or_clear CHECK (((num_nonnulls(email, email_sealed) <= 1) AND (num_nonnulls(name, name_sealed) <= 1) AND (num_nonnulls(phone, phone_sealed) <= 1))),
    CONSTRAINT users_state_known CHECK ((state = ANY (ARRAY['INACTIVE'::text, 'ACTIVE'::text, 'DORMANT'::text, 'BANNED'::text, 'DELETED'::text])))
);
INSERT INTO fc_user._sqlx_migrations VALUES (1, 'accounts', '2026-11-22 05:06:55.608325+00', true, '\x9915074ace2439f7dd51035b3b88b11462a7e23ef4c5a8ba8ff8a2a57bf8e8fbbdf1a8ff5a33f7c8907826a9838fff7f', 58909716);
INSERT INTO fc_user._sqlx_migrations VALUES (2, 'order mails', '2026-11-22 05:06:55.672225+00', true, '\x5f999a427dd7df9fdf9b6ca4b704d088cb29e768cd6f61b6d3cbed0bb5301a6d19a6ac47f4ec9c88c0143b74716422bb', 15532587);
INSERT INTO fc_user._sqlx_migrations VALUES (3, 'sealed users', '2026-11-22 05:06:55.688297+00', true, '\xa4a60e80f6dbc63768c64ce6ab100f938ca112aa573a142c8a84197df073d1f2dfd1ebe2745166e8e43ce1a5301180fc', 19763040);
INSERT INTO fc_user._sqlx_migrations VALUES (4, 'sessions', '2026-11-22 05:06:55.708325+00', true, '\xba9d559039f1011d8b61afa09a80bf172282114610c00eb0ef0c13522d6a082234d72e6a243dc0c098da527cc9fab536', 9509076);
INSERT INTO fc_user._sqlx_migrations VALUES (5, 'letters', '2026-11-22 05:06:55.718189+00', true, '\xc234fe28e89c2f64e5a0e86b20572699d81312bdcb321737dd129b10f5f1bb4d38e1507add4df9950fa49c57447c6f33', 14166654);
INSERT INTO fc_user._sqlx_migrations VALUES (6, 'addresses', '2026-11-22 05:06:55.732674+00', true, '\x4e6bf6c05dfb7e9aaa3ccccabeeac47ff10fefd7e8ade6a282f6641ef80e20b80ebf82dd1cb05216bd8d972ee0cada7b', 21658309);
INSERT INTO fc_user._sqlx_migrations VALUES (7, 'revocations', '2026-11-22 05:06:55.754675+00', true, '\x4dc73228b5042356db1f3c5ca28626901734a5de1c2e68f818ff8caf23b557a0c6f8f0c4a882eadc656399ea85f0b715', 11374320);
INSERT INTO fc_user._sqlx_migrations VALUES (8, 'sealed keys', '2026-11-22 05:06:55.766292+00', true, '\x6e3a150d4bb953235e85bddb6145026fcd182202bb8d5c1d41144163ff2f92bf5dbb53a4c6c66e09fdda6c8746527011', 3774024);
INSERT INTO fc_user._sqlx_migrations VALUES (9, 'decoy sign ups', '2026-11-22 05:06:55.770285+00', true, '\xc966f98c3f82c4d09bb824a4ebd1950f04abc726b3bcca7762475b00e137efaa6d68662ec5bb282dc4e77a587c08f4bd', 2887115);
INSERT INTO fc_user.order_mails VALUES ('25009a76-fb2d-45a5-b097-a9cbb2c78bb5', 'f6decaab-acfe-5c03-8612-ddc835247d1b', 'ordered', '2026-11-22 05:07:01.661305+00', NULL);
INSERT INTO fc_user.order_mails VALUES ('62cb3fd4-ead6-4a5f-86d6-419c924b717d', 'f6decaab-acfe-5c03-8612-ddc835247d1b', 'shipped', '2026-11-22 05:07:10.069486+00', NULL);
INSERT INTO fc_user.order_mails VALUES ('6b8a31e1-b13d-454a-8d97-2a1a8a2f85cf', '007fe382-5623-54fd-a7fe-9cfa505f1686', 'ordered', '2026-11-22 05:07:10.452935+00', NULL);
INSERT INTO fc_user.order_mails VALUES ('a0628545-b183-4e8b-9afd-85a68d94eee5', 'fff2c295-9704-5ce8-878b-5a6b2286d726', 'cancelled', '2026-11-22 05:07:11.132327+00', NULL);
INSERT INTO fc_user.order_mails VALUES ('341c3a7a-6326-47fe-8649-b2ccba01acaa', '007fe382-5623-54fd-a7fe-9cfa505f1686', 'shipped', '2026-11-22 05:07:18.543257+00', NULL);
INSERT INTO fc_user.secrets VALUES ('refresh', NULL, '2026-11-22 05:06:57.770925+00', '\x0000000180a6ffbe1bde97a1b53cb574bbcf50f616683556b83b0cf259b9355e07707bc6e0aca3452c84016a9736ee416659dc45b747ae326172b6f8994ddfa6');
INSERT INTO fc_user.sessions VALUES ('014c968e-09e6-5395-a45d-53896345a95d', '0d0b79cd-69cf-4feb-8ea5-7738f3615a5a', 1795324019411617, '\x7a603f5e4bff483622823817c4eb940fee3e36b2e1c8ec41aa7b144850fa347c', NULL, NULL, '2026-12-06 05:06:59.441665+00', NULL, '2026-11-22 05:06:59.441666+00', '2026-11-22 05:06:59.441666+00', NULL, '\x000000010e4cbb002736c65c2fc6515f3634e53bad24bc84f18374076d578a9bbfbe9a4063dcd6a48d');
INSERT INTO fc_user.sessions VALUES ('51684c39-917b-57d5-8d13-66c18c68fc9f', '6b456bad-7ed4-5a75-bd44-9d9cd4b706d3', 0, '\x0000000000000000000000000000000000000000000000000000000000000000', NULL, NULL, '2026-11-22 06:07:00.128426+00', NULL, '2026-11-22 05:07:00.128426+00', '2026-11-22 05:07:00.128426+00', NULL, NULL);
INSERT INTO fc_user.sessions VALUES ('0accb0b0-a47b-5050-a3cb-6a48d67dfa89', '31736ffb-93df-512d-9514-ac2df3c5aa31', 0, '\x0000000000000000000000000000000000000000000000000000000000000000', NULL, NULL, '2026-11-22 06:07:00.12867+00', NULL, '2026-11-22 05:07:00.12867+00', '2026-11-22 05:07:00.12867+00', NULL, NULL);
INSERT INTO fc_user.sessions VALUES ('09c2e65f-160b-5a55-9539-5d7c81eaa94a', '43c2f4f6-79bb-5e97-813b-8e632ecf2449', 0, '\x0000000000000000000000000000000000000000000000000000000000000000', NULL, NULL, '2026-11-22 06:07:00.128688+00', NULL, '2026-11-22 05:07:00.128688+00', '2026-11-22 05:07:00.128688+00', NULL, NULL);
INSERT INTO fc_user.sessions VALUES ('6975d361-567b-510c-8597-d27c7f4032fb', '5825d2d0-0637-56f9-a8b9-310656732dc4', 0, '\x0000000000000000000000000000000000000000000000000000000000000000', NULL, NULL, '2026-11-22 06:07:00.128706+00', NULL, '2026-11-22 05:07:00.128706+00', '2026-11-22 05:07:00.128706+00', NULL, NULL);
INSERT INTO fc_user.sessions VALUES ('52971c7b-ad66-544e-b5b7-55e4463ac6b0', 'c633cd50-e377-5611-a290-12f7d1beb3b8', 0, '\x0000000000000000000000000000000000000000000000000000000000000000', NULL, NULL, '2026-11-22 06:07:00.128718+00', NULL, '2026-11-22 05:07:00.128718+00', '2026-11-22 05:07:00.128718+00', NULL, NULL);
INSERT INTO fc_user.sessions VALUES ('6c7501b1-e3cc-5370-a0e3-b9050c0f220a', 'a6942b2f-8ed4-5c99-be15-2411a760fabc', 0, '\x0000000000000000000000000000000000000000000000000000000000000000', NULL, NULL, '2026-11-22 06:07:00.128734+00', NULL, '2026-11-22 05:07:00.128734+00', '2026-11-22 05:07:00.128734+00', NULL, NULL);
INSERT INTO fc_user.sessions VALUES ('c871fe0b-e747-54ce-89d3-165dbbf4a56b', '0270e532-624f-5430-b72a-a1b5a35bf907', 0, '\x0000000000000000000000000000000000000000000000000000000000000000', NULL, NULL, '2026-11-22 06:07:00.128751+00', NULL, '2026-11-22 05:07:00.128751+00', '2026-11-22 05:07:00.128751+00', NULL, NULL);
INSERT INTO fc_user.sessions VALUES ('51d078eb-5477-5ae5-b981-862433e765aa', '6a63fa21-9531-5c50-9a8e-4e75481f0560', 0, '\x0000000000000000000000000000000000000000000000000000000000000000', NULL, NULL, '2026-11-22 06:07:00.128767+00', NULL, '2026-11-22 05:07:00.128767+00', '2026-11-22 05:07:00.128767+00', NULL, NULL);
INSERT INTO fc_user.sessions VALUES ('73086e7c-a924-5a55-8257-6d3e7c419404', 'a0e65584-13f9-5d7d-a2a4-f2c4a63ff481', 0, '\x0000000000000000000000000000000000000000000000000000000000000000', NULL, NULL, '2026-11-22 06:07:00.128771+00', NULL, '2026-11-22 05:07:00.128771+00', '2026-11-22 05:07:00.128771+00', NULL, NULL);
INSERT INTO fc_user.signing_keys VALUES ('5cb3eff0a18451c9', 1, NULL, '\x72e8b729f88ccedd89d2dd22cba7695c2bbd7d06773fcce3a0b11d26379e776d', '2026-11-22 05:06:57.769836+00', '\x00000001b5609a330046bcc9b212a20f06422e8f2a999832753ee507e3292e5590497c3b5af71bc2455d6a8f9cc267740d3aaf5b5e2dc359644ff2c36b447285da1db3798caccda36e9cb1f98584000679ebdfde65b4474613a62837cd5ef5da7dd43ea6fe58787649fec0ed3a6245ed70d85a', '2026-11-22 05:06:57.769836+00');
INSERT INTO fc_user.users VALUES ('0d0b79cd-69cf-4feb-8ea5-7738f3615a5a', NULL, NULL, NULL, '$argon2id$v=19$m=19456,t=2,p=1$1ka//P0kNpFrkvjy//aCBA$IHf3ON2sXkN3r0X7oAiu7kDWGnSNgURWYHG8VDnHkac', 'ACTIVE', 'ADMIN', '0d0b79cd-69cf-4feb-8ea5-7738f3615a5a', '2026-11-22 05:06:58.799912+00', '2026-11-22 05:06:58.799912+00', '\x00000001ce25398e110f3b545fab7e3be0e09b64d0ea25f250a8b7727e97c99de67f6d96c53cfd04ce09904b833fbed929cc1b8d', '\xab3371c27a268d4642e3efd3b2a40fbd8a362692f57a4f0a5ce292535854092f', '\x0000000173bf1864be8a0537dfd07621038bb8f693ca06086419c1ecf72c458e6a86a84babada148', NULL, NULL, NULL, 'en', '2026-11-22 05:06:59.44137+00');
INSERT INTO fc_user.users VALUES ('6b456bad-7ed4-5a75-bd44-9d9cd4b706d3', NULL, NULL, NULL, '$argon2id$v=19$m=19456,t=2,p=1$2lX/G3H9ehnzFlg0p8Q3Ww$2PjMSSr77Tqsss17GA+md9h5IXmv8Qu6Jb71WuUp4ls', 'ACTIVE', 'USER', '6b456bad-7ed4-5a75-bd44-9d9cd4b706d3', '2026-11-22 05:07:00.096876+00', '2026-11-22 05:07:00.096876+00', '\x00000001e6fb0585df5e739abba44096608c29ed0eaf6ffad124945bdddab875cd50a9bd8e20d8b936c32de8e8fb61318f4dd6fd448fe537ca458146accd7f', '\x33c13c5f1f391acbcbd8c9033dbe3b652fa9c31acbf02f6e73d14d694f03c2bf', '\x0000000193c9588d9074b6f62e777b7041ea1e90d33ae2ce7101bcacccffb1a09974ea5584fc86138cbaa970', '\x000000015ad9c2120a6e137b357be6521e4f01f582e6aa86297ebeec97a0dc549b1674beeb65f5e39d9f18e1', NULL, NULL, 'en', NULL);
INSERT INTO fc_user.users VALUES ('31736ffb-93df-512d-9514-ac2df3c5aa31', NULL, NULL, NULL, '$argon2id$v=19$m=19456,t=2,p=1$2lX/G3H9ehnzFlg0p8Q3Ww$2PjMSSr77Tqsss17GA+md9h5IXmv8Qu6Jb71WuUp4ls', 'ACTIVE', 'USER', '31736ffb-93df-512d-9514-ac2df3c5aa31', '2026-11-22 05:07:00.097344+00', '2026-11-22 05:07:00.097344+00', '\x000000017652ffc491d6806249f06ee87ab4cade00768070ee74761be20fcc5cea6da4f9f926188110bf6ae8c5e8d164bc6e03f286ef85351da00f310531a5', '\x9cea9249148fb59ac92cd3402a15547a479e2c7cadcb6b379f4259c8b502796d', '\x00000001cd7299222ceb196b713a063e23fe87b11c28d92506198361ad26385fd6c14b74acf5ee88e977f3be', '\x0000000115a1425769e1c190bd9a0d36bf6187dd333723dbe478b25c16114226590fc5203c0a002ec798d439', NULL, NULL, 'en', NULL);
INSERT INTO fc_user.users VALUES ('43c2f4f6-79bb-5e97-813b-8e632ecf2449', NULL, NULL, NULL, '$argon2id$v=19$m=19456,t=2,p=1$2lX/G3H9ehnzFlg0p8Q3Ww$2PjMSSr77Tqsss17GA+md9h5IXmv8Qu6Jb71WuUp4ls', 'ACTIVE', 'USER', '43c2f4f6-79bb-5e97-813b-8e632ecf2449', '2026-11-22 05:07:00.09737+00', '2026-11-22 05:07:00.09737+00', '\x0000000136f1580ff2c2cb03e8465e3da875beba98f3fd782ff228ce64ff3d7f3caa40ab535bda1d92e3e430e61e21219d062cea8b8d173490bd54eefd0610', '\x1568e985ad5efa2e7abb4787e38fc6b8dad74edc1db2348049a1c576dae09fce', '\x00000001752dc3f50ef2cdd165d4b403bca140aa107cdd8dd8bac03d81190e0dd1da2b12a410c3087c27bf51', '\x00000001d3b4618938e09b6211af23aa1b8245647cfe6d7e170b792b04513ddf5a88a89f67dcbdacbd2c504c', NULL, NULL, 'en', NULL);
INSERT INTO fc_user.users VALUES ('5825d2d0-0637-56f9-a8b9-310656732dc4', NULL, NULL, NULL, '$argon2id$v=19$m=19456,t=2,p=1$2lX/G3H9ehnzFlg0p8Q3Ww$2PjMSSr77Tqsss17GA+md9h5IXmv8Qu6Jb71WuUp4ls', 'ACTIVE', 'USER', '5825d2d0-0637-56f9-a8b9-310656732dc4', '2026-11-22 05:07:00.097393+00', '2026-11-22 05:07:00.097393+00', '\x0000000126c9c411cf080af93a8392a245b9bb969744a05c2626ae8079296489b49c19079df9d971dd72ef5ba7f1a8fae5f298a2d1592e930b2404d043ca12', '\xf5524a3c0ce592194364eab3752fc662e80b0042d7c9107ed62bdd6145b1f2e0', '\x000000017d30a6701eea9afca358a6ec4ab90982714f7c6ce2a623b8ea75a6dce157dc9062763fc056968a2c', '\x0000000142733d23cdca759416bc074f39b07626b56ef3590c55d56f639222f1689f7aa36dfc61474d575606', NULL, NULL, 'en', NULL);
INSERT INTO fc_user.users VALUES ('c633cd50-e377-5611-a290-12f7d1beb3b8', NULL, NULL, NULL, '$argon2id$v=19$m=19456,t=2,p=1$2lX/G3H9ehnzFlg0p8Q3Ww$2PjMSSr77Tqsss17GA+md9h5IXmv8Qu6Jb71WuUp4ls', 'ACTIVE', 'USER', 'c633cd50-e377-5611-a290-12f7d1beb3b8', '2026-11-22 05:07:00.097404+00', '2026-11-22 05:07:00.097404+00', '\x00000001d6c91bb54ad27957e9af4802ccf0749b5dee86899952e7a599589f7788cae666e304ce1c292ef08f6d512da3a5714a1a351e2c4bc129657c3b70fd', '\x42fc30755feae37c7fe0942a7403608ebbcf0a767391c469363247748d0079b0', '\x00000001e4ab4c15ce952aea27c422ac2cfdeb1f5f2b73ca9b40544dd891d84378579223b3bbc753b0557cd0', '\x000000019122216c448aa8b3e79d560f45444a43e8a961066fbe0b95e3c63cce357759dd68888613ce3481ee', NULL, NULL, 'en', NULL);
INSERT INTO fc_user.users VALUES ('a6942b2f-8ed4-5c99-be15-2411a760fabc', NULL, NULL, NULL, '$argon2id$v=19$m=19456,t=2,p=1$2lX/G3H9ehnzFlg0p8Q3Ww$2PjMSSr77Tqsss17GA+md9h5IXmv8Qu6Jb71WuUp4ls', 'ACTIVE', 'USER', 'a6942b2f-8ed4-5c99-be15-2411a760fabc', '2026-11-22 05:07:00.097426+00', '2026-11-22 05:07:00.097426+00', '\x00000001a82b8834c9788ea5862536deba837e27b5697cd63bd4210677fc226afd0d48f5c4c8187e330f9406fc23d5733d30ccecb3379ee96d3ee8239ea015', '\x0d99400ff531c14cab6bcb16a8e54e3dfddf36384975ce375217353add7663d9', '\x00000001cfece08773f0fb19e962809dfd80c0a6270cd17e1d8dd7bbc165f1f187cd76e7de257816159e41a6', '\x00000001569afb571887ce017c1e565c6e989786835405d811b077dd37be495426bfd0abd483ae8e46ef2a09', NULL, NULL, 'en', NULL);
INSERT INTO fc_user.users VALUES ('0270e532-624f-5430-b72a-a1b5a35bf907', NULL, NULL, NULL, '$argon2id$v=19$m=19456,t=2,p=1$2lX/G3H9ehnzFlg0p8Q3Ww$2PjMSSr77Tqsss17GA+md9h5IXmv8Qu6Jb71WuUp4ls', 'ACTIVE', 'USER', '0270e532-624f-5430-b72a-a1b5a35bf907', '2026-11-22 05:07:00.097433+00', '2026-11-22 05:07:00.097433+00', '\x00000001dbc021cf4eb1f5907d3a9ea3d2d5ab73285d3b92a50a5da180124dd6c0d1e472db40491b9e11dd693342bfd97bbc948c9704c93e51a419d599b8d3', '\x42015855aecd0c28ae70e355e797bab67a38da726c9736f15313da6ec277c16b', '\x0000000192fc3fb5c026e7ca3648e1ad3ff03d21ea5069c2752d09fe262f32831b9f38c7652c21a657aba37d', '\x00000001a1d0b208538af5077d8caf04842366880f4cfe553adf79f052a888057d853b1afc9951985a34b755', NULL, NULL, 'en', NULL);
INSERT INTO fc_user.users VALUES ('6a63fa21-9531-5c50-9a8e-4e75481f0560', NULL, NULL, NULL, '$argon2id$v=19$m=19456,t=2,p=1$2lX/G3H9ehnzFlg0p8Q3Ww$2PjMSSr77Tqsss17GA+md9h5IXmv8Qu6Jb71WuUp4ls', 'ACTIVE', 'USER', '6a63fa21-9531-5c50-9a8e-4e75481f0560', '2026-11-22 05:07:00.097441+00', '2026-11-22 05:07:00.097441+00', '\x000000015e618b7ee4f3f3bc22f7d17bab9dac4405bc649b87dda811b0a8f6e93b5d97a1dd36c06787834902335b2eb8ae3036a30a19d208b02bfad18da456', '\x9c0dce3e303bb6cf463453c6eb4ffeb9fa901b8d34ece08055909d2e1cd07bf3', '\x00000001d9e2714669652042719ff08a7f492bb604d476b43870ad2bc7d53eaf8597da0634ec0bc6b22932d4', '\x000000014a1054b435a9d4f61341be35858256a76af61253e763896063787a5de0616f96b50d0c42c7b55bd7', NULL, NULL, 'en', NULL);
INSERT INTO fc_user.users VALUES ('a0e65584-13f9-5d7d-a2a4-f2c4a63ff481', NULL, NULL, NULL, '$argon2id$v=19$m=19456,t=2,p=1$2lX/G3H9ehnzFlg0p8Q3Ww$2PjMSSr77Tqsss17GA+md9h5IXmv8Qu6Jb71WuUp4ls', 'ACTIVE', 'USER', 'a0e65584-13f9-5d7d-a2a4-f2c4a63ff481', '2026-11-22 05:07:00.097457+00', '2026-11-22 05:07:00.097457+00', '\x00000001d75fbb034c779d64e84daff381222ffd54cd26b2c6917c2c9961e175c1ce3a2eeb7ead16a85cd0f58fb910aafb53ed6d3cae89714066fd788015c8', '\xc4b30246104f9699f1c6ef5f3308c692ed28b6e28f78806b05a92108e3cb87df', '\x000000015d8e1a988dd01d3052d6e79b2e9e56c078b9160eb5dcc7dd84fa0622c5554c64afec08fe75120962', '\x00000001935a2ec996a14a28fe2194e96481fce7e828927f259aaaf7ad6eee3ffd6c50b6ca9c5263a5038955', NULL, NULL, 'en', NULL);
SELECT pg_catalog.setval('fc_user.parked_events_parked_id_seq', 1, false);
ALTER TABLE ONLY fc_user._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY fc_user.address_books
    ADD CONSTRAINT address_books_pkey PRIMARY KEY (user_id);
ALTER TABLE ONLY fc_user.address_keys
    ADD CONSTRAINT address_keys_pkey PRIMARY KEY (user_id, address_id);
ALTER TABLE ONLY fc_user.addresses
    ADD CONSTRAINT addresses_of_their_book UNIQUE (user_id, address_id);
ALTER TABLE ONLY fc_user.addresses
    ADD CONSTRAINT addresses_pkey PRIMARY KEY (address_id);
ALTER TABLE ONLY fc_user.addresses
    ADD CONSTRAINT addresses_place_once UNIQUE (user_id, place);
ALTER TABLE ONLY fc_user.decoy_sign_ups
    ADD CONSTRAINT decoy_sign_ups_pkey PRIMARY KEY (email_index);
ALTER TABLE ONLY fc_user.letters
    ADD CONSTRAINT letters_pkey PRIMARY KEY (letter_id);
ALTER TABLE ONLY fc_user.order_mails
    ADD CONSTRAINT order_mails_pkey PRIMARY KEY (event_id);
ALTER TABLE ONLY fc_user.parked_events
    ADD CONSTRAINT parked_events_pkey PRIMARY KEY (parked_id);
ALTER TABLE ONLY fc_user.revocations
    ADD CONSTRAINT revocations_pkey PRIMARY KEY (session_id);
ALTER TABLE ONLY fc_user.secrets
    ADD CONSTRAINT secrets_pkey PRIMARY KEY (name);
ALTER TABLE ONLY fc_user.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (session_id);
ALTER TABLE ONLY fc_user.signing_keys
    ADD CONSTRAINT signing_keys_pkey PRIMARY KEY (key_id);
ALTER TABLE ONLY fc_user.signing_keys
    ADD CONSTRAINT signing_keys_rotation_once UNIQUE (rotation);
ALTER TABLE ONLY fc_user.users
    ADD CONSTRAINT users_email_index_once UNIQUE (email_index);
ALTER TABLE ONLY fc_user.users
    ADD CONSTRAINT users_email_once UNIQUE (email);
ALTER TABLE ONLY fc_user.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (user_id);
ALTER TABLE fc_user.users
    ADD CONSTRAINT users_whole_or_erased CHECK (
CASE
    WHEN (state = 'DELETED'::text) THEN (num_nonnulls(email, name, phone, email_sealed, name_sealed, phone_sealed, greeting_sealed, image_url_sealed) = 0)
    ELSE ((num_nonnulls(email, email_sealed) = 1) AND (num_nonnulls(name, name_sealed) = 1))
END) NOT VALID;
CREATE INDEX address_keys_gone ON fc_user.address_keys USING btree (gone_at) WHERE (gone_at IS NOT NULL);
CREATE INDEX decoy_sign_ups_by_age ON fc_user.decoy_sign_ups USING btree (created_at);
CREATE INDEX letters_by_due ON fc_user.letters USING btree (is_awaited, due_at) WHERE (NOT is_taken);
CREATE INDEX letters_by_end ON fc_user.letters USING btree (expires_at) WHERE is_taken;
CREATE INDEX order_mails_by_record ON fc_user.order_mails USING btree (recorded_at);
CREATE UNIQUE INDEX parked_events_once ON fc_user.parked_events USING btree (sha256(event));
CREATE INDEX revocations_by_transaction ON fc_user.revocations USING btree (revoked_in);
CREATE INDEX sessions_by_end ON fc_user.sessions USING btree (LEAST(ended_at, expires_at));
CREATE INDEX sessions_by_user ON fc_user.sessions USING btree (user_id);
CREATE INDEX users_by_use ON fc_user.users USING btree (COALESCE(last_login_at, created_at)) WHERE (state = 'ACTIVE'::text);
CREATE INDEX users_clear ON fc_user.users USING btree (user_id) WHERE (email IS NOT NULL);
CREATE INDEX users_unverified ON fc_user.users USING btree (created_at) WHERE (state = 'INACTIVE'::text);
CREATE TRIGGER sessions_deleted AFTER DELETE ON fc_user.sessions FOR EACH ROW WHEN (((old.ended_at IS NULL) AND (old.expires_at > (clock_timestamp() - '1 day'::interval)))) EXECUTE FUNCTION fc_user.revoke_session();
CREATE TRIGGER sessions_ended AFTER UPDATE OF ended_at ON fc_user.sessions FOR EACH ROW WHEN (((old.ended_at IS NULL) AND (new.ended_at IS NOT NULL))) EXECUTE FUNCTION fc_user.revoke_session();
CREATE TRIGGER sessions_erased BEFORE UPDATE ON fc_user.sessions FOR EACH ROW WHEN ((new.ended_at IS NOT NULL)) EXECUTE FUNCTION fc_user.erase_ended_session();
CREATE TRIGGER sessions_reopened AFTER UPDATE OF ended_at ON fc_user.sessions FOR EACH ROW WHEN (((old.ended_at IS NOT NULL) AND (new.ended_at IS NULL))) EXECUTE FUNCTION fc_user.readmit_session();
ALTER TABLE ONLY fc_user.address_books
    ADD CONSTRAINT address_books_default_is_there FOREIGN KEY (user_id, default_address_id) REFERENCES fc_user.addresses(user_id, address_id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE ONLY fc_user.address_books
    ADD CONSTRAINT address_books_user_id_fkey FOREIGN KEY (user_id) REFERENCES fc_user.users(user_id);
ALTER TABLE ONLY fc_user.address_keys
    ADD CONSTRAINT address_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES fc_user.address_books(user_id) ON DELETE CASCADE;
ALTER TABLE ONLY fc_user.addresses
    ADD CONSTRAINT addresses_user_id_fkey FOREIGN KEY (user_id) REFERENCES fc_user.address_books(user_id) ON DELETE CASCADE;
ALTER TABLE ONLY fc_user.sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES fc_user.users(user_id);

-- role fc_inventory
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE FUNCTION fc_inventory.doubled(words text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
    select regexp_replace(words, '(.)', '\1\1', 'g')
$$;
CREATE FUNCTION fc_inventory.folded(words text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
    select lower(normalize(words, NFKC))
$$;
CREATE FUNCTION fc_inventory.mark_product() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    insert into product_marks (product_id) values (new.product_id);
    return null;
end
$$;
CREATE FUNCTION fc_inventory.part(words text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
    select '%' || regexp_replace(words, '([\\%_])', '\\\1', 'g') || '%'
$$;
CREATE FUNCTION fc_inventory.require_epoch(rows_moved bigint, rows_wanted bigint) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
begin
    if rows_moved <> rows_wanted then
        raise exception 'the epoch is over' using errcode = 'FC001';
    end if;
    return true;
end
$$;
CREATE FUNCTION fc_inventory.this_transaction() RETURNS bigint
    LANGUAGE sql
    AS $$
    select pg_current_xact_id()::text::bigint
$$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE fc_inventory._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);
CREATE TABLE fc_inventory.gate_outbox (
    outbox_id bigint NOT NULL,
    product_id uuid NOT NULL,
    reservation_id uuid NOT NULL,
    seq bigint NOT NULL,
    action text NOT NULL,
    next_try_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT gate_outbox_action_check CHECK ((action = ANY (ARRAY['free'::text, 'forget'::text])))
);
ALTER TABLE fc_inventory.gate_outbox ALTER COLUMN outbox_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME fc_inventory.gate_outbox_outbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE fc_inventory.holds (
    product_id uuid NOT NULL,
    reservation_id uuid NOT NULL,
    buyer_id uuid NOT NULL,
    seq bigint NOT NULL,
    state text NOT NULL,
    fingerprint bytea NOT NULL,
    sku_ids uuid[] NOT NULL,
    quantities integer[] NOT NULL,
    admitted_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    settled_at timestamp with time zone,
    forgotten boolean DEFAULT false NOT NULL,
    is_open boolean GENERATED ALWAYS AS ((state = ANY (ARRAY['held'::text, 'pinned'::text]))) STORED NOT NULL,
    is_sold boolean GENERATED ALWAYS AS ((state = 'settled'::text)) STORED NOT NULL,
    CONSTRAINT holds_lines_check CHECK ((cardinality(sku_ids) = cardinality(quantities))),
    CONSTRAINT holds_state_check CHECK ((state = ANY (ARRAY['held'::text, 'pinned'::text, 'settled'::text, 'released'::text, 'expired'::text, 'cancelled'::text, 'returned'::text])))
)
WITH (fillfactor='80');
CREATE TABLE fc_inventory.likes (
    product_id uuid NOT NULL,
    user_id uuid NOT NULL,
    liked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE fc_inventory.product_marks (
    product_id uuid NOT NULL,
    like_count integer DEFAULT 0 NOT NULL,
    changed_in bigint DEFAULT fc_inventory.this_transaction() NOT NULL,
    CONSTRAINT product_marks_like_count_check CHECK ((like_count >= 0))
)
WITH (fillfactor='80');
CREATE TABLE fc_inventory.products (
    product_id uuid NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    currency text NOT NULL,
    opens_at timestamp with time zone,
    closes_at timestamp with time zone,
    limit_per_buyer integer DEFAULT 0 NOT NULL,
    hold_ttl_ms integer DEFAULT 300000 NOT NULL,
    idempotency_key text NOT NULL,
    fingerprint bytea NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    category text DEFAULT ''::text NOT NULL,
    kind text DEFAULT 'limited'::text NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    name_folded text GENERATED ALWAYS AS (fc_inventory.folded(name)) STORED NOT NULL,
    name_doubled text GENERATED ALWAYS AS (fc_inventory.doubled(fc_inventory.folded(name))) STORED NOT NULL,
    words tsvector GENERATED ALWAYS AS (to_tsvector('simple'::regconfig, fc_inventory.folded(((name || ' '::text) || description)))) STORED NOT NULL,
    CONSTRAINT products_discontinued_check CHECK (((status = 'active'::text) OR (opens_at IS NULL))),
    CONSTRAINT products_hold_ttl_check CHECK (((hold_ttl_ms >= 1000) AND (hold_ttl_ms <= 3600000))),
    CONSTRAINT products_kind_check CHECK ((kind = ANY (ARRAY['general'::text, 'limited'::text]))),
    CONSTRAINT products_limit_check CHECK ((limit_per_buyer >= 0)),
    CONSTRAINT products_status_check CHECK ((status = ANY (ARRAY['active'::text, 'discontinued'::text]))),
    CONSTRAINT products_window_check CHECK ((closes_at > opens_at))
);
CREATE TABLE fc_inventory.skus (
    sku_id uuid NOT NULL,
    product_id uuid NOT NULL,
    "position" integer NOT NULL,
    label text NOT NULL,
    price_minor bigint NOT NULL,
    color text DEFAULT ''::text NOT NULL,
    size text DEFAULT ''::text NOT NULL,
    CONSTRAINT skus_price_check CHECK ((price_minor >= 0))
);
CREATE TABLE fc_inventory.stock (
    sku_id uuid NOT NULL,
    product_id uuid NOT NULL,
    total integer NOT NULL,
    held integer DEFAULT 0 NOT NULL,
    settled integer DEFAULT 0 NOT NULL,
    epoch bigint DEFAULT 0 NOT NULL,
    touched_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT stock_counters_check CHECK (((held >= 0) AND (settled >= 0))),
    CONSTRAINT stock_no_oversell CHECK (((held + settled) <= total))
)
WITH (fillfactor='50');
CREATE TABLE fc_inventory.stock_changes (
    change_id bigint NOT NULL,
    sku_id uuid NOT NULL,
    total_from integer NOT NULL,
    total_to integer NOT NULL,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
ALTER TABLE fc_inventory.stock_changes ALTER COLUMN change_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME fc_inventory.stock_changes_change_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
INSERT INTO fc_inventory._sqlx_migrations VALUES (1, 'stock and holds', '2026-11-22 05:06:55.900696+00', true, '\x65dd604b95dd42df2212bbb0426d4128449e58dfdc817ddf7752e951eb2371bd586c7c58cc65f1a2152e8103a1ca57e0', 60562605);
INSERT INTO fc_inventory._sqlx_migrations VALUES (2, 'one statement admissions', '2026-11-22 05:06:55.96329+00', true, '\xb9f7f3155122d6bf96ab849639454b900c30cbf5917c0a5a1a7121f837f3c50a9a883a47905bbdeda280d1641ab6f8cd', 11236526);
INSERT INTO fc_inventory._sqlx_migrations VALUES (3, 'hot rows', '2026-11-22 05:06:55.974964+00', true, '\x1fd48a9bc793066da7a1d3f62207685c03eec0ab7882fc2b150a732a2c543c7741cd9f70138b8f432de0809c63be8306', 25860831);
INSERT INTO fc_inventory._sqlx_migrations VALUES (4, 'catalogue', '2026-11-22 05:06:56.00147+00', true, '\x2d379acf22dc062a22f9510487171cfbd19ca4555a498926b34ee641e4f65954dc0e1b34298bf53ad536875134f6bf77', 40546328);
INSERT INTO fc_inventory.holds VALUES ('01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', 'f6decaab-acfe-5c03-8612-ddc835247d1b', '6b456bad-7ed4-5a75-bd44-9d9cd4b706d3', 1, 'settled', '\x10b13a6b2ba0a4e75a110a3f1267487d', '{01a201a6-85f2-767e-ba7f-7529a7dad193}', '{1}', '2026-11-22 05:07:00.600333+00', '2026-11-22 05:37:00.600331+00', '2026-11-22 05:07:01.348488+00', false, DEFAULT, DEFAULT);
INSERT INTO fc_inventory.holds VALUES ('01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', '007fe382-5623-54fd-a7fe-9cfa505f1686', '31736ffb-93df-512d-9514-ac2df3c5aa31', 2, 'settled', '\x10b13a6b2ba0a4e75a110a3f1267487d', '{01a201a6-85f2-767e-ba7f-7529a7dad193}', '{1}', '2026-11-22 05:07:09.903633+00', '2026-11-22 05:37:09.903631+00', '2026-11-22 05:07:10.173193+00', false, DEFAULT, DEFAULT);
INSERT INTO fc_inventory.holds VALUES ('01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', 'b08bb763-983c-52d6-b513-0a897921dfcf', '6a63fa21-9531-5c50-9a8e-4e75481f0560', 3, 'released', '\x10b13a6b2ba0a4e75a110a3f1267487d', '{01a201a6-85f2-767e-ba7f-7529a7dad193}', '{1}', '2026-11-22 05:07:10.506293+00', '2026-11-22 05:37:10.506292+00', NULL, false, DEFAULT, DEFAULT);
INSERT INTO fc_inventory.holds VALUES ('01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', 'fff2c295-9704-5ce8-878b-5a6b2286d726', 'a0e65584-13f9-5d7d-a2a4-f2c4a63ff481', 4, 'cancelled', '\x10b13a6b2ba0a4e75a110a3f1267487d', '{01a201a6-85f2-767e-ba7f-7529a7dad193}', '{1}', '2026-11-22 05:07:11.031414+00', '2026-11-22 05:37:11.031413+00', NULL, false, DEFAULT, DEFAULT);
INSERT INTO fc_inventory.holds VALUES ('01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', '629ccaeb-2554-5f11-ab2b-41ecbb6dec36', 'a6942b2f-8ed4-5c99-be15-2411a760fabc', 5, 'held', '\x10b13a6b2ba0a4e75a110a3f1267487d', '{01a201a6-85f2-767e-ba7f-7529a7dad193}', '{1}', '2026-11-22 05:07:11.135189+00', '2026-11-22 05:37:11.135188+00', NULL, false, DEFAULT, DEFAULT);
INSERT INTO fc_inventory.holds VALUES ('01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', '95e8eb8f-bdf6-56a3-b091-2c1c04f46cdf', '43c2f4f6-79bb-5e97-813b-8e632ecf2449', 8, 'settled', '\x10b13a6b2ba0a4e75a110a3f1267487d', '{01a201a6-85f2-767e-ba7f-7529a7dad193}', '{1}', '2026-11-22 05:07:18.523891+00', '2026-11-22 05:37:18.523889+00', '2026-11-22 05:07:18.543319+00', false, DEFAULT, DEFAULT);
INSERT INTO fc_inventory.holds VALUES ('01a201a6-86a0-771e-a93d-a9dc5d7930aa', 'd92aa2a2-84ac-52a4-9ce0-e00978ff714f', '0270e532-624f-5430-b72a-a1b5a35bf907', 1, 'held', '\xc00994eaafed36119d83677455a6ed7f', '{01a201a6-86b1-7752-a811-be2f94744bef}', '{1}', '2026-11-22 05:07:18.665686+00', '2026-11-22 05:07:38.665683+00', NULL, false, DEFAULT, DEFAULT);
INSERT INTO fc_inventory.holds VALUES ('01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', '65ef4a36-9da7-542d-ba0a-2bd9e87ff3bc', '5825d2d0-0637-56f9-a8b9-310656732dc4', 6, 'settled', '\x10b13a6b2ba0a4e75a110a3f1267487d', '{01a201a6-85f2-767e-ba7f-7529a7dad193}', '{1}', '2026-11-22 05:07:11.153445+00', '2026-11-22 05:37:11.153444+00', '2026-11-22 05:07:18.72275+00', false, DEFAULT, DEFAULT);
INSERT INTO fc_inventory.holds VALUES ('01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', '8d71234a-e207-5ecc-afa1-4dd8143576f4', 'c633cd50-e377-5611-a290-12f7d1beb3b8', 7, 'pinned', '\x10b13a6b2ba0a4e75a110a3f1267487d', '{01a201a6-85f2-767e-ba7f-7529a7dad193}', '{1}', '2026-11-22 05:07:11.168309+00', '2026-11-22 05:37:11.168307+00', NULL, false, DEFAULT, DEFAULT);
INSERT INTO fc_inventory.product_marks VALUES ('01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', 0, 791);
INSERT INTO fc_inventory.product_marks VALUES ('01a201a6-86a0-771e-a93d-a9dc5d7930aa', 0, 793);
INSERT INTO fc_inventory.products VALUES ('01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', 'Runner 24203046-5d3e-49b8-9f77-4d06c57d7a19', 'a limited pair', 'KRW', '2026-11-22 05:06:59.352829+00', NULL, 0, 1800000, 'b90a4b68-d766-440f-b45f-e05b38c1c59c', '\x37ad8702fa555f049b946701a22609c3', '2026-11-22 05:07:00.197712+00', '', 'limited', 'active', DEFAULT, DEFAULT, DEFAULT);
INSERT INTO fc_inventory.products VALUES ('01a201a6-86a0-771e-a93d-a9dc5d7930aa', 'Runner 116ced60-c646-4a40-9a4d-0e3196c0257f', 'a limited pair', 'KRW', '2026-11-22 05:06:59.419477+00', NULL, 0, 20000, '05a1bbe4-8565-433a-96e2-6529fa281763', '\xcb064707eb4e5769a4a7d5a93fbd462c', '2026-11-22 05:07:00.399164+00', '', 'limited', 'active', DEFAULT, DEFAULT, DEFAULT);
INSERT INTO fc_inventory.skus VALUES ('01a201a6-85f2-767e-ba7f-7529a7dad193', '01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', 0, '250 mm', 129000, '', '');
INSERT INTO fc_inventory.skus VALUES ('01a201a6-86b1-7752-a811-be2f94744bef', '01a201a6-86a0-771e-a93d-a9dc5d7930aa', 0, '250 mm', 129000, '', '');
INSERT INTO fc_inventory.stock VALUES ('01a201a6-86b1-7752-a811-be2f94744bef', '01a201a6-86a0-771e-a93d-a9dc5d7930aa', 5, 1, 0, 1, '2026-11-22 05:07:18.665837+00');
INSERT INTO fc_inventory.stock VALUES ('01a201a6-85f2-767e-ba7f-7529a7dad193', '01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', 50, 2, 4, 1, '2026-11-22 05:07:18.722834+00');
SELECT pg_catalog.setval('fc_inventory.gate_outbox_outbox_id_seq', 2, true);
SELECT pg_catalog.setval('fc_inventory.stock_changes_change_id_seq', 1, false);
ALTER TABLE ONLY fc_inventory._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY fc_inventory.gate_outbox
    ADD CONSTRAINT gate_outbox_pkey PRIMARY KEY (outbox_id);
ALTER TABLE ONLY fc_inventory.holds
    ADD CONSTRAINT holds_pkey PRIMARY KEY (product_id, reservation_id);
ALTER TABLE ONLY fc_inventory.holds
    ADD CONSTRAINT holds_seq_key UNIQUE (product_id, seq);
ALTER TABLE ONLY fc_inventory.likes
    ADD CONSTRAINT likes_pkey PRIMARY KEY (product_id, user_id);
ALTER TABLE ONLY fc_inventory.product_marks
    ADD CONSTRAINT product_marks_pkey PRIMARY KEY (product_id);
ALTER TABLE ONLY fc_inventory.products
    ADD CONSTRAINT products_idempotency_key UNIQUE (idempotency_key);
ALTER TABLE ONLY fc_inventory.products
    ADD CONSTRAINT products_name_key UNIQUE (name);
ALTER TABLE ONLY fc_inventory.products
    ADD CONSTRAINT products_pkey PRIMARY KEY (product_id);
ALTER TABLE ONLY fc_inventory.skus
    ADD CONSTRAINT skus_label_key UNIQUE (product_id, label) DEFERRABLE;
ALTER TABLE ONLY fc_inventory.skus
    ADD CONSTRAINT skus_pkey PRIMARY KEY (sku_id);
ALTER TABLE ONLY fc_inventory.stock_changes
    ADD CONSTRAINT stock_changes_pkey PRIMARY KEY (change_id);
ALTER TABLE ONLY fc_inventory.stock
    ADD CONSTRAINT stock_pkey PRIMARY KEY (sku_id);
CREATE INDEX gate_outbox_due ON fc_inventory.gate_outbox USING btree (next_try_at);
CREATE INDEX holds_overdue ON fc_inventory.holds USING btree (expires_at) WHERE is_open;
CREATE INDEX holds_to_forget ON fc_inventory.holds USING btree (settled_at) WHERE (is_sold AND (NOT forgotten));
CREATE INDEX product_marks_by_change ON fc_inventory.product_marks USING btree (changed_in);
CREATE INDEX products_by_name_part ON fc_inventory.products USING gin (name_doubled public.gin_trgm_ops);
CREATE INDEX products_by_word ON fc_inventory.products USING gin (words);
CREATE INDEX products_of_category ON fc_inventory.products USING btree (category, created_at DESC, product_id DESC) WHERE (status = 'active'::text);
CREATE INDEX products_on_sale ON fc_inventory.products USING btree (created_at DESC, product_id DESC) WHERE (status = 'active'::text);
CREATE INDEX stock_by_product ON fc_inventory.stock USING btree (product_id);
CREATE TRIGGER products_marked AFTER INSERT ON fc_inventory.products FOR EACH ROW EXECUTE FUNCTION fc_inventory.mark_product();
ALTER TABLE ONLY fc_inventory.likes
    ADD CONSTRAINT likes_product_id_fkey FOREIGN KEY (product_id) REFERENCES fc_inventory.product_marks(product_id);
ALTER TABLE ONLY fc_inventory.product_marks
    ADD CONSTRAINT product_marks_product_id_fkey FOREIGN KEY (product_id) REFERENCES fc_inventory.products(product_id);
ALTER TABLE ONLY fc_inventory.skus
    ADD CONSTRAINT skus_product_id_fkey FOREIGN KEY (product_id) REFERENCES fc_inventory.products(product_id);
ALTER TABLE ONLY fc_inventory.stock_changes
    ADD CONSTRAINT stock_changes_sku_id_fkey FOREIGN KEY (sku_id) REFERENCES fc_inventory.skus(sku_id);
ALTER TABLE ONLY fc_inventory.stock
    ADD CONSTRAINT stock_product_id_fkey FOREIGN KEY (product_id) REFERENCES fc_inventory.products(product_id);
ALTER TABLE ONLY fc_inventory.stock
    ADD CONSTRAINT stock_sku_id_fkey FOREIGN KEY (sku_id) REFERENCES fc_inventory.skus(sku_id);

-- role fc_order
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE fc_order._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);
CREATE TABLE fc_order.basket_keys (
    user_id uuid NOT NULL,
    basket text NOT NULL,
    idempotency_key text NOT NULL,
    sku_id uuid NOT NULL,
    quantity integer NOT NULL,
    used_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE fc_order.basket_lines (
    user_id uuid NOT NULL,
    basket text NOT NULL,
    sku_id uuid NOT NULL,
    product_id uuid NOT NULL,
    quantity integer NOT NULL,
    added_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT basket_lines_basket_known CHECK ((basket = ANY (ARRAY['cart'::text, 'wishlist'::text]))),
    CONSTRAINT basket_lines_quantity CHECK (((quantity >= 1) AND (quantity <= 1000)))
);
CREATE TABLE fc_order.orders (
    order_id uuid NOT NULL,
    user_id uuid NOT NULL,
    state text NOT NULL,
    fingerprint bytea NOT NULL,
    product_id uuid NOT NULL,
    sku_ids uuid[] NOT NULL,
    quantities integer[] NOT NULL,
    unit_prices_minor bigint[] NOT NULL,
    currency text NOT NULL,
    total_minor bigint NOT NULL,
    sequence bigint NOT NULL,
    pay_by timestamp with time zone NOT NULL,
    step text,
    next_step_at timestamp with time zone,
    failure text,
    payment_method text,
    address jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    paying boolean GENERATED ALWAYS AS (((state = 'pending_payment'::text) AND (step <> ALL (ARRAY['expire'::text, 'cancel'::text])))) STORED NOT NULL,
    attempt bigint,
    line_product_ids uuid[],
    line_sequences bigint[],
    address_sealed bytea,
    CONSTRAINT orders_attempt_whole CHECK ((((attempt IS NULL) = (line_product_ids IS NULL)) AND ((attempt IS NULL) = (line_sequences IS NULL)) AND ((attempt IS NULL) OR ((cardinality(line_product_ids) = cardinality(sku_ids)) AND (cardinality(line_sequences) = cardinality(sku_ids)))))),
    CONSTRAINT orders_currency_code CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT orders_failure_known CHECK ((failure = ANY (ARRAY['card_declined'::text, 'insufficient_funds'::text, 'no_answer'::text, 'out_of_stock'::text, 'not_captured'::text]))),
    CONSTRAINT orders_failure_when_failed CHECK (((state <> 'payment_failed'::text) OR (failure IS NOT NULL))),
    CONSTRAINT orders_fingerprint_16_bytes CHECK ((octet_length(fingerprint) = 16)),
    CONSTRAINT orders_lines_match CHECK ((((cardinality(sku_ids) >= 1) AND (cardinality(sku_ids) <= 50)) AND (cardinality(quantities) = cardinality(sku_ids)) AND (cardinality(unit_prices_minor) = cardinality(sku_ids)))),
    CONSTRAINT orders_sequence_counts_from_one CHECK ((sequence >= 1)),
    CONSTRAINT orders_state_known CHECK ((state = ANY (ARRAY['pending_payment'::text, 'preparing'::text, 'shipping'::text, 'delivered'::text, 'confirmed'::text, 'return_requested'::text, 'returned'::text, 'expired'::text, 'payment_failed'::text, 'cancelled'::text]))),
    CONSTRAINT orders_step_has_a_time CHECK (((step IS NULL) = (next_step_at IS NULL))),
    CONSTRAINT orders_step_known CHECK ((step = ANY (ARRAY['expire'::text, 'cancel'::text, 'pin'::text, 'authorize'::text, 'settle'::text, 'capture'::text, 'restock'::text, 'void'::text, 'refund'::text, 'release'::text, 'ship'::text, 'deliver'::text, 'confirm'::text, 'take_back'::text, 'pay_back'::text]))),
    CONSTRAINT orders_step_until_the_end CHECK (((step IS NULL) = (state = ANY (ARRAY['confirmed'::text, 'returned'::text, 'expired'::text, 'payment_failed'::text, 'cancelled'::text])))),
    CONSTRAINT orders_total_not_negative CHECK ((total_minor >= 0))
)
WITH (fillfactor='75');
CREATE TABLE fc_order.outbox (
    outbox_id bigint NOT NULL,
    event_id uuid DEFAULT gen_random_uuid() NOT NULL,
    order_id uuid NOT NULL,
    user_id uuid NOT NULL,
    from_state text NOT NULL,
    state text NOT NULL,
    total_minor bigint NOT NULL,
    currency text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    published_at timestamp with time zone,
    shard smallint GENERATED ALWAYS AS (((get_byte(uuid_send(order_id), 15) % 4))::smallint) STORED NOT NULL,
    CONSTRAINT outbox_currency_code CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT outbox_states_known CHECK ((ARRAY[from_state, state] <@ ARRAY['pending_payment'::text, 'preparing'::text, 'expired'::text, 'payment_failed'::text, 'cancelled'::text, 'shipping'::text, 'delivered'::text, 'confirmed'::text, 'return_requested'::text, 'returned'::text])),
    CONSTRAINT outbox_total_not_negative CHECK ((total_minor >= 0))
);
ALTER TABLE fc_order.outbox ALTER COLUMN outbox_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME fc_order.outbox_outbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE fc_order.outbox_shards (
    shard smallint NOT NULL,
    lease_id uuid DEFAULT gen_random_uuid() NOT NULL,
    leased_until timestamp with time zone DEFAULT now() NOT NULL,
    tail text,
    moved_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE SEQUENCE fc_order.placement_attempts
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
CREATE TABLE fc_order.placements (
    order_id uuid NOT NULL,
    user_id uuid NOT NULL,
    fingerprint bytea NOT NULL,
    attempt bigint DEFAULT nextval('fc_order.placement_attempts'::regclass) NOT NULL,
    unfreed bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    basket text,
    product_ids uuid[] NOT NULL,
    sku_ids uuid[] NOT NULL,
    quantities integer[] NOT NULL,
    next_try_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT placements_fingerprint_16_bytes CHECK ((octet_length(fingerprint) = 16)),
    CONSTRAINT placements_lines_match CHECK ((((cardinality(sku_ids) >= 1) AND (cardinality(sku_ids) <= 50)) AND (cardinality(product_ids) = cardinality(sku_ids)) AND (cardinality(quantities) = cardinality(sku_ids))))
);
INSERT INTO fc_order._sqlx_migrations VALUES (1, 'orders', '2026-11-22 05:06:56.39931+00', true, '\x3e754702600d6c64e46c5a4a5abc85f0d3d818e14d559d4f84f93531699a6f8a67df2348fe46900ae51687d98e3cf652', 55625891);
INSERT INTO fc_order._sqlx_migrations VALUES (2, 'saga steps in place', '2026-11-22 05:06:56.461564+00', true, '\x22035157a1a704b13daa4a3a70c3dd62183576fea77c75bdd69ed19c218b030730ac09a7e9f6f380c9859bfa26e45a5b', 29138887);
INSERT INTO fc_order._sqlx_migrations VALUES (3, 'outbox', '2026-11-22 05:06:56.495378+00', true, '\xc204fb9e0f7b4fac704442939fbeeaa42e40bf7f10af65d806f928eaa8ab5ae0965c51dfd1ca7a8998184bb3548da6b7', 28496182);
INSERT INTO fc_order._sqlx_migrations VALUES (4, 'life', '2026-11-22 05:06:56.523386+00', true, '\x0c30c333ecd163c7af6132669953f61f4b58d5f30fcde50de0633637f7fa1a8a3f4bc97636dc1357c356e0ccc55e5b91', 43546766);
INSERT INTO fc_order._sqlx_migrations VALUES (5, 'baskets', '2026-11-22 05:06:56.586516+00', true, '\x4579f27e81454242afa81fa3a3cfdf773784e99ec768ab1f9cc9955608dfcb1093079ee594104feb2d2cbdffe44a1e0d', 29479665);
INSERT INTO fc_order._sqlx_migrations VALUES (6, 'attempts', '2026-11-22 05:06:56.616262+00', true, '\x4aa97015ef87e71cb0424fef01014a69124925562442c867ea96978340b1ae61c86f132e6382eda66f1880aa98810eaf', 20484103);
INSERT INTO fc_order._sqlx_migrations VALUES (7, 'sealed addresses', '2026-11-22 05:06:56.640588+00', true, '\xd1d4e7cce9ea5e55f7b1c6cb9b54da2ba8c718301a5aad3a953fce056ed6c8e702c7ad3c1adb03cb4f57a1da6fd15898', 1510978);
INSERT INTO fc_order.orders VALUES ('f6decaab-acfe-5c03-8612-ddc835247d1b', '6b456bad-7ed4-5a75-bd44-9d9cd4b706d3', 'delivered', '\x10b13a6b2ba0a4e75a110a3f1267487d', '01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', '{01a201a6-85f2-767e-ba7f-7529a7dad193}', '{1}', '{129000}', 'KRW', 129000, 1, '2026-11-22 05:37:00.600331+00', 'confirm', '2026-11-22 05:07:41.892503+00', NULL, 'pm_card_approve', NULL, '2026-11-22 05:07:00.668506+00', '2026-11-22 05:07:17.892503+00', DEFAULT, NULL, NULL, NULL, '\x000000010abe6fb9c30795f89d85b911b63670606cdf597192dbb99500736961ffc510ce4849009f1c388186b389e79179723cf64edd19c182016ba1611c5ff71c2b34e4f547a2dcfcf767b943c1bc60d2de99e2a6093bde777b0668');
INSERT INTO fc_order.orders VALUES ('007fe382-5623-54fd-a7fe-9cfa505f1686', '31736ffb-93df-512d-9514-ac2df3c5aa31', 'shipping', '\x10b13a6b2ba0a4e75a110a3f1267487d', '01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', '{01a201a6-85f2-767e-ba7f-7529a7dad193}', '{1}', '{129000}', 'KRW', 129000, 2, '2026-11-22 05:37:09.903631+00', 'deliver', '2026-11-22 05:07:26.50385+00', NULL, 'pm_card_approve', NULL, '2026-11-22 05:07:09.906383+00', '2026-11-22 05:07:18.50385+00', DEFAULT, NULL, NULL, NULL, '\x00000001a81c1b5a35b25326d061e9de79c2280da5aaa775a1caebdce4398ed69b328c135a880811b2767428a66376c331f31640ef39e4df6cdad69f5e1ce1862bbf4ed811f8e896c333c3f0ea602c6462ab2407fef95ad2305ca654');
INSERT INTO fc_order.orders VALUES ('b08bb763-983c-52d6-b513-0a897921dfcf', '6a63fa21-9531-5c50-9a8e-4e75481f0560', 'payment_failed', '\x10b13a6b2ba0a4e75a110a3f1267487d', '01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', '{01a201a6-85f2-767e-ba7f-7529a7dad193}', '{1}', '{129000}', 'KRW', 129000, 3, '2026-11-22 05:37:10.506292+00', NULL, NULL, 'card_declined', 'pm_card_decline', NULL, '2026-11-22 05:07:10.562966+00', '2026-11-22 05:07:10.905602+00', DEFAULT, NULL, NULL, NULL, '\x0000000188d8b0ba466f3689f0291145b3853a2863b116eb33fda4d1ff4a07d50da1b0524d65a5108b070240fd62f5f798955853773cbf2bd724b9f1fbf53d1ade428da9963497e6201791e2a0162be2a2716dc70566cacb8cd106a2');
INSERT INTO fc_order.orders VALUES ('fff2c295-9704-5ce8-878b-5a6b2286d726', 'a0e65584-13f9-5d7d-a2a4-f2c4a63ff481', 'cancelled', '\x10b13a6b2ba0a4e75a110a3f1267487d', '01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', '{01a201a6-85f2-767e-ba7f-7529a7dad193}', '{1}', '{129000}', 'KRW', 129000, 4, '2026-11-22 05:37:11.031413+00', NULL, NULL, NULL, NULL, NULL, '2026-11-22 05:07:11.09362+00', '2026-11-22 05:07:11.122305+00', DEFAULT, NULL, NULL, NULL, NULL);
INSERT INTO fc_order.orders VALUES ('629ccaeb-2554-5f11-ab2b-41ecbb6dec36', 'a6942b2f-8ed4-5c99-be15-2411a760fabc', 'pending_payment', '\x10b13a6b2ba0a4e75a110a3f1267487d', '01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', '{01a201a6-85f2-767e-ba7f-7529a7dad193}', '{1}', '{129000}', 'KRW', 129000, 5, '2026-11-22 05:37:11.135188+00', 'expire', '2026-11-22 05:37:11.135188+00', NULL, NULL, NULL, '2026-11-22 05:07:11.140684+00', '2026-11-22 05:07:11.140684+00', DEFAULT, NULL, NULL, NULL, NULL);
INSERT INTO fc_order.orders VALUES ('95e8eb8f-bdf6-56a3-b091-2c1c04f46cdf', '43c2f4f6-79bb-5e97-813b-8e632ecf2449', 'preparing', '\x10b13a6b2ba0a4e75a110a3f1267487d', '01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', '{01a201a6-85f2-767e-ba7f-7529a7dad193}', '{1}', '{129000}', 'KRW', 129000, 8, '2026-11-22 05:37:18.523889+00', 'ship', '2026-11-22 05:07:26.559517+00', NULL, 'pm_card_approve', NULL, '2026-11-22 05:07:18.526567+00', '2026-11-22 05:07:18.559517+00', DEFAULT, NULL, NULL, NULL, '\x00000001ef3c1581db0ab1b299194c2274e2a679b1f4978e12cced079989b14621b2bad306094a6f2271397dc5333e3658dc21e3b194466a89e01f72bbb0a2723094a1d078b2175b6b994da9094bcd0239cba45993fc6bb8d933d50a');
INSERT INTO fc_order.orders VALUES ('d92aa2a2-84ac-52a4-9ce0-e00978ff714f', '0270e532-624f-5430-b72a-a1b5a35bf907', 'pending_payment', '\xc00994eaafed36119d83677455a6ed7f', '01a201a6-86a0-771e-a93d-a9dc5d7930aa', '{01a201a6-86b1-7752-a811-be2f94744bef}', '{1}', '{129000}', 'KRW', 129000, 1, '2026-11-22 05:07:38.665683+00', 'expire', '2026-11-22 05:07:38.665683+00', NULL, NULL, NULL, '2026-11-22 05:07:18.671193+00', '2026-11-22 05:07:18.671193+00', DEFAULT, NULL, NULL, NULL, NULL);
INSERT INTO fc_order.orders VALUES ('65ef4a36-9da7-542d-ba0a-2bd9e87ff3bc', '5825d2d0-0637-56f9-a8b9-310656732dc4', 'preparing', '\x10b13a6b2ba0a4e75a110a3f1267487d', '01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', '{01a201a6-85f2-767e-ba7f-7529a7dad193}', '{1}', '{129000}', 'KRW', 129000, 6, '2026-11-22 05:37:11.153444+00', 'ship', '2026-11-22 05:07:26.766247+00', NULL, 'pm_card_approve', NULL, '2026-11-22 05:07:11.156575+00', '2026-11-22 05:07:18.766247+00', DEFAULT, NULL, NULL, NULL, '\x000000013b39b1a6a4a7630f6e6f3c217fa1be11ff55b804a34238fd5ac020a230525fae5befdae4ee5d5ff785449213287589e194115ed553ecfc7d03508ba7ac8a6fffa0b441b096a5d2c84cfad5a78f6bc6f3f442fb07969dca6e');
INSERT INTO fc_order.orders VALUES ('8d71234a-e207-5ecc-afa1-4dd8143576f4', 'c633cd50-e377-5611-a290-12f7d1beb3b8', 'pending_payment', '\x10b13a6b2ba0a4e75a110a3f1267487d', '01a201a6-85da-73ab-bd1c-3d7c4d7b10c3', '{01a201a6-85f2-767e-ba7f-7529a7dad193}', '{1}', '{129000}', 'KRW', 129000, 7, '2026-11-22 05:37:11.168307+00', 'pin', '2026-11-22 05:07:28.816023+00', NULL, 'pm_card_approve', NULL, '2026-11-22 05:07:11.179459+00', '2026-11-22 05:07:11.179459+00', DEFAULT, NULL, NULL, NULL, '\x0000000144e90bf599cc2e445946d36959b19575c17e10c8335257626410287e032f8150c4f46874e48274e30bba4a2e824552f16104bec10d7a1bdba6650bdcfd92953bf9744cf8a2f98b34822ec708c5e02301077dd0414c68d974');
INSERT INTO fc_order.outbox OVERRIDING SYSTEM VALUE VALUES (1, '25009a76-fb2d-45a5-b097-a9cbb2c78bb5', 'f6decaab-acfe-5c03-8612-ddc835247d1b', '6b456bad-7ed4-5a75-bd44-9d9cd4b706d3', 'pending_payment', 'preparing', 129000, 'KRW', '2026-11-22 05:07:01.5097+00', '2026-11-22 05:07:01.811402+00', DEFAULT);
INSERT INTO fc_order.outbox OVERRIDING SYSTEM VALUE VALUES (2, '62cb3fd4-ead6-4a5f-86d6-419c924b717d', 'f6decaab-acfe-5c03-8612-ddc835247d1b', '6b456bad-7ed4-5a75-bd44-9d9cd4b706d3', 'preparing', 'shipping', 129000, 'KRW', '2026-11-22 05:07:09.821552+00', '2026-11-22 05:07:09.910927+00', DEFAULT);
INSERT INTO fc_order.outbox OVERRIDING SYSTEM VALUE VALUES (3, '6b8a31e1-b13d-454a-8d97-2a1a8a2f85cf', '007fe382-5623-54fd-a7fe-9cfa505f1686', '31736ffb-93df-512d-9514-ac2df3c5aa31', 'pending_payment', 'preparing', 129000, 'KRW', '2026-11-22 05:07:10.313069+00', '2026-11-22 05:07:10.463772+00', DEFAULT);
INSERT INTO fc_order.outbox OVERRIDING SYSTEM VALUE VALUES (4, 'c75b3e75-01fe-4021-8b85-f0edd2356699', 'b08bb763-983c-52d6-b513-0a897921dfcf', '6a63fa21-9531-5c50-9a8e-4e75481f0560', 'pending_payment', 'payment_failed', 129000, 'KRW', '2026-11-22 05:07:10.905602+00', '2026-11-22 05:07:10.968112+00', DEFAULT);
INSERT INTO fc_order.outbox OVERRIDING SYSTEM VALUE VALUES (5, 'a0628545-b183-4e8b-9afd-85a68d94eee5', 'fff2c295-9704-5ce8-878b-5a6b2286d726', 'a0e65584-13f9-5d7d-a2a4-f2c4a63ff481', 'pending_payment', 'cancelled', 129000, 'KRW', '2026-11-22 05:07:11.122305+00', '2026-11-22 05:07:11.135834+00', DEFAULT);
INSERT INTO fc_order.outbox OVERRIDING SYSTEM VALUE VALUES (6, '9eee5a57-0aa0-480a-a512-576a2cbaf92b', 'f6decaab-acfe-5c03-8612-ddc835247d1b', '6b456bad-7ed4-5a75-bd44-9d9cd4b706d3', 'shipping', 'delivered', 129000, 'KRW', '2026-11-22 05:07:17.892503+00', '2026-11-22 05:07:17.936919+00', DEFAULT);
INSERT INTO fc_order.outbox OVERRIDING SYSTEM VALUE VALUES (7, '341c3a7a-6326-47fe-8649-b2ccba01acaa', '007fe382-5623-54fd-a7fe-9cfa505f1686', '31736ffb-93df-512d-9514-ac2df3c5aa31', 'preparing', 'shipping', 129000, 'KRW', '2026-11-22 05:07:18.50385+00', '2026-11-22 05:07:18.525433+00', DEFAULT);
INSERT INTO fc_order.outbox OVERRIDING SYSTEM VALUE VALUES (8, '50968b0c-cd00-4616-b3e2-2b7e2e184749', '95e8eb8f-bdf6-56a3-b091-2c1c04f46cdf', '43c2f4f6-79bb-5e97-813b-8e632ecf2449', 'pending_payment', 'preparing', 129000, 'KRW', '2026-11-22 05:07:18.559517+00', NULL, DEFAULT);
INSERT INTO fc_order.outbox OVERRIDING SYSTEM VALUE VALUES (9, 'd1415a2f-48df-4db7-9809-75504e04d02b', '65ef4a36-9da7-542d-ba0a-2bd9e87ff3bc', '5825d2d0-0637-56f9-a8b9-310656732dc4', 'pending_payment', 'preparing', 129000, 'KRW', '2026-11-22 05:07:18.766247+00', NULL, DEFAULT);
INSERT INTO fc_order.outbox_shards VALUES (0, '03ee1b05-6b54-4d80-9e67-2b75548b4727', '2026-11-22 05:06:56.495378+00', NULL, '2026-11-22 05:06:56.495378+00');
INSERT INTO fc_order.outbox_shards VALUES (1, 'b8c85683-0f73-41ad-b17b-7a5ad610ac81', '2026-11-22 05:06:56.495378+00', NULL, '2026-11-22 05:06:56.495378+00');
INSERT INTO fc_order.outbox_shards VALUES (3, '95904028-f9b0-42ac-a69b-c24539799dc8', '2026-11-22 05:07:17.936919+00', '1795324037914-0', '2026-11-22 05:07:17.936919+00');
INSERT INTO fc_order.outbox_shards VALUES (2, '1d4c7648-31b3-4465-bf48-5e5e0c67df65', '2026-11-22 05:07:18.525433+00', '1795324038523-0', '2026-11-22 05:07:18.525433+00');
SELECT pg_catalog.setval('fc_order.outbox_outbox_id_seq', 9, true);
SELECT pg_catalog.setval('fc_order.placement_attempts', 1, false);
ALTER TABLE ONLY fc_order._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY fc_order.basket_keys
    ADD CONSTRAINT basket_keys_pkey PRIMARY KEY (user_id, basket, idempotency_key);
ALTER TABLE ONLY fc_order.basket_lines
    ADD CONSTRAINT basket_lines_pkey PRIMARY KEY (user_id, basket, sku_id);
ALTER TABLE fc_order.orders
    ADD CONSTRAINT orders_paid_with_address CHECK (((state <> ALL (ARRAY['preparing'::text, 'shipping'::text, 'delivered'::text, 'confirmed'::text, 'return_requested'::text, 'returned'::text])) OR ((payment_method IS NOT NULL) AND ((address IS NOT NULL) OR (address_sealed IS NOT NULL))))) NOT VALID;
ALTER TABLE ONLY fc_order.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (order_id);
ALTER TABLE ONLY fc_order.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (outbox_id);
ALTER TABLE ONLY fc_order.outbox_shards
    ADD CONSTRAINT outbox_shards_pkey PRIMARY KEY (shard);
ALTER TABLE ONLY fc_order.placements
    ADD CONSTRAINT placements_pkey PRIMARY KEY (order_id);
CREATE INDEX basket_keys_by_use ON fc_order.basket_keys USING btree (used_at);
CREATE INDEX orders_by_creation ON fc_order.orders USING btree (created_at DESC, order_id DESC);
CREATE INDEX orders_due ON fc_order.orders USING btree (next_step_at) WHERE (next_step_at IS NOT NULL);
CREATE INDEX orders_of_user ON fc_order.orders USING btree (user_id, created_at DESC, order_id DESC);
CREATE UNIQUE INDEX orders_one_payment_per_user ON fc_order.orders USING btree (user_id) WHERE paying;
CREATE INDEX outbox_unpublished ON fc_order.outbox USING btree (shard, outbox_id) WHERE (published_at IS NULL);
CREATE INDEX placements_due ON fc_order.placements USING btree (next_try_at);

-- role fc_payment
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE fc_payment._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);
CREATE TABLE fc_payment.payments (
    payment_id uuid NOT NULL,
    user_id uuid NOT NULL,
    amount_minor bigint,
    currency text,
    payment_method text,
    state text NOT NULL,
    decline_code text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    provider_reference text,
    CONSTRAINT payments_amount_not_negative CHECK ((amount_minor >= 0)),
    CONSTRAINT payments_declined_has_code CHECK (((state = 'DECLINED'::text) = (decline_code IS NOT NULL))),
    CONSTRAINT payments_state_known CHECK ((state = ANY (ARRAY['AUTHORIZING'::text, 'AUTHORIZED'::text, 'DECLINED'::text, 'CAPTURED'::text, 'VOIDED'::text, 'REFUNDED'::text]))),
    CONSTRAINT payments_whole CHECK (((state = ANY (ARRAY['VOIDED'::text, 'REFUNDED'::text])) OR (num_nulls(amount_minor, currency, payment_method) = 0)))
)
WITH (fillfactor='50');
CREATE TABLE fc_payment.webhook_events (
    provider text NOT NULL,
    event_id text NOT NULL,
    payment_id uuid,
    told text NOT NULL,
    received_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone
);
INSERT INTO fc_payment._sqlx_migrations VALUES (1, 'payments', '2026-11-22 05:06:56.132866+00', true, '\x10cf79486112426016b47ee1ddfe419ae86d37a669317fb8d20e6f80b2d3081ba4ddaeda3995bc61dbab2d92b26910f3', 5309308);
INSERT INTO fc_payment._sqlx_migrations VALUES (2, 'room for versions', '2026-11-22 05:06:56.143624+00', true, '\xf3cb99644808d5624624d348c66f6b86f76534fb7caf4ba5e1676f2a3e3edf50ce1010391cd7f13ebf7de8cf55f6f930', 779449);
INSERT INTO fc_payment._sqlx_migrations VALUES (3, 'webhooks', '2026-11-22 05:06:56.144493+00', true, '\xbba95fd88bec50c7f44aad3da6207cdfe139c86391a09556980042f5a68263b53084a0c991096d7479e731c142afce54', 10819265);
INSERT INTO fc_payment.payments VALUES ('f6decaab-acfe-5c03-8612-ddc835247d1b', '6b456bad-7ed4-5a75-bd44-9d9cd4b706d3', 129000, 'KRW', 'pm_card_approve', 'CAPTURED', NULL, '2026-11-22 05:07:01.048989+00', '2026-11-22 05:07:01.471135+00', NULL);
INSERT INTO fc_payment.payments VALUES ('007fe382-5623-54fd-a7fe-9cfa505f1686', '31736ffb-93df-512d-9514-ac2df3c5aa31', 129000, 'KRW', 'pm_card_approve', 'CAPTURED', NULL, '2026-11-22 05:07:09.919421+00', '2026-11-22 05:07:10.285158+00', NULL);
INSERT INTO fc_payment.payments VALUES ('b08bb763-983c-52d6-b513-0a897921dfcf', '6a63fa21-9531-5c50-9a8e-4e75481f0560', 129000, 'KRW', 'pm_card_decline', 'DECLINED', 'card_declined', '2026-11-22 05:07:10.851555+00', '2026-11-22 05:07:10.857152+00', NULL);
INSERT INTO fc_payment.payments VALUES ('95e8eb8f-bdf6-56a3-b091-2c1c04f46cdf', '43c2f4f6-79bb-5e97-813b-8e632ecf2449', 129000, 'KRW', 'pm_card_approve', 'CAPTURED', NULL, '2026-11-22 05:07:18.537874+00', '2026-11-22 05:07:18.554031+00', NULL);
INSERT INTO fc_payment.payments VALUES ('65ef4a36-9da7-542d-ba0a-2bd9e87ff3bc', '5825d2d0-0637-56f9-a8b9-310656732dc4', 129000, 'KRW', 'pm_card_approve', 'CAPTURED', NULL, '2026-11-22 05:07:18.693285+00', '2026-11-22 05:07:18.760018+00', NULL);
INSERT INTO fc_payment.webhook_events VALUES ('sandbox', 'evt_1', 'f6decaab-acfe-5c03-8612-ddc835247d1b', 'charge.authorized', '2026-11-22 05:07:01.284646+00', 0, NULL);
INSERT INTO fc_payment.webhook_events VALUES ('sandbox', 'evt_2', 'f6decaab-acfe-5c03-8612-ddc835247d1b', 'charge.captured', '2026-11-22 05:07:01.5909+00', 0, NULL);
INSERT INTO fc_payment.webhook_events VALUES ('sandbox', 'evt_3', '007fe382-5623-54fd-a7fe-9cfa505f1686', 'charge.authorized', '2026-11-22 05:07:10.326597+00', 0, NULL);
INSERT INTO fc_payment.webhook_events VALUES ('sandbox', 'evt_4', '007fe382-5623-54fd-a7fe-9cfa505f1686', 'charge.captured', '2026-11-22 05:07:10.595656+00', 0, NULL);
INSERT INTO fc_payment.webhook_events VALUES ('sandbox', 'evt_5', 'b08bb763-983c-52d6-b513-0a897921dfcf', 'charge.declined', '2026-11-22 05:07:11.016041+00', 0, NULL);
INSERT INTO fc_payment.webhook_events VALUES ('sandbox', 'evt_6', '95e8eb8f-bdf6-56a3-b091-2c1c04f46cdf', 'charge.authorized', '2026-11-22 05:07:18.567409+00', 0, NULL);
INSERT INTO fc_payment.webhook_events VALUES ('sandbox', 'evt_7', '95e8eb8f-bdf6-56a3-b091-2c1c04f46cdf', 'charge.captured', '2026-11-22 05:07:18.567503+00', 0, NULL);
INSERT INTO fc_payment.webhook_events VALUES ('sandbox', 'evt_8', '65ef4a36-9da7-542d-ba0a-2bd9e87ff3bc', 'charge.authorized', '2026-11-22 05:07:18.826214+00', 0, NULL);
INSERT INTO fc_payment.webhook_events VALUES ('sandbox', 'evt_9', '65ef4a36-9da7-542d-ba0a-2bd9e87ff3bc', 'charge.captured', '2026-11-22 05:07:18.826287+00', 0, NULL);
ALTER TABLE ONLY fc_payment._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY fc_payment.payments
    ADD CONSTRAINT payments_pkey PRIMARY KEY (payment_id);
ALTER TABLE ONLY fc_payment.webhook_events
    ADD CONSTRAINT webhook_events_once PRIMARY KEY (provider, event_id);
CREATE INDEX payments_by_user ON fc_payment.payments USING btree (user_id, created_at DESC, payment_id DESC);
CREATE INDEX webhook_events_by_age ON fc_payment.webhook_events USING brin (received_at);
CREATE INDEX webhook_events_due ON fc_payment.webhook_events USING btree (due_at) WHERE (due_at IS NOT NULL);

-- role fc_sandbox
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE fc_sandbox._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);
CREATE TABLE fc_sandbox.charges (
    key uuid NOT NULL,
    amount_minor bigint,
    currency text,
    payment_method text,
    state text NOT NULL,
    decline_code text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    pays_at timestamp with time zone,
    CONSTRAINT charges_declined_has_code CHECK (((state = 'DECLINED'::text) = (decline_code IS NOT NULL))),
    CONSTRAINT charges_state_known CHECK ((state = ANY (ARRAY['PENDING'::text, 'AUTHORIZED'::text, 'DECLINED'::text, 'CAPTURED'::text, 'VOIDED'::text, 'REFUNDED'::text]))),
    CONSTRAINT charges_whole CHECK (((state = 'VOIDED'::text) OR (num_nulls(amount_minor, currency, payment_method) = 0)))
)
WITH (fillfactor='50');
CREATE TABLE fc_sandbox.events (
    event_id bigint NOT NULL,
    charge_key uuid NOT NULL,
    told text NOT NULL,
    occurred_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
ALTER TABLE fc_sandbox.events ALTER COLUMN event_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME fc_sandbox.events_event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE fc_sandbox.movements (
    movement_id bigint NOT NULL,
    charge_key uuid NOT NULL,
    kind text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    moved_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT movements_kind_known CHECK ((kind = ANY (ARRAY['AUTHORIZE'::text, 'CAPTURE'::text, 'VOID'::text, 'REFUND'::text])))
);
ALTER TABLE fc_sandbox.movements ALTER COLUMN movement_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME fc_sandbox.movements_movement_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
INSERT INTO fc_sandbox._sqlx_migrations VALUES (1, 'ledger', '2026-11-22 05:06:56.180616+00', true, '\xdd9bd42c4def5c6f2bf8b9f42cd6862c451acfff1a8add33e934cafed72941f1f12de7f81709833d3280320993a92343', 43728031);
INSERT INTO fc_sandbox._sqlx_migrations VALUES (2, 'room for versions', '2026-11-22 05:06:56.225247+00', true, '\x32a31b9570137ad3930b242b778aa818db0e67b2ff07aaaa98cbe3c6550bb8beefbad750dbfacabe075ebc39f7967948', 28406819);
INSERT INTO fc_sandbox._sqlx_migrations VALUES (3, 'webhooks', '2026-11-22 05:06:56.254054+00', true, '\xce491ff442eebe79ac5153ac9dd709eb65afd1d061b8b411d5623d1d88d177cdc44eeed2b2f290885670d1f205c5f0bc', 20823487);
INSERT INTO fc_sandbox.charges VALUES ('f6decaab-acfe-5c03-8612-ddc835247d1b', 129000, 'KRW', 'pm_card_approve', 'CAPTURED', NULL, '2026-11-22 05:07:01.07462+00', '2026-11-22 05:07:01.442541+00', NULL);
INSERT INTO fc_sandbox.charges VALUES ('007fe382-5623-54fd-a7fe-9cfa505f1686', 129000, 'KRW', 'pm_card_approve', 'CAPTURED', NULL, '2026-11-22 05:07:09.948973+00', '2026-11-22 05:07:10.260155+00', NULL);
INSERT INTO fc_sandbox.charges VALUES ('b08bb763-983c-52d6-b513-0a897921dfcf', 129000, 'KRW', 'pm_card_decline', 'DECLINED', 'card_declined', '2026-11-22 05:07:10.855713+00', '2026-11-22 05:07:10.855713+00', NULL);
INSERT INTO fc_sandbox.charges VALUES ('95e8eb8f-bdf6-56a3-b091-2c1c04f46cdf', 129000, 'KRW', 'pm_card_approve', 'CAPTURED', NULL, '2026-11-22 05:07:18.538633+00', '2026-11-22 05:07:18.553045+00', NULL);
INSERT INTO fc_sandbox.charges VALUES ('65ef4a36-9da7-542d-ba0a-2bd9e87ff3bc', 129000, 'KRW', 'pm_card_approve', 'CAPTURED', NULL, '2026-11-22 05:07:18.694994+00', '2026-11-22 05:07:18.753003+00', NULL);
INSERT INTO fc_sandbox.movements OVERRIDING SYSTEM VALUE VALUES (1, 'f6decaab-acfe-5c03-8612-ddc835247d1b', 'AUTHORIZE', 129000, 'KRW', '2026-11-22 05:07:01.074952+00');
INSERT INTO fc_sandbox.movements OVERRIDING SYSTEM VALUE VALUES (2, 'f6decaab-acfe-5c03-8612-ddc835247d1b', 'CAPTURE', 129000, 'KRW', '2026-11-22 05:07:01.442621+00');
INSERT INTO fc_sandbox.movements OVERRIDING SYSTEM VALUE VALUES (3, '007fe382-5623-54fd-a7fe-9cfa505f1686', 'AUTHORIZE', 129000, 'KRW', '2026-11-22 05:07:09.949291+00');
INSERT INTO fc_sandbox.movements OVERRIDING SYSTEM VALUE VALUES (4, '007fe382-5623-54fd-a7fe-9cfa505f1686', 'CAPTURE', 129000, 'KRW', '2026-11-22 05:07:10.260234+00');
INSERT INTO fc_sandbox.movements OVERRIDING SYSTEM VALUE VALUES (5, '95e8eb8f-bdf6-56a3-b091-2c1c04f46cdf', 'AUTHORIZE', 129000, 'KRW', '2026-11-22 05:07:18.538704+00');
INSERT INTO fc_sandbox.movements OVERRIDING SYSTEM VALUE VALUES (6, '95e8eb8f-bdf6-56a3-b091-2c1c04f46cdf', 'CAPTURE', 129000, 'KRW', '2026-11-22 05:07:18.553112+00');
INSERT INTO fc_sandbox.movements OVERRIDING SYSTEM VALUE VALUES (7, '65ef4a36-9da7-542d-ba0a-2bd9e87ff3bc', 'AUTHORIZE', 129000, 'KRW', '2026-11-22 05:07:18.695117+00');
INSERT INTO fc_sandbox.movements OVERRIDING SYSTEM VALUE VALUES (8, '65ef4a36-9da7-542d-ba0a-2bd9e87ff3bc', 'CAPTURE', 129000, 'KRW', '2026-11-22 05:07:18.753149+00');
SELECT pg_catalog.setval('fc_sandbox.events_event_id_seq', 9, true);
SELECT pg_catalog.setval('fc_sandbox.movements_movement_id_seq', 8, true);
ALTER TABLE ONLY fc_sandbox._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY fc_sandbox.charges
    ADD CONSTRAINT charges_pkey PRIMARY KEY (key);
ALTER TABLE ONLY fc_sandbox.events
    ADD CONSTRAINT events_by_turn PRIMARY KEY (due_at, event_id);
ALTER TABLE ONLY fc_sandbox.movements
    ADD CONSTRAINT movements_pkey PRIMARY KEY (movement_id);
CREATE INDEX charges_to_pay ON fc_sandbox.charges USING btree (pays_at) WHERE (pays_at IS NOT NULL);
