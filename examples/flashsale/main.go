// Flashsale sells one item, of which a hundred exist, to five hundred buyers who all press "buy" at the same moment.
// Four API servers share the database. Each strategy has its own sale, and a table shows what it did to the stock. With
// -story wallet a wallet is spent twice, and with -story like a post is liked twice, each with its cures:
//
//	go run -C examples ./flashsale
//
// Nothing needs to be installed: without -db the sale runs on SQLite in a temporary file, and without -redis the locks
// are kept by Redis servers inside the process. See -help for the rest.
//
// Nothing is arranged to make the unsafe strategy fail. It is the code that one writes first: a SELECT, a decision, an
// UPDATE. Between the two it asks another service, over HTTP, whether the sale may go ahead, as handlers do. Every
// strategy asks that, once for each sale it tries, where it belongs.
//
// The strategies are small and made to be copied: one stock_*.go, wallet_*.go or like_*.go each.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

func main() {
	os.Exit(run(untilSignal(os.Stderr), os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program: it returns the exit status. That is 0 if every safe strategy sold what there was and no more,
// 1 if one did not or the sale could not be held, 2 if args make no sense, and 128 and the number of the signal if it was
// interrupted.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "flashsale: %v\nSee the flags with: go run -C examples ./flashsale -help\n", err)
		return 2
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ok, err := holdSales(ctx, c, screen{stdout: stdout, out: output{stdout, cancel}, stderr: stderr})
	switch cause := context.Cause(ctx); {
	case err != nil || cause != nil:
		return failed(err, cause, stderr)
	case !ok:
		fmt.Fprintln(stderr, "flashsale: a strategy that should be safe was not")
		return 1
	}
	return 0
}

// effort says how often each sale is repeated, so that the whole run takes less than a minute. The strategies take turns, so
// that what else the machine does slows all of them down.
func (c config) effort() effort {
	n := time.Duration(0)
	for _, st := range c.stories {
		n += time.Duration(len(st.strategies))
	}
	e := effort{turns: 3, rounds: c.rounds, main: min(3*time.Second, 44*time.Second/n)}
	switch {
	case c.rounds > 0:
		e.turns = 1
	case n > 10: // to begin a turn takes its time, too
		e.turns = 2
	}
	if c.html != "" {
		e.main = min(3*time.Second, 24*time.Second/n)
		e.sizes = fewerBuyers(c.buyers)
		if sizes := time.Duration(len(e.sizes)); sizes > 0 {
			e.curve = min(time.Second, 15*time.Second/n/sizes)
		}
	}
	return e
}

// A screen is where to print to.
type screen struct {
	stdout io.Writer // to look at: is it a terminal?
	out    io.Writer // to write to
	stderr io.Writer
}

// holdSales holds the sales of each strategy and prints the results. It reports whether the safe ones were safe.
func holdSales(ctx context.Context, c config, to screen) (ok bool, err error) {
	var report *newFile
	if c.html != "" {
		if report, err = createFile(c.html); err != nil {
			return false, fmt.Errorf("-html: %w", err)
		}
		defer func() { err = errors.Join(err, leftBehind(report.remove())) }()
	}
	if c.database == nil {
		dir, tempErr := os.MkdirTemp("", "nogap-flashsale-")
		if tempErr != nil {
			return false, fmt.Errorf("no directory for the database can be made: %w; "+
				"set TMPDIR to another one, or name a database with -db", tempErr)
		}
		temporary.add(dir)
		defer func() { err = errors.Join(err, leftBehind(temporary.remove(dir))) }()
		d := sqliteFile(filepath.Join(dir, "shop.db"))
		c.database = &d
	}
	if err := c.database.connect(ctx); err != nil {
		return false, err
	}
	if c.needsRedis() {
		if c.redis == nil {
			nodes, stop, err := startRedis()
			if err != nil {
				return false, err
			}
			defer stop()
			c.redis = nodes
		} else if err := c.redis.connect(ctx); err != nil {
			return false, fmt.Errorf("-redis: %w", err)
		}
	}

	if !c.json {
		for _, name := range c.leftOut {
			fmt.Fprintf(to.stderr, "%s is left out: it needs more Redis nodes than -redis names\n", name)
		}
	}

	ok = true
	table, meter := newTable(to), newMeter(to, c.json)
	if c.json {
		table.w = io.Discard
	}
	var results []result
	var all []told
	for i, st := range c.stories {
		if i > 0 {
			fmt.Fprintln(table.w)
		}
		t, err := tell(ctx, st, c, table, meter)
		if err != nil {
			return false, err
		}
		all = append(all, t)
		for _, o := range t.outcomes {
			results = append(results, o.result)
			ok = ok && (!o.safe || o.unsound() == nil)
		}
	}
	if c.json {
		if err := writeJSON(to.out, results); err != nil {
			return false, err
		}
	}
	if report != nil {
		if err := writeHTML(report, c, all, time.Now()); err != nil {
			return false, fmt.Errorf("-html: %w", err)
		}
		if err := report.complete(); err != nil {
			return false, fmt.Errorf("-html: %w", err)
		}
		if c.json {
			fmt.Fprintf(to.stderr, "The report is in %s\n", report.name)
		}
		fmt.Fprintf(table.w, "\nThe report is in %s\n", report.name)
	}
	return ok, nil
}

// tell holds the sales of a story.
func tell(ctx context.Context, st *story, c config, table *table, meter *meter) (told, error) {
	e := c.effort()
	table.header(st, c, e)
	meter.begin(st, e.turns)
	t := told{story: st}
	samples := make([]sample, len(st.strategies))
	for turn := 1; turn <= e.turns; turn++ {
		for i, strategy := range st.strategies {
			s := sale{database: *c.database, redis: c.redis, story: st, strategy: strategy,
				buyers: c.buyers, stock: c.stock, servers: c.servers}
			var p progress
			stop := meter.follow(turn, strategy.name, &p)
			sample, err := s.run(ctx, e, &p)
			stop()
			if err != nil {
				return told{}, fmt.Errorf("%s: %w", strategy.name, locate(err, s.database.file()))
			}
			samples[i].add(sample)
			if turn == e.turns {
				if i == 0 {
					table.columns(st)
				}
				o := samples[i].outcome(strategy.safe)
				table.row(o)
				t.outcomes = append(t.outcomes, o)
			}
		}
	}
	t.advice = st.advice(func(strategy string) float64 {
		for _, o := range t.outcomes {
			if o.Strategy == strategy {
				return o.PerSecond
			}
		}
		return 0
	})
	if len(t.outcomes) > 1 {
		table.advice(t.advice, st.code())
	}
	return t, nil
}
