//go:build unix

// Command compare tells whether a change made nogap faster or slower. It runs the benchmarks of two checkouts by turns, and
// prints the ratios with their confidence:
//
//	git worktree add /tmp/before main
//	go run -C benchmarks ./compare -only '^counter/postgres/durable/1 callers/(atomic.Counter|guarded)' /tmp/before ..
//
// Directories are seen from benchmarks. Both checkouts must have the command benchmarks.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const usage = `Runs the benchmarks of two checkouts by turns, and prints how they differ.

    go run -C benchmarks ./compare -only REGEXP [flags] BEFORE AFTER

BEFORE and AFTER are the root directories of two checkouts, seen from benchmarks. A row says how AFTER differs from BEFORE in one
way of one table: the medians with what 95 of 100 such medians differ by, and the change. "~" means that the runs don't tell a
change from chance (p is 0.05 or more, by the Mann-Whitney U test). The way written by hand, which is the same in both checkouts,
shows what the machine does: where it changes too, repeat the run when the machine is quiet.

`

// settings are what the command line says.
type settings struct {
	count         int
	only          string
	round         time.Duration
	rounds        int
	before, after string
}

func main() {
	s, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := compare(ctx, s, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func parse(args []string, errs io.Writer) (s settings, err error) {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.Usage = func() {
		fmt.Fprint(errs, usage)
		flags.PrintDefaults()
	}
	flags.IntVar(&s.count, "count", 10, "how often each checkout runs; fewer than 4 tell nothing")
	flags.StringVar(&s.only, "only", "", "the ways to measure: go run -C benchmarks . -list prints the names that this `regexp` is matched with")
	flags.IntVar(&s.rounds, "rounds", 3, "rounds of each way in a run")
	flags.DurationVar(&s.round, "round", 200*time.Millisecond, "how long new calls are made in a round")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	switch {
	case flags.NArg() != 2:
		err = fmt.Errorf("two checkouts are needed, not %q", strings.Join(flags.Args(), " "))
	case s.only == "":
		err = errors.New("-only is needed: all of the benchmarks would take hours")
	case s.count < 1 || s.rounds < 1 || s.round <= 0:
		err = errors.New("-count, -rounds and -round must be positive")
	}
	if err != nil {
		fmt.Fprintf(errs, "compare: %v; -help explains\n", err)
		return s, err
	}
	s.before, s.after = flags.Arg(0), flags.Arg(1)
	return s, nil
}
