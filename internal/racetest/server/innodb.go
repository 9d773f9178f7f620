package server

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/nogap-go/nogap/internal/sqlerr"
)

// innodb is what MySQL and MariaDB have in common.
type innodb struct{}

func (innodb) quote() string { return "`" }

func (innodb) check(context.Context, *sql.DB, *sql.DB) error { return nil }

func (innodb) tables() string {
	return "SELECT TABLE_SCHEMA, TABLE_NAME, 1 FROM information_schema.TABLES " +
		"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')"
}

// A default that is a constant is a number or stands in quotes on MariaDB; on MySQL it is DEFAULT_GENERATED if it is none.
func (innodb) columns(schema, name string) string {
	return fmt.Sprintf(`
SELECT c.COLUMN_NAME, c.COLUMN_TYPE, COALESCE(k.ORDINAL_POSITION, 0), c.EXTRA LIKE '%%auto_increment%%',
	c.EXTRA LIKE '%%DEFAULT_GENERATED%%' OR COALESCE(LEFT(c.COLUMN_DEFAULT, 1) <> %[3]s AND c.COLUMN_DEFAULT LIKE '%%(%%', 0) AND VERSION() LIKE '%%MariaDB%%'
FROM information_schema.COLUMNS AS c
LEFT JOIN information_schema.KEY_COLUMN_USAGE AS k ON k.TABLE_SCHEMA = c.TABLE_SCHEMA AND k.TABLE_NAME = c.TABLE_NAME
	AND k.COLUMN_NAME = c.COLUMN_NAME AND k.CONSTRAINT_NAME = 'PRIMARY'
WHERE c.TABLE_SCHEMA = %[1]s AND c.TABLE_NAME = %[2]s
ORDER BY c.ORDINAL_POSITION`, hex(schema), hex(name), hex("'"))
}

// hex is a string in SQL, whatever sql_mode makes of quotes and backslashes.
func hex(s string) string { return fmt.Sprintf("CONVERT(X'%x' USING utf8)", s) }

// count is the next value of AUTO_INCREMENT among the options of a table, where it is left out if it is 1.
var count = regexp.MustCompile(`\bAUTO_INCREMENT=(\d+)`)

// advance reads the next value where it is not cached, as it is for a day in MySQL's information_schema.
func (innodb) advance(ctx context.Context, db *sql.DB, t *listed, by int64) error {
	var name, create string
	if err := db.QueryRowContext(ctx, "SHOW CREATE TABLE "+t.from).Scan(&name, &create); err != nil {
		return err
	}
	end := strings.LastIndex(create, "\n)")
	if end < 0 || !strings.Contains(strings.ToUpper(create[:end]), " AUTO_INCREMENT") {
		return nil
	}
	next := int64(1)
	if found := count.FindStringSubmatch(create[end:]); found != nil {
		next, _ = strconv.ParseInt(found[1], 10, 64)
	}
	_, err := db.ExecContext(ctx, fmt.Sprintf("ALTER TABLE %s AUTO_INCREMENT = %d", t.from, next+by))
	if sqlerr.Of(err).Has(sqlerr.OutOfRange) {
		return nil
	}
	return err
}
