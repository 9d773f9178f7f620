package leak

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
)

func TestConnections(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "db"))
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.Ping())
	Connections(t, db)

	conn, err := db.Conn(context.Background())
	require.NoError(t, err)
	require.Equal(t, 1, inUse(db, 10*time.Millisecond))

	go conn.Close()
	Connections(t, db) // waits for it
	require.Zero(t, db.Stats().InUse)
}
