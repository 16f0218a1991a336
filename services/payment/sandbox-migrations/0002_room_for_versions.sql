-- A charge is captured within a second of its authorisation, and so are its neighbours on the page.
-- With room for them, the new versions stay on the page and touch no index.
alter table charges set (fillfactor = 50);
