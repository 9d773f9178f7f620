// Package option applies the options of the user packages by one set of rules: a nil one is an error, and so is one that
// is given twice or that a call has no use for. The errors name the option.
package option

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Option changes a C. A user package makes its own type of it, so that its options can't be mixed up with others'.
type Option[C any] struct {
	// Name is what the caller wrote, such as "MaxAttempts".
	Name string
	// Set changes c. Its error says what is wrong with the value, and names the option.
	Set func(c *C) error
	// Many: it may be given several times.
	Many bool
}

// Given are the names of the options that a caller gave.
type Given []string

// Has reports whether the caller gave an option.
func (g Given) Has(name string) bool { return slices.Contains(g, name) }

// Refuse returns an error if the caller gave one of the options, of which the call has no use.
func (g Given) Refuse(call string, names ...string) error {
	for _, name := range names {
		if g.Has(name) {
			return fmt.Errorf("%s is not an option of %s", name, call)
		}
	}
	return nil
}

// Apply applies opts to c. get returns the Option that an element of opts, which is not nil, is or holds.
func Apply[C any, O comparable](c *C, opts []O, get func(O) Option[C]) (Given, error) {
	var given Given
	var none O
	for i, o := range opts {
		if o == none {
			return nil, fmt.Errorf("option %d is nil", i)
		}
		option := get(o)
		if given.Has(option.Name) && !option.Many {
			return nil, fmt.Errorf("%s is given twice", option.Name)
		}
		given = append(given, option.Name)
		if err := option.Set(c); err != nil {
			return nil, err
		}
	}
	return given, nil
}

// Part returns the option of a C that changes a part of it.
func Part[C, P any](o Option[P], part func(*C) *P) Option[C] {
	return Option[C]{Name: o.Name, Set: func(c *C) error { return o.Set(part(c)) }, Many: o.Many}
}

// AtLeastOne returns an error if n is less than 1.
func AtLeastOne(name string, n int) error {
	if n < 1 {
		return fmt.Errorf("%s(%d) is less than 1", name, n)
	}
	return nil
}

// Positive returns an error if d is not positive.
func Positive(name string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%s(%v) is not positive", name, d)
	}
	return nil
}

// NotNil returns an error if a function is nil, which isNil tells.
func NotNil(name string, isNil bool) error {
	if isNil {
		return errors.New(name + "(nil): a function is needed")
	}
	return nil
}
