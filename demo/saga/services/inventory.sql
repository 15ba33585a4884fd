create schema inventory;

create table inventory.stock (
    product   text    primary key,
    opening   integer not null,
    available integer not null check (available >= 0)
);

-- One row for each order: the key of the step's effect. A `tombstone` was released before it was reserved.
create table inventory.reservation (
    order_id uuid    primary key,
    product  text    not null,
    quantity integer not null,
    state    text    not null check (state in ('new', 'reserved', 'refused', 'released', 'tombstone'))
);
