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

// Server is what a database answered, or was said to be. The zero Server is unknown and can do nothing.
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

// language is a dialect: the servers that speak it, and what they can do.
type language struct {
	dialect nogap.Dialect
	product Product // what WithDialect is taken for
	// question asks a server for its version. Servers that don't understand it refuse it before they start anything.
	question string
	// recognize returns the product and its version from the answer, or 0 if the server speaks another dialect.
	recognize    func(answer string) (Product, string)
	capabilities func(Server) Capabilities
}

// languages are all dialects, in the order in which an answer is shown to them: MySQL takes whatever begins with a digit.
var languages = []*language{&postgres, &mariadb, &mysql, &sqlite}

// Assume returns the server that WithDialect names. It has the capabilities that all versions of it have.
func Assume(d nogap.Dialect) (Server, error) {
	for _, l := range languages {
		if l.dialect == d {
			return l.server(l.product, ""), nil
		}
	}
	return Server{}, fmt.Errorf("unknown dialect %v", d)
}

// recognize reads the answer to a question.
func recognize(question, answer string) (Server, error) {
	for _, l := range languages {
		if l.question != question {
			continue
		}
		if product, version := l.recognize(answer); product != 0 {
			return l.server(product, version), nil
		}
	}
	return Server{}, fmt.Errorf("the server calls itself %q, which is none that nogap knows; say what it speaks with WithDialect", answer)
}

func (l *language) server(p Product, version string) Server {
	s := Server{Dialect: l.dialect, Product: p}
	s.Major, s.Minor = leadingVersion(version)
	c := l.capabilities(s)
	s.Capabilities = &c
	return s
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
