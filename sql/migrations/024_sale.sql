-- The payment domain: what the webhook service keeps. Money is numeric without a scale, so that 10.10 stays 10.10.
set search_path = pg_catalog, pg_temp;
set standard_conforming_strings = on;

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

-- The primary key keeps the promise: one points transaction per order, however many try to make it.
create table sale.points_transaction (
    order_id    uuid primary key references sale.sale_order,
    customer_id text not null,
    points      bigint not null constraint points_are_at_least_one check (points >= 1),
    created_at  timestamptz not null default clock_timestamp()
);

-- Which webhooks were applied. The key names the order or check, the event, and the attempt or the transaction. It is
-- the memory of repeats: a webhook whose row is gone has its effect again. The partitions are of ids, see
-- outbox.turn_by_age, and go as a whole when the provider has long ceased to send what is in them again. A unique key
-- would have to hold the id, so no constraint says that a key is there once: the service holds the lock of the order,
-- and then looks for the key in all partitions. No foreign key: dropping a partition would lock the orders.
create table sale.received_webhook (
    id          bigint      generated always as identity,
    key         text        not null,
    order_id    uuid        not null,
    event_type  text        not null,
    received_at timestamptz not null default clock_timestamp(),

    primary key (key, id)
) partition by range (id);
create trigger stay_in_partition after truncate on sale.received_webhook
    for each statement execute function outbox.stay_in_partition();

-- Turns, makes and drops the partitions of the received webhooks; those that ended more than `received_days` ago go.
-- Returns how many were made or dropped.
create function sale.turn_received(received_days integer default 180) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if received_days < 1 then
        raise exception 'received_days is %, and must be at least 1', received_days
            using errcode = 'invalid_parameter_value';
    end if;
    return outbox.turn_by_age('sale.received_webhook', received_days);
end
$$;
revoke execute on function sale.turn_received(integer) from public;

-- Where a relay makes partitions at this moment, turn_received would leave this one to the next call.
select from outbox.installation for update;
select sale.turn_received();

-- Publishes to the WebSocket clients of an order what they are to see once this transaction has committed.
-- `outbox.live` is a channel of the platform's own, so that it takes a function with the owner's rights.
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

insert into outbox.migration (version, name) values (24, 'sale');
