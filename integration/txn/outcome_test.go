//go:build unix

package txn_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/txn"
)

// proxied returns a world and a pool that reaches it through the proxy.
func proxied(t *testing.T, target matrix.Target) (*world, *sql.DB, *faultproxy.Proxy) {
	t.Helper()
	w := newWorld(t, target)
	proxy, through := target.Proxy(t, w.dsn)
	return w, target.Connect(t, through), proxy
}

func TestAdd(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		for _, a := range adders(target) {
			t.Run(a.name, func(t *testing.T) {
				w := newWorld(t, target)
				require.NoError(t, a.run(t.Context(), w, w.direct))
				require.Equal(t, 1, w.applied(t))
				requireClean(t, w.direct)
			})
		}
	})
}

// The connection dies around the statement whose answer decides: the write is applied as often as the server was asked,
// never twice, and the error says that nobody can know.
func TestConnectionDies(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		for _, a := range adders(target) {
			for _, fault := range []struct {
				name string
				arm  func(*faultproxy.Proxy, faultproxy.Match) *faultproxy.Fault
				want int
			}{
				{"request lost", (*faultproxy.Proxy).LoseRequest, 0},
				{"reply lost", (*faultproxy.Proxy).LoseReply, 1},
			} {
				for _, how := range []string{"reset", "EOF"} {
					t.Run(a.name+"/"+fault.name+"/"+how, func(t *testing.T) {
						w, db, proxy := proxied(t, target)
						if how == "EOF" {
							proxy.EndWithEOF()
						}
						f := fault.arm(proxy, faultproxy.Executes(a.text))
						err := a.run(t.Context(), w, db)
						f.Await(t)
						require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
						require.False(t, nogap.Retryable(err))
						// The server may take a moment to carry out what it was sent.
						require.Eventually(t, func() bool { return w.applied(t) == fault.want }, 10*time.Second, time.Millisecond)
						requireClean(t, db)
						require.Equal(t, fault.want, w.applied(t))
					})
				}
			}
		}
	})
}

// A connection that dies where no outcome hangs on it is either replaced, or the transaction is over and nothing was
// written.
func TestConnectionDiesBeforeCommit(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		begin := "START TRANSACTION"
		if target.Dialect == nogap.Postgres {
			begin = "BEGIN"
		}
		for _, arm := range []func(*faultproxy.Proxy, faultproxy.Match) *faultproxy.Fault{
			(*faultproxy.Proxy).LoseRequest, (*faultproxy.Proxy).LoseReply,
		} {
			t.Run("begin", func(t *testing.T) {
				w, db, proxy := proxied(t, target)
				f := arm(proxy, faultproxy.Executes(begin))
				require.NoError(t, commitAdder.run(t.Context(), w, db))
				f.Await(t)
				require.Equal(t, 1, w.applied(t))
				requireClean(t, db)
			})
			t.Run("statement", func(t *testing.T) {
				w, db, proxy := proxied(t, target)
				f := arm(proxy, faultproxy.Executes("UPDATE items"))
				err := commitAdder.run(t.Context(), w, db)
				f.Await(t)
				require.Error(t, err)
				require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
				requireClean(t, db)
				require.Zero(t, w.applied(t))
			})
			t.Run("rollback", func(t *testing.T) {
				w, db, proxy := proxied(t, target)
				f := arm(proxy, faultproxy.Executes("ROLLBACK"))
				err := rollBack(t.Context(), db)
				f.Await(t)
				require.ErrorIs(t, err, errCallback)
				require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
				requireClean(t, db)
				require.Zero(t, w.applied(t))
			})
			t.Run("read", func(t *testing.T) {
				_, db, proxy := proxied(t, target)
				f := arm(proxy, faultproxy.Executes("SELECT stock"))
				stock := -1
				require.NoError(t, autocommit(t.Context(), db, func(c *txn.Conn) error {
					return c.Read(t.Context(), "SELECT stock FROM items WHERE id = 1", nil, &stock)
				}))
				f.Await(t)
				require.Zero(t, stock)
				requireClean(t, db)
			})
		}
	})
}

var errCallback = errors.New("the callback's own")

func rollBack(ctx context.Context, db *sql.DB) error {
	return txn.Do(ctx, db, nil, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, add); err != nil {
			return err
		}
		return errCallback
	})
}

// cancelAt makes a call, cancels its context when the fault strikes, and returns where the call's error will be.
func cancelAt(t *testing.T, f *faultproxy.Fault, call func(context.Context) error) <-chan error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- call(ctx) }()
	f.Await(t)
	return result
}

// A server that does not answer COMMIT holds nobody up for longer than a second beyond the context's end, and nothing
// stays behind when it answers at last.
func TestCommitHangs(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		w, db, proxy := proxied(t, target)
		f := proxy.HoldReply(faultproxy.Executes("COMMIT"))
		result := cancelAt(t, f, func(ctx context.Context) error { return commitAdder.run(ctx, w, db) })
		select {
		case err := <-result:
			require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
			require.ErrorIs(t, err, context.Canceled)
		case <-time.After(20 * time.Second):
			t.Fatal("Do waits for an answer that does not come")
		}
		require.Equal(t, 1, w.applied(t))
		proxy.Pass()
		requireClean(t, db)
	})
}

func TestRollbackHangs(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		w, db, proxy := proxied(t, target)
		f := proxy.HoldRequest(faultproxy.Executes("ROLLBACK"))
		result := cancelAt(t, f, func(ctx context.Context) error { return rollBack(ctx, db) })
		select {
		case err := <-result:
			require.ErrorIs(t, err, errCallback)
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		case <-time.After(20 * time.Second):
			t.Fatal("Do waits for an answer that does not come")
		}
		proxy.Pass()
		requireClean(t, db)
		require.Zero(t, w.applied(t))
	})
}

// A statement whose answer does not come ends a second after its context. What it did is not known.
func TestStatementHangs(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		for _, a := range adders(target) {
			if a.name == commitAdder.name {
				continue
			}
			t.Run(a.name, func(t *testing.T) {
				w, db, proxy := proxied(t, target)
				f := proxy.HoldReply(faultproxy.Executes(a.text))
				result := cancelAt(t, f, func(ctx context.Context) error { return a.run(ctx, w, db) })
				select {
				case err := <-result:
					require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
					require.ErrorIs(t, err, context.Canceled)
				case <-time.After(20 * time.Second):
					t.Fatal("the call waits for an answer that does not come")
				}
				require.Equal(t, 1, w.applied(t))
				proxy.Pass()
				requireClean(t, db)
			})
		}
	})
}

// hangs are calls that end a second after their context at the latest, although nothing comes from the server after hang.
var hangs = map[string]func(ctx context.Context, w *world, db *sql.DB, hang func()) error{
	"read": func(ctx context.Context, w *world, db *sql.DB, hang func()) error {
		return autocommit(ctx, db, func(c *txn.Conn) error {
			hang()
			var stock int
			return c.Read(ctx, "SELECT stock FROM items WHERE id = 1", nil, &stock)
		})
	},
	"write": func(ctx context.Context, w *world, db *sql.DB, hang func()) error {
		return w.autocommit(ctx, db, func(c *txn.Conn) error {
			hang()
			_, err := c.Exec(ctx, add)
			return err
		})
	},
	"begin": func(ctx context.Context, w *world, db *sql.DB, hang func()) error {
		hang()
		return txn.Do(ctx, db, nil, func(tx *sql.Tx) error { return nil })
	},
	"statement": func(ctx context.Context, w *world, db *sql.DB, hang func()) error {
		return txn.Do(ctx, db, nil, func(tx *sql.Tx) error {
			hang()
			_, err := tx.ExecContext(ctx, add)
			return err
		})
	},
	"commit": func(ctx context.Context, w *world, db *sql.DB, hang func()) error {
		return txn.Do(ctx, db, nil, func(tx *sql.Tx) error {
			hang()
			return nil
		})
	},
	"rollback": func(ctx context.Context, w *world, db *sql.DB, hang func()) error {
		return txn.Do(ctx, db, nil, func(tx *sql.Tx) error {
			hang()
			return errCallback
		})
	},
	"panic": func(ctx context.Context, w *world, db *sql.DB, hang func()) (err error) {
		defer func() {
			if p := recover(); p != nil { // there is none if the context ends before BEGIN is answered
				err, _ = p.(error)
			}
		}()
		return txn.Do(ctx, db, nil, func(tx *sql.Tx) error {
			hang()
			panic(errCallback)
		})
	},
}

// A network that swallows everything holds nobody up, and keeps no connection of the pool.
func TestNetworkHangs(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		t.Parallel()
		for name, call := range hangs {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w, db, proxy := proxied(t, target)
				require.NoError(t, execAdder.run(t.Context(), w, db))
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				result := make(chan error, 1)
				go func() { result <- call(ctx, w, db, proxy.Hang) }()
				select {
				case err := <-result:
					require.Error(t, err)
					if name != "write" && name != "commit" {
						require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
					}
				case <-time.After(20 * time.Second):
					t.Fatal("the call waits for an answer that does not come")
				}
				require.Eventually(t, func() bool { return db.Stats().InUse == 0 }, 10*time.Second, time.Millisecond)
				proxy.Pass()
				requireClean(t, db)
			})
		}
	})
}
