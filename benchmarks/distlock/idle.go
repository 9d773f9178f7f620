package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/nogap-go/nogap/benchmarks/internal/locks"
)

// idleResult is what became of many leases that one process held and did nothing with.
type idleResult struct {
	Contest   string  `json:"contest"` // "idle leases"
	Nodes     int     `json:"nodes"`
	Rival     string  `json:"rival"`
	Leases    int     `json:"leases"`
	Lost      int     `json:"lost"`
	Renewals  float64 `json:"renewals_per_second"`
	CPU       float64 `json:"cpu_us_per_renewal"`         // processor time of this process
	Share     float64 `json:"processors"`                 // how many processors it kept busy
	Tries     int     `json:"free_names_tried"`           // by TryLock, meanwhile
	Failed    int     `json:"free_names_failed"`          //
	LongestMS float64 `json:"longest_try_of_a_free_name"` // in milliseconds
}

// idle measures each keeper with as many leases on the nodes.
func idle(addrs []string, leases int, d time.Duration) (results []idleResult, err error) {
	for _, k := range locks.Keepers {
		r, err := keepIdle(k.Open, addrs, leases, d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.Name, err)
		}
		r.Rival = k.Name
		results = append(results, r)
	}
	return results, nil
}

func keepIdle(open func([]string) (locks.Keeper, error), addrs []string, leases int, d time.Duration) (idleResult, error) {
	r := idleResult{Contest: "idle leases", Nodes: len(addrs), Leases: leases}
	k, err := open(addrs)
	if err != nil {
		return r, err
	}
	defer k.Close()
	ctx := context.Background()
	missing := locks.Fill(ctx, k, leases)

	renewed, cpu, start := k.Renewals(), processorTime(), time.Now()
	for i := 0; time.Since(start) < d; i++ {
		asked := time.Now()
		r.Tries++
		if k.Try(ctx, fmt.Sprint("free ", i)) != nil {
			r.Failed++
		}
		r.LongestMS = max(r.LongestMS, float64(time.Since(asked))/1e6)
		time.Sleep(10 * time.Millisecond)
	}
	took, used := time.Since(start), processorTime()-cpu
	renewals := k.Renewals() - renewed
	r.Lost, r.Renewals = missing+k.Lost(), float64(renewals)/took.Seconds()
	r.CPU = float64(used.Microseconds()) / float64(max(renewals, 1))
	r.Share = used.Seconds() / took.Seconds()
	return r, nil
}

// processorTime returns how much of it this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func printIdle(results []idleResult) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer w.Flush()
	fmt.Fprintln(w, "contest\tnodes\tlibrary\tleases\tlost\trenewals/s\tCPU a renewal\tprocessors\tfree names tried\tfailed\tlongest\t")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%d\t%.0f\t%.1f us\t%.2f\t%d\t%d\t%.0f ms\t\n", r.Contest, r.Nodes, r.Rival, r.Leases,
			r.Lost, r.Renewals, r.CPU, r.Share, r.Tries, r.Failed, r.LongestMS)
	}
}
