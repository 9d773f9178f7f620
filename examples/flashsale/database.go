package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"modernc.org/sqlite"               // the driver "sqlite", in pure Go

	"github.com/nogap-go/nogap"
)

// A database is where to connect to, in the words of database/sql.
type database struct {
	driver  string
	dsn     string
	dialect nogap.Dialect
}

// parseDSN understands postgres://, mysql:// and sqlite: addresses. Its errors do not show a password.
func parseDSN(s string) (database, error) {
	scheme, rest, _ := strings.Cut(s, ":")
	switch scheme {
	case "postgres", "postgresql":
		if _, err := pgx.ParseConfig(s); err != nil {
			return database{}, err
		}
		return database{driver: "pgx", dsn: s, dialect: nogap.Postgres}, nil
	case "mysql":
		dsn, err := mysqlDSN(s)
		if err != nil {
			return database{}, err
		}
		return database{driver: "mysql", dsn: dsn, dialect: nogap.MySQL}, nil
	case "sqlite":
		// sqlite:///a/b and sqlite:/a/b are the same file.
		path := strings.TrimPrefix(rest, "//")
		if path == "" || strings.HasPrefix(path, "?") {
			return database{}, errors.New("sqlite: needs the path of a file")
		}
		if strings.Contains(path, ":memory:") || strings.Contains(path, "mode=memory") {
			return database{}, errors.New("sqlite: a database in memory cannot be shared by servers, use a file")
		}
		return sqliteFile(path), nil
	}
	return database{}, fmt.Errorf("want %s", likeURL(s))
}

// likeURL says how to write s, which is no address that parseDSN understands. A DSN in the form of a driver is written as
// a URL, without its password.
func likeURL(s string) string {
	if c, err := mysql.ParseDSN(s); err == nil && c.Net == "tcp" && strings.Contains(s, "tcp(") {
		u := url.URL{Scheme: "mysql", User: url.UserPassword(cmp.Or(c.User, "user"), "PASSWORD"), Host: c.Addr,
			Path: cmp.Or(c.DBName, "name")}
		return "a URL in place of the DSN of go-sql-driver, here: " + u.String()
	}
	if strings.Contains(s, "=") && !strings.Contains(s, "://") {
		if c, err := pgx.ParseConfig(s); err == nil {
			u := url.URL{Scheme: "postgres", User: url.UserPassword(c.User, "PASSWORD"),
				Host: net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), Path: cmp.Or(c.Database, "name")}
			if strings.HasPrefix(c.Host, "/") { // a directory with a socket
				u = url.URL{Scheme: "postgres", User: url.User(c.User), Path: "/" + c.Database, RawQuery: "host=" + c.Host}
			}
			return "a URL in place of keywords and values, here: " + u.String()
		}
	}
	return "a URL: postgres://user:password@localhost:5432/name, mysql://user:password@localhost:3306/name " +
		"(MariaDB too) or sqlite:shop.db"
}

// mysqlDSN returns the address, which is a URL, in the form that the driver takes. The URL's parameters are the driver's.
func mysqlDSN(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err // without the address, which has the password in it
		}
		return "", err
	}
	name := strings.TrimPrefix(u.Path, "/")
	switch {
	case u.Hostname() == "":
		if _, err := mysql.ParseDSN(u.Opaque); u.Opaque != "" && err == nil {
			return "", errors.New("mysql: the host is missing; want " + likeURL(u.Opaque))
		}
		return "", errors.New("mysql: the host is missing; want mysql://user:password@localhost:3306/name")
	case name == "":
		return "", errors.New("mysql: the name of the database is missing; want mysql://user:password@localhost:3306/name")
	}
	port := u.Port()
	if port == "" {
		port = "3306"
	}
	// The driver parses its own parameters. The rest is set on what it made of them, since its DSN cannot say
	// everything that a URL can.
	cfg, err := mysql.ParseDSN("tcp(" + net.JoinHostPort(u.Hostname(), port) + ")/?" + u.RawQuery)
	if err != nil {
		return "", err
	}
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	cfg.DBName = name
	return cfg.FormatDSN(), nil
}

// sqliteFile returns the database in a file, opened as a server would: readers do not wait for the writer (WAL), and
// writers wait for each other rather than fail. Parameters after a question mark are the driver's and come last.
func sqliteFile(path string) database {
	path, params, _ := strings.Cut(path, "?")
	dsn := path + "?_pragma=busy_timeout(30000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"
	if params != "" {
		dsn += "&" + params
	}
	return database{driver: "sqlite", dsn: dsn, dialect: nogap.SQLite}
}

// open returns a pool of at most conns connections. All of them are kept open until the pool is closed.
func (d database) open(conns int) (*sql.DB, error) {
	db, err := sql.Open(d.driver, d.dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// file returns the path of the file of an SQLite database, and "" for a server.
func (d database) file() string {
	if d.dialect != nogap.SQLite {
		return ""
	}
	path, _, _ := strings.Cut(d.dsn, "?")
	return path
}

// locate adds the path of the file to an error of SQLite, which says what it could not do, but not where.
func locate(err error, file string) error {
	var e *sqlite.Error
	if file == "" || !errors.As(err, &e) {
		return err
	}
	return fmt.Errorf("%w; the database is %s", err, file)
}

// connect returns an error if the database cannot be reached. It tells MariaDB from MySQL, as their addresses do not.
func (d *database) connect(ctx context.Context) error {
	db, err := d.open(1)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return fmt.Errorf("connect to %s: %w", d.dialect, locate(err, d.file()))
	}
	if d.dialect != nogap.MySQL {
		return nil
	}
	var version string
	if err := db.QueryRowContext(ctx, "SELECT version()").Scan(&version); err != nil {
		return fmt.Errorf("ask %s for its version: %w", d.dialect, err)
	}
	if strings.Contains(version, "MariaDB") {
		d.dialect = nogap.MariaDB
	}
	return nil
}
