// Package dialect knows which SQL server is behind a *sql.DB, what it can do, how its SQL looks, and how names are quoted
// for it.
//
// A dialect is a set of Capabilities. It stands in one file: postgres.go, mysql.go, mariadb.go, sqlite.go.
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

// Server is what a database answered, or was said to be. The zero Server is none: it has no Capabilities to ask for.
type Server struct {
	Dialect nogap.Dialect
	Product Product
	// Major and Minor are the product's own version, zero if nobody asked.
	Major, Minor int
	*Capabilities
}

// String returns the product and its version for error messages, such as "MariaDB 10.11".
func (s Server) String() string {
	if !s.versionKnown() {
		return s.Product.String()
	}
	return fmt.Sprintf("%s %d.%d", s.Product, s.Major, s.Minor)
}

func (s Server) versionKnown() bool { return s.Major != 0 || s.Minor != 0 }

// atLeast reports whether the server is known to have the version major.minor or a newer one.
func (s Server) atLeast(major, minor int) bool {
	return s.Major > major || s.Major == major && s.Minor >= minor
}

// olderThan reports whether the server is known to have a version below major.minor. One whose version nobody asked for
// counts as a recent one, since an old one refuses the statement.
func (s Server) olderThan(major, minor int) bool { return s.versionKnown() && !s.atLeast(major, minor) }

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
