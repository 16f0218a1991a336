-- Each service's schema in the database of the shop, owned by the login of the same name and found
-- by it first; run after roles.sql, and any number of times. What is inside is its service's
-- `migrate` to make.

-- What migrations rely on by name. Made here, so that no service's login needs the right to create
-- things outside its schema. Debian has it in postgresql-contrib.
create extension if not exists pg_trgm;

create schema if not exists fc_user authorization fc_user;
create schema if not exists fc_inventory authorization fc_inventory;
create schema if not exists fc_order authorization fc_order;
create schema if not exists fc_payment authorization fc_payment;
-- The sandbox provider's own ledger, which payment cannot see.
create schema if not exists fc_sandbox authorization fc_sandbox;
