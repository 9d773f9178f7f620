//go:build unix

// Command benchmarks measures the helpers of nogap beside the same SQL or Redis commands written by hand, and beside what a
// user would pick instead. It starts private servers, and prints its tables as they come:
//
//	go run -C benchmarks .                                # everything; an hour and a half
//	go run -C benchmarks . -quick                         # under two minutes; the numbers are rough
//	go run -C benchmarks . -only 'counter/postgres'       # the tables of one scenario on one server
//	go run -C benchmarks . -only '1 callers/(atomic|guarded)'
//	go run -C benchmarks . -list                          # the names that -only is matched with
//
// docs/benchmarks.md says what the columns mean. benchmarks/compare compares two checkouts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/nogap-go/nogap/benchmarks/internal/contest"
	"github.com/nogap-go/nogap/benchmarks/internal/places"
	"github.com/nogap-go/nogap/benchmarks/internal/report"
)

const usage = `Measures nogap's helpers beside the same by hand and beside other libraries, on private servers.

    go run -C benchmarks . [flags]

Each table is one scenario on one server. Its rows are the ways to do it. In each round the ways take turns, in an order that is
left to chance; the columns have the middle values of the rounds. "ratio" is calls/s divided by those of the way written by hand,
round by round, with the lowest and the highest. "wrong" counts lost and extra writes: a way that is fast and wrong shows there.
docs/benchmarks.md explains all columns.

`

// quickly is how long -quick begins new tables. Slow machines leave some out.
const quickly = 100 * time.Second

// options are what the command line says.
type options struct {
	quick, asJSON, markdown, list bool
	chartFile                     string
	plan                          contest.Plan
	callers                       []int
	inMemory                      bool // for the test of this program: SQLite, and Redis in this process
}

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func parse(args []string, errs io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.Usage = func() {
		fmt.Fprint(errs, usage)
		flags.PrintDefaults()
	}
	flags.BoolVar(&o.quick, "quick", false, "fewer sizes, servers and rounds: under two minutes, and rough")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON object at the end in place of tables")
	flags.BoolVar(&o.markdown, "markdown", false, "print the tables as markdown")
	flags.BoolVar(&o.list, "list", false, "print the names that -only is matched with, and measure nothing")
	flags.StringVar(&o.chartFile, "charts", "", "write charts of how cost grows to this HTML `file`")
	only := flags.String("only", "", "measure only the ways whose full name, as -list prints it, matches this `regexp`")
	flags.IntVar(&o.plan.Rounds, "rounds", 0, "rounds of each way (5, or 3 with -quick)")
	flags.DurationVar(&o.plan.Round, "round", 0, "how long new calls are made in a round (500ms, or 40ms with -quick)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	fail := func(format string, args ...any) (options, error) {
		err := fmt.Errorf(format, args...)
		fmt.Fprintln(errs, "benchmarks:", err)
		return o, err
	}
	if flags.NArg() > 0 {
		return fail("%q is no flag: see -help", flags.Arg(0))
	}
	if o.plan.Rounds < 0 || o.plan.Round < 0 {
		return fail("-rounds and -round must be positive")
	}
	if o.plan.Only, err = regexp.Compile(*only); err != nil {
		return fail("-only: %w", err)
	}
	o.callers = []int{1, 16, 100, 500}
	rounds, round := 5, 500*time.Millisecond
	if o.quick {
		o.callers = []int{1, 100}
		rounds, round = 3, 40*time.Millisecond
	}
	if o.plan.Rounds == 0 {
		o.plan.Rounds = rounds
	}
	if o.plan.Round == 0 {
		o.plan.Round = round
	}
	return o, nil
}

func run(ctx context.Context, o options, out, progress io.Writer) (err error) {
	host := places.NewHost()
	host.InMemory = o.inMemory
	defer func() { err = errors.Join(err, host.Close()) }()
	var script string
	if o.chartFile != "" { // before an hour of measuring
		if script, err = report.ChartScript(); err != nil {
			return err
		}
	}
	s := &session{options: o, host: host, progress: progress, printer: report.Printer{W: out, Markdown: o.markdown}}
	if o.asJSON {
		s.printer.W = io.Discard
	}
	if o.list {
		s.names(out)
		return nil
	}
	s.Machine, s.Began = report.ThisMachine(), time.Now()
	s.Plan = fmt.Sprintf("%d rounds of %v for each way, in turns", o.plan.Rounds, o.plan.Round)
	if o.quick {
		s.Plan += " (-quick: rough)"
	}
	s.printer.Text(s.Machine.String() + " " + s.Plan + ".")
	if err := s.tables(ctx); err != nil {
		return err
	}
	if err := s.curves(ctx); err != nil {
		return err
	}
	s.Took = time.Since(s.Began).Round(time.Second).String()
	if len(s.Results) == 0 && len(s.failed) > 0 {
		return errors.Join(s.failed...)
	}
	if len(s.Results) == 0 && len(s.Missing) > 0 {
		return fmt.Errorf("nothing has been measured: %s", strings.Join(s.Missing, " "))
	}
	if len(s.Results) == 0 {
		return errors.New("nothing has been measured: -list prints the names that -only is matched with")
	}
	return errors.Join(append([]error{s.finish(out, script)}, s.failed...)...)
}
