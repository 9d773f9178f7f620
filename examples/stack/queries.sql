-- name: CreateOrder :exec
INSERT INTO orders (id, sku, quantity) VALUES ($1, $2, $3);
