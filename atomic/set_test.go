package atomic_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// Only where the server may drop an INSERT does the statement also look for a member that was there.
func TestStatementOfAdd(t *testing.T) {
	const insert = `INSERT INTO "likes" ("post_id", "user_id") VALUES ($1, $2) ON CONFLICT ("post_id", "user_id") DO NOTHING RETURNING 1`
	const both = `WITH added AS (` + insert + `) SELECT 1 FROM added UNION ALL SELECT 0 FROM "likes" WHERE "post_id" = $1 AND "user_id" = $2`
	none := fakedb.Reply{Columns: []string{"one"}}
	for name, c := range map[string]struct {
		drops, listed bool
		reply         fakedb.Reply
		statement     string
		added         bool
		err           string
	}{
		"new":               {false, true, fakedb.Row(int64(1)), insert, true, ""},
		"there":             {false, true, none, insert, false, ""},
		"drops, new":        {true, true, fakedb.Row(int64(1)), both, true, ""},
		"drops, there":      {true, true, fakedb.Row(int64(0)), both, false, ""},
		"drops, dropped":    {true, true, none, both, false, "the member was not inserted though it is not there"},
		"nobody knows, new": {false, false, fakedb.Row(int64(1)), both, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return c.reply, nil })
			server.Looks = func(_ context.Context, call fakedb.Call) (fakedb.Reply, error) {
				looked := fakedb.Looked(call, "")
				if row := looked.Rows[0]; c.drops {
					row[len(row)-3] = int64(1) // MeddlesInserts
				}
				if !c.listed {
					looked.Rows = nil
				}
				return looked, nil
			}
			db := server.DB()
			defer db.Close()
			set, err := atomic.NewSet(db, "likes", []string{"post_id", "user_id"}, atomic.WithDialect(nogap.Postgres))
			require.NoError(t, err)
			added, err := set.Add(t.Context(), 1, "ann")
			require.Equal(t, c.added, added)
			if c.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.err)
			}
			for _, call := range server.Calls() {
				if call.Kind == fakedb.Query {
					require.Equal(t, c.statement, call.Query)
				}
			}
		})
	}
}
