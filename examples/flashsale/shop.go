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

// A shop is what one can sell from: the tables of a story, whose names begin with table.
type shop struct {
	db      *sql.DB
	dialect nogap.Dialect
	table   string
	file    string                  // of the database, if it is SQLite
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

// exec runs a statement with question marks for its arguments.
func (s shop) exec(ctx context.Context, query string, args ...any) error {
	_, err := s.db.ExecContext(ctx, s.rebind(query), args...)
	return err
}

// number returns the number that a query asks for.
func (s shop) number(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = s.db.QueryRowContext(ctx, s.rebind(query), args...).Scan(&n)
	return n, err
}

// createTables makes the tables of a story, as the strategy wants them.
func (s shop) createTables(ctx context.Context, story *story, strategy strategy) error {
	statements := story.tables(s)
	if strategy.tables != nil {
		statements = append(statements, strategy.tables(s)...)
	}
	for _, create := range statements {
		if err := s.exec(ctx, create); err != nil {
			return fmt.Errorf("create the tables: %w", err)
		}
	}
	return nil
}

// dropTables removes the tables that are there.
func (s shop) dropTables(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, table := range []string{s.table, s.payments(), s.keys(), s.likes()} {
		if err := s.exec(ctx, "DROP TABLE IF EXISTS "+table); err != nil {
			return fmt.Errorf("drop the table %s: %w", table, err)
		}
	}
	return nil
}
