package explore

import (
	"context"
	"fmt"
	"strings"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/racetest/gate"
	"github.com/nogap-go/nogap/internal/racetest/oracle"
	"github.com/nogap-go/nogap/internal/racetest/play"
	"github.com/nogap-go/nogap/internal/racetest/server"
)

// end reads how a schedule ended.
func (h *harness) end(ctx context.Context, trace *play.Trace) (oracle.End, error) {
	state, err := h.server.Snapshot(ctx, h.tables)
	if err != nil {
		return oracle.End{}, err
	}
	end := oracle.End{Ran: trace.Ran, Errs: trace.Errs}
	for _, t := range state.Tables {
		end.Tables = append(end.Tables, h.table(t))
	}
	if h.CompareResults {
		end.Read = h.read(trace)
	}
	err = h.store(ctx, trace, &end)
	return end, err
}

// table returns a table as the oracle takes it.
func (h *harness) table(t server.Table) oracle.Table {
	table := oracle.Table{Name: t.Name, Rows: t.Rows}
	for _, c := range t.Columns {
		table.Columns = append(table.Columns, oracle.Column{
			Name: c.Name, Time: c.Time, Generated: c.Counted && h.server.Product == dialect.SQLite, Made: c.Counted || c.Made,
			Ignored: h.ignored[strings.ToLower(t.Name+"."+c.Name)],
		})
	}
	return table
}

// forOracle returns those of the tables that are compared, in their order.
func (h *harness) forOracle(tables map[string]server.Table) (all []oracle.Table) {
	for _, name := range h.tables {
		if t, ok := tables[name]; ok {
			all = append(all, h.table(t))
		}
	}
	return all
}

// store adds what stands in the resources to an end.
func (h *harness) store(ctx context.Context, trace *play.Trace, end *oracle.End) error {
	for _, r := range h.Resources {
		tables, doubt, err := r.State(ctx)
		if err != nil {
			return err
		}
		if trace.Doubt == "" {
			trace.Doubt = doubt
		}
		for _, t := range tables {
			for i := range t.Columns {
				t.Columns[i].Ignored = h.ignored[strings.ToLower(t.Name+"."+t.Columns[i].Name)]
			}
			end.Tables = append(end.Tables, t)
		}
	}
	return nil
}

// read returns what each client has read, without what it has rolled back.
func (h *harness) read(trace *play.Trace) []oracle.Table {
	var tables []oracle.Table
	for i, c := range h.Clients {
		var kept, open []oracle.Table
		for _, step := range trace.Steps {
			switch {
			case step.Client != i || !step.Finished:
			case step.Kind == gate.Begin:
				open = nil
			case step.Kind == gate.Commit && step.Result.Err == nil:
				kept, open = append(kept, open...), nil
			case step.Kind == gate.Commit, step.Kind == gate.Rollback:
				open = nil
			case len(step.Result.Columns) > 0 && step.Result.Err == nil:
				t := oracle.Table{}
				for _, name := range step.Result.Columns {
					t.Columns = append(t.Columns, oracle.Column{Name: name})
				}
				for _, row := range step.Result.Rows {
					var values []any
					for _, v := range row {
						values = append(values, v)
					}
					t.Rows = append(t.Rows, values)
				}
				if step.InTx {
					open = append(open, t)
				} else {
					kept = append(kept, t)
				}
			}
		}
		for n, t := range kept {
			t.Name = fmt.Sprintf("what %s read (%d)", c.Name, n+1)
			tables = append(tables, t)
		}
	}
	return tables
}
