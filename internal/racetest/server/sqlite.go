package server

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

type sqlite struct{}

func (sqlite) quote() string { return `"` }

var errOwnMemory = errors.New("each connection has an SQLite database in memory of its own: let Open name a file in t.TempDir(), or " +
	"share the memory with file:name?mode=memory&cache=shared")

// check changes user_version, which has no meaning to SQLite, of a database that is in no file, and looks for it over another
// connection.
func (sqlite) check(ctx context.Context, db, other *sql.DB) error {
	var file sql.NullString
	err := db.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&file)
	if err != nil || file.String != "" {
		return err
	}
	before, err := userVersion(ctx, db)
	if err != nil {
		return err
	}
	if err := setUserVersion(ctx, db, before^1); err != nil {
		return err
	}
	there, err := userVersion(ctx, other)
	if err := errors.Join(err, setUserVersion(ctx, db, before)); err != nil {
		return err
	}
	if there == before {
		return errOwnMemory
	}
	return nil
}

func userVersion(ctx context.Context, db *sql.DB) (version int64, err error) {
	err = db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version)
	return version, err
}

func setUserVersion(ctx context.Context, db *sql.DB, version int64) error {
	_, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version))
	return err
}

// blocked is never asked for what could be true: package gate lets nobody wait for a lock.
func (sqlite) blocked(context.Context, *sql.DB, int64) (Waiting, error) {
	return Waiting{Answer: No}, nil
}

func (sqlite) tables() string {
	return `SELECT 'main', name, 1 FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`
}

// An INTEGER PRIMARY KEY is the number of the row, except in a table WITHOUT ROWID, whose key is an index.
func (sqlite) columns(_, name string) string {
	return fmt.Sprintf(`
SELECT c.name, c.type, c.pk,
	c.pk > 0 AND upper(c.type) = 'INTEGER' AND NOT EXISTS (SELECT 1 FROM pragma_table_info(%[1]s) AS o WHERE o.pk > 1)
		AND NOT EXISTS (SELECT 1 FROM pragma_index_list(%[1]s) AS i WHERE i.origin = 'pk'),
	COALESCE(c.dflt_value LIKE '%%(%%' OR upper(c.dflt_value) LIKE 'CURRENT%%', 0)
FROM pragma_table_xinfo(%[1]s) AS c WHERE c.hidden <> 1
ORDER BY c.cid`, text(name))
}

// advance moves what AUTOINCREMENT has counted, which is in a table of SQLite's that is there as soon as one table has it.
func (sqlite) advance(ctx context.Context, db *sql.DB, t *listed, by int64) error {
	var counts bool
	err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence')
		AND upper(sql) LIKE '%AUTOINCREMENT%' FROM sqlite_master WHERE type = 'table' AND name = `+text(t.bare)).Scan(&counts)
	if err != nil || !counts {
		return err
	}
	set := strings.NewReplacer("{name}", text(t.bare), "{by}", fmt.Sprint(by))
	if _, err := db.ExecContext(ctx, set.Replace("INSERT INTO sqlite_sequence (name, seq) SELECT {name}, 0 "+
		"WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = {name})")); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, set.Replace("UPDATE sqlite_sequence SET seq = seq + {by} WHERE name = {name}"))
	return err
}
