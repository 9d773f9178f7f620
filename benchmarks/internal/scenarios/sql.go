//go:build unix

package scenarios

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/mysqldialect"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"gorm.io/driver/mysql"
	"gorm.io/driver/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/benchmarks/internal/contest"
	"github.com/nogap-go/nogap/benchmarks/internal/places"
)

// bind writes the placeholders of a statement as the driver wants them.
func bind(s *contest.Stage, query string) string { return sqlx.Rebind(sqlx.BindType(s.Driver), query) }

// forUpdate is what has a SELECT lock its rows. On SQLite BEGIN IMMEDIATE locks instead.
func forUpdate(s *contest.Stage) string {
	if s.Dialect == nogap.SQLite {
		return ""
	}
	return " FOR UPDATE"
}

// inTx runs f in a transaction as one writes it by hand. On SQLite it takes the lock of the writer at its beginning, for
// which database/sql has no word.
func inTx(ctx context.Context, s *contest.Stage, opts *sql.TxOptions, f func(tx nogap.Tx) error) error {
	if s.Dialect == nogap.SQLite {
		return inSQLite(ctx, s.DB, f)
	}
	tx, err := s.DB.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func inSQLite(ctx context.Context, db *sql.DB, f func(tx nogap.Tx) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err = f(conn)
	if err == nil {
		_, err = conn.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		_, rollback := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		return errors.Join(err, rollback)
	}
	return nil
}

// again calls f until it returns true, after a random and growing wait, as one writes it by hand.
func again(ctx context.Context, f func() (done bool, err error)) error {
	for limit := 2 * time.Millisecond; ; limit = min(2*limit, 250*time.Millisecond) {
		if done, err := f(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rand.N(limit)):
		}
	}
}

// execAll executes statements one after the other.
func execAll(ctx context.Context, db *sql.DB, statements ...string) error {
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%w: %.80s", err, statement)
		}
	}
	return nil
}

// insertRange inserts rows for the numbers from first to last, many at a time. row formats one.
func insertRange(ctx context.Context, db *sql.DB, into string, first, last int64, row func(id int64) string) error {
	const atOnce = 500
	for ; first <= last; first += atOnce {
		var values []string
		for id := first; id <= min(last, first+atOnce-1); id++ {
			values = append(values, row(id))
		}
		if err := execAll(ctx, db, "INSERT INTO "+into+" VALUES "+strings.Join(values, ", ")); err != nil {
			return err
		}
	}
	return nil
}

// on returns a condition for Way.On: the place has one of the dialects.
func on(dialects ...nogap.Dialect) func(*places.Place) bool {
	return func(p *places.Place) bool {
		for _, d := range dialects {
			if p.Dialect == d {
				return true
			}
		}
		return false
	}
}

// openGORM returns GORM on the pool of the stage, with its defaults, except that it logs nothing.
func openGORM(s *contest.Stage) (*gorm.DB, error) {
	var dialector gorm.Dialector
	switch s.Dialect {
	case nogap.Postgres:
		dialector = postgres.New(postgres.Config{Conn: s.DB})
	case nogap.SQLite:
		dialector = sqlite.New(sqlite.Config{Conn: s.DB})
	default:
		dialector = mysql.New(mysql.Config{Conn: s.DB})
	}
	return gorm.Open(dialector, &gorm.Config{Logger: logger.Discard})
}

// openBun returns bun on the pool of the stage.
func openBun(s *contest.Stage) *bun.DB {
	switch s.Dialect {
	case nogap.Postgres:
		return bun.NewDB(s.DB, pgdialect.New())
	case nogap.SQLite:
		return bun.NewDB(s.DB, sqlitedialect.New())
	default:
		return bun.NewDB(s.DB, mysqldialect.New())
	}
}
