package txn

import (
	"testing"

	"github.com/stretchr/testify/require"
)

type pgConn struct{ txStatus byte }

type conn struct {
	_  string
	pg *pgConn
}

// TestInTransaction reads the fields of a connection that is no driver's. Those of the drivers are tested with their
// servers.
func TestInTransaction(t *testing.T) {
	driverStatuses["github.com/nogap-go/nogap/internal/txn.conn"] = driverStatus{path: []string{"pg", "txStatus"}, in: notIdle}
	driverStatuses["github.com/nogap-go/nogap/internal/txn.pgConn"] = driverStatus{path: []string{"renamed"}, in: notIdle}
	defer delete(driverStatuses, "github.com/nogap-go/nogap/internal/txn.conn")
	defer delete(driverStatuses, "github.com/nogap-go/nogap/internal/txn.pgConn")
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
