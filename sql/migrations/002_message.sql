-- The log: one append-only table, and the two functions that write to it.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- UUID version 7 (RFC 9562): 48 bits of milliseconds, then random bits, so that keys sort roughly by time.
-- It runs in the publisher's session. A `return` body is parsed here, once, so the publisher's search_path does not
-- reach it. SET would do as well, and would cost time in every call.
create function outbox.uuid7() returns uuid
language sql volatile parallel safe
return encode(
    set_bit(
        set_bit(
            overlay(
                uuid_send(gen_random_uuid())
                placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
                from 1 for 6),
            52, 1),
        53, 1),
    'hex')::uuid;

-- Whether a header's name, folded, is one that a message may not set: it belongs to the carrier. A `return` body, so that
-- Postgres puts it into the expressions that call it.
create function outbox.is_withheld(folded text) returns boolean
language sql immutable parallel safe
return folded || '-' like any ('{ce-%,webhook-%,proxy-%,sec-%
                                ,x-forwarded-%,x-original-%,x-rewrite-%,x-http-method-%}'::text[])
    or folded = any ('{idempotency-key,content-type,replayed
                      ,connection,keep-alive,te,trailer,trailers,transfer-encoding,upgrade,http2-settings
                      ,content-length,expect,accept,accept-encoding,user-agent
                      ,host,x-host,forwarded,via,x-method-override
                      ,authorization,cookie,cookie2,set-cookie,set-cookie2
                      ,x-real-ip,x-client-ip,x-cluster-client-ip,client-ip,true-client-ip,cf-connecting-ip}'::text[]);

-- What is wrong with a message's headers, in a sentence that names the header; NULL: nothing.
-- Headers travel as Kafka headers and as HTTP headers. So names are HTTP tokens, and values are strings without control
-- characters. A message may not set the names that belong to its carrier: what the relay writes, what frames or routes
-- a request (RFC 9110, sections 7.6 and 7.2), and what says who sent it. Some servers do not tell case apart, nor `_`,
-- `-` and other punctuation. So names are compared as such servers fold them, and each may come once.
-- A loop in plpgsql, whose statements are planned once a session: one statement would be planned anew with every insert
-- that has headers, and costs twice as much.
create function outbox.headers_fault(headers text) returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
as $$
declare
    name   text;
    value  text;
    kind   text;
    folded text;
    seen   text[] := '{}';
    fault  text;
begin
    fault := case
        when octet_length(headers) > 16384 then 'headers are larger than 16384 bytes'
        when json_typeof(headers::json) <> 'object' then 'headers are no JSON object'
    end;
    if fault is not null then
        return fault;
    end if;
    -- JSON can write characters that no text can hold. The pattern keeps the costly exception block for headers that
    -- may have one.
    if headers ~* '\\u(0000|d[89a-f])' then
        begin
            perform from json_each(headers::json);
        exception when untranslatable_character or invalid_text_representation then
            return 'headers hold a NUL (\u0000) or half a surrogate pair, which is no text';
        end;
    end if;
    for name, value, kind in
        select header.name, header.value #>> '{}', json_typeof(header.value)
        from json_each(headers::json) as header (name, value)
    loop
        folded := translate(lower(name collate "C"), '!#$%&''*+.^_`|~', '--------------');
        fault := case
            when cardinality(seen) = 100 then 'headers are more than 100'
            -- By its length apart: a pattern that counts to 128 takes a hundred times as long.
            when length(name) > 128 or name !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]+$'
                then format('header %s: a name is a token of 1 to 128 letters, digits, dashes and the like',
                            to_json(left(name, 128)))
            when kind <> 'string' then format('header %s: its value is no string', to_json(name))
            when value ~ '[\x01-\x1f\x7f]' then format('header %s: its value has control characters', to_json(name))
            when outbox.is_withheld(folded)
                then format('header %s: this name is not a message''s own to set', to_json(name))
            when folded = any (seen)
                then format('header %s: it is there twice, where a server folds case and punctuation', to_json(name))
        end;
        if fault is not null then
            return fault;
        end if;
        seen := seen || folded;
    end loop;
    return null;
end
$$;

-- Whether headers are as most are, with nothing wrong: letters, digits, dashes and underscores in names, no backslash in
-- a value. outbox.headers_fault says so of the same headers, and takes four times as long. Of others it says no, and
-- nothing is wrong by that. Names fold as they do there.
create function outbox.headers_are_plain(headers text) returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
as $$
declare
    -- Of text without a backslash each fourth part between quotes is a name.
    parts text[];
    name  text;
    seen  text[] := '{}';
begin
    if octet_length(headers) > 16384
       or headers !~ ('^\{"[A-Za-z0-9_-]+": ?"[^"\\\x01-\x1f\x7f]*"'
                      '(, ?"[A-Za-z0-9_-]+": ?"[^"\\\x01-\x1f\x7f]*")*\}$') then
        return false;
    end if;
    parts := string_to_array(replace(lower(headers collate "C"), '_', '-'), '"');
    if cardinality(parts) > 4 * 100 + 1 then
        return false;
    end if;
    for place in 2..cardinality(parts) by 4 loop
        name := parts[place];
        if name = any (seen) or length(name) > 128 or outbox.is_withheld(name) then
            return false;
        end if;
        seen := seen || name;
    end loop;
    return true;
end
$$;

-- The CHECK calls this where there is a fault, so that the refusal says which. Never returns.
create function outbox.refuse_headers(headers text) returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception '%', outbox.headers_fault(headers) using
        errcode = 'check_violation', schema = 'outbox', table = 'message', column = 'headers',
        constraint = 'headers_are_an_object_of_strings';
end
$$;

create table outbox.message (
    id              bigint generated always as identity,
    -- The transaction that wrote the row decides when a reader sees it; never the id, never a clock.
    xid             xid8        not null default pg_current_xact_id(),
    priority        smallint    not null default 3,
    channel         text        not null,
    type            text        not null,
    group_key       text,
    idempotency_key text        not null default outbox.uuid7(),
    headers         text,
    content_type    text        not null default 'application/json',
    -- Text goes in by convert_to(…, 'UTF8'): in a bare string backslashes would be read as bytea's own escapes.
    payload         bytea       not null,
    created_at      timestamptz not null default clock_timestamp(),

    constraint priority_is_1_to_5 check (priority between 1 and 5),
    -- A channel is a Kafka topic's name; the rest of Kafka's 249 characters is left for RELAY_TOPIC_PREFIX.
    constraint channel_is_a_topic_name_of_at_most_200_characters
        check (channel ~ '^[A-Za-z0-9._-]+$' and channel not in ('.', '..') and length(channel) <= 200),
    constraint type_is_1_to_255_printable_characters
        check (type ~ '^[^\x01-\x1f\x7f]+$' and length(type) <= 255),
    constraint group_key_is_at_most_1024_bytes check (octet_length(group_key) <= 1024),
    -- No dot: Standard Webhooks signs `id.timestamp.body`.
    constraint idempotency_key_is_1_to_128_printable_characters_without_a_dot
        check (idempotency_key ~ '^[!-\-/-~]+$' and length(idempotency_key) <= 128),
    constraint content_type_is_1_to_255_printable_characters
        check (content_type ~ '^[ -~]+$' and length(content_type) <= 255),
    constraint headers_are_an_object_of_strings
        check (headers is null or outbox.headers_are_plain(headers) or outbox.headers_fault(headers) is null
               or outbox.refuse_headers(headers)),
    -- Kafka takes 1,048,588 bytes with everything around it: what no sink could take is refused here.
    constraint message_is_at_most_983040_bytes
        check (octet_length(payload) + coalesce(octet_length(group_key), 0)
               + coalesce(octet_length(headers), 0) <= 983040)
) partition by range (id);
-- A publication of all tables, which change data capture makes by default, refuses UPDATE and DELETE on a table that
-- has neither a key nor this; and outbox.rebase updates. Nothing more is logged until there is such a publication.
alter table outbox.message replica identity full;

-- These two and no more: every business transaction pays for each index. They are spelled differently, so that a query
-- chooses its index by what it writes: `priority::integer` and `id + 0`, or `priority`, `xid` and `id`. The planner
-- knows nothing of xid8: asked about xid, it would take the index by id while a partition is empty, keep that plan, and
-- later read all messages of the priority.
create index message_priority_id on outbox.message ((priority::integer), (id + 0));
-- Priority first: a look into a priority that has no messages would else walk the messages of all others.
create index message_priority_xid_id on outbox.message (priority, xid, id);

-- Channels that begin with `outbox.` are the platform's own. Subscribers and WebSocket clients learn there what became
-- of orders and subscriptions, so publishers may not write to them.
create function outbox.refuse_own_channel(channel text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'channel % is the platform''s own: publish to one that does not begin with "outbox."', channel
        using errcode = 'insufficient_privilege', schema = 'outbox', table = 'message', column = 'channel';
end
$$;

-- For a plain INSERT. The platform's functions and outbox.publish run with the owner's rights and pass; outbox.publish
-- checks by itself. A row of another channel pays for the trigger's condition alone.
create function outbox.guard_own_channels() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if not pg_has_role(current_user, (select relowner from pg_class where oid = 'outbox.message'::regclass),
                       'usage') then
        perform outbox.refuse_own_channel(new.channel);
    end if;
    return new;
end
$$;
create trigger guard_own_channels before insert on outbox.message
    for each row when (starts_with(new.channel, 'outbox.')) execute function outbox.guard_own_channels();

-- Publishes to a channel of the platform. For the platform's own functions; no role is granted it.
create function outbox.publish_own(
    channel   text,
    type      text,
    payload   json,
    group_key text default null
) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    message_id bigint;
begin
    insert into outbox.message as m (channel, type, group_key, payload)
    values (publish_own.channel, publish_own.type, publish_own.group_key,
            convert_to(publish_own.payload::text, 'UTF8'))
    returning m.id into message_id;
    return message_id;
end
$$;
revoke execute on function outbox.publish_own(text, text, json, text) from public;

-- Publishes one message in the caller's own transaction and returns its id. The text of the JSON is stored as it was
-- written. It runs with its owner's rights, so that a publisher needs nothing but EXECUTE.
-- This is the one that takes text and varchar, and what has no type: of functions that differ in this alone, Postgres
-- chooses for an untyped parameter or literal the one with text.
create function outbox.publish(
    channel         text,
    type            text,
    payload         text,
    group_key       text    default null,
    priority        integer default 3,
    idempotency_key text    default null,
    headers         text    default null
) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    message_id bigint;
begin
    if starts_with(publish.channel, 'outbox.') then
        perform outbox.refuse_own_channel(publish.channel);
    end if;
    -- By way of json, which refuses what is none; a CHECK asks the same of the headers.
    insert into outbox.message as m (channel, type, group_key, priority, idempotency_key, headers, payload)
    values (publish.channel, publish.type, publish.group_key, publish.priority,
            coalesce(publish.idempotency_key, outbox.uuid7()::text),
            publish.headers, convert_to(publish.payload::json::text, 'UTF8'))
    returning m.id into message_id;
    return message_id;
end
$$;

-- For those who have json, and below for those who have jsonb: both hand on its text. They have no rights of their own.
-- Postgres puts a `return` body in the place of the call, so that it costs no call more; and parses it here, so that no
-- search_path reaches it.
create function outbox.publish(
    channel         text,
    type            text,
    payload         json,
    group_key       text    default null,
    priority        integer default 3,
    idempotency_key text    default null,
    headers         json    default null
) returns bigint
language sql volatile
return outbox.publish(channel, type, payload::text, group_key, priority, idempotency_key, headers::text);

-- jsonb keeps neither the order of its keys nor blanks: what is sent is the text that Postgres writes of it.
create function outbox.publish(
    channel         text,
    type            text,
    payload         jsonb,
    group_key       text    default null,
    priority        integer default 3,
    idempotency_key text    default null,
    headers         jsonb   default null
) returns bigint
language sql volatile
return outbox.publish(channel, type, payload::text, group_key, priority, idempotency_key, headers::text);

-- The same for a payload that is not JSON: what is given is what is sent, byte for byte.
create function outbox.publish_bytes(
    channel         text,
    type            text,
    payload         bytea,
    content_type    text,
    group_key       text    default null,
    priority        integer default 3,
    idempotency_key text    default null,
    headers         json    default null
) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    message_id bigint;
begin
    if starts_with(publish_bytes.channel, 'outbox.') then
        perform outbox.refuse_own_channel(publish_bytes.channel);
    end if;
    insert into outbox.message as m
        (channel, type, group_key, priority, idempotency_key, headers, content_type, payload)
    values (publish_bytes.channel, publish_bytes.type, publish_bytes.group_key, publish_bytes.priority,
            coalesce(publish_bytes.idempotency_key, outbox.uuid7()::text),
            publish_bytes.headers::text, publish_bytes.content_type, publish_bytes.payload)
    returning m.id into message_id;
    return message_id;
end
$$;

insert into outbox.migration (version, name) values (2, 'message');
