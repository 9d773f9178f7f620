CREATE TABLE orders (id bigint PRIMARY KEY, sku text NOT NULL, quantity bigint NOT NULL);
