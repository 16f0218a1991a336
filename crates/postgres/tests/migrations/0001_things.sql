-- Something to lock.
create table things (name text primary key, number integer not null);
insert into things values ('the one', 0);
