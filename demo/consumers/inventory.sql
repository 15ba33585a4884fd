create schema inventory;

create table inventory.stock (
    product text   primary key,
    opening bigint not null,
    on_hand bigint not null
);
