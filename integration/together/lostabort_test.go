//go:build unix

package together_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/txn"
	"github.com/nogap-go/nogap/pessimistic"
)

// A node of a Galera cluster that is to abort a transaction, while it answers the PREPARE of a SELECT in it, drops the abort:
// see docs/galera-lost-abort.md. This is what happens with a driver that prepares, and that a callback of nogap is either
// not run at all, or run again.
func TestLostAbort(t *testing.T) {
	galera := matrix.Galera()
	dsn := galera.DSN(t)
	nodes := galera.NodesOf(t, dsn)
	createItems(t, nodes[1])
	wide := wideSelect(t, nodes[1])

	callback := func(ctx context.Context, tx nogap.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE items SET stock = stock - 1 WHERE id = 'pen'"); err != nil {
			return err
		}
		if err := readAll(ctx, tx, wide, 1); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE items SET stock = stock + 1 WHERE id = 'cup'")
		return err
	}
	// run returns the stock of pens and cups after f, during whose first wide SELECT somebody else sets the pens to 1000.
	run := func(t *testing.T, interpolate bool, f func(db *sql.DB) error) (pens, cups int, err error) {
		fill(t, nodes[1])
		galera.CatchUp(t, nodes[0])
		hooked := false
		db := slowlyReading(t, dsn, interpolate, func() {
			if hooked {
				return
			}
			hooked = true
			await(t, nodes[0], "1", "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE = 'Writing to net'")
			const aborts = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'WSREP_LOCAL_BF_ABORTS'"
			var before int
			require.NoError(t, nodes[0].QueryRow(aborts).Scan(&before))
			exec(t, nodes[1], "UPDATE items SET stock = 1000 WHERE id = 'pen'")
			await(t, nodes[0], fmt.Sprint(before+1), aborts)
		})
		err = f(db)
		galera.CatchUp(t, nodes[1])
		require.NoError(t, nodes[1].QueryRow("SELECT stock FROM items WHERE id = 'pen'").Scan(&pens))
		require.NoError(t, nodes[1].QueryRow("SELECT stock FROM items WHERE id = 'cup'").Scan(&cups))
		return pens, cups, err
	}

	t.Run("by hand", func(t *testing.T) {
		pens, cups, err := run(t, false, func(db *sql.DB) error {
			return txn.Do(t.Context(), db, nil, func(tx *sql.Tx) error { return callback(t.Context(), tx) })
		})
		if err == nil && pens == 1000 && cups == 101 {
			t.Log("COMMIT succeeded, and half of the transaction stands")
		} else {
			t.Logf("this server does not lose the abort: %v, %d pens and %d cups", err, pens, cups)
		}
	})
	withRowLock := func(db *sql.DB) error {
		return pessimistic.WithRowLock(t.Context(), db, pessimistic.Row{Table: "items", Key: "pen"},
			func(ctx context.Context, tx *sqlx.Tx, _ *Item) error { return callback(ctx, tx) })
	}
	t.Run("refused", func(t *testing.T) {
		pens, cups, err := run(t, false, withRowLock)
		require.ErrorContains(t, err, "interpolateParams=true")
		require.Equal(t, [2]int{100, 100}, [2]int{pens, cups})
	})
	t.Run("run again", func(t *testing.T) {
		pens, cups, err := run(t, true, withRowLock)
		require.NoError(t, err)
		require.Equal(t, [2]int{999, 101}, [2]int{pens, cups})
	})
}

// await waits until a query returns a value.
func await(t *testing.T, db *sql.DB, want, query string) {
	t.Helper()
	require.Eventually(t, func() bool {
		var is string
		require.NoError(t, db.QueryRow(query).Scan(&is))
		return is == want
	}, time.Minute, 5*time.Millisecond, query)
}

// readAll runs a query and reads to the end.
func readAll(ctx context.Context, tx nogap.Tx, query string, args ...any) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}

// wideMark stands in the SELECT whose columns have so many and long names that their description does not fit in the buffers
// between server and client.
const wideMark = "/* wide */"

// wideSelect makes a table, and returns the SELECT from it. It has one argument.
func wideSelect(t *testing.T, db *sql.DB) string {
	table, column := strings.Repeat("\u4e2d", 40), strings.Repeat("\u4e3d", 60)
	exec(t, db, "CREATE TABLE `"+table+"` (`"+column+"` BIGINT PRIMARY KEY)")
	var s strings.Builder
	s.WriteString("SELECT " + wideMark + " ? + 0")
	for i := range 4000 {
		fmt.Fprintf(&s, ", `%s` AS `%s%d`", column, strings.Repeat("\u4e2d", 245), i)
	}
	return s.String() + " FROM `" + table + "` AS `" + strings.Repeat("\u4e4d", 240) + "`"
}

// slowlyReading returns a pool of one connection to the database of a DSN. It calls hook before it reads what the server
// answers to a wide SELECT, or to its PREPARE.
func slowlyReading(t *testing.T, dsn string, interpolate bool, hook func()) *sql.DB {
	config, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	config.InterpolateParams = interpolate
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &slowReader{Conn: conn, hook: hook}, nil
	}
	connector, err := mysql.NewConnector(config)
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// slowReader is a connection that calls hook before it reads the answer to what has wideMark in it.
type slowReader struct {
	net.Conn
	hook func()
	wide bool
}

func (c *slowReader) Write(b []byte) (int, error) {
	c.wide = c.wide || bytes.Contains(b, []byte(wideMark))
	return c.Conn.Write(b)
}

func (c *slowReader) Read(b []byte) (int, error) {
	if c.wide {
		c.wide = false
		c.hook()
	}
	return c.Conn.Read(b)
}
