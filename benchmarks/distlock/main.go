// Command distlock measures distlock, redsync, redislock and rueidislock side by side in one run:
//
//	go run -C benchmarks ./distlock
//	go run -C benchmarks ./distlock -json -for 10s
//
// Four processes with 25 goroutines each want one name; the critical section is a sleep of 1 ms, or empty. Four processes
// with one goroutine each want one name, for 20 ms at a time. And one goroutine has a name for itself. Each on five independent nodes,
// on one, on a Ring of three servers and on a Cluster of three; redislock does not know several nodes, and rueidislock one only.
//
// With -idle, one process holds many leases and does nothing with them, and meanwhile locks free names:
//
//	go run -C benchmarks ./distlock -idle 1x100000,5x20000 -for 20s
//
// The columns of the contest: locks per second; Jain's fairness index over the goroutines; the longest that any of them waited; and
// the locks per second divided by redsync's.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/nogap-go/nogap/benchmarks/internal/locks"
)

const childVariable = "NOGAP_BENCH_CHILD"

// result is one line of the table.
type result struct {
	Contest   string  `json:"contest"`
	Nodes     string  `json:"nodes"`
	Rival     string  `json:"rival"`
	PerSecond float64 `json:"per_second"`
	Fairness  float64 `json:"fairness,omitempty"`
	LongestMS float64 `json:"longest_wait_ms,omitempty"`
	Ratio     float64 `json:"ratio_to_redsync"`          // of the locks per second
	WaitRatio float64 `json:"wait_to_redsync,omitempty"` // of the longest waits
}

func main() {
	if os.Getenv(childVariable) != "" {
		if err := child(); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		return
	}
	asJSON := flag.Bool("json", false, "print a JSON array in place of the table")
	duration := flag.Duration("for", 5*time.Second, "how long each of them runs")
	redisAddrs := flag.String("redis", "", "addresses of five Redis servers, separated by commas; started if empty. The Cluster is always started")
	idleCases := flag.String("idle", "", "hold idle leases in place of the contest: nodes x leases, separated by commas")
	flag.Parse()
	if *idleCases != "" {
		results, err := runIdle(split(*redisAddrs), split(*idleCases), *duration)
		show(results, err, *asJSON, printIdle)
		return
	}
	results, err := run(split(*redisAddrs), *duration)
	show(results, err, *asJSON, print)
}

// show prints the results.
func show[R any](results []R, err error, asJSON bool, print func([]R)) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "distlock:", err)
		os.Exit(1)
	}
	if asJSON {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		out.Encode(results)
		return
	}
	print(results)
}

// fiveServers returns the five servers that are given, or starts them.
func fiveServers(given []string) (addrs []string, stop func(), err error) {
	if len(given) == 0 {
		return startRedis(5)
	}
	if len(given) != 5 {
		return nil, nil, fmt.Errorf("five Redis servers are needed, not %d", len(given))
	}
	return given, func() {}, nil
}

// runIdle measures cases such as 5x20000: twenty thousand idle leases on five nodes.
func runIdle(given, cases []string, d time.Duration) ([]idleResult, error) {
	addrs, stop, err := fiveServers(given)
	if err != nil {
		return nil, err
	}
	defer stop()
	var results []idleResult
	for _, c := range cases {
		var nodes, leases int
		if _, err := fmt.Sscanf(c, "%dx%d", &nodes, &leases); err != nil || nodes < 1 || nodes > 5 || leases < 1 {
			return nil, fmt.Errorf("-idle %s: nodes x leases are needed, such as 5x20000", c)
		}
		group, err := idle(addrs[:nodes], leases, d)
		if err != nil {
			return nil, err
		}
		results = append(results, group...)
	}
	return results, nil
}

// topology is what the libraries lock on.
type topology struct {
	name  string
	addrs []string // of the nodes
	able  func(locks.Library) bool
}

func run(given []string, d time.Duration) ([]result, error) {
	addrs, stop, err := fiveServers(given)
	if err != nil {
		return nil, err
	}
	defer stop()
	clustered, stopCluster, err := startCluster()
	if err != nil {
		return nil, err
	}
	defer stopCluster()
	sharded := func(l locks.Library) bool { return l.Sharded }
	var results []result
	for _, t := range []topology{
		{"5", addrs, func(l locks.Library) bool { return l.Multi }},
		{"1", addrs[:1], func(locks.Library) bool { return true }},
		{"Ring of 3", []string{locks.RingOf(addrs[:3])}, sharded},
		{"Cluster of 3", []string{locks.ClusterOf(clustered)}, sharded},
	} {
		group, err := t.run(d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
		results = append(results, group...)
	}
	return results, nil
}

func (t topology) run(d time.Duration) (results []result, err error) {
	var able []locks.Library
	for _, l := range locks.All {
		if t.able(l) {
			able = append(able, l)
		}
	}
	for _, c := range []struct {
		name       string
		goroutines int
		section    time.Duration
	}{{"contended, 1 ms", 25, time.Millisecond}, {"contended, empty", 25, 0}, {"worker loops, 20 ms", 1, 20 * time.Millisecond}} {
		var group []result
		for _, l := range able {
			got, err := compete(l, t.addrs, c.goroutines, c.section, d)
			if err != nil {
				return nil, err
			}
			got.Contest, got.Nodes, got.Rival = c.name, t.name, l.Name
			group = append(group, got)
		}
		results = append(results, compared(group)...)
	}
	rates, err := alternate(able, t.addrs, d)
	if err != nil {
		return nil, err
	}
	var group []result
	for i, l := range able {
		group = append(group, result{Contest: "uncontended", Nodes: t.name, Rival: l.Name, PerSecond: rates[i]})
	}
	return append(results, compared(group)...), nil
}

// compared fills in the ratios to redsync.
func compared(group []result) []result {
	for _, base := range group {
		if base.Rival != "redsync" {
			continue
		}
		for i := range group {
			group[i].Ratio = group[i].PerSecond / base.PerSecond
			if base.LongestMS > 0 {
				group[i].WaitRatio = group[i].LongestMS / base.LongestMS
			}
		}
	}
	return group
}

func print(results []result) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer w.Flush()
	fmt.Fprintln(w, "contest\tnodes\tlibrary\tlocks/s\tfairness\tlongest wait\tlocks/s : redsync\twait : redsync\t")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%s\t%s\t%.0f\t", r.Contest, r.Nodes, r.Rival, r.PerSecond)
		if r.LongestMS > 0 {
			fmt.Fprintf(w, "%.3f\t%.0f ms\t%.2f\t%.3f\t\n", r.Fairness, r.LongestMS, r.Ratio, r.WaitRatio)
		} else {
			fmt.Fprintf(w, "\t\t%.2f\t\t\n", r.Ratio)
		}
	}
}
