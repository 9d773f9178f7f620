//go:build unix

package atomic_test

import (
	"context"
	"database/sql"
	stdatomic "sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

func likes(tb testing.TB, target matrix.Target) *sql.DB {
	tb.Helper()
	db := target.Open(tb)
	createLikes(tb, db)
	return db
}

func createLikes(tb testing.TB, db *sql.DB) {
	tb.Helper()
	exec(tb, db, "CREATE TABLE likes (post_id BIGINT NOT NULL, user_id VARCHAR(40) NOT NULL, note VARCHAR(40) UNIQUE)")
}

func TestSet(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := likes(t, target)
		exec(t, db, "CREATE UNIQUE INDEX once ON likes (user_id, post_id)")
		set, err := atomic.NewSet(db, "likes", []string{"post_id", "user_id"})
		require.NoError(t, err)
		ctx := t.Context()
		for _, want := range []bool{true, false, false} {
			added, err := set.Add(ctx, 1, "ann")
			require.NoError(t, err)
			require.Equal(t, want, added)
		}
		added, err := set.Add(ctx, 1, "ben")
		require.NoError(t, err)
		require.True(t, added)
		for _, want := range []bool{true, false} {
			removed, err := set.Remove(ctx, 1, "ann")
			require.NoError(t, err)
			require.Equal(t, want, removed)
		}
		require.Equal(t, 1, value[int](t, db, "SELECT count(*) FROM likes"))

		_, err = set.Add(ctx, 1)
		require.ErrorContains(t, err, "(post_id, user_id)")
		_, err = set.Add(ctx, 1, nil)
		require.ErrorContains(t, err, "user_id is NULL")
		_, err = set.Remove(ctx, 1, (*string)(nil))
		require.ErrorContains(t, err, "user_id is NULL")
	})
}

func TestSetInATransaction(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := likes(t, target)
		exec(t, db, "CREATE UNIQUE INDEX once ON likes (post_id, user_id)")
		set, err := atomic.NewSet(db, "likes", []string{"post_id", "user_id"}, atomic.WithDialect(target.Dialect))
		require.NoError(t, err)
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		for _, want := range []bool{true, false} {
			added, err := set.WithTx(tx).Add(t.Context(), 1, "ann")
			require.NoError(t, err)
			require.Equal(t, want, added)
		}
		require.NoError(t, tx.Rollback())
		added, err := set.Add(t.Context(), 1, "ann")
		require.NoError(t, err)
		require.True(t, added, "the transaction was rolled back")
	})
}

// A row that a later transaction put in is not in the snapshot, but it is what the INSERT met.
func TestSetBehindASnapshot(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		if !mysqlLike(target) {
			return
		}
		db := likes(t, target)
		exec(t, db, "CREATE UNIQUE INDEX once ON likes (post_id, user_id)")
		set, err := atomic.NewSet(db, "likes", []string{"post_id", "user_id"})
		require.NoError(t, err)
		tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
		require.NoError(t, err)
		defer tx.Rollback()
		var n int
		require.NoError(t, tx.QueryRow("SELECT count(*) FROM likes").Scan(&n))
		added, err := set.Add(t.Context(), 1, "ann")
		require.NoError(t, err)
		require.True(t, added)
		stale := refusesStale(t, tx)
		added, err = set.WithTx(tx).Add(t.Context(), 1, "ann")
		require.False(t, added)
		if stale {
			require.True(t, nogap.Retryable(err), err)
			return
		}
		require.NoError(t, err)
	})
}

func TestSetNeedsItsIndex(t *testing.T) {
	tests := map[string]struct {
		index string
		fits  bool
	}{
		"none":          {"", false},
		"not unique":    {"CREATE INDEX i ON likes (post_id, user_id)", false},
		"one column":    {"CREATE UNIQUE INDEX i ON likes (post_id)", false},
		"three columns": {"CREATE UNIQUE INDEX i ON likes (post_id, user_id, note)", false},
		"partial":       {"CREATE UNIQUE INDEX i ON likes (post_id, user_id) WHERE post_id > 5", false},
		"prefix":        {"CREATE UNIQUE INDEX i ON likes (post_id, user_id(3))", false},
		"expression":    {"CREATE UNIQUE INDEX i ON likes (post_id, lower(user_id))", false},
		"primary key":   {"ALTER TABLE likes ADD PRIMARY KEY (post_id, user_id)", true},
		"constraint":    {"ALTER TABLE likes ADD CONSTRAINT u UNIQUE (user_id, post_id)", true},
		"index":         {"CREATE UNIQUE INDEX i ON likes (post_id, user_id)", true},
	}
	skip := func(target matrix.Target, name string) bool {
		switch name {
		case "partial", "expression":
			return mysqlLike(target)
		case "prefix":
			return !mysqlLike(target)
		case "primary key", "constraint":
			return target.Dialect == nogap.SQLite
		}
		return false
	}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		for name, tt := range tests {
			if skip(target, name) { // the server knows no such statement
				continue
			}
			t.Run(name, func(t *testing.T) {
				createLikes(t, db)
				defer exec(t, db, "DROP TABLE likes")
				if tt.index != "" {
					exec(t, db, tt.index)
				}
				set, err := atomic.NewSet(db, "likes", []string{"post_id", "user_id"})
				require.NoError(t, err)
				added, err := set.Add(t.Context(), 1, "ann")
				if tt.fits {
					require.NoError(t, err)
					require.True(t, added)
					return
				}
				require.ErrorIs(t, err, atomic.ErrNoUniqueIndex)
				require.ErrorContains(t, err, "post_id, user_id")
				require.ErrorContains(t, err, "likes")
				require.Zero(t, value[int](t, db, "SELECT count(*) FROM likes"))
			})
		}
	})
}

func TestSetOfOneColumn(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE handled (event INTEGER PRIMARY KEY)")
		set, err := atomic.NewSet(db, "handled", []string{"event"})
		require.NoError(t, err)
		for _, want := range []bool{true, false} {
			added, err := set.Add(t.Context(), 7)
			require.NoError(t, err)
			require.Equal(t, want, added)
		}
	})
}

// Only the Set's own index means "it was there"; what another one refuses is an error.
func TestSetAndAnotherUniqueIndex(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE seats (seat INT PRIMARY KEY, hall INT DEFAULT 1 UNIQUE)")
		set, err := atomic.NewSet(db, "seats", []string{"seat"})
		require.NoError(t, err)
		added, err := set.Add(t.Context(), 1)
		require.NoError(t, err)
		require.True(t, added)
		_, err = set.Add(t.Context(), 2)
		require.Error(t, err)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
	})
}

// A foreign key of SQLite's is looked at when the statement has returned its rows; a deferred one of PostgreSQL's too.
func TestSetRefusedByAForeignKey(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		ways := []string{""}
		if target.Dialect == nogap.Postgres || target.Dialect == nogap.SQLite {
			ways = append(ways, " DEFERRABLE INITIALLY DEFERRED")
		}
		for _, way := range ways {
			db := target.Open(t)
			exec(t, db, "CREATE TABLE posts (id INT PRIMARY KEY)")
			exec(t, db, "CREATE TABLE likes (post_id INT NOT NULL, user_id INT NOT NULL, PRIMARY KEY (post_id, user_id), "+
				"FOREIGN KEY (post_id) REFERENCES posts (id)"+way+")")
			if target.Dialect == nogap.SQLite {
				db.SetMaxOpenConns(1)
				exec(t, db, "PRAGMA foreign_keys = ON")
			}
			set, err := atomic.NewSet(db, "likes", []string{"post_id", "user_id"})
			require.NoError(t, err)
			for range 2 {
				added, err := set.Add(t.Context(), 1, 7)
				require.Error(t, err, way)
				require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
				require.False(t, added)
			}
			require.Zero(t, value[int](t, db, "SELECT count(*) FROM likes"))
			exec(t, db, "INSERT INTO posts VALUES (1)")
			added, err := set.Add(t.Context(), 1, 7)
			require.NoError(t, err)
			require.True(t, added)
		}
	})
}

func TestHundredLikesAtOnce(t *testing.T) {
	matrix.Parallel(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db := likes(t, target)
		exec(t, db, "CREATE UNIQUE INDEX once ON likes (post_id, user_id)")
		set, err := atomic.NewSet(db, "likes", []string{"post_id", "user_id"})
		require.NoError(t, err)
		// winners returns how many of n calls at once changed the set.
		winners := func(n int, change func(context.Context, ...any) (bool, error), post int) int32 {
			var changed stdatomic.Int32
			together(n, func(int) {
				ok, err := change(context.Background(), post, "ann")
				if err != nil {
					t.Error(err)
				}
				if ok {
					changed.Add(1)
				}
			})
			return changed.Load()
		}
		for post := range 3 {
			require.EqualValues(t, 1, winners(100, set.Add, post))
			require.EqualValues(t, 1, winners(20, set.Remove, post))
		}
	})
}
