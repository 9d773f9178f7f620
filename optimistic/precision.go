package optimistic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

// checkKind says why the server cannot guard with this kind of version. For a timestamp it asks how precise the column
// is, once: a column that keeps seconds would store two versions of the same second as one, and the guard would let the
// second writer through.
func (t *table) checkKind(ctx context.Context, r reader, s dialect.Server) error {
	switch {
	case t.kind == xmin && s.Product != dialect.PostgreSQL:
		return fmt.Errorf("%v has no xmin", s)
	case t.kind == timestamp && s.Dialect == nogap.SQLite:
		return t.checkDriver(ctx, r, s)
	case t.kind == timestamp:
		return t.checkPrecision(ctx, r, s)
	}
	return nil
}

// checkDriver does the same for SQLite, which has no type for times: the driver writes them as text or numbers, and a
// setting of its may leave the microseconds out.
func (t *table) checkDriver(ctx context.Context, r reader, s dialect.Server) error {
	statement := s.Compile("SELECT {1} = {2}")
	now := time.Date(2001, 2, 3, 4, 5, 6, 7000, time.UTC)
	var equal bool
	err := r.Read(ctx, statement.Text, statement.Args([]any{now, now.Add(time.Microsecond)}), &equal)
	if err == nil && equal {
		err = fmt.Errorf("the driver writes times without microseconds: a timestamp is a version only with them")
	}
	if err != nil {
		return fmt.Errorf("the version column %q: %w", t.mapping.version.name, err)
	}
	return nil
}

func (t *table) checkPrecision(ctx context.Context, r reader, s dialect.Server) error {
	column := t.mapping.version.name
	query := "SELECT COLUMN_TYPE FROM information_schema.COLUMNS " +
		"WHERE TABLE_SCHEMA = COALESCE({1}, DATABASE()) AND TABLE_NAME = {2} AND COLUMN_NAME = {3}"
	args := []any{sql.NullString{String: t.name.Qualifier(), Valid: t.name.Qualifier() != ""}, t.name.Last(), column.String()}
	if s.Dialect == nogap.Postgres {
		query = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute " +
			"WHERE attrelid = to_regclass(CAST({1} AS text)) AND attname = CAST({2} AS text)"
		args = []any{s.Quote(t.name), column.String()}
	}
	statement := s.Compile(query)
	var columnType string
	err := r.Read(ctx, statement.Text, statement.Args(args), &columnType)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("the type of the version column %q could not be found out: no such table or column is listed", column)
	case err != nil:
		return fmt.Errorf("finding out the type of the version column %q: %w", column, err)
	case !microseconds(s, columnType):
		return fmt.Errorf("the version column %q is %s: a timestamp is a version only if it keeps microseconds", column, columnType)
	}
	return nil
}

// microseconds reports whether a column of this type keeps them.
func microseconds(s dialect.Server, columnType string) bool {
	name, precision, given := strings.Cut(strings.ToLower(columnType), "(")
	name = strings.TrimSpace(name)
	if s.Dialect == nogap.Postgres {
		// "timestamp with time zone" has six digits, "timestamp(3) with time zone" says so.
		return strings.HasPrefix(name, "timestamp") && (!given || strings.HasPrefix(precision, "6)"))
	}
	return (name == "datetime" || name == "timestamp") && strings.HasPrefix(precision, "6)")
}
