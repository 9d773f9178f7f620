//go:build unix

package outcome_test

import (
	"fmt"
	"regexp"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/matrix"
)

// Calls are made under all faults of a proxy for as long as -soak says, round after round over the same pools. Goroutines,
// connections and memory do not grow.
func TestSoak(t *testing.T) {
	t.Parallel()
	pprof.SetGoroutineLabels(pprof.WithLabels(t.Context(), pprof.Labels("test", t.Name()))) // and those of all that it starts
	target := matrix.Postgres()[0]
	s := newStorm(t, target, "soak", 2**calls)
	clients, proxies := s.proxied(t)
	// A network that swallows everything costs seconds, which the others fill with more calls.
	faults := slices.DeleteFunc(slices.Clone(breakages), func(b breakage) bool { return b.name == "blackhole" })
	var goroutines []int
	var heaps []uint64
	for begun := time.Now(); len(heaps) < 4 || time.Since(begun) < *soak; {
		s.breakThrough(t, clients, proxies, faults)
		s.audit(t, clients...)
		s.reset(t, clients)
		for _, c := range clients {
			require.Zero(t, c.db.Stats().OpenConnections)
		}
		runtime.GC()
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		goroutines, heaps = append(goroutines, labelled(t, t.Name())), append(heaps, memory.HeapAlloc)
	}
	t.Logf("%d rounds: %d to %d goroutines, %d to %d KB", len(heaps), slices.Min(goroutines), slices.Max(goroutines),
		slices.Min(heaps)>>10, slices.Max(heaps)>>10)
	// Some are still ending, and other tests run beside this one and have memory too, so the least of each half is compared.
	half := len(heaps) / 2
	require.LessOrEqual(t, slices.Min(goroutines[half:]), slices.Min(goroutines[:half])+20)
	require.LessOrEqual(t, slices.Min(heaps[half:]), 2*slices.Min(heaps[:half])+(16<<20))
}

// labelled counts the goroutines of a test.
func labelled(t *testing.T, test string) (n int) {
	t.Helper()
	var profile strings.Builder
	require.NoError(t, pprof.Lookup("goroutine").WriteTo(&profile, 1)) // how many have a stack, and their labels
	for _, same := range regexp.MustCompile(`(?m)^(\d+) @ .*\n# labels: .*"test":"`+test+`"`).FindAllStringSubmatch(profile.String(), -1) {
		count, err := strconv.Atoi(same[1])
		require.NoError(t, err)
		n += count
	}
	require.Positive(t, n, "this goroutine at least")
	return n
}

// reset makes everything as it was before the calls.
func (s *storm) reset(t *testing.T, clients []*client) {
	t.Helper()
	for _, statement := range []string{
		"UPDATE items SET stock = 1000, version = 0, status = 'new', used_at = NULL", "DELETE FROM made", "DELETE FROM ledger",
		"UPDATE accounts SET balance = 1000000", "DELETE FROM idempotency_keys",
	} {
		execute(t, s.direct, statement)
	}
	for id := range s.ids {
		change := "DELETE FROM members WHERE id = %d"
		if s.calls[id%len(s.calls)].traces.removed {
			change = "INSERT INTO members SELECT %d WHERE NOT EXISTS (SELECT * FROM members WHERE id = %[1]d)"
		}
		execute(t, s.direct, fmt.Sprintf(change, id))
	}
	s.next.Store(0)
	s.results, s.faults = nil, map[string]int{}
	for _, c := range clients {
		c.db.SetMaxIdleConns(2 * workers)
	}
}
