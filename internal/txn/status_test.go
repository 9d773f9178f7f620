package txn

import (
	"database/sql/driver"
	"testing"

	"github.com/stretchr/testify/require"
)

type pgConn struct{ txStatus byte }

type conn struct {
	_  string
	pg *pgConn
}

func (conn) Prepare(string) (driver.Stmt, error) { return nil, driver.ErrSkip }
func (conn) Close() error                        { return nil }
func (conn) Begin() (driver.Tx, error)           { return nil, driver.ErrSkip }

// wrapper is one around a driver's connection, as otelsql's.
type wrapper struct{ inner driver.Conn }

func (w wrapper) Raw() driver.Conn                  { return w.inner }
func (wrapper) Prepare(string) (driver.Stmt, error) { return nil, driver.ErrSkip }
func (wrapper) Close() error                        { return nil }
func (wrapper) Begin() (driver.Tx, error)           { return nil, driver.ErrSkip }

// TestInTransaction reads the fields of a connection that is no driver's. Those of the drivers are tested with their
// servers.
func TestInTransaction(t *testing.T) {
	paths := transactionStatus.paths
	paths["github.com/nogap-go/nogap/internal/txn.conn"] = []string{"renamed", "pg.txStatus"}
	paths["github.com/nogap-go/nogap/internal/txn.pgConn"] = []string{"renamed"}
	defer delete(paths, "github.com/nogap-go/nogap/internal/txn.conn")
	defer delete(paths, "github.com/nogap-go/nogap/internal/txn.pgConn")
	for name, tt := range map[string]struct {
		conn    any
		in, out bool
	}{
		"in":           {&conn{pg: &pgConn{'T'}}, true, false},
		"failed":       {&conn{pg: &pgConn{'E'}}, true, false},
		"out":          {&conn{pg: &pgConn{'I'}}, false, true},
		"closed":       {&conn{}, false, false},
		"other driver": {new(int), false, false},
		"no pointer":   {1, false, false},
		"nil":          {nil, false, false},
		"wrapped":      {wrapper{&wrapper{inner: &conn{pg: &pgConn{'T'}}}}, true, false},
		"other fields": {&pgConn{'T'}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			in, out := inTransaction(tt.conn)
			require.Equal(t, tt.in, in)
			require.Equal(t, tt.out, out)
		})
	}
	require.True(t, flagged(3))
	require.False(t, flagged(2))
}
