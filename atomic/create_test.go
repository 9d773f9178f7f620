package atomic_test

import (
	"context"
	"database/sql"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// missingRow is a table of numbers without rows, as far as UPDATE and SELECT go, until a row is inserted.
type missingRow struct {
	value   int64
	there   bool
	missed  bool  // an INSERT finds that somebody else has inserted the row
	refused error // what an INSERT fails with
}

func (m *missingRow) handle(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
	none := fakedb.Reply{Columns: []string{"n"}}
	switch verb, _, _ := strings.Cut(c.Query, " "); {
	case strings.Contains(c.Query, "information_schema.statistics"), strings.Contains(c.Query, "pragma_index_list"):
		return fakedb.Row(int64(1)), nil
	case verb == "INSERT" && m.refused != nil:
		return fakedb.Reply{}, m.refused
	case verb == "INSERT" && m.missed:
		m.there, m.missed, m.value = true, false, 41
		return none, nil
	case verb == "INSERT":
		m.there = true
		if len(c.Args) > 1 {
			m.value = c.Arg(1).(int64)
		}
		r := fakedb.Row(m.value)
		r.RowsAffected = 1
		return r, nil
	case verb == "UPDATE" && m.there:
		m.value++
		r := fakedb.Row(m.value)
		r.RowsAffected, r.LastInsertID = 1, m.value
		return r, nil
	case verb == "SELECT" && m.there:
		return fakedb.Row(m.value, int64(1)), nil
	}
	return none, nil
}

func missing(t *testing.T, d nogap.Dialect, m *missingRow, opts ...atomic.Option) (*atomic.Counter[int64], *fakedb.Server, *sql.DB) {
	t.Helper()
	server := fakedb.Recorded(m.handle)
	db := server.DB()
	t.Cleanup(func() { db.Close() })
	c, err := atomic.NewCounter[int64](db, "numbers", "n", append(opts, atomic.WithDialect(d), atomic.CreateMissing())...)
	require.NoError(t, err)
	return c, server, db
}

// verbs are the first words of what was sent.
func verbs(s *fakedb.Server) string {
	var words []string
	for _, line := range s.Log() {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word != "SHOW" && !strings.Contains(line, "information_schema") && !strings.Contains(line, "pragma") {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

func TestCreateMissingStatements(t *testing.T) {
	c, server, _ := missing(t, nogap.Postgres, &missingRow{})
	n, err := c.Increment(t.Context(), 5, "2026")
	require.NoError(t, err)
	require.EqualValues(t, 5, n)
	require.Equal(t, `INSERT INTO "numbers" ("id", "n") VALUES ($1, CAST($2 AS BIGINT)) ON CONFLICT ("id") DO NOTHING RETURNING "n"`, server.Log()[2])
	n, err = c.Increment(t.Context(), 1, "2026")
	require.NoError(t, err)
	require.EqualValues(t, 6, n)
	require.Equal(t, "UPDATE SELECT INSERT UPDATE", verbs(server), "a row that is there costs one trip")

	c, server, _ = missing(t, nogap.Postgres, &missingRow{missed: true})
	n, err = c.Increment(t.Context(), 1, "2026")
	require.NoError(t, err)
	require.EqualValues(t, 42, n, "somebody else was first")
	require.Equal(t, "UPDATE SELECT INSERT UPDATE", verbs(server))

	c, server, _ = missing(t, nogap.MySQL, &missingRow{})
	n, err = c.Increment(t.Context(), 5, "2026")
	require.NoError(t, err)
	require.EqualValues(t, 5, n)
	require.Equal(t, "UPDATE SELECT INSERT", verbs(server))

	c, server, _ = missing(t, nogap.Postgres, &missingRow{}, atomic.Where("active"))
	n, err = c.Increment(t.Context(), 1, "2026")
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	require.Equal(t, "UPDATE SELECT BEGIN INSERT UPDATE COMMIT", verbs(server), "the condition sees the row before it stands")
	require.Equal(t, `INSERT INTO "numbers" ("id", "n") VALUES ($1, 0) ON CONFLICT ("id") DO NOTHING`, server.Log()[3])
}

func TestCreateMissingInATransaction(t *testing.T) {
	for d, want := range map[nogap.Dialect]string{
		nogap.Postgres: "BEGIN UPDATE SELECT SAVEPOINT INSERT UPDATE RELEASE",
		nogap.MySQL:    "BEGIN SAVEPOINT INSERT UPDATE RELEASE",
	} {
		c, server, db := missing(t, d, &missingRow{})
		tx, err := db.Begin()
		require.NoError(t, err)
		n, err := c.WithTx(tx).Increment(t.Context(), 1, "2026")
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		require.Equal(t, want, verbs(server), d)
		if d == nogap.MySQL {
			require.Contains(t, server.Log(), "INSERT INTO `numbers` (`id`, `n`) VALUES (?, 0) ON DUPLICATE KEY UPDATE `n` = `n`")
		}
		require.NoError(t, tx.Rollback())
	}
}

// What is refused at zero sends no INSERT.
func TestCreateMissingRefused(t *testing.T) {
	for _, d := range []nogap.Dialect{nogap.Postgres, nogap.MySQL, nogap.SQLite} {
		c, server, _ := missing(t, d, &missingRow{})
		_, err := c.DecrementIfPositive(t.Context(), "2026")
		require.ErrorIs(t, err, atomic.ErrInsufficient)
		require.EqualError(t, err, "atomic: numbers.n at [2026] is 0: insufficient")
		_, err = c.Decrement(t.Context(), 3, "2026")
		require.ErrorIs(t, err, atomic.ErrInsufficient)
		_, err = c.IncrementUpTo(t.Context(), 3, 2, "2026")
		require.ErrorIs(t, err, atomic.ErrLimit)
		_, err = c.IncrementUpTo(t.Context(), 0, -1, "2026")
		require.ErrorIs(t, err, atomic.ErrLimit)
		n, err := c.IncrementUpTo(t.Context(), 0, 0, "2026")
		require.NoError(t, err)
		require.Zero(t, n)
		require.NotContains(t, verbs(server), "INSERT")
	}
	server := fakedb.Recorded((&missingRow{}).handle)
	db := server.DB()
	defer db.Close()
	decimals, err := atomic.NewCounter[string](db, "numbers", "n", atomic.WithDialect(nogap.Postgres), atomic.CreateMissing())
	require.NoError(t, err)
	for _, over := range [][2]string{{"0.30000000000000001", "0.3"}, {"+1", ".5"}, {"0", "-0.01"}} {
		n, err := decimals.IncrementUpTo(t.Context(), over[0], over[1], "2026")
		require.ErrorIs(t, err, atomic.ErrLimit, over)
		require.Equal(t, "0", n)
	}
}

// A connection that is lost at the INSERT leaves the outcome unknown, and nothing is sent again.
func TestCreateMissingUnknown(t *testing.T) {
	for _, d := range []nogap.Dialect{nogap.Postgres, nogap.MySQL} {
		for _, opts := range [][]atomic.Option{{}, {atomic.Where("active")}} {
			c, server, _ := missing(t, d, &missingRow{refused: io.ErrUnexpectedEOF}, opts...)
			n, err := c.Increment(t.Context(), 1, "2026")
			require.Zero(t, n)
			if len(opts) == 0 {
				require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
			} else {
				require.ErrorIs(t, err, io.ErrUnexpectedEOF)
				require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown, "the transaction was not committed")
			}
			require.Equal(t, 1, strings.Count(verbs(server), "INSERT"))
		}
	}
}

func TestCreateMissingErrors(t *testing.T) {
	c, server, _ := missing(t, nogap.Postgres, &missingRow{refused: sqlState("23502")})
	_, err := c.Increment(t.Context(), 1, "2026")
	require.EqualError(t, err, "atomic: numbers.n at [2026]: CreateMissing: a column without a default keeps the row from being inserted: SQLSTATE 23502")
	require.Equal(t, "UPDATE SELECT INSERT", verbs(server))

	c, _, _ = missing(t, nogap.Postgres, &missingRow{refused: sqlState("42P10")})
	_, err = c.Increment(t.Context(), 1, "2026")
	require.ErrorIs(t, err, atomic.ErrNoUniqueIndex)

	c, _, _ = missing(t, nogap.Postgres, &missingRow{refused: sqlState("22003")})
	_, err = c.Increment(t.Context(), 1, "2026")
	require.ErrorIs(t, err, atomic.ErrLimit)

	c, server, _ = missing(t, nogap.MySQL, &missingRow{refused: sqlState("23505")})
	_, err = c.Increment(t.Context(), 1, "2026")
	require.ErrorContains(t, err, "CreateMissing: the row was not inserted though it is not there")
	require.Equal(t, 10, strings.Count(verbs(server), "INSERT"), "it is tried again, since somebody may have deleted the row")

	db := instant(t)
	_, err = atomic.NewState[string](db, "orders", "status", atomic.CreateMissing())
	require.EqualError(t, err, "atomic: CreateMissing is not an option of NewState")
	_, err = atomic.NewSet(db, "likes", []string{"id"}, atomic.CreateMissing())
	require.ErrorContains(t, err, "CreateMissing is not an option of NewSet")
	_, err = atomic.NewSingleUse[reset](db, "resets", atomic.DeleteUsed(), atomic.CreateMissing())
	require.ErrorContains(t, err, "CreateMissing is not an option of NewSingleUse")
}

func TestGetStatement(t *testing.T) {
	server := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Row(int64(5)), nil })
	db := server.DB()
	defer db.Close()
	c, err := atomic.NewCounter[int64](db, "numbers", "n", atomic.WithDialect(nogap.Postgres))
	require.NoError(t, err)
	n, err := c.Get(t.Context(), "2026")
	require.NoError(t, err)
	require.EqualValues(t, 5, n)
	require.Equal(t, []string{`SELECT "n" FROM "numbers" WHERE "id" = $1`}, server.Log())
	_, err = c.Get(t.Context())
	require.ErrorContains(t, err, "a key of numbers has one value for each of (id), got 0")
}
