-- What the schema of an event type asks of a payload. catalogue/rules makes the rules, these functions ask them.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

-- Whether what a rule measures of a value keeps within its bounds: the characters of a string, the members of an
-- object, or the items of an array that match a path.
create function outbox.payload_measures(value jsonb, rule jsonb) returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    measured bigint;
begin
    case rule ->> 'measure'
        when 'length' then
            measured := length(value #>> '{}');
        when 'members' then
            measured := jsonb_array_length(jsonb_path_query_array(value, 'strict $.*'));
        when 'matches' then
            measured := jsonb_array_length(jsonb_path_query_array(value, (rule ->> 'matches')::jsonpath));
    end case;
    return measured >= (rule ->> 'least')::bigint and measured <= coalesce((rule ->> 'most')::bigint, measured);
end
$$;

-- Whether a rule holds everywhere in a document: nothing is found at the path of what fails, or all that is found there
-- keeps within its bounds.
create function outbox.payload_keeps(document jsonb, path jsonpath, rule jsonb) returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    places jsonb;
begin
    if not rule ? 'measure' then
        return jsonb_path_exists(document, path, '{}', true) is not true;
    end if;
    places := jsonb_path_query_array(document, path, '{}', true);
    -- Of all arrays at once: a document may hold hundreds of thousands, and each query costs more than a short one.
    if rule ->> 'measure' = 'repeats' then
        -- As most are of which nothing is to be asked.
        if jsonb_array_length(places) = 0
           or jsonb_array_length(places) = 1 and jsonb_array_length(places -> 0) < 2 then
            return true;
        end if;
        return not exists (
            select from jsonb_array_elements(places) with ordinality as place (items, number)
            cross join lateral jsonb_array_elements(items) as item
            where jsonb_array_length(items) > 1
            group by number, item having count(*) > 1);
    end if;
    for n in 0 .. jsonb_array_length(places) - 1 loop
        if not outbox.payload_measures(places -> n, rule) then
            return false;
        end if;
    end loop;
    return true;
end
$$;

-- Whether a payload is JSON that fits: `decides` is true, and so is every one of the checks, an array of what jsonpath
-- can't count. A check with `holds_up_to` can't fail in a payload of so many bytes. Each publish of a type that is
-- enforced asks this, so nothing here plans a query but where items are compared with each other. What is no JSON does
-- not fit.
-- Not parallel safe: an exception is caught.
create function outbox.payload_fits(payload bytea, decides jsonpath, checks jsonb) returns boolean
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    document jsonb;
    rule     jsonb;
begin
    document := convert_from(payload, 'UTF8')::jsonb;
    if jsonb_path_match(document, decides, '{}', true) is not true then
        return false;
    end if;
    for i in 0 .. jsonb_array_length(checks) - 1 loop
        rule := checks -> i;
        continue when octet_length(payload) <= (rule ->> 'holds_up_to')::bigint;
        if not outbox.payload_keeps(document, (rule ->> 'path')::jsonpath, rule) then
            return false;
        end if;
    end loop;
    return true;
exception when data_exception or program_limit_exceeded then
    return false;
end
$$;

-- What lies one step further in, by its name or its index. Of a document of which that step may be taken.
create function outbox.payload_children(document jsonb, kind text, which text) returns table (name text, value jsonb)
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    named jsonpath;
    first bigint;
begin
    case kind
        when 'member' then
            return query select which, document -> which;
        when 'members' then
            named := which::jsonpath;
            return query
            select one.key, one.value from jsonb_each(document) as one
            where jsonb_path_match(to_jsonb(one.key), named, '{}', true);
        when 'item' then
            return query select which, document -> which::integer;
        when 'items' then
            first := which::bigint;
            return query
            select (one.number - 1)::text, one.item
            from jsonb_array_elements(document) with ordinality as one (item, number)
            where one.number > first;
    end case;
end
$$;

-- Where in a document a rule fails: JSON pointers, at most so many. Its steps are arrays: first their jsonpath, and where
-- it leads further in one of "member", name; "members", jsonpath of the name; "item", index; "items", from index. The
-- search goes in only where something fails, so it looks at no more values than one array or object has for each pointer.
-- `room` is how many it may look at, and what is left of them: where there is too little, the array or object is named.
create function outbox.payload_places(
    document jsonb, rule jsonb, at_most integer, inout room bigint, out pointers text[])
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    step   jsonb;
    -- What leads from a value to what fails in it.
    rest   text;
    fails  jsonpath;
    inside jsonb[] := array[document];
    many   bigint;
    nearer record;
begin
    select string_agg(one.step ->> 0, '' order by one.number) into rest
    from jsonb_array_elements(rule -> 'at') with ordinality as one (step, number);
    rest := coalesce(rest, '') || coalesce(' ? (!(' || (rule ->> 'holds') || '))', '');
    pointers := '{}';
    if outbox.payload_keeps(document, ('strict $' || rest)::jsonpath, rule) then
        return;
    end if;
    pointers := array[''];
    for step in select one from jsonb_array_elements(rule -> 'at') as one loop
        rest := substr(rest, length(step ->> 0) + 1);
        continue when step ->> 1 is null;
        if step ->> 1 in ('members', 'items') then
            select sum(case jsonb_typeof(value)
                           when 'array' then jsonb_array_length(value)
                           else jsonb_array_length(jsonb_path_query_array(value, 'strict $.*'))
                       end)
            into many from unnest(inside) as value;
            exit when many > room;
            room := room - many;
        end if;
        fails := ('strict $' || rest)::jsonpath;
        select array_agg(failing.pointer) as pointers, array_agg(failing.value) as inside
        into nearer
        from (
            select place.pointer || '/' || replace(replace(child.name, '~', '~0'), '/', '~1') as pointer, child.value
            from unnest(pointers, inside) as place (pointer, value)
            cross join lateral outbox.payload_children(place.value, step ->> 1, step ->> 2) as child
            where not outbox.payload_keeps(child.value, fails, rule)
            limit at_most
        ) as failing;
        exit when nearer.pointers is null;
        pointers := nearer.pointers;
        inside := nearer.inside;
    end loop;
end
$$;

-- What of a payload does not fit: `pointer` leads into it, `keyword` is of the schema, or `json` where it can't be
-- read. It asks rule by rule, so it is for a payload that was refused. Rules are objects: `at` are the steps to their
-- places, `holds` is a predicate of jsonpath or `measure` what is counted, `tail` is appended to the pointer.
create function outbox.payload_faults(payload bytea, singles jsonb, checks jsonb, at_most integer)
returns table (pointer text, keyword text, detail text)
language plpgsql immutable
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
as $$
declare
    document jsonb;
    rule     jsonb;
    told     integer := 0;
    places   record;
    -- How many values are looked at for a pointer, one by one, in all of the payload.
    room     bigint := 100000;
begin
    if at_most <= 0 then
        return;
    end if;
    begin
        document := convert_from(payload, 'UTF8')::jsonb;
        if jsonb_path_exists(document, 'strict $.**{64} ? (@.type() == "object" || @.type() == "array")') then
            raise statement_too_complex;
        end if;
    exception
        when untranslatable_character then
            detail := 'holds a NUL (\u0000), which is no text for Postgres';
        when numeric_value_out_of_range then
            detail := 'holds a number with more digits than Postgres has';
        when program_limit_exceeded then
            detail := 'is nested deeper than 64 levels';
        when data_exception then
            detail := 'is no JSON in UTF-8';
    end;
    if detail is not null then
        pointer := '';
        keyword := 'json';
        return next;
        return;
    end if;
    for rule in select one from jsonb_array_elements(singles || checks) as one loop
        select * into places from outbox.payload_places(document, rule, at_most - told, room);
        room := places.room;
        foreach pointer in array places.pointers loop
            pointer := pointer || coalesce(rule ->> 'tail', '');
            keyword := rule ->> 'keyword';
            detail := rule ->> 'detail';
            return next;
            told := told + 1;
        end loop;
        if told >= at_most then
            return;
        end if;
    end loop;
end
$$;

insert into outbox.migration (version, name) values (27, 'schema_rule');
