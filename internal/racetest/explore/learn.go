package explore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nogap-go/nogap/internal/racetest/effect"
	"github.com/nogap-go/nogap/internal/racetest/oracle"
	"github.com/nogap-go/nogap/internal/racetest/play"
	"github.com/nogap-go/nogap/internal/racetest/server"
)

// learn finds out what the clients do alone, and which tables count.
func (h *harness) learn(ctx context.Context) error {
	if err := h.setup(ctx); err != nil {
		return err
	}
	all, err := h.server.Tables(ctx)
	if err != nil {
		return err
	}
	if err := h.schema(ctx, all); err != nil {
		return err
	}
	columns, err := h.columns(ctx, all)
	if err != nil {
		return err
	}
	before := h.each(ctx, all)
	h.connecting.Wait()
	// What a *sql.DB asks once, such as what server it has, is asked here.
	trace, err := h.player.PlayOrder(ctx, h.everybody())
	if err != nil {
		return err
	}
	if trace.Doubt != "" {
		return fmt.Errorf("the clients one after the other: %s", trace.Doubt)
	}
	touched, any := h.touched(trace)
	after := h.each(ctx, all)
	for name, table := range before {
		if any || !equal(table, after[name]) {
			touched[name] = true
		}
	}
	for i := range h.player.Clients {
		if err := h.setup(ctx); err != nil {
			return err
		}
		trace, err := h.player.PlayOrder(ctx, []int{i})
		if err != nil {
			return err
		}
		var stored oracle.End
		if err := h.store(ctx, trace, &stored); err != nil {
			return err
		}
		for _, t := range stored.Tables {
			columns[t.Name] = nil
			for _, c := range t.Columns {
				columns[t.Name] = append(columns[t.Name], c.Name)
			}
		}
		if trace.Doubt != "" {
			return fmt.Errorf("client %s alone: %s", h.player.Clients[i].Name, trace.Doubt)
		}
		h.solos = append(h.solos, trace)
		more, any := h.touched(trace)
		for _, name := range all {
			if more[name] || any && before[name].Name != "" {
				touched[name] = true
			}
		}
	}
	if err = h.worthwhile(); err != nil {
		return err
	}
	if err = h.known(columns); err != nil {
		return err
	}
	for _, name := range all {
		if touched[name] {
			h.tables = append(h.tables, name)
		}
	}
	if err := h.setup(ctx); err != nil {
		return err
	}
	again := h.each(ctx, h.tables)
	for name, table := range again {
		if first, ok := before[name]; ok && len(first.Rows) != len(table.Rows) {
			return fmt.Errorf("the Setup does not make the same state each time: %s had %d rows after the first, and %d after it and the clients have run",
				name, len(first.Rows), len(table.Rows))
		}
	}
	h.unsteady = oracle.SetupDiffers(h.forOracle(before), h.forOracle(again))
	end, err := h.end(ctx, &play.Trace{Ran: make([]bool, len(h.solos)), Errs: make([]error, len(h.solos))})
	if err != nil {
		return err
	}
	h.oracle = oracle.New(len(h.solos), end.Tables, h.order)
	return nil
}

// worthwhile refuses clients of which a pass would say nothing.
func (h *harness) worthwhile() error {
	var failed []string
	steps := 0
	for i, t := range h.solos {
		steps += len(t.Steps)
		if t.Errs[i] != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", h.Clients[i].Name, t.Errs[i]))
		}
	}
	if steps == 0 {
		return errors.New("no client has made a step: Run must use the *sql.DB that it is given")
	}
	if len(failed) == len(h.solos) {
		when := ""
		if h.Setup != nil {
			when = ", right after Setup"
		}
		return fmt.Errorf("each client fails alone%s: %s", when, strings.Join(failed, "; "))
	}
	return nil
}

// columns returns the columns of all tables, by their names, but only of those that Ignore names.
func (h *harness) columns(ctx context.Context, all []string) (map[string][]string, error) {
	columns := map[string][]string{}
	for _, name := range all {
		columns[name] = nil
		if !slices.ContainsFunc(h.Ignore, func(i string) bool { return strings.EqualFold(i[:strings.LastIndex(i, ".")], name) }) {
			continue
		}
		var err error
		if columns[name], err = h.server.Columns(ctx, name); err != nil {
			return nil, fmt.Errorf("asking for the columns of %s: %w", name, err)
		}
	}
	return columns, nil
}

// known refuses a name in Ignore that no table has: what it means would be compared.
func (h *harness) known(columns map[string][]string) error {
	tables := slices.Sorted(maps.Keys(columns))
	for _, ignored := range h.Ignore {
		dot := strings.LastIndex(ignored, ".")
		same := func(name string) func(string) bool { return func(s string) bool { return strings.EqualFold(s, name) } }
		i := slices.IndexFunc(tables, same(ignored[:dot]))
		if i < 0 {
			return fmt.Errorf("Scenario.Ignore: there is no table %q: the tables are %s", ignored[:dot], strings.Join(tables, ", "))
		}
		if names := columns[tables[i]]; !slices.ContainsFunc(names, same(ignored[dot+1:])) {
			return fmt.Errorf("Scenario.Ignore: the table %s has no column %q, only %s", tables[i], ignored[dot+1:], strings.Join(names, ", "))
		}
	}
	return nil
}

// each reads the tables that can be read.
func (h *harness) each(ctx context.Context, names []string) map[string]server.Table {
	tables := map[string]server.Table{}
	for _, name := range names {
		if s, err := h.server.Snapshot(ctx, []string{name}); err == nil {
			tables[name] = s.Tables[0]
		}
	}
	return tables
}

func equal(a, b server.Table) bool {
	return slices.EqualFunc(a.Rows, b.Rows, func(x, y []any) bool { return slices.Equal(x, y) })
}

// touched returns the tables that a trace's statements name. Any reports whether they may touch others too.
func (h *harness) touched(trace *play.Trace) (names map[string]bool, any bool) {
	names = map[string]bool{}
	all, err := h.server.Tables(context.Background())
	any = err != nil
	for _, step := range trace.Steps {
		a := step.Access
		if h.player.Dialect.OneLock && step.Kind != 0 { // where the names have been widened
			a = effect.Dialect{}.Parse(step.Text)
		}
		for _, set := range []effect.Set{a.Reads, a.Writes, a.Locks} {
			any = any || set.IsAll()
			for _, name := range set.Names() {
				for _, full := range all {
					if lower := strings.ToLower(full); lower == name || strings.HasSuffix(lower, "."+name) {
						names[full] = true
					}
				}
			}
		}
	}
	return names, any
}

func (h *harness) everybody() (all []int) {
	for i := range h.player.Clients {
		all = append(all, i)
	}
	return all
}

// inOrder is a Chooser that stays with a client for as long as it may.
func inOrder(t *play.Trace, moves []play.Move) int {
	return max(0, slices.IndexFunc(moves, func(m play.Move) bool { return m.Client == t.Last() }))
}
