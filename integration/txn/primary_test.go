//go:build unix

package txn_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/servers"
	"github.com/nogap-go/nogap/internal/txn"
)

// A node leaves the primary component in mid-transaction. It refuses ROLLBACK with everything else and keeps the transaction,
// which must not be the next caller's when the node is back.
func TestNodeLeavesThePrimaryComponent(t *testing.T) {
	nodes := servers.StartGalera(t, 2)
	db := openGalera(t, nodes[0].DSN, "")
	for _, statement := range []string{
		"CREATE DATABASE shop", "CREATE TABLE shop.items (id INT PRIMARY KEY, stock INT NOT NULL)", "INSERT INTO shop.items VALUES (1, 0), (2, 0)",
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	direct := openGalera(t, nodes[0].DSN, "shop")
	require.NoError(t, direct.PingContext(t.Context()))
	one := openGalera(t, nodes[0].DSN, "shop")
	one.SetMaxOpenConns(1)

	err := txn.Do(t.Context(), one, nil, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), add)
		require.NoError(t, err)
		nodes[1].Kill(t)
		require.Eventually(t, func() bool {
			_, err := direct.ExecContext(t.Context(), "SELECT stock FROM items")
			return isNotReady(err)
		}, time.Minute, 10*time.Millisecond)
		_, err = tx.ExecContext(t.Context(), add)
		return err
	})
	require.True(t, isNotReady(err), "%v", err)
	require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
	require.Zero(t, one.Stats().OpenConnections)

	_, err = direct.ExecContext(t.Context(), "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'")
	if err != nil { // newer servers have a variable for each of the options
		_, err = direct.ExecContext(t.Context(), "SET GLOBAL wsrep_provider_pc_bootstrap = ON")
	}
	require.NoError(t, err)
	var stock int
	require.Eventually(t, func() bool {
		return direct.QueryRowContext(t.Context(), "SELECT stock FROM items WHERE id = 1").Scan(&stock) == nil
	}, time.Minute, 10*time.Millisecond)
	require.Zero(t, stock)
	require.NoError(t, txn.Do(t.Context(), one, nil, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(context.Background(), "UPDATE items SET stock = stock + 1 WHERE id = 2")
		return err
	}))
	require.NoError(t, direct.QueryRowContext(t.Context(), "SELECT sum(stock) FROM items").Scan(&stock))
	require.Equal(t, 1, stock)
}

func openGalera(t *testing.T, dsn, database string) *sql.DB {
	t.Helper()
	config, err := mysql.ParseDSN(dsn)
	require.NoError(t, err)
	config.DBName, config.InterpolateParams = database, true
	db, err := sql.Open("mysql", config.FormatDSN())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func isNotReady(err error) bool {
	var refused *mysql.MySQLError
	return errors.As(err, &refused) && refused.Number == 1047
}
