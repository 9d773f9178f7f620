package txn_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
)

func TestPoolClosed(t *testing.T) {
	db := fakedb.Open(nil)
	require.NoError(t, db.Close())
	_, err := db.BeginTx(t.Context(), nil)
	require.True(t, txn.PoolClosed(fmt.Errorf("a call: %w", err)), "%v", err)
	require.False(t, txn.PoolClosed(nil))
	require.False(t, txn.PoolClosed(t.Context().Err()))
}
