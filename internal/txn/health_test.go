package txn_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
)

const idle = 20

// fill puts so many idle connections into the pool.
func fill(t *testing.T, db *sql.DB, n int) {
	t.Helper()
	db.SetMaxIdleConns(n)
	var conns []*sql.Conn
	for range n {
		c, err := db.Conn(t.Context())
		require.NoError(t, err)
		conns = append(conns, c)
	}
	for _, c := range conns {
		require.NoError(t, c.Close())
	}
}

// restarting is a server that fails every call on the connections from before its restart with err.
type restarting struct {
	err error
	// last is the last connection from before the restart.
	last atomic.Int64
}

func (r *restarting) handle(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
	if int64(c.Conn) <= r.last.Load() && c.Kind != fakedb.Close {
		return fakedb.Reply{}, r.err
	}
	if c.Query == "SELECT version()" {
		return fakedb.Row("8.0.36"), nil
	}
	r2 := fakedb.Row(int64(1))
	r2.RowsAffected = 1
	return r2, nil
}

// pool returns that of a driver that is believed about driver.ErrBadConn, or of one that is not.
func pool(server *fakedb.Server, driver string) *sql.DB {
	if driver == "honest" {
		return server.DB()
	}
	return sql.OpenDB(stranger{server})
}

var lostErrors = map[string]error{
	"ErrBadConn": driver.ErrBadConn, "EOF": io.EOF, "unexpected EOF": io.ErrUnexpectedEOF, "FATAL": &pgError{"FATAL", "57P01"},
}

// The server has closed all idle connections. The question what it is writes nothing, so nobody is told of that.
func TestFirstCallsAfterARestart(t *testing.T) {
	for name, lost := range lostErrors {
		for _, honest := range []string{"honest", "dishonest"} {
			t.Run(name+"/"+honest, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &restarting{err: lost}
					server := fakedb.Recorded(s.handle)
					db := pool(server, honest)
					defer db.Close()
					fill(t, db, idle)
					s.last.Store(idle)
					for range 2 * idle {
						src, err := dialect.NewSource(db, 0)
						require.NoError(t, err)
						_, err = src.Server(t.Context(), txn.Pool{DB: db})
						require.NoError(t, err)
					}
					require.Equal(t, "SELECT version()", server.Log()[len(server.Log())-1])
					require.Zero(t, db.Stats().InUse)
				})
			})
		}
	}
}

// callers are the ways in which txn is called, and how many of them may not know their outcome after a restart.
var callers = []struct {
	name    string
	unknown int
	call    func(ctx context.Context, db *sql.DB) error
}{
	{"Exec", 1, func(ctx context.Context, db *sql.DB) error {
		return txn.With(ctx, db, func(c *txn.Conn) error { _, err := c.Exec(ctx, "UPDATE"); return err })
	}},
	{"QueryRow", 1, func(ctx context.Context, db *sql.DB) error {
		return txn.With(ctx, db, func(c *txn.Conn) error {
			var n int
			return c.QueryRow(ctx, "UPDATE RETURNING", nil, &n)
		})
	}},
	{"Read", 0, func(ctx context.Context, db *sql.DB) error {
		var n int
		return txn.Pool{DB: db}.Read(ctx, "SELECT n", nil, &n)
	}},
	{"Do", 0, func(ctx context.Context, db *sql.DB) error {
		return txn.Do(ctx, db, nil, func(tx *sql.Tx) error { _, err := tx.ExecContext(ctx, "INSERT"); return err })
	}},
}

// A restart ends all idle connections. It costs the outcome of the call that finds out, and not that of every call which
// takes one of the others.
func TestRestartCostsFewOutcomes(t *testing.T) {
	for name, lost := range lostErrors {
		for _, honest := range []string{"honest", "dishonest"} {
			for _, caller := range callers {
				t.Run(name+"/"+honest+"/"+caller.name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := &restarting{err: lost}
						server := fakedb.New(s.handle)
						db := pool(server, honest)
						defer db.Close()
						fill(t, db, idle)
						s.last.Store(idle)
						unknown := 0
						for range 2 * idle {
							switch err := caller.call(t.Context(), db); {
							case errors.Is(err, nogap.ErrOutcomeUnknown):
								unknown++
							default:
								require.NoError(t, err)
							}
						}
						synctest.Wait()
						most := caller.unknown
						if honest == "honest" && lost == driver.ErrBadConn {
							most = 0
						}
						require.LessOrEqual(t, unknown, most)
						require.Zero(t, db.Stats().InUse)
					})
				})
			}
		}
	}
}

// probes counts how often a connection was tried.
func probes(server *fakedb.Server) (n int) {
	for _, q := range server.Log() {
		if q == "SELECT 1" {
			n++
		}
	}
	return n
}

// Calls that go well cost no question, and suspicion ends when those that were idle have been tried.
func TestSuspicionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &restarting{err: io.EOF}
		server := fakedb.Recorded(s.handle)
		db := server.DB()
		defer db.Close()
		fill(t, db, idle)
		exec := callers[0].call
		for range 2 * idle {
			require.NoError(t, exec(t.Context(), db))
		}
		require.Zero(t, probes(server), "no call asks while all is well")

		s.last.Store(idle)
		require.ErrorIs(t, exec(t.Context(), db), nogap.ErrOutcomeUnknown)
		for range idle {
			require.NoError(t, exec(t.Context(), db))
		}
		asked := probes(server)
		require.LessOrEqual(t, asked, idle+1)
		for range idle {
			require.NoError(t, exec(t.Context(), db))
		}
		require.Equal(t, asked, probes(server), "it has ended")
	})
}

// A caller that gives up says nothing about the other connections.
func TestCancellationSuspectsNobody(t *testing.T) {
	for _, caller := range callers {
		t.Run(caller.name, func(t *testing.T) {
			hang := false
			handle := func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
				if hang && (c.Kind == fakedb.Exec || c.Kind == fakedb.Query) && c.Query != "SELECT 1" {
					<-ctx.Done()
					return fakedb.Reply{}, ctx.Err()
				}
				return fakedb.Reply{}, nil
			}
			serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
				fill(t, db, idle)
				hang = true
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				require.ErrorIs(t, caller.call(ctx, db), context.DeadlineExceeded)
				hang = false
				asked := probes(server) // of the connection itself
				for range idle {
					require.NoError(t, caller.call(t.Context(), db))
				}
				require.Equal(t, asked, probes(server))
			})
		})
	}
}

// A context that ends while a suspected connection is tried does not cost that connection, which may hold a database in
// memory, and it stays suspected.
func TestSuspectIsTriedInVain(t *testing.T) {
	hang, lose := false, false
	handle := func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case hang && c.Query == "SELECT 1":
			<-ctx.Done()
			return fakedb.Reply{}, ctx.Err()
		case lose && c.Query == "UPDATE":
			return fakedb.Reply{}, io.EOF
		}
		return fakedb.Reply{}, nil
	}
	serve(t, handle, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		exec := callers[0].call
		fill(t, db, 1)
		lose = true
		require.ErrorIs(t, exec(t.Context(), db), nogap.ErrOutcomeUnknown)
		lose, hang = false, true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := exec(ctx, db)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Equal(t, 1, server.OpenConns())
		hang = false
		require.NoError(t, exec(t.Context(), db))
		require.Equal(t, []string{"UPDATE", "SELECT 1", "SELECT 1", "UPDATE"}, server.Log())
	})
}
