//go:build unix

package optimistic_test

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
)

// rank is a number that can't be read, as one whose name is looked up elsewhere.
type rank uint32

var errNoRank = errors.New("no such rank")

func (*rank) Scan(any) error {
	return fmt.Errorf("%w: %w: %w", errNoRank, nogap.ErrNotUnique, sql.ErrNoRows)
}

// page has a version that can't be read while unreadable is true.
type page struct {
	ID      int    `db:"id"`
	Name    string `db:"name"`
	Version moment `db:"version"`
}

type moment struct {
	Time  time.Time
	Valid bool
}

var unreadable bool

func (m *moment) Scan(v any) error {
	if unreadable {
		return new(rank).Scan(v)
	}
	m.Time, m.Valid = v.(time.Time), true
	return nil
}

func (m moment) Value() (driver.Value, error) { return m.Time, nil }

var instants = map[nogap.Dialect]string{
	nogap.Postgres: "TIMESTAMPTZ", nogap.MySQL: "DATETIME(6)", nogap.MariaDB: "DATETIME(6)", nogap.SQLite: "TIMESTAMP",
}

// The error with which a type of the caller's refuses what the server has made does not say that no row was written: it stands.
func TestMadeValueThatCannotBeScanned(t *testing.T) {
	isUnread := func(t *testing.T, err error) {
		t.Helper()
		require.ErrorIs(t, err, errNoRank)
		require.NotErrorIs(t, err, sql.ErrNoRows)
		require.NotErrorIs(t, err, nogap.ErrNotUnique)
		require.NotErrorIs(t, err, optimistic.ErrVersionConflict)
	}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE things (id "+generated[target.Dialect][0]+", name VARCHAR(20) UNIQUE, version BIGINT NOT NULL DEFAULT 99)")
		things, err := optimistic.NewTable[made[rank]](db, "things")
		require.NoError(t, err)
		if err := things.Insert(t.Context(), &made[rank]{Name: "ann"}); err != nil { // on other servers the driver tells the number
			isUnread(t, err)
			require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
		}
		require.Equal(t, "ann", value[string](t, db, "SELECT name FROM things"))
		exec(t, db, "CREATE TABLE pages (id INT PRIMARY KEY, name VARCHAR(20), version "+instants[target.Dialect]+")")
		pages, err := optimistic.NewTable[page](db, "pages")
		require.NoError(t, err)
		require.NoError(t, pages.Insert(t.Context(), &page{ID: 1, Name: "ann"}))
		read, err := pages.Get(t.Context(), 1)
		require.NoError(t, err)
		read.Name, unreadable = "ben", true
		err = pages.Update(t.Context(), read)
		unreadable = false
		want := "ben"
		switch {
		case errors.Is(err, nogap.ErrOutcomeUnknown):
			isUnread(t, err)
		case err != nil: // of the version to write
			want = "ann"
		}
		require.Equal(t, want, value[string](t, db, "SELECT name FROM pages"), "%v", err)
	})
}
