-- The payment domain: what the webhook service keeps. Money is numeric without a scale, so that 10.10 stays 10.10.
set search_path = pg_catalog, pg_temp;

create schema sale;

-- NaN sorts above infinity here, so one comparison refuses both. No upper bound: `paid` adds up what came.
create domain sale.money as numeric
    constraint amount_is_a_number_of_at_least_zero check (value >= 0 and value < 'infinity');

create table sale.sale_order (
    id                   uuid primary key default gen_random_uuid(),
    number               text not null,
    status               text not null default 'DRAFT',
    merchant_id          text not null,
    sale_channel_id      text not null,
    customer_id          text,
    closed_in_session_id text,
    currency             text not null,
    total                sale.money not null,
    paid                 sale.money not null default 0,
    -- json and not jsonb: what the caller wrote is what payment.success carries.
    metadata             json,
    cancellation_reason  text,
    tracking_number      text,
    created_by           text not null,
    modified_by          text not null,
    created_at           timestamptz not null default now(),
    modified_at          timestamptz not null default now(),
    partial_at           timestamptz,
    completed_at         timestamptz,
    cancelled_at         timestamptz,
    shipped_at           timestamptz,
    delivered_at         timestamptz,

    constraint status_is_known
        check (status in ('DRAFT', 'PROCESSING', 'PARTIAL', 'COMPLETED', 'CANCELLED')),
    constraint partial_orders_say_since_when check (status <> 'PARTIAL' or partial_at is not null),
    constraint completed_orders_say_since_when
        check ((status = 'COMPLETED') = (completed_at is not null)),
    constraint cancelled_orders_say_when_and_why
        check ((status = 'CANCELLED') = (cancelled_at is not null)
           and (status = 'CANCELLED') = (cancellation_reason is not null)),
    constraint only_completed_orders_are_shipped
        check ((shipped_at is null or status = 'COMPLETED')
           and (shipped_at is null) = (tracking_number is null)),
    constraint only_shipped_orders_are_delivered
        check (delivered_at is null or shipped_at is not null)
);

create table sale.order_item (
    id        uuid primary key default gen_random_uuid(),
    order_id  uuid not null references sale.sale_order,
    position  integer not null,
    item_type text not null,
    item_id   text not null,
    quantity  integer not null constraint quantity_is_at_least_one check (quantity >= 1),
    mode      text not null constraint mode_is_known check (mode in ('PRODUCT', 'CUSTOM')),
    unique (order_id, position)
);

create table sale.sale_check (
    id                  uuid primary key default gen_random_uuid(),
    order_id            uuid not null references sale.sale_order,
    position            integer not null,
    status              text not null default 'PROCESSING',
    total               sale.money not null,
    paid                sale.money not null default 0,
    cancellation_reason text,
    partial_at          timestamptz,
    completed_at        timestamptz,
    cancelled_at        timestamptz,
    unique (order_id, position),

    constraint status_is_known
        check (status in ('PROCESSING', 'PARTIAL', 'COMPLETED', 'CANCELLED')),
    constraint partial_checks_say_since_when check (status <> 'PARTIAL' or partial_at is not null),
    constraint completed_checks_say_since_when
        check ((status = 'COMPLETED') = (completed_at is not null)),
    constraint cancelled_checks_say_when_and_why
        check ((status = 'CANCELLED') = (cancelled_at is not null)
           and (status = 'CANCELLED') = (cancellation_reason is not null))
);

create table sale.allocation_usage (
    id            uuid primary key default gen_random_uuid(),
    order_id      uuid not null references sale.sale_order,
    position      integer not null,
    allocation_id text not null,
    usage_type    text not null default 'SALE_ORDER',
    status        text not null default 'ACTIVE'
        constraint status_is_known check (status in ('ACTIVE', 'SUCCESS', 'CANCELLED')),
    unique (order_id, position)
);

-- The primary key is the promise: one points transaction per order, whoever tries.
create table sale.points_transaction (
    order_id    uuid primary key references sale.sale_order,
    customer_id text not null,
    points      bigint not null constraint points_are_at_least_one check (points >= 1),
    created_at  timestamptz not null default clock_timestamp()
);

-- What was delivered once. The key names the order or check, the event, and the attempt or the transaction.
-- This is the memory of repeats: a webhook whose row is gone has its effect again. A partition is the month (UTC) in which
-- they came, and goes as a whole when the provider has long ceased to send them again. A unique key would have to hold
-- the time, so none says that a key is there once: who records one holds the lock of its order, and looks for it in all
-- months after that. No foreign key: to drop a month would lock the orders.
create table sale.received_webhook (
    key         text        not null,
    order_id    uuid        not null,
    event_type  text        not null,
    received_at timestamptz not null default clock_timestamp(),

    primary key (key, received_at)
) partition by range (received_at);
-- An insert must never fail for want of a month.
create table sale.received_webhook_default partition of sale.received_webhook default;

-- Makes the partitions of this month and the next ones, with what the default partition has of them, and drops months of
-- which everything came more than `received_days` ago. One call at a time: the lock on the table is for who may do more
-- than insert. What others hold for longer than the lock timeout is left for the next call. Returns how many partitions
-- were made or dropped.
create function sale.turn_received(received_days integer default 180, months_ahead integer default 2) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set datestyle = 'ISO, YMD'
set timezone = 'UTC'
set lock_timeout = '80ms'
as $$
declare
    this_month timestamp   := date_trunc('month', clock_timestamp() at time zone 'UTC');
    oldest     timestamptz := clock_timestamp() - make_interval(days => received_days);
    turned     integer     := 0;
    month      timestamp;
    name       text;
    from_time  timestamptz;
    upto_time  timestamptz;
begin
    if received_days < 1 then
        raise exception 'received_days is %, and must be at least 1', received_days using errcode = 'invalid_parameter_value';
    end if;
    begin
        lock table only sale.received_webhook in share update exclusive mode;
    exception when lock_not_available then
        return 0;
    end;
    for month in
        select ahead from generate_series(this_month, this_month + make_interval(months => months_ahead), '1 month') as ahead
        union
        select date_trunc('month', received_at at time zone 'UTC') from sale.received_webhook_default
        where received_at >= oldest and received_at < (this_month + interval '1 month') at time zone 'UTC'
    loop
        name := 'received_webhook_' || to_char(month, 'YYYYMM');
        from_time := month at time zone 'UTC';
        upto_time := (month + interval '1 month') at time zone 'UTC';
        continue when to_regclass('sale.' || name) is not null;
        begin
            -- At the parent: who waits at the default partition has chosen it already.
            lock table only sale.received_webhook in access exclusive mode;
            lock table sale.received_webhook_default in access exclusive mode;
            execute format('create table sale.%I (like sale.received_webhook including defaults including constraints)', name);
            execute format(
                'with moved as (
                     delete from sale.received_webhook_default where received_at >= $1 and received_at < $2 returning *
                 )
                 insert into sale.%I select * from moved', name)
            using from_time, upto_time;
            execute format('alter table sale.received_webhook attach partition sale.%I for values from (%L) to (%L)',
                           name, from_time, upto_time);
            turned := turned + 1;
        exception when lock_not_available then
            null;
        end;
    end loop;
    for name in
        select class.relname from pg_inherits join pg_class as class on class.oid = pg_inherits.inhrelid
        where pg_inherits.inhparent = 'sale.received_webhook'::regclass
          and class.relname ~ '^received_webhook_[0-9]{6}$'
          and (to_date(right(class.relname, 6), 'YYYYMM')::timestamp + interval '1 month') at time zone 'UTC' <= oldest
        order by class.relname
    loop
        begin
            lock table only sale.received_webhook in access exclusive mode;
            execute format('drop table sale.%I', name);
            turned := turned + 1;
        exception when lock_not_available then
            null;
        end;
    end loop;
    delete from sale.received_webhook_default where received_at < oldest;
    return turned;
end
$$;
revoke execute on function sale.turn_received(integer, integer) from public;

select sale.turn_received();

-- Publishes to the WebSocket clients of an order what they are to see once this transaction has committed. `outbox.live`
-- is a channel of the platform's own, so that it takes a function with the owner's rights.
create function sale.publish_update(order_id uuid, update json, headers json default null) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into outbox.message (channel, type, group_key, priority, headers, payload)
    values ('outbox.live', 'ORDER_PAYMENT_UPDATED', order_id::text, 1, headers::text, convert_to(update::text, 'UTF8'));
end
$$;
revoke execute on function sale.publish_update(uuid, json, json) from public;

insert into outbox.migration (version, name) values (10, 'sale');
