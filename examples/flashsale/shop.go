package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap"
)

// A shop is what one can sell from: a table with the columns id and stock, and a version for those who look at it.
type shop struct {
	db      *sql.DB
	dialect nogap.Dialect
	table   string
	redis   []redis.UniversalClient // only for a strategy that says how many nodes it needs
}

// close closes the connections.
func (s shop) close() error {
	errs := []error{s.db.Close()}
	for _, client := range s.redis {
		errs = append(errs, client.Close())
	}
	return errors.Join(errs...)
}

// newTableName returns a name that is nobody's: not a table of the user's, nor that of a sale that runs next to this one.
func newTableName() string {
	return "nogap_flashsale_" + strings.ToLower(rand.Text()[:12])
}

// rebind writes the placeholders of query, which are question marks, as the database wants them.
func (s shop) rebind(query string) string {
	if s.dialect == nogap.Postgres {
		return sqlx.Rebind(sqlx.DOLLAR, query)
	}
	return query
}

// createTable makes the table and puts so many of the item into it.
func (s shop) createTable(ctx context.Context, item int64, stock int) error {
	create := "CREATE TABLE " + s.table + " (id BIGINT PRIMARY KEY, stock BIGINT NOT NULL, version BIGINT NOT NULL DEFAULT 0)"
	if _, err := s.db.ExecContext(ctx, create); err != nil {
		return fmt.Errorf("create the table: %w", err)
	}
	insert := s.rebind("INSERT INTO " + s.table + " (id, stock) VALUES (?, ?)")
	if _, err := s.db.ExecContext(ctx, insert, item, stock); err != nil {
		return fmt.Errorf("fill the table: %w", err)
	}
	return nil
}

// dropTable removes the table if it is there.
func (s shop) dropTable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := s.db.ExecContext(ctx, "DROP TABLE IF EXISTS "+s.table); err != nil {
		return fmt.Errorf("drop the table %s: %w", s.table, err)
	}
	return nil
}

// stock returns how many of the item are left, and sql.ErrNoRows if there is no such item.
func (s shop) stock(ctx context.Context, item int64) (left int64, err error) {
	err = s.db.QueryRowContext(ctx, s.rebind("SELECT stock FROM "+s.table+" WHERE id = ?"), item).Scan(&left)
	return left, err
}
