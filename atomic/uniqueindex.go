package atomic

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// checkUniqueIndex looks for a unique index on the table's key alone, unless the server itself refuses to do without.
func checkUniqueIndex(ctx context.Context, r txn.Runner, t *table.Table, server dialect.Server) error {
	query, args, needed := server.UniqueIndexes(t.Name, t.Key)
	if !needed {
		return nil
	}
	var found int
	if err := r.Read(ctx, query.Text, query.Args(args), &found); err != nil {
		return fmt.Errorf("looking for the unique index of %s: %w", t.Name, err)
	}
	if found == 0 {
		return noUniqueIndex(t)
	}
	return nil
}

func noUniqueIndex(t *table.Table) error {
	return fmt.Errorf("%w on exactly the columns (%s) of table %s, or no such table", ErrNoUniqueIndex, t.KeyNames(), t.Name)
}

// placeholders returns those of the first n values, separated by commas.
func placeholders(n int) string {
	values := make([]string, n)
	for i := range values {
		values[i] = "{" + strconv.Itoa(i+1) + "}"
	}
	return strings.Join(values, ", ")
}
