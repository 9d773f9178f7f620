package atomic_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// fakeTable is a fakeRow with many rows, which knows the statements about several of them too.
type fakeTable struct {
	*fakeRow
	lockedByOthers map[string]bool // and so passed over
	commit         func() error    // what becomes of the COMMIT of several rows that changed; an error that wraps io.ErrUnexpectedEOF comes instead of its answer
	clamps         bool            // a trigger stores less than was written
	undo           map[string]int64
	joint          int // statements that wrote several rows
	hold           chan struct{}
}

func (f *fakeTable) handle(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
	if c.Kind == fakedb.Query || c.Kind == fakedb.Begin {
		<-f.hold
	}
	if c.Kind == fakedb.Query && strings.Contains(c.Query, "pg_trigger") {
		return fakedb.Row(int64(0)), nil
	}
	if c.Kind == fakedb.Query && strings.Contains(c.Query, "unnest") {
		return f.several(c)
	}
	if c.Kind == fakedb.Rollback || c.Kind == fakedb.Commit {
		f.mu.Lock()
		defer f.mu.Unlock()
		undo := f.undo
		f.undo = nil
		var err error
		if c.Kind == fakedb.Commit && f.commit != nil && undo != nil {
			err = f.commit()
		}
		if c.Kind == fakedb.Rollback || errors.Is(err, errUndone) || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			for id, was := range undo {
				f.stock[id] = &was
			}
		}
		return fakedb.Reply{}, err
	}
	return f.fakeRow.handle(ctx, c)
}

var errUndone = errors.New("undone")

func (f *fakeTable) several(c fakedb.Call) (fakedb.Reply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reply := fakedb.Reply{Columns: []string{"n", "stock"}}
	ids := elements(c.Arg(0))
	if strings.HasPrefix(c.Query, "SELECT") {
		if !strings.HasSuffix(c.Query, ` JOIN "items" ON "id" = nogap.nogap_1 ORDER BY "id" FOR NO KEY UPDATE SKIP LOCKED`) {
			return reply, errors.New("unknown: " + c.Query)
		}
		for i, id := range ids {
			if stock, found := f.stock[id]; found && !f.lockedByOthers[id] {
				reply.Rows = append(reply.Rows, []driver.Value{int64(i + 1), column(stock)})
			}
		}
		return reply, nil
	}
	const update = `UPDATE "items" SET "stock" = nogap.nogap_v FROM unnest(CAST($1 AS TEXT[]), CAST($2 AS BIGINT[])) WITH ORDINALITY`
	if !strings.HasPrefix(c.Query, update) {
		return reply, errors.New("unknown: " + c.Query)
	}
	f.joint++
	values := elements(c.Arg(1))
	undo := map[string]int64{}
	for i, id := range ids {
		v, err := strconv.ParseInt(values[i], 10, 64)
		if err != nil {
			return reply, err
		}
		if v < f.low || v > f.high {
			return fakedb.Reply{}, sqlState(f.refuses)
		}
		if f.clamps {
			v = min(v, 7)
		}
		undo[id] = *f.stock[id]
		reply.Rows = append(reply.Rows, []driver.Value{int64(i + 1), v})
	}
	for i, id := range ids {
		v := reply.Rows[i][1].(int64)
		f.stock[id] = &v
	}
	f.undo = undo
	return reply, nil
}

// elements takes an array of PostgreSQL's apart, whose elements have nothing special in them.
func elements(array driver.Value) []string {
	text := strings.Trim(array.(string), "{}")
	all := strings.Split(text, ",")
	for i := range all {
		all[i] = strings.Trim(all[i], `"`)
	}
	return all
}

func sku(i int) string { return fmt.Sprintf("sku-%d", i) }

// crowdOf makes all requests, of which each is for one of n rows, while the first statements are held up, so that most rows
// are carried out together. It returns what they came to.
func crowdOf(t *testing.T, f *fakeTable, n int, requests []request) []result {
	t.Helper()
	results := make([]result, len(requests))
	synctest.Test(t, func(t *testing.T) {
		f.hold = make(chan struct{})
		server := fakedb.New(f.handle)
		server.Looks = func(context.Context, fakedb.Call) (fakedb.Reply, error) {
			return fakedb.Row(int64(0), int64(0), "", "text", int64(0), int64(1), "", int64(0), int64(0), "", int64(1)), nil
		}
		db := server.DB()
		defer db.Close()
		c := atomic.Coalesce(newStock[int64](t, db))
		for i, r := range requests {
			go func() { results[i] = resultOf(r.callAt(context.Background(), c, sku(i%n))) }()
			synctest.Wait()
		}
		close(f.hold)
		synctest.Wait()
		require.Zero(t, c.Rows())
		require.NoError(t, c.Close())
	})
	return results
}

func (r request) callAt(ctx context.Context, c *atomic.Coalescer[int64], key string) (int64, error) {
	switch r.op {
	case 0:
		return c.DecrementIfPositive(ctx, key)
	case 1:
		return c.Decrement(ctx, r.n, key)
	case 2:
		return c.Increment(ctx, r.n, key)
	default:
		return c.IncrementUpTo(ctx, r.n, r.limit, key)
	}
}

func newTable(stock func(i int) int64, n int) *fakeTable {
	f := &fakeTable{fakeRow: smallint(0), lockedByOthers: map[string]bool{}}
	f.stock = map[driver.Value]*int64{}
	for i := range n {
		v := stock(i)
		f.stock[sku(i)] = &v
	}
	return f
}

// What rows get together, and what is left in them, is what the calls get one by one.
func TestTogetherIsLikeOneByOne(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	joint := 0
	for round := range 150 {
		n := 40 + rnd.IntN(60)
		f := newTable(func(int) int64 { return rnd.Int64N(12) }, n)
		if round%3 == 0 {
			f.high, f.refuses = 8+rnd.Int64N(8), "23514"
		}
		f.clamps = round%10 == 9
		start := make([]*int64, n)
		for i := range n {
			switch {
			case f.clamps:
				v := rnd.Int64N(4)
				f.stock[sku(i)] = &v
			case rnd.IntN(20) == 0:
				delete(f.stock, sku(i))
			case rnd.IntN(20) == 0:
				f.stock[sku(i)] = nil
			case rnd.IntN(20) == 0:
				f.lockedByOthers[sku(i)] = true
			}
			if p := f.stock[sku(i)]; p != nil {
				v := min(*p, f.high)
				start[i] = &v
				copied := v
				f.stock[sku(i)] = &copied
			}
		}
		if round%7 == 1 {
			f.commit = func() error { return sqlState("23514") } // a constraint that is deferred
		}
		requests := make([]request, n*(1+rnd.IntN(5)))
		for i := range requests {
			requests[i] = request{op: byte(rnd.IntN(4)), n: rnd.Int64N(6), limit: rnd.Int64N(20)}
			if f.clamps {
				requests[i].op, requests[i].n = 2, 1
			}
		}
		got := crowdOf(t, f, n, requests)
		joint += f.joint
		for i := range n {
			if start[i] == nil {
				for j := i; j < len(requests); j += n {
					require.Error(t, got[j].err)
					require.NotErrorIs(t, got[j].err, nogap.ErrOutcomeUnknown)
					_, found := f.stock[sku(i)]
					require.Equal(t, !found, errors.Is(got[j].err, sql.ErrNoRows))
				}
				continue
			}
			if f.clamps {
				continue // the fakeRow's single statements store what they were given
			}
			value := *start[i]
			for j := i; j < len(requests); j += n {
				want := requests[j].apply(&value, f.low, f.high)
				if f.high < 100 && want.err == atomic.ErrLimit && !want.refused {
					want = result{err: got[j].err} // a CHECK's own error
					require.ErrorContains(t, got[j].err, "23514")
				}
				require.Equal(t, want, got[j], "round %d, row %d, call %d: %+v", round, i, j, requests[j])
			}
			require.Equal(t, value, *f.stock[sku(i)], "row %d", i)
		}
	}
	require.NotZero(t, joint)
}

// What a trigger stores instead is noticed, and each row then has its own statement.
func TestTogetherNoticesATrigger(t *testing.T) {
	f := newTable(func(int) int64 { return 7 }, 80)
	f.clamps = true
	requests := make([]request, 80)
	for i := range requests {
		requests[i] = request{op: 2, n: 1}
	}
	for i, r := range crowdOf(t, f, 80, requests) {
		require.Equal(t, result{value: 8}, r, i)
		require.EqualValues(t, 8, *f.stock[sku(i)], "which only the trigger of the statement about several rows changes")
	}
	require.NotZero(t, f.joint)
}

// If nobody knows what came of the COMMIT, the calls that changed something are told so, and nothing is sent again. Those that
// were refused know that.
func TestTogetherWithAnUnknownCommit(t *testing.T) {
	for _, undone := range []bool{false, true} {
		f := newTable(func(i int) int64 { return int64(i % 2) }, 100)
		commits := 0
		f.commit = func() error {
			commits++
			if undone {
				return fmt.Errorf("%w: %w", errUndone, io.ErrUnexpectedEOF)
			}
			return io.ErrUnexpectedEOF
		}
		requests := make([]request, 100)
		unknown := 0
		for i, r := range crowdOf(t, f, 100, requests) {
			switch {
			case i%2 == 0:
				require.Equal(t, result{0, atomic.ErrInsufficient, true}, r)
			case r.err == nil:
				require.Zero(t, *f.stock[sku(i)], "applied once")
			default:
				require.ErrorIs(t, r.err, nogap.ErrOutcomeUnknown)
				unknown++
				require.Equal(t, undone, *f.stock[sku(i)] == 1)
			}
		}
		require.NotZero(t, unknown)
		require.NotZero(t, commits)
	}
}
