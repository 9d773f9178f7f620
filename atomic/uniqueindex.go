package atomic

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// ErrNoUniqueIndex says that the table of a Set has no unique index or primary key on exactly its columns, so that the
// server would let the same member in twice. The error's text names them. Nothing was written.
var ErrNoUniqueIndex = errors.New("no unique index")

// checkIndex looks for a unique index on the Set's columns alone, in any order, that covers all rows and whole values.
func (s *Set) checkIndex(ctx context.Context, server dialect.Server) error {
	query, args := s.indexQuery(server)
	var found int
	err := s.statement(ctx, func(r txn.Runner) error {
		return r.Read(ctx, query.Text, query.Args(args), &found)
	})
	if err != nil {
		return fmt.Errorf("looking for the unique index of %s: %w", s.name, err)
	}
	if found == 0 {
		return s.noIndex()
	}
	return nil
}

func (s *Set) noIndex() error {
	return fmt.Errorf("%w on exactly the columns (%s) of table %s, or no such table", ErrNoUniqueIndex, names(s.key), s.name)
}

// indexQuery returns a query that counts the indexes that will do. The names of columns compare without regard to case,
// as both servers treat them.
func (s *Set) indexQuery(server dialect.Server) (dialect.Statement, []any) {
	args := []any{s.name.Last(), s.name.Qualifier()}
	ours := make([]string, len(s.key))
	for i, c := range s.key {
		args = append(args, c.String())
		ours[i] = "lower({" + strconv.Itoa(i+3) + "})"
	}
	query := uniqueIndexesSQLite
	if server.IsMySQL() {
		query = uniqueIndexesMySQL
	}
	return server.Compile(fmt.Sprintf(query, len(ours), strings.Join(ours, ", "))), args
}

// sub_part is set for an index on a prefix of the column; an index on an expression has no column_name.
const uniqueIndexesMySQL = `
SELECT COUNT(*) FROM (
	SELECT index_name FROM information_schema.statistics
	WHERE table_name = {1} AND table_schema = COALESCE(NULLIF({2}, ''), DATABASE()) AND non_unique = 0
	GROUP BY index_name
	HAVING COUNT(*) = %[1]d AND SUM(LOWER(column_name) IN (%[2]s) AND sub_part IS NULL) = %[1]d
) AS fitting`

// The primary key of a rowid table, INTEGER PRIMARY KEY, has no index of its own. Without a schema the pragmas look in
// all of them.
const uniqueIndexesSQLite = `
SELECT
	(SELECT count(*) FROM pragma_index_list({1}, nullif({2}, '')) AS l
	 WHERE l."unique" = 1 AND l.partial = 0 AND (
		SELECT count(*) = %[1]d AND sum(lower(c.name) IN (%[2]s)) = %[1]d
		FROM pragma_index_info(l.name, nullif({2}, '')) AS c))
	+
	(SELECT count(*) = %[1]d AND sum(lower(c.name) IN (%[2]s)) = %[1]d
	 FROM pragma_table_info({1}, nullif({2}, '')) AS c WHERE c.pk > 0)`
