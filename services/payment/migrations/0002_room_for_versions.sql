-- A payment follows the provider twice within a second of its beginning, and so do its neighbours
-- on the page. With room for them, the new versions stay on the page and touch no index; payments
-- written before keep their full pages.
alter table payments set (fillfactor = 50);
