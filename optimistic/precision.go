package optimistic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fields"
)

// checkVersion returns an error if the server cannot compare this kind of version. For a timestamp it asks how precise
// the column is, once: a column that keeps seconds would store two versions of the same second as one, and the second
// writer's condition would hold.
func checkVersion(ctx context.Context, r dialect.Reader, s dialect.Server, table dialect.Ident, version fields.Column, k versionKind) error {
	switch {
	case k == xminVersion && s.SystemVersion == "":
		return fmt.Errorf("%v has no xmin", s)
	case k == timestampVersion && s.TypelessTimes:
		return checkDriver(ctx, r, s, version.Name)
	case k == timestampVersion:
		return checkPrecision(ctx, r, s, table, version.Name)
	}
	return nil
}

// checkDriver does the same where times have no type: the driver writes them as text or numbers, and a setting of its may
// leave the microseconds out.
func checkDriver(ctx context.Context, r dialect.Reader, s dialect.Server, version dialect.Ident) error {
	q := s.Compile("SELECT {1} = {2}")
	now := time.Date(2001, 2, 3, 4, 5, 6, 7000, time.UTC)
	var equal bool
	err := r.Read(ctx, q.Text, q.Args([]any{now, now.Add(time.Microsecond)}), &equal)
	if err == nil && equal {
		err = errors.New("the driver writes times without microseconds: a timestamp is a version only with them")
	}
	if err != nil {
		return fmt.Errorf("the version column %q: %w", version, err)
	}
	return nil
}

func checkPrecision(ctx context.Context, r dialect.Reader, s dialect.Server, table, version dialect.Ident) error {
	q, args := s.ColumnType(table, version)
	var columnType string
	err := r.Read(ctx, q.Text, q.Args(args), &columnType)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("the type of the version column %q could not be found out: no such table or column is listed", version)
	case err != nil:
		return fmt.Errorf("finding out the type of the version column %q: %w", version, err)
	case !s.KeepsMicroseconds(columnType):
		return fmt.Errorf("the version column %q is %s: a timestamp is a version only if it keeps microseconds", version, columnType)
	}
	return nil
}
