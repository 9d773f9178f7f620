package txn

import (
	"time"

	"github.com/nogap-go/nogap/internal/option"
)

// MaxAttempts is the option of that name. of returns the Policy in what the options of the package change.
func MaxAttempts[C any](n int, of func(*C) *Policy) option.Option[C] {
	return option.Option[C]{Name: "MaxAttempts", Set: func(c *C) error {
		of(c).MaxAttempts = n
		return option.AtLeastOne("MaxAttempts", n)
	}}
}

// Backoff is the option of that name. of is as for MaxAttempts.
func Backoff[C any](f func(failed int) time.Duration, of func(*C) *Policy) option.Option[C] {
	return option.Option[C]{Name: "Backoff", Set: func(c *C) error {
		of(c).Backoff = f
		return option.NotNil("Backoff", f == nil)
	}}
}
