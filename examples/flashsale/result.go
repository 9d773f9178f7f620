package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A result is what came of a sale, and how -json prints it.
type result struct {
	Story       string  `json:"story"`
	Strategy    string  `json:"strategy"`
	Database    string  `json:"database"`
	Buyers      int64   `json:"buyers"`
	Stock       int64   `json:"stock"`        // before the sale
	Sold        int64   `json:"sold"`         // buyers who were told that they got one
	Left        int64   `json:"left"`         // in the database after the sale
	Oversold    int64   `json:"oversold"`     // sold beyond the stock
	LostUpdates int64   `json:"lost_updates"` // sold, but still in the stock
	Refused     int64   `json:"refused"`      // buyers who were told that it is sold out
	Errors      int64   `json:"errors"`       // buyers who got neither a yes nor a no
	Seconds     float64 `json:"seconds"`      // from the start of the sale to its last answer
	PerSecond   float64 `json:"per_second"`   // answered purchase requests, sold or refused, per second
	P50         float64 `json:"p50_ms"`       // what half of the buyers waited at most for their answer
	P99         float64 `json:"p99_ms"`

	words      *words
	firstError error
}

func newResult(s sale, t *tally, left int64, elapsed time.Duration, each []time.Duration) result {
	r := result{
		Story:      s.story.name,
		Strategy:   s.strategy.name,
		Database:   s.database.dialect.String(),
		Buyers:     int64(s.buyers),
		Stock:      int64(s.stock),
		Sold:       t.sold.Load(),
		Left:       left,
		Refused:    t.refused.Load(),
		Errors:     t.errors.Load(),
		Seconds:    elapsed.Seconds(),
		words:      &s.story.words,
		firstError: t.err,
	}
	r.Oversold = max(0, r.Sold-r.Stock)
	r.LostUpdates = r.Sold - (r.Stock - r.Left)
	r.PerSecond = float64(r.Sold+r.Refused) / r.Seconds
	slices.Sort(each)
	r.P50 = milliseconds(percentile(each, 50))
	r.P99 = milliseconds(percentile(each, 99))
	return r
}

// rest is the number in the column that words.rest names.
func (r result) rest() int64 {
	if r.words.restOf == nil {
		return r.Left
	}
	return r.words.restOf(r.Stock, r.Left)
}

// percentile returns the smallest of the sorted values that p percent of them do not exceed.
func percentile(sorted []time.Duration, p float64) time.Duration {
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[rank-1]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// sound reports whether every sale is one piece less in the stock, no piece was sold twice, and no request failed.
func (r result) sound() bool {
	return r.Oversold == 0 && r.LostUpdates == 0 && r.Errors == 0
}

// typical returns the round with the median time, of those with books that are not in order if there are any.
func typical(rounds []result) result {
	unsound := slices.DeleteFunc(slices.Clone(rounds), result.sound)
	if len(unsound) > 0 {
		rounds = unsound
	}
	byTime := slices.SortedFunc(slices.Values(rounds), func(a, b result) int { return cmp.Compare(a.Seconds, b.Seconds) })
	return byTime[(len(byTime)-1)/2]
}

// verdict says in a few words whether the books are in order.
func (r result) verdict() string {
	switch {
	case r.Errors > 0:
		return "✗ " + count(r.Errors, "error")
	case r.Oversold > 0:
		return "✗ " + fmt.Sprintf(r.words.again, r.Oversold)
	case r.LostUpdates > 0:
		return "✗ " + count(r.LostUpdates, "lost update")
	case r.LostUpdates < 0:
		return "✗ " + count(-r.LostUpdates, "lost "+r.words.item)
	case r.Sold == r.Stock:
		return "✓ " + fmt.Sprintf(r.words.exactly, r.Sold)
	}
	return "✓ " + fmt.Sprintf(r.words.some, r.Sold, r.Stock)
}

// explain says in sentences what the verdict is about. It is empty if all is well.
func (r result) explain() string {
	if r.sound() {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s "+r.words.accepted, r.Strategy, count(r.Sold, r.words.item))
	if r.Oversold > 0 {
		fmt.Fprintf(&b, ", but "+r.words.only, r.Stock)
	} else {
		fmt.Fprintf(&b, " of %d", r.Stock)
	}
	b.WriteString(".")
	switch {
	case r.LostUpdates > 0:
		fmt.Fprintf(&b, " Only %d %s: %s overwritten by another %s's.",
			r.Stock-r.Left, r.words.taken, was(r.LostUpdates, "update"), r.words.buyer)
	case r.LostUpdates < 0:
		fmt.Fprintf(&b, " %d %s: %s not for anyone.", r.Stock-r.Left, r.words.taken, was(-r.LostUpdates, r.words.item))
	}
	if r.Errors > 0 {
		fmt.Fprintf(&b, " %s failed, the first with: %v.", count(r.Errors, "request"), r.firstError)
	}
	return b.String()
}

// count returns "1 item" or "2 items".
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func was(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun + " was"
	}
	return count(n, noun) + " were"
}
