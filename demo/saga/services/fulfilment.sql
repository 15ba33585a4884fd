create schema fulfilment;

-- One row for each order. A `tombstone` was withdrawn before it was requested.
create table fulfilment.parcel (
    order_id uuid    primary key,
    product  text    not null,
    quantity integer not null,
    state    text    not null check (state in ('new', 'packed', 'refused', 'withdrawn', 'tombstone', 'shipped'))
);

create table fulfilment.shipment (
    order_id   uuid        primary key references fulfilment.parcel,
    product    text        not null,
    quantity   integer     not null,
    shipped_at timestamptz not null default clock_timestamp()
);
