//go:build unix

// Package places starts the private servers that the benchmarks run on.
package places

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "github.com/mattn/go-sqlite3"    // the driver "sqlite3"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/servers"
)

// Place is a database, Redis nodes, or etcd beside them.
type Place struct {
	Name    string // "postgres/durable"
	Dialect nogap.Dialect
	Driver  string // of database/sql; empty for Redis
	DSN     string
	Conns   int // how many connections a pool has if nothing else is said

	Redis []string // addresses of independent nodes
	Etcd  string   // the address of a server; empty if there is none
	Fake  bool     // the nodes are in this process and don't know every command
}

// A durable database keeps what it has committed when the power fails, as databases in production do. One that is not
// durable takes the processors' time only, so that the same overhead weighs more.
var (
	SQL = []string{"postgres/durable", "mariadb/durable", "mysql/durable", "sqlite/durable",
		"postgres/relaxed", "mariadb/relaxed", "mysql/relaxed", "sqlite/relaxed"}
	Redis = []string{"redis/1", "redis/3", "redis/5"}
	// SomeSQL is for what differs little between servers.
	SomeSQL = []string{"postgres/durable", "postgres/relaxed", "sqlite/relaxed"}
)

// Relaxed reports whether a place is a database that is not durable.
func Relaxed(name string) bool { return strings.HasSuffix(name, "/relaxed") }

// SQLName reports whether a place is a database.
func SQLName(name string) bool { return slices.Contains(SQL, name) }

const (
	serverPool = 50
	// sqlitePool is small, since one connection at a time can write.
	sqlitePool = 8
)

// Host has the servers. It starts each when it is first asked for, and Close stops them all.
type Host struct {
	tb       *harness
	started  map[string]string // DSNs
	redis    []string
	etcd     string
	noEtcd   error
	InMemory bool // Redis is one in this process, and there is no etcd: for a test
}

// NewHost returns one that has started nothing.
func NewHost() *Host { return &Host{tb: &harness{}, started: map[string]string{}} }

// NoEtcd returns why there is no etcd, if it was asked for.
func (h *Host) NoEtcd() error { return h.noEtcd }

// Place returns the place of a name. It may change how durable a server is on which another Place was before, so only the
// Place that was returned last may be used. The error is exec.ErrNotFound if the server is not installed.
func (h *Host) Place(name string) (p *Place, err error) {
	kind, how, _ := strings.Cut(name, "/")
	err = h.tb.run(func() error {
		switch kind {
		case "postgres":
			p, err = h.postgres(how == "durable")
		case "mariadb":
			p, err = h.mysql(kind, nogap.MariaDB, how == "durable")
		case "mysql":
			p, err = h.mysql(kind, nogap.MySQL, how == "durable")
		case "sqlite":
			p, err = h.sqlite(how == "durable")
		case "redis":
			p, err = h.nodes(how)
		default:
			err = fmt.Errorf("no place %q", name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	p.Name = name
	return p, nil
}

// Close stops the servers.
func (h *Host) Close() error { return h.tb.close() }

func (h *Host) start(name string, start func() string) string {
	if h.started[name] == "" {
		h.started[name] = start()
	}
	return h.started[name]
}

func (h *Host) postgres(durable bool) (*Place, error) {
	setting := "fsync=off"
	if durable {
		setting = "fsync=on"
	}
	dsn := h.start("postgres "+setting, func() string {
		return servers.StartPostgres(h.tb, setting, strings.Replace(setting, "fsync", "full_page_writes", 1)).DSN
	})
	return &Place{Dialect: nogap.Postgres, Driver: "pgx", DSN: dsn, Conns: serverPool}, nil
}

func (h *Host) mysql(kind string, dialect nogap.Dialect, durable bool) (*Place, error) {
	dsn := h.start(kind, func() string {
		if dialect == nogap.MySQL {
			return servers.StartMySQL(h.tb).DSN
		}
		return servers.StartMariaDB(h.tb).DSN
	})
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	admin, err := sql.Open("mysql", dsn)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	flush, sync := 2, 0
	if durable {
		flush, sync = 1, 1
	}
	for _, statement := range []string{
		"CREATE DATABASE IF NOT EXISTS bench",
		fmt.Sprint("SET GLOBAL innodb_flush_log_at_trx_commit = ", flush),
		fmt.Sprint("SET GLOBAL sync_binlog = ", sync),
	} {
		if _, err := admin.Exec(statement); err != nil {
			return nil, err
		}
	}
	config.DBName, config.ParseTime = "bench", true
	return &Place{Dialect: dialect, Driver: "mysql", DSN: config.FormatDSN(), Conns: serverPool}, nil
}

func (h *Host) sqlite(durable bool) (*Place, error) {
	synchronous := "NORMAL"
	if durable {
		synchronous = "FULL"
	}
	file := h.start("sqlite "+synchronous, func() string { return filepath.Join(h.tb.TempDir(), "bench.db") })
	return &Place{Dialect: nogap.SQLite, Driver: "sqlite3", Conns: sqlitePool,
		DSN: "file:" + file + "?_busy_timeout=30000&_journal_mode=WAL&_synchronous=" + synchronous}, nil
}

func (h *Host) nodes(how string) (*Place, error) {
	var n int
	if _, err := fmt.Sscan(how, &n); err != nil || n < 1 {
		return nil, fmt.Errorf("a number of nodes is needed, not %q", how)
	}
	for len(h.redis) < n {
		addr, err := h.startRedis()
		if err != nil {
			return nil, err
		}
		h.redis = append(h.redis, addr)
	}
	if h.etcd == "" && h.noEtcd == nil && !h.InMemory {
		h.etcd, h.noEtcd = startEtcd(h.tb)
	}
	return &Place{Redis: h.redis[:n:n], Etcd: h.etcd, Fake: h.InMemory}, nil
}

// freshDir makes a directory of its own.
func freshDir() (string, error) { return os.MkdirTemp("", "nogap-bench-") }
