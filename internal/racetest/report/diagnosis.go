package report

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/nogap-go/nogap/internal/racetest/effect"
	"github.com/nogap-go/nogap/internal/racetest/gate"
	"github.com/nogap-go/nogap/internal/racetest/play"
)

// Diagnosis is what kind of failure it is, as far as the steps tell, and what closes the gap.
type Diagnosis struct {
	Kind   string // in one or two words, such as "lost update"
	Title  string
	Advice []string
	marks  map[*play.Step]string
}

// gap is a read, a write of another client after it, and a write that was decided by the read.
type gap struct{ read, between, write *play.Step }

var countsUp = regexp.MustCompile(`(?i)\bmax\s*\(`)

// Diagnosis returns what is known of the failure.
func (r *Report) Diagnosis() Diagnosis { return r.diagnose() }

func (r *Report) diagnose() Diagnosis {
	d := r.recognize()
	if advice := withoutSQL[d.Kind]; advice != nil && !hasStatements(r.result.Failure.Trace) {
		d.Advice = advice
	}
	return d
}

// withoutSQL is the advice, by kind, for clients that meet in Redis alone.
var withoutSQL = map[string][]string{
	"lost update": oneInRedis,
	"write skew":  oneInRedis,
	"not serial":  oneInRedis,
	"half-done":   {"MULTI with EXEC, or a Lua script, sends all commands or none"},
}

var oneInRedis = []string{
	"one command (INCR, SET with NX), one Lua script that reads, decides and writes, or WATCH with MULTI and EXEC has no gap;",
	"distlock.Locker.WithLock lets one in at a time",
}

// hasStatements reports whether a client has sent SQL that reads or writes.
func hasStatements(t *play.Trace) bool {
	return slices.ContainsFunc(t.Steps, func(s *play.Step) bool {
		return s.Kind != 0 && !(s.Access.Reads.Empty() && s.Access.Writes.Empty() && s.Access.Locks.Empty())
	})
}

// recognize returns what the steps tell, as if all of them were SQL.
func (r *Report) recognize() Diagnosis {
	f := r.result.Failure
	numbers := number(f.Trace)
	name := func(s *play.Step) string { return r.clients[s.Client] }
	if d, ok := broken(f.Trace); ok {
		return d
	}
	if f.Deadlock {
		return Diagnosis{Kind: "deadlock", Title: "deadlock: the clients lock the same rows in another order, and the server undid one of them, which did not try again",
			Advice: []string{"pessimistic.WithRowLocks locks several rows in one order;", "transaction.Run runs the transaction again that the server has undone"}}
	}
	if g, ok := findGap(f.Trace, sameTable); ok {
		d := Diagnosis{marks: map[*play.Step]string{}}
		d.marks[g.write] = fmt.Sprintf("decided by what step %d read, before step %d", numbers[g.read], numbers[g.between])
		switch {
		case g.write.Access.Inserts && countsUp.MatchString(g.read.Text):
			d.Kind = "same number twice"
			d.Title = fmt.Sprintf("same number twice: %s and %s have both read the largest one, and inserted the next", name(g.between), name(g.write))
			d.Advice = []string{"atomic.Counter.Increment with atomic.CreateMissing, in the same transaction, gives numbers without gaps;", "or a sequence of the server, if gaps are allowed"}
		case g.write.Access.Inserts:
			d.Kind = "phantom"
			d.Title = fmt.Sprintf("phantom: %s has looked for rows and inserted, and did not see what %s inserted in between", name(g.write), name(g.between))
			d.Advice = []string{"a unique index, with atomic.Set.Add or idempotency.Do, lets one of them in;",
				"pessimistic.WithNamedLock, or pessimistic.WithRowLock of the row that they belong to, lets one in at a time;",
				"transaction.Run with transaction.Serializable() has the server watch what was read"}
		default:
			d.Kind = "lost update"
			d.Title = fmt.Sprintf("lost update: %s writes what it decided before %s wrote", name(g.write), name(g.between))
			d.marks[g.write] = fmt.Sprintf("overwrites step %d, decided by what step %d read", numbers[g.between], numbers[g.read])
			d.Advice = []string{"atomic: one guarded statement has no gap (Counter for a number, State for a status, SingleUse for a code);",
				"optimistic.Table.Modify compares a version; pessimistic.WithRowLock locks the row before it is read"}
		}
		return d
	}
	if g, ok := findGap(f.Trace, anyTable); ok {
		return Diagnosis{Kind: "write skew", Title: fmt.Sprintf("write skew: %s writes what it decided by rows that %s has changed meanwhile", name(g.write), name(g.between)),
			Advice: []string{"pessimistic.WithRowLocks locks all rows that the decision is made by;", "transaction.Run with transaction.Serializable() has the server watch what was read"},
			marks:  map[*play.Step]string{g.write: fmt.Sprintf("decided by what step %d read, before step %d", numbers[g.read], numbers[g.between])}}
	}
	for c, err := range f.Trace.Errs {
		if err == nil {
			continue
		}
		if s := wroteAlone(f.Trace, c); s != nil {
			return Diagnosis{Kind: "half-done", Title: fmt.Sprintf("half-done: %s failed, and what it had written in step %d stays", r.clients[c], numbers[s]),
				Advice: []string{"transaction.Run: all of it or nothing"}}
		}
	}
	if f.Check != nil && f.Verdict.OK() {
		return Diagnosis{Kind: "check", Title: "the Check of the scenario fails"}
	}
	return Diagnosis{Kind: "not serial", Title: "the schedule ends as no order of whole clients does",
		Advice: []string{"transaction.Run with transaction.Serializable() makes the clients as if one came after the other;", "pessimistic.WithNamedLock lets one in at a time"}}
}

// broken is a client that left a connection in use, or panicked.
func broken(t *play.Trace) (Diagnosis, bool) {
	if t.Leak != nil {
		return Diagnosis{Kind: "leak", Title: "leak: " + t.Leak.Error(), Advice: []string{"defer tx.Rollback() after BeginTx, and defer rows.Close() after Query;",
			"transaction.Run ends its transaction on every way out"}}, true
	}
	p := t.Panic()
	switch {
	case p == nil:
		return Diagnosis{}, false
	case p.Value == nil:
		return Diagnosis{Kind: "panic", Title: fmt.Sprintf("panic: %s ended its goroutine (t.FailNow?); let it return an error", p.Client)}, true
	}
	return Diagnosis{Kind: "panic", Title: fmt.Sprintf("panic: %s panicked: %v", p.Client, p.Value)}, true
}

// sameTable: the write overwrites, or adds to, what was read and changed in between. anyTable: it is another table, or other rows.
func sameTable(read, between, write effect.Set) bool { return read.And(between).Meets(write) }

func anyTable(read, between, write effect.Set) bool { return read.Meets(between) && !write.Empty() }

// findGap returns the first gap in which matches holds for what the three steps read, wrote and wrote.
func findGap(t *play.Trace, matches func(read, between, write effect.Set) bool) (gap, bool) {
	at := map[*play.Step]int{} // when its result was there
	for i, e := range t.Entries {
		if e.Step != nil && e.What != play.Sent {
			at[e.Step] = i
		}
	}
	for _, write := range t.Steps {
		if write.Access.Writes.Empty() || write.Result.Err != nil || write.Kind == gate.Rollback {
			continue
		}
		for _, read := range t.Steps {
			if read.Client != write.Client || read.Access.Reads.Empty() || !read.Access.Writes.Empty() || at[read] >= at[write] {
				continue
			}
			for _, between := range t.Steps {
				if between.Client == write.Client || between.Access.Writes.Empty() || between.Result.Err != nil || at[between] < at[read] || at[between] > at[write] {
					continue
				}
				if matches(tables(read, read.Access.Reads), tables(between, between.Access.Writes), tables(write, write.Access.Writes)) {
					return gap{read, between, write}, true
				}
			}
		}
	}
	return gap{}, false
}

// tables returns a set of a step by the names in its text, if the whole database was meant because it has one lock.
func tables(s *play.Step, set effect.Set) effect.Set {
	if !set.IsAll() {
		return set
	}
	a := effect.Dialect{}.Parse(s.Text)
	if s.Access.Writes.Empty() {
		return a.Reads
	}
	return a.Writes
}

// wroteAlone returns the first write of a client outside transactions.
func wroteAlone(t *play.Trace, client int) *play.Step {
	for _, s := range t.Steps {
		if s.Client == client && !s.InTx && s.Result.Err == nil && !s.Access.Writes.Empty() {
			return s
		}
	}
	return nil
}
