package dialect_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
)

// The answers of SELECT version(), from running servers and from their documentation.
func TestVersions(t *testing.T) {
	for _, tt := range []struct {
		version string
		dialect nogap.Dialect
		want    string // of Server.String
	}{
		{"PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc (Debian 12.2.0-14+deb12u1) 12.2.0, 64-bit", nogap.Postgres, "PostgreSQL 15.18"},
		{"PostgreSQL 9.6.24 on x86_64-pc-linux-gnu", nogap.Postgres, "PostgreSQL 9.6"},
		{"PostgreSQL 18beta1 on x86_64-pc-linux-gnu", nogap.Postgres, "PostgreSQL 18.0"},
		{"PostgreSQL 15.4 on aarch64-unknown-linux-gnu, compiled by aarch64-unknown-linux-gnu-gcc (GCC) 9.5.0, 64-bit", nogap.Postgres, "PostgreSQL 15.4"}, // Aurora
		{"CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu, built 2023/09/27 01:53:43, go1.19.10)", nogap.Postgres, "CockroachDB 23.1"},
		{"CockroachDB OSS v2.0.1 (linux amd64)", nogap.Postgres, "CockroachDB 2.0"},
		{"PostgreSQL 11.2-YB-2.20.0.0-b0 on x86_64-pc-linux-gnu, compiled by clang version 16.0.6, 64-bit", nogap.Postgres, "YugabyteDB 2.20"},
		{"PostgreSQL 15.2-YB-2025.1.0.0-b0 on x86_64-pc-linux-gnu", nogap.Postgres, "YugabyteDB 2025.1"},
		{"8.0.36", nogap.MySQL, "MySQL 8.0"},
		{"8.4.2-log", nogap.MySQL, "MySQL 8.4"},
		{"5.7.44-google-log", nogap.MySQL, "MySQL 5.7"},
		{"8.0.35-27", nogap.MySQL, "MySQL 8.0"},   // Percona
		{"8.0.36-28.1", nogap.MySQL, "MySQL 8.0"}, // Percona XtraDB Cluster
		{"8.0.mysql_aurora.3.04.0", nogap.MySQL, "MySQL 8.0"},
		{"10.11.6-MariaDB-0+deb12u1", nogap.MariaDB, "MariaDB 10.11"},
		{"11.8.2-MariaDB-log", nogap.MariaDB, "MariaDB 11.8"},
		{"10.6.17-12-MariaDB-enterprise-log", nogap.MariaDB, "MariaDB 10.6"},
		{"5.5.5-10.11.6-MariaDB", nogap.MariaDB, "MariaDB 10.11"}, // behind a proxy
		{"5.5.5-11.4.3-MariaDB-ubu2404", nogap.MariaDB, "MariaDB 11.4"},
		{"13.0.1-MariaDB", nogap.MariaDB, "MariaDB 13.0"},
		{"8.0.11-TiDB-v7.5.0", nogap.MySQL, "TiDB 7.5"},
		{"5.7.25-TiDB-v6.1.0-alpha-12-gabcdef", nogap.MySQL, "TiDB 6.1"},
		{"8.0.11-TiDB-None", nogap.MySQL, "TiDB"},
		{"CockroachDB", nogap.Postgres, "CockroachDB"},
	} {
		t.Run(tt.version, func(t *testing.T) {
			s, err := serverOf(t, tt.version)
			require.NoError(t, err)
			require.Equal(t, tt.dialect, s.Dialect)
			require.Equal(t, tt.want, s.String())
		})
	}
}

func TestVersionOfNobody(t *testing.T) {
	for _, version := range []string{"", " ", "v1.1.0", "DuckDB", "postgresql 15", "Microsoft SQL Server 2022", "🦆"} {
		_, err := serverOf(t, version)
		require.ErrorContains(t, err, "WithDialect", version)
	}
}

func versioned(t *testing.T, version string) dialect.Server {
	s, err := serverOf(t, version)
	require.NoError(t, err)
	return s
}

func serverOf(t *testing.T, version string) (dialect.Server, error) {
	db := fakedb.Open(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Row(version), nil })
	t.Cleanup(func() { db.Close() })
	src, err := dialect.NewSource(db, 0)
	require.NoError(t, err)
	return src.Server(t.Context(), txn.Pool{DB: db})
}

func TestSQLite(t *testing.T) {
	db := fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch c.Query {
		case "SELECT version()":
			return fakedb.Reply{}, errors.New("SQL logic error: no such function: version (1)")
		case "SELECT sqlite_version()":
			return fakedb.Row("3.46.1"), nil
		}
		return fakedb.Reply{}, nil
	})
	defer db.Close()
	src, err := dialect.NewSource(db, 0)
	require.NoError(t, err)
	s, err := src.Server(t.Context(), txn.Pool{DB: db})
	require.NoError(t, err)
	require.Equal(t, nogap.SQLite, s.Dialect)
	require.Equal(t, "SQLite 3.46", s.String())
}

func TestUpdateReturning(t *testing.T) {
	for version, want := range map[string]bool{
		"PostgreSQL 15.1":             true,
		"CockroachDB CCL v23.1.11":    true,
		"PostgreSQL 11.2-YB-2.20.0.0": true,
		"8.4.0":                       false,
		"8.0.11-TiDB-v7.5.0":          false,
		"10.11.6-MariaDB":             false,
		"12.3.1-MariaDB":              false,
		"13.0.1-MariaDB":              true,
	} {
		require.Equal(t, want, versioned(t, version).UpdateReturning, version)
	}
	for d, want := range map[nogap.Dialect]bool{
		nogap.Postgres: true, nogap.SQLite: true, nogap.MySQL: false, nogap.MariaDB: false,
	} {
		s, err := dialect.Assume(d)
		require.NoError(t, err)
		require.Equal(t, d, s.Dialect)
		require.Equal(t, want, s.UpdateReturning, d)
		require.Equal(t, d.String(), s.String())
	}
}

// What a dialect says of itself must fit together: a capability that nobody has thought of is a wrong one.
func TestCapabilitiesAreComplete(t *testing.T) {
	for d := nogap.Postgres; d <= nogap.SQLite; d++ {
		s, err := dialect.Assume(d)
		require.NoError(t, err)
		require.NotEmpty(t, s.NullSafeEquals, d)
		require.NotEmpty(t, s.BindName, d)
		require.NotZero(t, s.LockLimit, d)
		require.NotZero(t, s.NamedLocks, d)
		require.NotEmpty(t, s.ExactText(10), d)
		require.Equal(t, s.RowLocks, s.WriteLock(dialect.Ident{}) == "", d)
		column, err := dialect.Column("n")
		require.NoError(t, err)
		for n := dialect.Verbatim; n <= dialect.Decimal; n++ {
			require.Contains(t, s.Amount(n, 3), "{3}", d)
			require.Contains(t, s.Numeric(n, column), s.Quote(column), d)
		}
		table, err := dialect.Table("shop.items")
		require.NoError(t, err)
		question, args := s.MakesValues(table, column)
		require.NotEmpty(t, question.Text, d)
		require.Equal(t, []any{"items", "shop", "n"}, args, d)
		require.Equal(t, s.TypelessTimes, s.Clock == "", d)
		if toCome := s.ToCome(column); toCome != "" {
			require.Contains(t, toCome, s.Quote(column), d)
		}
		server := fakedb.New(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Reply{}, nil })
		server.Looks = func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
			if strings.Contains(c.Query, "{") {
				t.Error(c.Query)
			}
			return fakedb.Row(int64(6), int64(0), "", "bigint", int64(0), int64(1), "", int64(1), int64(1), "ANSI", int64(1)), nil
		}
		tx, err := server.DB().Begin()
		require.NoError(t, err)
		look, err := s.Look(t.Context(), txn.In(tx), table, dialect.Question{Version: &column, Times: true})
		require.NoError(t, err)
		require.Equal(t, dialect.Look{
			Listed: true, Diverted: dialect.Update | dialect.Delete, Type: "bigint", Lasts: true, Rewrites: true, MeddlesInserts: true,
			StrictMode: "ANSI", Returns: true,
		}, look, d)
	}
}

func TestKeepsMicroseconds(t *testing.T) {
	for d, types := range map[nogap.Dialect]map[string]bool{
		nogap.Postgres: {"timestamp without time zone": true, "timestamp with time zone": true, "timestamp(6) with time zone": true,
			"timestamp(3) with time zone": false, "timestamp(0) without time zone": false, "date": false},
		nogap.MySQL:   {"datetime(6)": true, "timestamp(6)": true, "DATETIME(6)": true, "datetime": false, "datetime(3)": false, "date": false},
		nogap.MariaDB: {"datetime(6)": true, "timestamp": false, "time(6)": false},
	} {
		s, err := dialect.Assume(d)
		require.NoError(t, err)
		for columnType, want := range types {
			require.Equal(t, want, s.KeepsMicroseconds(columnType), "%v: %s", d, columnType)
		}
	}
}

func TestAssumeNonsense(t *testing.T) {
	for _, d := range []nogap.Dialect{0, -1, 5} {
		_, err := dialect.Assume(d)
		require.Error(t, err)
	}
	db := fakedb.Open(nil)
	defer db.Close()
	_, err := dialect.NewSource(db, 99)
	require.ErrorContains(t, err, "Dialect(99)")
	_, err = dialect.NewSource(nil, 0)
	require.ErrorContains(t, err, "db is nil")
	require.Equal(t, "unknown", dialect.Product(-1).String())
	require.Equal(t, "unknown", dialect.Product(99).String())
}

// The capabilities of a server are its own: an old one does not take anything from a new one of the same dialect.
func TestCapabilitiesAreNotShared(t *testing.T) {
	told, err := dialect.Assume(nogap.MySQL)
	require.NoError(t, err)
	for range 2 {
		_, err = versioned(t, "5.7.44").LockClause(dialect.ForUpdate, dialect.NoWait)
		require.Error(t, err)
		_, err = versioned(t, "8.0.11-TiDB-v7.5.0").LockClause(dialect.ForShare, dialect.Wait)
		require.Error(t, err)
		for _, s := range []dialect.Server{told, versioned(t, "8.0.36")} {
			clause, err := s.LockClause(dialect.ForShare, dialect.NoWait)
			require.NoError(t, err)
			require.Equal(t, " FOR SHARE NOWAIT", clause)
			require.True(t, s.GapLocks)
		}
	}
	require.False(t, versioned(t, "8.0.11-TiDB-v7.5.0").GapLocks)
}

// CockroachDB and YugabyteDB speak PostgreSQL, and lack what hangs on its storage.
func TestProductsOfPostgres(t *testing.T) {
	postgres := versioned(t, "PostgreSQL 15.1")
	require.NotEmpty(t, postgres.SystemVersion)
	require.Equal(t, dialect.AdvisoryLocks, postgres.NamedLocks)
	for _, version := range []string{"CockroachDB CCL v23.1.11", "PostgreSQL 11.2-YB-2.20.0.0"} {
		require.Empty(t, versioned(t, version).SystemVersion, version)
		require.True(t, versioned(t, version).UpdateReturning, version)
	}
	require.Equal(t, dialect.NoNamedLocks, versioned(t, "CockroachDB CCL v23.1.11").NamedLocks)
}

// Answers that look like another's, or like nothing.
func TestVersionsThatDeceive(t *testing.T) {
	for version, want := range map[string]string{
		"5.5.5-10.11.6-MariaDB":                           "MariaDB 10.11",
		"PostgreSQL 15.1 (compatible with MariaDB 10.11)": "PostgreSQL 15.1",
		"8.0.36-MariaDB-proxy":                            "MariaDB 8.0",
		"10":                                              "MySQL 10.0",
		"99999999999999999999.1":                          "",
		"PostgreSQL":                                      "PostgreSQL",
		"8.0.11-TiDB-":                                    "TiDB",
	} {
		s, err := serverOf(t, version)
		require.NoError(t, err, version)
		if want != "" {
			require.Equal(t, want, s.String(), version)
		}
		_, err = s.LockClause(dialect.ForUpdate, dialect.Wait)
		require.NoError(t, err, version)
	}
	require.Equal(t, "unknown", dialect.Server{}.String())
}
