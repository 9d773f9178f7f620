//go:build unix

package txn_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/txn"
)

// A connection that has been closed already is not used for what writes, so it is known that nothing was written over it, also
// where the other side would still have read it.
func TestConnectionIsClosedBefore(t *testing.T) {
	for name, end := range map[string]func(*faultproxy.Proxy){
		"reset":       (*faultproxy.Proxy).Cut,
		"end of file": func(p *faultproxy.Proxy) { p.EndWithEOF(); p.Cut() },
		"half-close":  (*faultproxy.Proxy).EndReplies,
	} {
		t.Run(name, func(t *testing.T) {
			matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
				for _, a := range adders(target) {
					t.Run(a.name, func(t *testing.T) {
						w, db, proxy := proxied(t, target)
						require.NoError(t, execAdder.run(t.Context(), w, db)) // the first call asks questions, and so finds out
						end(proxy)
						require.NoError(t, a.run(t.Context(), w, db))
						require.Equal(t, 2, w.applied(t))
						requireClean(t, db)
					})
				}
				t.Run("before COMMIT", func(t *testing.T) {
					w, db, proxy := proxied(t, target)
					err := txn.Do(t.Context(), db, nil, func(tx *sql.Tx) error {
						_, err := tx.ExecContext(t.Context(), add)
						end(proxy)
						return err
					})
					require.ErrorContains(t, err, "nothing was written")
					require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
					requireClean(t, db)
					require.Zero(t, w.applied(t))
				})
				t.Run("behind the callback's own COMMIT", func(t *testing.T) {
					w, db, proxy := proxied(t, target)
					err := txn.Do(t.Context(), db, nil, func(tx *sql.Tx) error {
						_, err := tx.ExecContext(t.Context(), add)
						require.NoError(t, err)
						require.NoError(t, tx.Commit())
						end(proxy)
						return nil
					})
					require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
					require.Equal(t, 1, w.applied(t))
					require.NoError(t, execAdder.run(t.Context(), w, db), "which drops the connection that has ended")
					require.Equal(t, 2, w.applied(t))
					requireClean(t, db)
				})
				t.Run("behind a COMMIT by a statement", func(t *testing.T) {
					w, db, proxy := proxied(t, target)
					err := txn.Do(t.Context(), db, nil, func(tx *sql.Tx) error {
						for _, statement := range []string{add, "COMMIT"} {
							_, err := tx.ExecContext(t.Context(), statement)
							require.NoError(t, err)
						}
						end(proxy)
						return nil
					})
					require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
					requireClean(t, db)
					require.Equal(t, 1, w.applied(t))
				})
			})
		})
	}
}

// The farewell of an encrypted connection can't be read, and stands before its end.
func TestEncryptedConnectionIsClosedBefore(t *testing.T) {
	for _, target := range matrix.MySQL() {
		w := newWorld(t, target)
		db := target.Connect(t, w.dsn+"&tls=skip-verify")
		err := txn.Do(t.Context(), db, nil, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), add)
			require.NoError(t, err)
			w.kill(t, w.id(t, tx))
			return nil
		})
		require.ErrorContains(t, err, "nothing was written")
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		requireClean(t, db)
		require.Zero(t, w.applied(t))
	}
}
