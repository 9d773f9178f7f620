package distlock

import (
	"crypto/rand"
	"strconv"
	"sync/atomic"
)

// values makes the values that tell one attempt's key from every other's: the random name of this process and a count.
type values struct {
	process string
	count   atomic.Uint64
}

func newValues() *values { return &values{process: rand.Text()} }

func (v *values) next() string { return v.process + "-" + strconv.FormatUint(v.count.Add(1), 36) }
