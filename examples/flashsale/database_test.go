package main

import (
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
)

const pragmas = "?_pragma=busy_timeout(30000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"

func TestParseDSN(t *testing.T) {
	for _, test := range []struct {
		in   string
		want database
	}{
		{"postgres://u:p@db:5433/shop?sslmode=disable",
			database{"pgx", "postgres://u:p@db:5433/shop?sslmode=disable", nogap.Postgres}},
		{"postgresql:///shop?host=/run/postgresql",
			database{"pgx", "postgresql:///shop?host=/run/postgresql", nogap.Postgres}},
		{"sqlite:shop.db", database{"sqlite", "shop.db" + pragmas, nogap.SQLite}},
		{"sqlite:/var/shop.db", database{"sqlite", "/var/shop.db" + pragmas, nogap.SQLite}},
		{"sqlite:///var/shop.db", database{"sqlite", "/var/shop.db" + pragmas, nogap.SQLite}},
		{"sqlite:shop.db?_pragma=synchronous(FULL)",
			database{"sqlite", "shop.db" + pragmas + "&_pragma=synchronous(FULL)", nogap.SQLite}},
	} {
		t.Run(test.in, func(t *testing.T) {
			got, err := parseDSN(test.in)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

// What counts is what the driver reads in the DSN that it is given.
func TestParseDSNForMySQL(t *testing.T) {
	for _, test := range []struct {
		in                       string
		user, password, addr, db string
		params                   func(*mysql.Config) any
		want                     any
	}{
		{in: "mysql://u:p@db:3307/shop", user: "u", password: "p", addr: "db:3307", db: "shop"},
		{in: "mysql://u@db/shop", user: "u", addr: "db:3306", db: "shop"},
		{in: "mysql://db/shop", addr: "db:3306", db: "shop"},
		{in: "mysql://u:p@[::1]:3307/shop", user: "u", password: "p", addr: "[::1]:3307", db: "shop"},
		{in: "mysql://u:p@[::1]/shop", user: "u", password: "p", addr: "[::1]:3306", db: "shop"},
		{in: "mysql://u%40x:p%40%3A%2F%3F%23%25@db/my%2Fshop", user: "u@x", password: "p@:/?#%", addr: "db:3306",
			db: "my/shop"},
		{in: "mysql://u:p@db/shop?interpolateParams=true", user: "u", password: "p", addr: "db:3306", db: "shop",
			params: func(c *mysql.Config) any { return c.InterpolateParams }, want: true},
		{in: "mysql://u:p@db/shop?clientFoundRows=true&timeout=3s&time_zone=%27%2B00%3A00%27", user: "u", password: "p",
			addr: "db:3306", db: "shop",
			params: func(c *mysql.Config) any { return []any{c.ClientFoundRows, c.Timeout.String(), c.Params["time_zone"]} },
			want:   []any{true, "3s", "'+00:00'"}},
		{in: "mysql://u:p@db/shop?tls=skip-verify", user: "u", password: "p", addr: "db:3306", db: "shop",
			params: func(c *mysql.Config) any { return c.TLSConfig }, want: "skip-verify"},
	} {
		t.Run(test.in, func(t *testing.T) {
			got, err := parseDSN(test.in)
			require.NoError(t, err)
			require.Equal(t, "mysql", got.driver)
			require.Equal(t, nogap.MySQL, got.dialect)
			cfg, err := mysql.ParseDSN(got.dsn)
			require.NoError(t, err)
			require.Equal(t, test.user, cfg.User)
			require.Equal(t, test.password, cfg.Passwd)
			require.Equal(t, "tcp", cfg.Net)
			require.Equal(t, test.addr, cfg.Addr)
			require.Equal(t, test.db, cfg.DBName)
			if test.params != nil {
				require.Equal(t, test.want, test.params(cfg))
			}
		})
	}
}

func TestParseDSNRefuses(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"shop.db", "want a URL: postgres://user:password@localhost:5432/name, mysql://"},
		{"oracle://db/shop", "mysql://user:password@localhost:3306/name (MariaDB too) or sqlite:shop.db"},
		{"u:secret@tcp(db:3306)/shop?parseTime=true", "the DSN of go-sql-driver, here: mysql://u:PASSWORD@db:3306/shop"},
		{"tcp(db)/", "here: mysql://user:PASSWORD@db:3306/name"},
		{"host=db port=5433 user=u password=secret dbname=shop",
			"in place of keywords and values, here: postgres://u:PASSWORD@db:5433/shop"},
		{"host=/run/postgresql user=u password=secret dbname=shop", "here: postgres://u@/shop?host=/run/postgresql"},
		{"host=db port=secret", "want a URL: postgres://"},
		{"sqlite:", "needs the path of a file"},
		{"sqlite://", "needs the path of a file"},
		{"sqlite:?mode=ro", "needs the path of a file"},
		{"sqlite::memory:", "cannot be shared"},
		{"sqlite:file:x?mode=memory", "cannot be shared"},
		{"mysql:///shop", "the host is missing"},
		{"mysql://u:secret@db", "the name of the database is missing"},
		{"mysql://u:secret@db/", "the name of the database is missing"},
		{"mysql://u:secret@db:port/shop", "invalid port"},
		{"mysql://u:secret%@db/shop", "invalid"},
		{"mysql://u:secret@db/shop?interpolateParams=perhaps", "perhaps"},
		{"mysql:u:secret@tcp(db:3306)/shop", "the host is missing"},
		{"mysql:u:secret@tcp(db:3306)/shop", "here: mysql://u:PASSWORD@db:3306/shop"},
		{"postgres://u:secret@db:port/shop", "invalid port"},
		{"postgres://u:secret@db/shop?sslmode=perhaps", "sslmode is invalid"},
	} {
		t.Run(test.in, func(t *testing.T) {
			_, err := parseDSN(test.in)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "secret")
		})
	}
}
