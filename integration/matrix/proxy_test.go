//go:build unix

package matrix_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/matrix"
)

// A fault strikes at the request that runs the statement, neither before, when it is prepared, nor after. What a lost
// request asked for has not happened; what a lost reply tells of has.
func TestProxyStrikesAtTheStatement(t *testing.T) {
	placeholder := map[nogap.Dialect]string{nogap.Postgres: "$1", nogap.MariaDB: "?", nogap.MySQL: "?"}
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		update := "UPDATE items SET stock = stock - 1 WHERE id = "
		statements := map[string]func(*sql.Conn) error{
			"text": func(c *sql.Conn) error {
				_, err := c.ExecContext(t.Context(), update+"1")
				return err
			},
			"argument": func(c *sql.Conn) error {
				_, err := c.ExecContext(t.Context(), update+placeholder[target.Dialect], 1)
				return err
			},
			"prepared": func(c *sql.Conn) error {
				stmt, err := c.PrepareContext(t.Context(), update+placeholder[target.Dialect])
				require.NoError(t, err)
				defer stmt.Close()
				_, err = stmt.ExecContext(t.Context(), 1)
				return err
			},
			"commit": func(c *sql.Conn) error {
				tx, err := c.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				_, err = tx.ExecContext(t.Context(), update+placeholder[target.Dialect], 1)
				require.NoError(t, err)
				return tx.Commit()
			},
		}
		dsn := target.DSN(t)
		direct := target.Connect(t, dsn)
		exec(t, direct, "CREATE TABLE items (id int PRIMARY KEY, stock int NOT NULL)")
		exec(t, direct, "INSERT INTO items VALUES (1, 0)")
		for name, run := range statements {
			text := "UPDATE items"
			if name == "commit" {
				text = "COMMIT"
			}
			for _, fault := range []struct {
				name string
				arm  func(*faultproxy.Proxy, faultproxy.Match) *faultproxy.Fault
				left int
			}{
				{"request lost", (*faultproxy.Proxy).LoseRequest, 10},
				{"reply lost", (*faultproxy.Proxy).LoseReply, 9},
			} {
				t.Run(name+" "+fault.name, func(t *testing.T) {
					exec(t, direct, "UPDATE items SET stock = 10")
					proxy, through := target.Proxy(t, dsn)
					conn, err := target.Connect(t, through).Conn(t.Context())
					require.NoError(t, err)
					defer conn.Close()

					struck := fault.arm(proxy, faultproxy.Executes(text))
					require.Error(t, run(conn))
					struck.Await(t)
					var left int
					require.NoError(t, direct.QueryRow("SELECT stock FROM items").Scan(&left))
					require.Equal(t, fault.left, left)
				})
			}
		}
	})
}
