// Tour calls each package once, on an SQLite file and on Redis servers inside the process. The pages of the repository show
// parts of it.
//
//	go run -C examples ./tour
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite" // the driver "sqlite", in pure Go
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "tour:", err)
		os.Exit(1)
	}
}

// schema is that of SQLite. Money is in cents.
const schema = `
CREATE TABLE items (id TEXT PRIMARY KEY, name TEXT NOT NULL, price BIGINT NOT NULL, stock BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 0);
CREATE TABLE orders (id INTEGER PRIMARY KEY, sku TEXT NOT NULL, quantity BIGINT NOT NULL, status TEXT NOT NULL, price BIGINT);
CREATE TABLE wallets (id TEXT PRIMARY KEY, balance BIGINT NOT NULL);
CREATE TABLE password_resets (code TEXT PRIMARY KEY, user_id BIGINT NOT NULL, used_at TIMESTAMP, expires_at TIMESTAMP NOT NULL);
CREATE TABLE events (id INTEGER PRIMARY KEY, title TEXT NOT NULL, seats BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 0);
CREATE TABLE invoice_numbers (series TEXT PRIMARY KEY, last BIGINT NOT NULL);
CREATE TABLE invoices (series TEXT NOT NULL, n BIGINT NOT NULL, customer TEXT NOT NULL, UNIQUE (series, n));
CREATE TABLE reports (day TEXT PRIMARY KEY, items BIGINT NOT NULL);
INSERT INTO items VALUES ('sku-1', 'pen', 120, 9, 0), ('sku-2', 'ink', 450, 1, 0);
INSERT INTO orders VALUES (7, 'sku-1', 2, 'pending', NULL);
INSERT INTO wallets VALUES ('alice', 2000);
INSERT INTO password_resets VALUES ('c0de', 7, NULL, '2100-01-01 00:00:00');`

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "tour")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := open(ctx, filepath.Join(dir, "shop.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	other, err := open(ctx, filepath.Join(dir, "other.db"))
	if err != nil {
		return err
	}
	defer other.Close()
	clients, stop, err := redisServers(3)
	if err != nil {
		return err
	}
	defer stop()

	return errors.Join(
		closeTheGap(ctx, db), useOnce(ctx, db), outcomes(ctx, db),
		holdTheGap(ctx, db), checkTheGap(ctx, db),
		allOrNone(ctx, db), invoice(ctx, db, "2026-11", "alice"), invoice(ctx, db, "2026-11", "bob"),
		twice(ctx, db), twiceOverHTTP(ctx, db),
		acrossServers(ctx, db, clients[0], clients[1], clients[2]),
		together(ctx, other), printed(ctx, db), logged(db, clients), measured(db, clients),
		fourCalls(ctx, db, clients),
	)
}

// open makes a database with the tables of the tour.
func open(ctx context.Context, file string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// redisServers starts n servers in this process.
func redisServers(n int) (clients []redis.UniversalClient, stop func(), err error) {
	var servers []*miniredis.Miniredis
	stop = func() {
		for i, server := range servers {
			clients[i].Close()
			server.Close()
		}
	}
	for range n {
		server, err := miniredis.Run()
		if err != nil {
			stop()
			return nil, nil, err
		}
		servers = append(servers, server)
		clients = append(clients, redis.NewClient(&redis.Options{Addr: server.Addr()}))
	}
	return clients, stop, nil
}
