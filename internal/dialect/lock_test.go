package dialect_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

func TestLockClause(t *testing.T) {
	postgres := versioned(t, "PostgreSQL 15.1")
	mysql80 := versioned(t, "8.0.36")
	mysql57 := versioned(t, "5.7.44")
	mysqlTold, err := dialect.Assume(nogap.MySQL)
	require.NoError(t, err)
	maria102 := versioned(t, "10.2.1-MariaDB")
	maria105 := versioned(t, "10.5.1-MariaDB")
	maria1011 := versioned(t, "10.11.6-MariaDB")
	mariaTold, err := dialect.Assume(nogap.MariaDB)
	require.NoError(t, err)
	tidb := versioned(t, "8.0.11-TiDB-v7.5.0")
	sqlite, err := dialect.Assume(nogap.SQLite)
	require.NoError(t, err)

	tests := []struct {
		server dialect.Server
		mode   dialect.LockMode
		wait   dialect.LockWait
		want   string
		err    string
	}{
		{server: postgres, want: " FOR UPDATE"},
		{server: postgres, mode: dialect.ForNoKeyUpdate, wait: dialect.NoWait, want: " FOR NO KEY UPDATE NOWAIT"},
		{server: postgres, mode: dialect.ForShare, want: " FOR SHARE"},
		{server: postgres, mode: dialect.ForKeyShare, wait: dialect.SkipLocked, want: " FOR KEY SHARE SKIP LOCKED"},
		{server: mysql80, mode: dialect.ForShare, wait: dialect.NoWait, want: " FOR SHARE NOWAIT"},
		{server: mysql80, mode: dialect.ForNoKeyUpdate, err: "MySQL 8.0 has no FOR NO KEY UPDATE"},
		{server: mysql80, wait: dialect.SkipLocked, want: " FOR UPDATE SKIP LOCKED"},
		{server: mysql57, mode: dialect.ForShare, want: " LOCK IN SHARE MODE"},
		{server: mysql57, wait: dialect.NoWait, err: "MySQL 5.7 has no NOWAIT"},
		{server: mysqlTold, wait: dialect.NoWait, want: " FOR UPDATE NOWAIT"},
		{server: mysqlTold, mode: dialect.ForKeyShare, err: "MySQL has no FOR KEY SHARE"},
		{server: maria102, wait: dialect.NoWait, err: "MariaDB 10.2 has no NOWAIT"},
		{server: maria105, wait: dialect.NoWait, want: " FOR UPDATE NOWAIT"},
		{server: maria105, wait: dialect.SkipLocked, err: "MariaDB 10.5 has no SKIP LOCKED"},
		{server: maria1011, wait: dialect.SkipLocked, want: " FOR UPDATE SKIP LOCKED"},
		{server: maria1011, mode: dialect.ForShare, wait: dialect.NoWait, want: " LOCK IN SHARE MODE NOWAIT"},
		{server: maria1011, mode: dialect.ForKeyShare, err: "MariaDB 10.11 has no FOR KEY SHARE"},
		{server: mariaTold, wait: dialect.SkipLocked, want: " FOR UPDATE SKIP LOCKED"},
		{server: tidb, wait: dialect.NoWait, want: " FOR UPDATE NOWAIT"},
		{server: tidb, wait: dialect.SkipLocked, err: "TiDB 7.5 has no SKIP LOCKED"},
		{server: tidb, mode: dialect.ForShare, err: "TiDB 7.5 has no FOR SHARE"},
		{server: sqlite, want: ""},
		{server: sqlite, mode: dialect.ForShare, err: "SQLite has no FOR SHARE"},
		{server: sqlite, wait: dialect.NoWait, err: "SQLite has no NOWAIT"},
		{server: sqlite, wait: dialect.SkipLocked, err: "SQLite has no SKIP LOCKED"},
	}
	for _, tt := range tests {
		t.Run(tt.server.String()+"/"+tt.mode.String()+" "+tt.wait.String(), func(t *testing.T) {
			got, err := tt.server.LockClause(tt.mode, tt.wait)
			if tt.err != "" {
				require.EqualError(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestWriteLock(t *testing.T) {
	s, err := dialect.Assume(nogap.SQLite)
	require.NoError(t, err)
	table, err := dialect.Table("shop.items")
	require.NoError(t, err)
	require.Equal(t, "DELETE FROM `shop`.`items` WHERE 0", s.WriteLock(table))
	require.Equal(t, "PRAGMA incremental_vacuum(1)", s.WriteLock(dialect.Ident{}))
}

// Every mode and every wait has a clause or an error that names the server and what it lacks, whatever the server is.
func TestLockClauseOfEverything(t *testing.T) {
	for d := nogap.Postgres; d <= nogap.SQLite; d++ {
		s, err := dialect.Assume(d)
		require.NoError(t, err)
		for m := dialect.ForUpdate; m <= dialect.ForKeyShare; m++ {
			for w := dialect.Wait; w <= dialect.SkipLocked; w++ {
				clause, err := s.LockClause(m, w)
				switch {
				case err != nil:
					require.Empty(t, clause)
					require.Regexp(t, "^"+s.String()+" has no ("+m.String()+"|"+w.String()+")$", err.Error())
				case clause == "":
					require.False(t, s.RowLocks, "%v %v %v locks nothing", s, m, w)
					require.NotEmpty(t, s.WriteLock(dialect.Ident{}))
					require.Equal(t, dialect.ForUpdate, m, "a weaker mode is refused, not made a stronger one")
				default:
					require.True(t, s.RowLocks)
					require.Equal(t, byte(' '), clause[0])
					require.Equal(t, w != dialect.Wait, w.String() != "" && strings.HasSuffix(clause, w.String()), clause)
				}
			}
		}
		_, err = s.LockClause(dialect.ForUpdate, dialect.Wait)
		require.NoError(t, err, "every server has an exclusive lock that waits")
	}
}
