// Package dialect knows which SQL server is behind a *sql.DB, what its SQL looks like, and how names are quoted for it.
package dialect

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/nogap-go/nogap"
)

// Product is the server software, which may speak another one's dialect.
type Product int

// The products that differ in something nogap must know.
const (
	PostgreSQL Product = iota + 1
	CockroachDB
	YugabyteDB
	MySQL
	MariaDB
	TiDB
	SQLite
)

var productNames = [...]string{"unknown", "PostgreSQL", "CockroachDB", "YugabyteDB", "MySQL", "MariaDB", "TiDB", "SQLite"}

// String returns the product's own name.
func (p Product) String() string {
	if p < 0 || int(p) >= len(productNames) {
		p = 0
	}
	return productNames[p]
}

// Server is what a database answered, or was said to be.
type Server struct {
	Dialect nogap.Dialect
	Product Product
	// Major and Minor are the product's own version, zero if nobody asked.
	Major, Minor int
}

// String returns the product and its version for error messages, such as "MariaDB 10.11".
func (s Server) String() string {
	if !s.versionKnown() {
		return s.Product.String()
	}
	return fmt.Sprintf("%s %d.%d", s.Product, s.Major, s.Minor)
}

func (s Server) versionKnown() bool { return s.Major != 0 || s.Minor != 0 }

// AtLeast reports whether the server's version is major.minor or newer. A version that nobody asked for counts as old
// enough to lack the feature: WithDialect alone gets the SQL that works everywhere.
func (s Server) AtLeast(major, minor int) bool {
	return s.Major > major || s.Major == major && s.Minor >= minor
}

// Is reports whether the server speaks one of the dialects.
func (s Server) Is(dialects ...nogap.Dialect) bool {
	for _, d := range dialects {
		if s.Dialect == d {
			return true
		}
	}
	return false
}

// IsMySQL reports whether the server speaks MySQL's wire and SQL: MySQL, MariaDB or TiDB.
func (s Server) IsMySQL() bool { return s.Is(nogap.MySQL, nogap.MariaDB) }

// UpdateReturning reports whether UPDATE … RETURNING works. SQLite has had it since 3.35 (March 2021), the oldest that
// nogap supports; MySQL has never had it, MariaDB has it from 13.0.
func (s Server) UpdateReturning() bool {
	return s.Is(nogap.Postgres, nogap.SQLite) || s.Product == MariaDB && s.AtLeast(13, 0)
}

// Assume returns the server that WithDialect names.
func Assume(d nogap.Dialect) (Server, error) {
	switch d {
	case nogap.Postgres:
		return Server{Dialect: d, Product: PostgreSQL}, nil
	case nogap.MySQL:
		return Server{Dialect: d, Product: MySQL}, nil
	case nogap.MariaDB:
		return Server{Dialect: d, Product: MariaDB}, nil
	case nogap.SQLite:
		return Server{Dialect: d, Product: SQLite}, nil
	}
	return Server{}, fmt.Errorf("unknown dialect %v", d)
}

// parseVersion reads what SELECT version() answers on every server but SQLite.
func parseVersion(v string) (Server, error) {
	switch {
	case strings.HasPrefix(v, "CockroachDB"):
		// CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu, built …)
		return server(nogap.Postgres, CockroachDB, v[strings.Index(v, " v")+1:]), nil
	case strings.HasPrefix(v, "PostgreSQL"):
		if i := strings.Index(v, "-YB-"); i >= 0 {
			// PostgreSQL 11.2-YB-2.20.0.0-b0 on x86_64-pc-linux-gnu, …
			return server(nogap.Postgres, YugabyteDB, v[i+len("-YB-"):]), nil
		}
		// PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, …
		return server(nogap.Postgres, PostgreSQL, v[len("PostgreSQL"):]), nil
	case strings.Contains(v, "-TiDB-"):
		// 8.0.11-TiDB-v7.5.0
		return server(nogap.MySQL, TiDB, v[strings.Index(v, "-TiDB-")+len("-TiDB-"):]), nil
	case strings.Contains(v, "MariaDB"):
		// 10.11.6-MariaDB-0+deb12u1; behind some proxies 5.5.5-10.11.6-MariaDB
		return server(nogap.MariaDB, MariaDB, strings.TrimPrefix(v, "5.5.5-")), nil
	case v != "" && v[0] >= '0' && v[0] <= '9':
		// 8.0.36, 8.4.2-2 (Percona)
		return server(nogap.MySQL, MySQL, v), nil
	}
	return Server{}, fmt.Errorf("the server calls itself %q, which is none that nogap knows; say what it speaks with WithDialect", v)
}

func server(d nogap.Dialect, p Product, version string) Server {
	major, minor := leadingVersion(version)
	return Server{Dialect: d, Product: p, Major: major, Minor: minor}
}

// leadingVersion reads the first two numbers of a version such as " v7.5.0-alpha".
func leadingVersion(v string) (major, minor int) {
	v = strings.TrimLeft(v, " v")
	end := strings.IndexFunc(v, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end >= 0 {
		v = v[:end]
	}
	parts := strings.SplitN(v, ".", 3)
	major, _ = strconv.Atoi(parts[0])
	if len(parts) > 1 {
		minor, _ = strconv.Atoi(parts[1])
	}
	return major, minor
}
