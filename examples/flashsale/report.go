package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A table prints results one below the other, and what a sale has come to while it is going on.
type table struct {
	w        io.Writer
	terminal bool
}

func newTable(w io.Writer) *table {
	return &table{w: w, terminal: isTerminal(w)}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (t *table) header(c config) {
	fmt.Fprintf(t.w, "%d in stock, %d buyers at once, %d API servers, %s\n\n",
		c.stock, c.buyers, c.servers, c.database.dialect)
	fmt.Fprintf(t.w, "%-16s %6s %6s %8s %12s %7s %6s %8s %11s %9s %9s\n",
		"strategy", "sold", "left", "oversold", "lost updates", "refused", "errors", "time", "purchases/s", "p50", "p99")
}

// follow shows, on a terminal, how far the sale is, until stop is called.
func (t *table) follow(s sale, counts *tally) (stop func()) {
	if !t.terminal {
		return func() {}
	}
	const erase = "\r\x1b[K"
	var wg sync.WaitGroup
	quit := make(chan struct{})
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			fmt.Fprintf(t.w, erase+"%-16s %6d sold, %d refused, %d errors, of %d buyers",
				s.strategy.name, counts.sold.Load(), counts.refused.Load(), counts.errors.Load(), s.buyers)
			select {
			case <-tick.C:
			case <-quit:
				fmt.Fprint(t.w, erase)
				return
			}
		}
	})
	return func() {
		close(quit)
		wg.Wait()
	}
}

func (t *table) row(r result) {
	fmt.Fprintf(t.w, "%-16s %6d %6d %8d %12d %7d %6d %8s %11.0f %9s %9s\n",
		r.Strategy, r.Sold, r.Left, r.Oversold, r.LostUpdates, r.Refused, r.Errors,
		fmt.Sprintf("%.2f s", r.Seconds), r.PerSecond, fmt.Sprintf("%.1f ms", r.P50), fmt.Sprintf("%.1f ms", r.P99))
	fmt.Fprintf(t.w, "  %s\n", r.explain())
}

// writeJSON prints the results as one array.
func writeJSON(w io.Writer, results []result) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(results)
}
