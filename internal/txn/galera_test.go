package txn_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
)

const (
	askGalera  = "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'"
	askPrepare = "DO ?"
)

// node returns a server for which wsrep_on has that value, if it has that variable.
func node(wsrepOn string) *fakedb.Server {
	return fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Query == askGalera && wsrepOn != "" {
			return fakedb.Row("wsrep_on", wsrepOn), nil
		}
		return fakedb.Reply{}, nil
	})
}

func TestCheckAborts(t *testing.T) {
	for _, tt := range []struct {
		name     string
		dialect  nogap.Dialect
		wsrepOn  string
		prepares bool
		lost     bool
		log      []string
	}{
		{"PostgreSQL", nogap.Postgres, "ON", true, false, nil},
		{"MySQL", nogap.MySQL, "", true, false, []string{askGalera}},
		{"a single MariaDB", nogap.MariaDB, "OFF", true, false, []string{askGalera}},
		{"Galera", nogap.MariaDB, "ON", false, false, []string{askGalera, askPrepare}},
		{"Galera, prepared", nogap.MariaDB, "ON", true, true, []string{askGalera, "PREPARE " + askPrepare, askPrepare}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := dialect.Assume(tt.dialect)
			require.NoError(t, err)
			check := func(t *testing.T, err error) {
				if tt.lost {
					require.ErrorContains(t, err, "interpolateParams=true")
				} else {
					require.NoError(t, err)
				}
			}
			t.Run("on the pool", func(t *testing.T) {
				server := node(tt.wsrepOn)
				server.Prepares = tt.prepares
				db := server.DB()
				defer db.Close()
				for range 3 {
					check(t, txn.CheckAborts(t.Context(), db, s))
					require.Equal(t, tt.log, server.Log(), "once")
				}
			})
			t.Run("in a transaction", func(t *testing.T) {
				server := node(tt.wsrepOn)
				server.Prepares = tt.prepares
				db := server.DB()
				defer db.Close()
				db.SetMaxOpenConns(1)
				tx, err := db.Begin()
				require.NoError(t, err)
				defer tx.Rollback()
				for range 3 {
					check(t, txn.CheckAbortsIn(t.Context(), db, tx, s))
					require.Equal(t, append([]string{"BEGIN"}, tt.log...), server.Log(), "once")
				}
				check(t, txn.CheckAbortsIn(t.Context(), nil, tx, s))
				require.Len(t, server.Log(), 1+2*len(tt.log), "each time, if the pool is not known")
			})
		})
	}
}

// What could not be asked is asked again.
func TestCheckAbortsFails(t *testing.T) {
	s, err := dialect.Assume(nogap.MariaDB)
	require.NoError(t, err)
	for _, question := range []string{askGalera, askPrepare} {
		t.Run(question, func(t *testing.T) {
			fails := true
			db := fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
				switch {
				case fails && c.Query == question:
					return fakedb.Reply{}, errCallback
				case c.Query == askGalera:
					return fakedb.Row("wsrep_on", "ON"), nil
				}
				return fakedb.Reply{}, nil
			})
			defer db.Close()
			require.ErrorIs(t, txn.CheckAborts(t.Context(), db, s), errCallback)
			fails = false
			require.NoError(t, txn.CheckAborts(t.Context(), db, s))
		})
	}
}

func TestIsGalera(t *testing.T) {
	for wsrepOn, want := range map[string]bool{"ON": true, "OFF": false, "": false} {
		db := node(wsrepOn).DB()
		defer db.Close()
		in(t, db, func(tx *sql.Tx) {
			for d, want := range map[nogap.Dialect]bool{nogap.MariaDB: want, nogap.MySQL: want, nogap.SQLite: false} {
				s, err := dialect.Assume(d)
				require.NoError(t, err)
				galera, err := txn.IsGalera(t.Context(), db, tx, s)
				require.NoError(t, err)
				require.Equal(t, want, galera)
			}
		})
	}
}

// in calls f with a transaction of db.
func in(t *testing.T, db *sql.DB, f func(tx *sql.Tx)) {
	t.Helper()
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	f(tx)
}
