//go:build unix

package matrix

import (
	"net/url"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/faultproxy"
)

// Proxied returns the targets that are reached over a network, which Proxy can put a proxy in front of.
func Proxied() []Target {
	var proxied []Target
	for _, target := range All() {
		if target.Dialect != nogap.SQLite {
			proxied = append(proxied, target)
		}
	}
	return proxied
}

// Proxy puts a proxy in front of the server of a DSN that DSN returned, and returns the DSN that goes through it.
func (target Target) Proxy(tb testing.TB, dsn string) (proxy *faultproxy.Proxy, through string) {
	tb.Helper()
	switch target.Dialect {
	case nogap.Postgres:
		u, err := url.Parse(dsn)
		require.NoError(tb, err)
		proxy = faultproxy.New(tb, u.Host, faultproxy.Postgres)
		u.Host = proxy.Addr()
		return proxy, u.String()
	case nogap.MySQL, nogap.MariaDB:
		config, err := mysql.ParseDSN(dsn)
		require.NoError(tb, err)
		proxy = faultproxy.New(tb, config.Addr, faultproxy.MySQL)
		config.Addr = proxy.Addr()
		return proxy, config.FormatDSN()
	}
	tb.Fatalf("matrix: %s has no connection to put a proxy in front of", target.Name)
	return nil, ""
}
