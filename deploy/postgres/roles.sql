-- The services' logins, run by whoever may make roles, in any database of the server. It may be run
-- again, and then sets the passwords anew.
--
-- Each password comes as a setting of the session (firstcome.fc_user_password and so on), so that
-- no statement carries one into a log; a setting that is missing ends the script.
do $$
declare
    login text;
begin
    foreach login in array array['fc_user', 'fc_inventory', 'fc_order', 'fc_payment', 'fc_sandbox'] loop
        if not exists (select from pg_roles where rolname = login) then
            execute format('create role %I', login);
        end if;
        execute format(
            'alter role %I login password %L',
            login,
            current_setting('firstcome.' || login || '_password')
        );
    end loop;
end
$$;
