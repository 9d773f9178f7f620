package combine

import (
	"math"
	"time"

	"github.com/nogap-go/nogap/internal/option"
)

// Bounds are the limits of a Group. All of them must be positive.
type Bounds struct {
	MaxBatch   int // how many calls are carried out together
	MaxWaiting int // how many callers wait for a row, besides those whose batch is under way
	// Timeout bounds how long a batch takes, and how long a caller alone keeps others waiting.
	Timeout time.Duration
}

// DefaultBounds hold unless an option says otherwise.
var DefaultBounds = Bounds{MaxBatch: 1000, MaxWaiting: 10_000, Timeout: 5 * time.Second}

// MaxBatch is the option of that name.
func MaxBatch(n int) option.Option[Bounds] {
	return option.Option[Bounds]{Name: "MaxBatch", Set: func(b *Bounds) error {
		b.MaxBatch = n
		return option.AtLeastOne("MaxBatch", n)
	}}
}

// MaxWaiting is the option of that name.
func MaxWaiting(n int) option.Option[Bounds] {
	return option.Option[Bounds]{Name: "MaxWaiting", Set: func(b *Bounds) error {
		b.MaxWaiting = n
		return option.AtLeastOne("MaxWaiting", n)
	}}
}

// Timeout is the option of that name.
func Timeout(d time.Duration) option.Option[Bounds] {
	return option.Option[Bounds]{Name: "Timeout", Set: func(b *Bounds) error {
		b.Timeout = d
		return option.Positive("Timeout", d)
	}}
}

// grace is how long a driver may go on after the end of a batch's context. Some don't heed it while they connect.
const grace = time.Second

// patience is how long anybody waits for a batch.
func (b Bounds) patience() time.Duration { return min(b.Timeout, math.MaxInt64-grace) + grace }
