-- What a shop says of its products beside their stock: variants, categories, kinds, an end; what is
-- found by searching; who likes what; and what changed, for those who keep copies.
--
-- It writes `products` anew, under a lock; a catalogue is small. Nothing here touches `stock` or
-- `holds`.

-- Parts of names are found by their trigrams. Postgres lets whoever may create in a database create
-- this extension there; `create extension if not exists` asks for no right when it is there already.
do $$
begin
    create extension if not exists pg_trgm;
exception
    when insufficient_privilege or undefined_file or feature_not_supported then
        raise exception 'inventory needs the extension pg_trgm, and % cannot create it in database %: %',
            current_user, current_database(), sqlerrm
            using hint = 'Install the contributed extensions of your Postgres (postgresql-contrib) '
                'if they are missing; log in to this database as its owner; '
                'run "create extension pg_trgm"; then migrate again.';
end
$$;

-- One form for what looks the same: composed and decomposed Hangul, full and half width, upper and
-- lower case.
create function folded(words text) returns text
language sql immutable strict parallel safe as $$
    select lower(normalize(words, NFKC))
$$;

-- Each letter twice: then two letters, a common word in Korean, make the trigrams that an index
-- finds them by.
create function doubled(words text) returns text
language sql immutable strict parallel safe as $$
    select regexp_replace(words, '(.)', '\1\1', 'g')
$$;

-- The pattern of whatever has this in it, as it stands.
create function part(words text) returns text
language sql immutable strict parallel safe as $$
    select '%' || regexp_replace(words, '([\\%_])', '\\\1', 'g') || '%'
$$;

alter table products
    -- A slug, as in 'sneakers'; '': in none.
    add column category text not null default '',
    -- general: on sale from its creation, without end. limited: in the windows scheduled for it.
    add column kind text not null default 'limited',
    -- discontinued: neither listed nor sold, and its window is gone.
    add column status text not null default 'active',
    -- Kept true by Postgres itself.
    add column name_folded text not null generated always as (folded(name)) stored,
    add column name_doubled text not null generated always as (doubled(folded(name))) stored,
    add column words tsvector not null
        generated always as (to_tsvector('simple', folded(name || ' ' || description))) stored,
    add constraint products_kind_check check (kind in ('general', 'limited')),
    add constraint products_status_check check (status in ('active', 'discontinued')),
    add constraint products_discontinued_check check (status = 'active' or opens_at is null);

-- Lists show what is active, newest first.
drop index products_by_creation;
create index products_on_sale on products (created_at desc, product_id desc)
    where status = 'active';
create index products_of_category on products (category, created_at desc, product_id desc)
    where status = 'active';
-- A part of a name. Where the database's LC_CTYPE is C, trigrams know no letters beyond ASCII: then
-- Hangul is still found, by reading all names.
create index products_by_name_part on products using gin (name_doubled gin_trgm_ops);
-- The beginning of any word.
create index products_by_word on products using gin (words);

alter table skus
    -- As in 'white', '270 mm'; '': it says nothing.
    add column color text not null default '',
    add column size text not null default '',
    -- Checked at the end of a statement, so that one may swap two labels.
    drop constraint skus_label_key,
    add constraint skus_label_key unique (product_id, label) deferrable initially immediate;

-- This transaction, as a number that later ones exceed.
create function this_transaction() returns bigint
language sql as $$
    select pg_current_xact_id()::text::bigint
$$;

-- What changes often about a product, apart from its description, whose indexes are dear.
create table product_marks (
    product_id uuid primary key references products,
    -- Rows of `likes`; moved by the statement that moves them.
    like_count integer not null default 0,
    -- The last transaction that changed anything of it that visitors see. Replicas ask what was
    -- changed by transactions that had not ended when they asked last, and so miss none that
    -- commits late; a time would need a guess of how late.
    changed_in bigint not null default this_transaction(),
    constraint product_marks_like_count_check check (like_count >= 0)
) with (fillfactor = 80);

create index product_marks_by_change on product_marks (changed_in);

insert into product_marks (product_id) select product_id from products;

-- Every product has its marks, also one that the build before makes while both run.
create function mark_product() returns trigger
language plpgsql as $$
begin
    insert into product_marks (product_id) values (new.product_id);
    return null;
end
$$;

create trigger products_marked after insert on products
    for each row execute function mark_product();

-- Who likes what. It refers to the marks, whose row a like moves anyhow, so that likes never wait
-- for a product that is being edited, nor it for them.
create table likes (
    product_id uuid not null references product_marks,
    user_id    uuid not null,
    liked_at   timestamptz not null default clock_timestamp(),
    -- One like per user and product.
    constraint likes_pkey primary key (product_id, user_id)
);
