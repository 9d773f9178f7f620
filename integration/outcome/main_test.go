//go:build unix

// Package outcome_test makes calls of all kinds in a storm of faults and looks afterwards what came of each one. Nothing may be
// lost that was acknowledged, nothing may be done twice or by half, and an error without nogap.ErrOutcomeUnknown must mean that
// nothing was written. How many outcomes stay unknown is counted, for each kind of fault.
//
//	go test ./outcome -v               // prints what was counted
//	go test ./outcome -v -storm 2000   // with 2000 calls of each storm
//	go test ./outcome -v -seed 7       // with the faults of another run
//	go test ./outcome -v -run TestSoak -soak 10m
//
// What the long form of scripts/test.sh makes is in docs/proof.md.
package outcome_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/nogap-go/nogap/integration/servers"
)

// long asks for the long form of all storms: see scripts/test.sh.
var long = os.Getenv("NOGAP_LONG") != ""

var (
	calls = flag.Int("storm", inLong(46, 20_000), "how many calls to make in each storm, of all kinds together")
	soak  = flag.Duration("soak", time.Duration(inLong(10, 600))*time.Second, "how long TestSoak runs")
	seed  = flag.Uint64("seed", rand.Uint64(), "chooses the faults and when they strike")
)

// inLong returns one of two numbers, the second in the long form.
func inLong(short, number int) int {
	if long {
		return number
	}
	return short
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(child())
	}
	// The tests mostly wait: for servers that start, and for networks that swallow everything.
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = flag.Set("test.parallel", "8")
	}
	servers.OnExit(func() error {
		if testing.Verbose() {
			fmt.Print(&report)
		}
		all := report.total()
		return servers.Proven(fmt.Sprintf("outcome, seed %d: %v", *seed, &all))
	})
	servers.Main(m)
}
