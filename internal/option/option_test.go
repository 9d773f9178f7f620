package option_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/option"
)

type config struct{ sum int }

type opt interface{ get() option.Option[config] }

type add option.Option[config]

func (a add) get() option.Option[config] { return option.Option[config](a) }

func adding(name string, n int, many bool) opt {
	return &ptr{add{Name: name, Many: many, Set: func(c *config) error {
		if n < 0 {
			return errors.New(name + " is negative")
		}
		c.sum += n
		return nil
	}}}
}

type ptr struct{ add }

func TestApply(t *testing.T) {
	one, two, many := adding("One", 1, false), adding("Two", 2, false), adding("Many", 10, true)
	for name, tt := range map[string]struct {
		opts []opt
		sum  int
		err  string
	}{
		"none":            {nil, 0, ""},
		"several":         {[]opt{one, two}, 3, ""},
		"twice":           {[]opt{one, two, one}, 0, "One is given twice"},
		"twice, and many": {[]opt{many, one, many}, 21, ""},
		"nil":             {[]opt{one, nil}, 0, "option 1 is nil"},
		"invalid":         {[]opt{adding("Three", -1, false)}, 0, "Three is negative"},
	} {
		t.Run(name, func(t *testing.T) {
			var c config
			given, err := option.Apply(&c, tt.opts, opt.get)
			if tt.err != "" {
				require.EqualError(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.sum, c.sum)
			require.Len(t, given, len(tt.opts))
		})
	}
}

func TestGiven(t *testing.T) {
	given, err := option.Apply(new(config), []opt{adding("One", 1, false)}, opt.get)
	require.NoError(t, err)
	require.True(t, given.Has("One"))
	require.False(t, given.Has("Two"))
	require.NoError(t, given.Refuse("Claim", "Two"))
	require.EqualError(t, given.Refuse("Claim", "Two", "One"), "One is not an option of Claim")
}

func TestValues(t *testing.T) {
	require.NoError(t, option.AtLeastOne("MaxAttempts", 1))
	require.EqualError(t, option.AtLeastOne("MaxAttempts", 0), "MaxAttempts(0) is less than 1")
	require.NoError(t, option.Positive("Timeout", time.Second))
	require.EqualError(t, option.Positive("Timeout", -time.Second), "Timeout(-1s) is not positive")
	require.NoError(t, option.NotNil("Backoff", false))
	require.EqualError(t, option.NotNil("Backoff", true), "Backoff(nil): a function is needed")
}
