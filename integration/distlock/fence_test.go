//go:build unix

package distlock_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
	"github.com/nogap-go/nogap/integration/spelling"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

func newFence(tb testing.TB, db *sql.DB, d nogap.Dialect) *distlock.Fence {
	tb.Helper()
	fence, err := distlock.NewFence(db, "lock_fences")
	require.NoError(tb, err)
	for range 2 { // the table may exist
		_, err = db.ExecContext(context.Background(), fence.Schema(d))
		require.NoError(tb, err, fence.Schema(d))
	}
	return fence
}

// guarded runs a guarded write, again as long as the server asks for that.
func guarded(ctx context.Context, db *sql.DB, fence *distlock.Fence, token distlock.Token, write func(tx *sql.Tx) error) error {
	for {
		err := func() error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			if err := fence.Guard(ctx, tx, token); err != nil {
				return err
			}
			if err := write(tx); err != nil {
				return err
			}
			return tx.Commit()
		}()
		if err == nil || !sqlerr.Of(err).Has(sqlerr.Retry) {
			return err
		}
	}
}

func TestFence(t *testing.T) {
	t.Parallel()
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		t.Parallel()
		db := target.Open(t)
		fence := newFence(t, db, target.Dialect)
		_, err := db.ExecContext(t.Context(), "CREATE TABLE journal (token BIGINT)")
		require.NoError(t, err)
		node := servers.StartRedis(t, 1)[0]
		locks := newLocker(t, []string{node.Addr})
		ctx := t.Context()

		// Names that differ in case or in trailing spaces only are different locks.
		names := []string{"item:42", "Item:42", "item:42 ", "名前"}
		last := map[string]int64{}
		for round := range 3 {
			for _, name := range names {
				err := locks.WithLock(ctx, name, func(ctx context.Context, lease *distlock.Lease) error {
					token, err := fence.Mint(ctx, lease)
					require.NoError(t, err)
					require.Equal(t, name, token.Name)
					require.Greater(t, token.Number, last[name])
					require.EqualValues(t, round+1, token.Number)
					if round > 0 {
						err := guarded(ctx, db, fence, distlock.Token{Name: name, Number: last[name]}, nil)
						require.ErrorIs(t, err, distlock.ErrFenced)
					}
					last[name] = token.Number
					for range 2 {
						require.NoError(t, guarded(ctx, db, fence, token, func(tx *sql.Tx) error {
							_, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO journal VALUES (%d)", token.Number))
							return err
						}))
					}
					return nil
				})
				require.NoError(t, err)
			}
			node.Kill(t) // and Redis has forgotten everything
			node.Restart(t)
			require.True(t, eventually(3*time.Second, func() bool {
				lease, err := locks.TryLock(ctx, "ready")
				return err == nil && lease.Unlock(ctx) == nil
			}))
		}
		var n int
		require.NoError(t, db.QueryRowContext(ctx, "SELECT count(*) FROM journal").Scan(&n))
		require.Equal(t, 3*2*len(names), n)

		require.ErrorIs(t, guarded(ctx, db, fence, distlock.Token{Name: "unknown", Number: 1}, nil), distlock.ErrFenced)
		lease, err := locks.Lock(ctx, "a")
		require.NoError(t, err)
		require.NoError(t, lease.Unlock(ctx))
		_, err = fence.Mint(ctx, lease)
		require.ErrorIs(t, err, distlock.ErrLost)
	})
}

// A table that is not the one of Schema may take two names for one. Then the tokens of one lock would fence the holders of the
// other.
func TestFenceThatIgnoresCase(t *testing.T) {
	t.Parallel()
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		t.Parallel()
		db := target.Open(t)
		ignoresCase := spelling.IgnoresCase(target.Dialect)
		ignoresCase.Prepare(t, db, target.Dialect)
		_, err := db.ExecContext(t.Context(), "CREATE TABLE lock_fences (name "+ignoresCase.Column+
			" NOT NULL PRIMARY KEY, token BIGINT NOT NULL, writes BIGINT NOT NULL)")
		require.NoError(t, err)
		fence, err := distlock.NewFence(db, "lock_fences")
		require.NoError(t, err)
		locks := newLocker(t, []string{servers.StartRedis(t, 1)[0].Addr})
		mint := func(name string) (token distlock.Token, err error) {
			err = locks.WithLock(t.Context(), name, func(ctx context.Context, lease *distlock.Lease) error {
				token, err = fence.Mint(ctx, lease)
				return err
			})
			return token, err
		}
		token, err := mint("report")
		require.NoError(t, err)
		_, err = mint("Report")
		require.ErrorContains(t, err, `mint a token of "Report": lock_fences: the column name takes this name for that of another lock`)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.NoError(t, guarded(t.Context(), db, fence, token, func(*sql.Tx) error { return nil }))
		again, err := mint("report")
		require.NoError(t, err)
		require.EqualValues(t, token.Number+1, again.Number)
	})
}

// Two holders at once, because the key vanished under the first. Every order of their steps is run. Whatever it is, no
// write of the first may follow a write, or the token, of the second.
func TestFenceKeepsOverlappingHoldersApart(t *testing.T) {
	t.Parallel()
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		t.Parallel()
		db := target.Open(t)
		fence := newFence(t, db, target.Dialect)
		addr := servers.Redis(t, 1)
		// The watchdog must not notice during the test.
		opts := []distlock.Option{distlock.Prefix(unique(t)), distlock.TTL(time.Minute)}
		one, two := newLocker(t, addr, opts...), newLocker(t, addr, opts...)
		late := 0
		for i, order := range interleavings([]string{"1 mint", "1 write"}, []string{"2 lock", "2 mint", "2 write"}) {
			name := fmt.Sprint("order ", i)
			first, err := one.Lock(t.Context(), name)
			require.NoError(t, err)
			var second *distlock.Lease
			tokens := map[byte]distlock.Token{}
			var wrote []byte
			mintedByTwo := false
			for _, step := range order {
				who := step[0]
				lease := first
				if who == '2' {
					lease = second
				}
				switch step[2:] {
				case "lock":
					expire(t, addr, unique(t)+name)
					second, err = two.TryLock(t.Context(), name)
					require.NoError(t, err)
				case "mint":
					token, err := fence.Mint(t.Context(), lease)
					if who == '2' {
						require.NoError(t, err, order)
						mintedByTwo = true
					} else if second != nil {
						require.ErrorIs(t, err, distlock.ErrLost, order)
						break
					}
					require.NoError(t, err, order)
					tokens[who] = token
				case "write":
					token, minted := tokens[who]
					if !minted {
						break // it was told that it has lost the lock
					}
					err := guarded(t.Context(), db, fence, token, func(*sql.Tx) error { return nil })
					if who == '1' && mintedByTwo {
						require.ErrorIs(t, err, distlock.ErrFenced, order)
						late++
						break
					}
					require.NoError(t, err, order)
					wrote = append(wrote, who)
				}
			}
			require.True(t, slices.IsSorted(wrote), "%v: wrote %s", order, wrote)
			require.Contains(t, string(wrote), "2", order)
			require.NoError(t, second.Unlock(t.Context()))
			first.Unlock(t.Context())
		}
		require.NotZero(t, late)
	})
}

// interleavings returns all orders of the steps of two clients.
func interleavings(a, b []string) [][]string {
	if len(a) == 0 || len(b) == 0 {
		return [][]string{append(slices.Clone(a), b...)}
	}
	var all [][]string
	for _, rest := range interleavings(a[1:], b) {
		all = append(all, append([]string{a[0]}, rest...))
	}
	for _, rest := range interleavings(a, b[1:]) {
		all = append(all, append([]string{b[0]}, rest...))
	}
	return all
}

// The key vanishes at any moment of a Mint, not between calls only.
func TestFenceUnderConcurrentExpiry(t *testing.T) {
	t.Parallel()
	matrix.Run(t, append(matrix.Postgres()[:1:1], matrix.MariaDB()[0]), func(t *testing.T, target matrix.Target) {
		t.Parallel()
		db := target.Open(t)
		fence := newFence(t, db, target.Dialect)
		addr := servers.Redis(t, 1)
		type write struct {
			token  int64
			holder int64 // in the order in which Redis granted the lock
		}
		var mu sync.Mutex
		var journal []write
		var granted int64
		ctx, stop := context.WithTimeout(t.Context(), 4*time.Minute) // it ends as soon as enough has happened
		defer stop()
		var wg sync.WaitGroup
		var fenced, lost int
		enough := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(journal) > 200 && fenced+lost > 20
		}
		for range 4 {
			locks := newLocker(t, addr, distlock.Prefix(unique(t)))
			wg.Go(func() {
				for ctx.Err() == nil {
					lease, err := locks.Lock(ctx, "a")
					if err != nil {
						continue
					}
					mu.Lock()
					granted++
					mine := granted
					mu.Unlock()
					token, err := fence.Mint(context.Background(), lease)
					if err == nil {
						err = guarded(context.Background(), db, fence, token, func(*sql.Tx) error {
							mu.Lock()
							defer mu.Unlock()
							journal = append(journal, write{token.Number, mine})
							return nil
						})
					}
					mu.Lock()
					switch {
					case errors.Is(err, distlock.ErrFenced):
						fenced++
					case errors.Is(err, distlock.ErrLost):
						lost++
					case err != nil:
						t.Error(err)
					}
					mu.Unlock()
					lease.Unlock(context.Background())
				}
			})
		}
		for ctx.Err() == nil && !enough() {
			time.Sleep(2 * time.Millisecond)
			expire(t, addr, unique(t)+"a")
		}
		stop()
		wg.Wait()
		require.True(t, slices.IsSortedFunc(journal, func(a, b write) int { return int(a.token - b.token) }),
			"the database saw tokens out of order")
		require.True(t, enough(), "%d writes, %d fenced off, %d told that the lease was lost", len(journal), fenced, lost)
		t.Logf("%d writes, %d fenced off, %d told that the lease was lost", len(journal), fenced, lost)
	})
}

// On a cluster row locks are local to a node: the holders write through different nodes.
func TestFenceOnCluster(t *testing.T) {
	t.Parallel()
	matrix.EachCluster(t, testFenceOnCluster)
}

func testFenceOnCluster(t *testing.T, cluster matrix.Cluster) {
	nodes := cluster.Nodes(t)
	fences := []*distlock.Fence{newFence(t, nodes[0], cluster.Dialect)}
	second, err := distlock.NewFence(nodes[1], "lock_fences")
	require.NoError(t, err)
	fences = append(fences, second)
	cluster.CatchUp(t, nodes[1])
	locks := newLocker(t, servers.Redis(t, 1), distlock.Prefix(unique(t)))
	var last int64
	for i := range 20 {
		err := locks.WithLock(t.Context(), "a", func(ctx context.Context, lease *distlock.Lease) error {
			token, err := fences[i%2].Mint(ctx, lease)
			require.NoError(t, err)
			require.Greater(t, token.Number, last)
			last = token.Number

			// A transaction of this holder is guarded on one node. Before it commits, the next token is minted on the
			// other.
			tx, err := nodes[i%2].BeginTx(ctx, nil)
			require.NoError(t, err)
			defer tx.Rollback()
			if err := fences[i%2].Guard(ctx, tx, token); err != nil {
				return err
			}
			next, err := fences[1-i%2].Mint(ctx, lease)
			require.NoError(t, err)
			if next.Number <= token.Number {
				return fmt.Errorf("minted %v after %v", next, token)
			}
			last = next.Number
			require.Error(t, tx.Commit(), "the token was not the newest any more when it committed")
			return nil
		})
		require.NoError(t, err)
	}
}
