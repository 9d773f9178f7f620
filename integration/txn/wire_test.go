//go:build unix

package txn_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/calm"
	"github.com/nogap-go/nogap/integration/matrix"
)

// cancelBlocked makes a write that waits for a lock, and cancels it at a time of the clock.
func (w *world) cancelBlocked(t *testing.T, db *sql.DB, clock *calm.Clock) (ended time.Duration, err error) {
	t.Helper()
	release := w.lock(t)
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- execAdder.run(ctx, w, db) }()
	w.AwaitBlocked(t, w.direct)
	ended = clock.Now()
	cancel()
	err = <-result
	require.ErrorIs(t, err, context.Canceled)
	return ended, err
}

// A request to cancel may arrive late, and must not meet the next statement: the connection is closed, although a pgxpool would
// hand it out again.
func TestCancelledConnectionLeavesThePool(t *testing.T) {
	w := newWorld(t, matrix.Postgres()[0])
	config, err := pgxpool.ParseConfig(w.dsn)
	require.NoError(t, err)
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer pool.Close()
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	before := w.id(t, db)
	clock := w.startClock(t)
	ended, err := w.cancelBlocked(t, db, clock)
	told(t, err, clock, ended)
	require.NotEqual(t, before, w.id(t, db))
}

// undated is a connection without deadlines, as one through SSH is.
type undated struct{ net.Conn }

var errNoDeadline = errors.New("deadlines are not supported")

func (undated) SetDeadline(time.Time) error      { return errNoDeadline }
func (undated) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (undated) SetWriteDeadline(time.Time) error { return errNoDeadline }

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

func (d dialer) Dial(network, addr string) (net.Conn, error) {
	return d(context.Background(), network, addr)
}
func (d dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return d(ctx, network, addr)
}
func (d dialer) DialTimeout(network, addr string, _ time.Duration) (net.Conn, error) {
	return d.Dial(network, addr)
}

// pqThrough makes connections of lib/pq by a dialer.
type pqThrough struct {
	dial dialer
	dsn  string
}

func (c pqThrough) Connect(context.Context) (driver.Conn, error) { return pq.DialOpen(c.dial, c.dsn) }
func (c pqThrough) Driver() driver.Driver                        { return &pq.Driver{} }

// openThrough opens a pool whose connections are made by a dialer.
func openThrough(t *testing.T, target matrix.Target, dsn string, dial dialer) *sql.DB {
	t.Helper()
	var connector driver.Connector
	switch target.Driver {
	case "pgx":
		config, err := pgx.ParseConfig(dsn)
		require.NoError(t, err)
		config.DialFunc = pgconn.DialFunc(dial)
		connector = stdlib.GetConnector(*config)
	case "postgres":
		connector = pqThrough{dial, dsn}
	default: // the way of the oldest driver, as that of lib/pq is
		config, err := mysql.ParseDSN(dsn)
		require.NoError(t, err)
		network := "through " + t.Name()
		mysql.RegisterDialContext(network, func(ctx context.Context, addr string) (net.Conn, error) { return dial(ctx, "tcp", addr) })
		config.Net = network
		made, err := mysql.NewConnector(config)
		require.NoError(t, err)
		connector = made
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Where a connection has no deadlines, it is closed at the end of the grace.
func TestConnectionWithoutDeadlines(t *testing.T) {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		return undated{conn}, err
	}
	matrix.Run(t, append(matrix.Postgres(), matrix.MariaDB()[0]), func(t *testing.T, target matrix.Target) {
		t.Parallel()
		for name, call := range hangs {
			if target.Driver == "pgx" && (name == "read" || name == "begin" || name == "statement") {
				continue // pgx itself ends these by a deadline
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, target)
				proxy, through := target.Proxy(t, w.dsn)
				db := openThrough(t, target, through, dial)
				require.NoError(t, execAdder.run(t.Context(), w, db))
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				result := make(chan error, 1)
				go func() { result <- call(ctx, w, db, proxy.Hang) }()
				select {
				case err := <-result:
					require.Error(t, err)
				case <-time.After(20 * time.Second):
					t.Fatal("the call waits for an answer that does not come")
				}
				require.Eventually(t, func() bool { return db.Stats().InUse == 0 }, 10*time.Second, time.Millisecond)
			})
		}
	})
}

// closable is a connector that (*sql.DB).Close closes.
type closable struct {
	driver.Connector
	closed atomic.Bool
}

var _ io.Closer = (*closable)(nil)

func (c *closable) Close() error {
	c.closed.Store(true)
	return nil
}

// The connection aside, over which a statement is killed, is made by the connector of the *sql.DB, which goes on using that.
func TestConnectorIsNotClosedAside(t *testing.T) {
	w := newWorld(t, matrix.MariaDB()[0])
	config, err := mysql.ParseDSN(w.dsn)
	require.NoError(t, err)
	inner, err := mysql.NewConnector(config)
	require.NoError(t, err)
	connector := &closable{Connector: inner}
	db := sql.OpenDB(connector)
	clock := w.startClock(t)
	ended, err := w.cancelBlocked(t, db, clock)
	told(t, err, clock, ended) // it was killed
	require.False(t, connector.closed.Load())
	require.NoError(t, db.Close())
	require.True(t, connector.closed.Load())
}

// Where addresses are translated, MySQL and MariaDB see another port than this side has, and the session that comes from that
// one may be a stranger's: nothing is killed.
func TestNothingIsKilledThroughAProxy(t *testing.T) {
	target := matrix.MariaDB()[0]
	w := newWorld(t, target)
	_, through := target.Proxy(t, w.dsn)
	port := make(chan *net.TCPAddr, 1)
	shared := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) })
		return errors.Join(failed, err)
	}}
	db := openThrough(t, target, through, func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := shared
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
		conn, err := d.DialContext(ctx, network, addr)
		if err == nil {
			select {
			case port <- conn.LocalAddr().(*net.TCPAddr):
			default: // the connection aside
			}
		}
		return conn, err
	})
	require.NoError(t, db.PingContext(t.Context()))
	same := <-port
	stranger := openThrough(t, target, w.dsn, func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := shared
		d.LocalAddr = same
		return d.DialContext(ctx, network, addr)
	})
	slept := make(chan error, 1)
	go func() {
		var interrupted int
		err := stranger.QueryRowContext(t.Context(), "SELECT SLEEP(2)").Scan(&interrupted)
		if err == nil && interrupted != 0 {
			err = errors.New("killed")
		}
		slept <- err
	}()
	require.Eventually(t, func() bool {
		var n int
		require.NoError(t, w.direct.QueryRow("SELECT count(*) FROM information_schema.processlist WHERE info = 'SELECT SLEEP(2)'").Scan(&n))
		return n == 1
	}, 10*time.Second, time.Millisecond)
	_, err := w.cancelBlocked(t, db, w.startClock(t))
	require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
	require.NoError(t, <-slept)
}
