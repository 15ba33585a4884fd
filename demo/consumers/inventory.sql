create schema inventory;

create table inventory.stock (
    product text    primary key,
    opening integer not null,
    on_hand integer not null
);
