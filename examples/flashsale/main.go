// Flashsale sells one item, of which a hundred exist, to five hundred buyers who all press "buy" at the same moment.
// Four API servers share the database. Each strategy has its own sale, and a table shows what it did to the stock:
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
// The strategies are small and made to be copied: one strategy_*.go each.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait for the clean-up
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program: it returns the exit status. That is 0 if every safe strategy sold what there was and no more,
// 1 if one did not or the sale could not be held, 2 if args make no sense.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c, err := parseFlags(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "flashsale:", err)
		return 2
	}
	ok, err := holdSales(ctx, c, stdout)
	switch {
	case err != nil && ctx.Err() != nil:
		fmt.Fprintln(stderr, "flashsale: interrupted:", err) // err also says what could not be cleaned up
		return 1
	case err != nil:
		fmt.Fprintln(stderr, "flashsale:", err)
		return 1
	case !ok:
		fmt.Fprintln(stderr, "flashsale: a strategy that should be safe was not")
		return 1
	}
	return 0
}

// A config is what the flags say.
type config struct {
	database   *database  // nil: SQLite in a temporary file
	redis      redisNodes // none: in this process
	strategies []strategy
	buyers     int
	stock      int
	servers    int
	json       bool
}

func parseFlags(args []string, stderr io.Writer) (config, error) {
	var c config
	flags := flag.NewFlagSet("flashsale", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run prints the error, and the usage only when it is asked for
	dsn := flags.String("db", "", "the `database`: postgres://user:password@host:port/name, "+
		"mysql://user:password@host:port/name (MariaDB too)\nor sqlite:path, a file that is switched to WAL mode "+
		"(default: SQLite in a temporary file)")
	redis := flags.String("redis", "", "comma-separated `addresses` of independent Redis servers; redlock needs 3 or 5 "+
		"(default: 5 in this process)")
	names := flags.String("strategy", "", "comma-separated `names` of the strategies to run (default: all)")
	flags.IntVar(&c.buyers, "buyers", 500, "how many buy at once")
	flags.IntVar(&c.stock, "stock", 100, "how many items there are")
	flags.IntVar(&c.servers, "servers", 4, "how many API servers share the database")
	flags.BoolVar(&c.json, "json", false, "print a JSON array instead of the table")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			usage(flags, stderr)
		}
		return config{}, err
	}
	switch {
	case flags.NArg() > 0:
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case c.buyers < 1:
		return config{}, fmt.Errorf("-buyers %d: at least 1 is needed", c.buyers)
	case c.stock < 0:
		return config{}, fmt.Errorf("-stock %d: it cannot be negative", c.stock)
	case c.servers < 1:
		return config{}, fmt.Errorf("-servers %d: at least 1 is needed", c.servers)
	}
	var err error
	if c.strategies, err = chooseStrategies(*names); err != nil {
		return config{}, fmt.Errorf("-strategy: %w", err)
	}
	if *redis != "" {
		if c.redis, err = parseRedis(*redis); err != nil {
			return config{}, fmt.Errorf("-redis: %w", err)
		}
		if c.strategies, err = withRedis(c.strategies, len(c.redis), *names != ""); err != nil {
			return config{}, fmt.Errorf("-redis: %w", err)
		}
	}
	if *dsn != "" {
		d, err := parseDSN(*dsn)
		if err != nil {
			return config{}, fmt.Errorf("-db: %w", err)
		}
		c.database = &d
	}
	return c, nil
}

func usage(flags *flag.FlagSet, w io.Writer) {
	fmt.Fprint(w, "flashsale sells the last items to many buyers at once, with one strategy after another.\n\nFlags:\n")
	flags.SetOutput(w)
	flags.PrintDefaults()
	fmt.Fprint(w, "\nStrategies:\n")
	for _, s := range strategies {
		fmt.Fprintf(w, "  %-16s  %s\n", s.name, s.about)
	}
	fmt.Fprint(w, `
Columns:
  sold              buyers who were told that they got one
  left              what the database says is left
  oversold          sold beyond the stock
  lost updates      sold, but never taken out of the stock
  refused           buyers who were told that it was sold out
  errors            buyers who got neither answer
  purchases/s       purchase requests answered per second, with yes or no
  p50, p99          what 50 % and 99 % of the buyers waited at most for the answer

Exit status: 1 if a safe strategy oversold, lost an update or had errors.
`)
}

// holdSales holds one sale for each strategy and prints the results. It reports whether the safe ones were safe.
func holdSales(ctx context.Context, c config, stdout io.Writer) (ok bool, err error) {
	if c.database == nil {
		dir, err := os.MkdirTemp("", "nogap-flashsale-")
		if err != nil {
			return false, err
		}
		defer os.RemoveAll(dir)
		d := sqliteFile(filepath.Join(dir, "shop.db"))
		c.database = &d
	}
	if err := c.database.connect(ctx); err != nil {
		return false, err
	}

	if c.redis == nil && slices.ContainsFunc(c.strategies, func(s strategy) bool { return s.redis > 0 }) {
		nodes, stop, err := startRedis()
		if err != nil {
			return false, err
		}
		defer stop()
		c.redis = nodes
	}

	var table *table
	if !c.json {
		table = newTable(stdout)
		table.header(c)
	}
	ok = true
	results := make([]result, 0, len(c.strategies))
	for _, st := range c.strategies {
		s := sale{database: *c.database, redis: c.redis, strategy: st, buyers: c.buyers, stock: c.stock, servers: c.servers}
		var (
			counts tally
			stop   = func() {}
		)
		if table != nil {
			stop = table.follow(s, &counts)
		}
		r, err := s.run(ctx, &counts)
		stop()
		if err != nil {
			return false, fmt.Errorf("%s: %w", st.name, err)
		}
		if table != nil {
			table.row(r)
		}
		results = append(results, r)
		ok = ok && (r.sound() || !st.safe)
	}
	if c.json {
		return ok, writeJSON(stdout, results)
	}
	return ok, nil
}
