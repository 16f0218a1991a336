-- Admissions in one statement: holds are inserted and stock rows moved by one round trip, so that a
-- batch keeps the stock row locked no longer than its own commit takes.

-- Ends the statement that calls it, and so undoes it, unless each SKU of the batch had a stock row
-- under the batch's epoch. A client that counted rows afterwards would come too late: alone, a
-- statement commits with its last row.
create function require_epoch(rows_moved bigint, rows_wanted bigint) returns boolean
language plpgsql as $$
begin
    if rows_moved <> rows_wanted then
        raise exception 'the epoch is over' using errcode = 'FC001';
    end if;
    return true;
end
$$;
