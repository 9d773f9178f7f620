package pessimistic_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/pessimistic"
)

// Where the driver has each statement prepared, WithRowLocks prepares its SELECT once, before the first lock.
func TestRowLocksPrepareOnce(t *testing.T) {
	const query = "SELECT `id`, `stock` FROM `items` WHERE `id` = ? FOR UPDATE"
	const several = "SELECT `id`, `stock`, `id` FROM `items` WHERE `id` = ? FOR UPDATE"
	const prepare = "PREPARE " + several
	for _, tt := range []struct {
		name     string
		dialect  nogap.Dialect
		prepares bool
		keys     []any
		log      []string
	}{
		{"MySQL", nogap.MySQL, true, []any{1, 2, 3}, []string{"BEGIN", prepare, several, several, several, "COMMIT"}},
		{"MariaDB", nogap.MariaDB, true, []any{1, 2}, []string{"BEGIN", prepare, several, several, "COMMIT"}},
		{"one row", nogap.MySQL, true, []any{1}, []string{"BEGIN", "PREPARE " + query, query, "COMMIT"}},
		{"as text", nogap.MySQL, false, []any{1, 2}, []string{"BEGIN", several, several, "COMMIT"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := server(nil)
			s.Prepares = tt.prepares
			db := s.DB()
			defer db.Close()
			before := 0
			for range 2 {
				before = len(s.Log())
				rows := pessimistic.Rows{Table: "items", Keys: tt.keys}
				require.NoError(t, pessimistic.WithRowLocks(t.Context(), db, rows,
					func(context.Context, *sqlx.Tx, []*item) error { return nil }, pessimistic.WithDialect(tt.dialect)))
			}
			require.Equal(t, tt.log, s.Log()[before:], "once it is known whether the driver prepares")
		})
	}
}

func TestRowLocksCannotPrepare(t *testing.T) {
	refused := errors.New("refused")
	s := server(func(c fakedb.Call) error {
		if c.Kind == fakedb.Prepare && c.Query != "DO ?" {
			return refused
		}
		return nil
	})
	s.Prepares = true
	db := s.DB()
	defer db.Close()
	err := pessimistic.WithRowLocks(t.Context(), db, pessimistic.Rows{Table: "items", Keys: []any{1, 2}},
		func(context.Context, *sqlx.Tx, []*item) error { return nil }, pessimistic.WithDialect(nogap.MySQL))
	require.ErrorIs(t, err, refused)
	require.ErrorContains(t, err, "pessimistic: items at [1]: ")
	require.Zero(t, db.Stats().InUse)
}
