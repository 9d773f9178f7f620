package quorum

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStateOf(t *testing.T) {
	has := func(value string, left time.Duration, queue ...string) *sighting {
		return &sighting{held: true, value: value, left: left, queue: queue}
	}
	free := func(queue ...string) *sighting { return &sighting{queue: queue} }
	const s = time.Second
	for name, tt := range map[string]struct {
		answers []*sighting
		want    State
		unknown bool
	}{
		"free":                      {answers: []*sighting{free()}},
		"held on one node":          {answers: []*sighting{has("p-1 me", 8*s, "q")}, want: State{true, "p-1 me", "me", 8 * s, 1}},
		"held without a value":      {answers: []*sighting{has("", s), has("", s), free()}, want: State{true, "", "", s, 0}},
		"silent":                    {answers: []*sighting{nil}, unknown: true},
		"held by two of three":      {answers: []*sighting{has("p-1", 3*s), free(), has("p-1", 5*s)}, want: State{true, "p-1", "", 3 * s, 0}},
		"the middle one counts":     {answers: []*sighting{has("p-1", 3*s), has("p-1", 4*s), has("p-1", 5*s)}, want: State{true, "p-1", "", 4 * s, 0}},
		"one never ends":            {answers: []*sighting{has("x", never), has("x", 4*s), has("x", 5*s)}, want: State{true, "x", "", 5 * s, 0}},
		"two never end":             {answers: []*sighting{has("x", never), has("x", 4*s), has("x", never)}, want: State{true, "x", "", never, 0}},
		"a split vote":              {answers: []*sighting{has("p-1", s), has("q-1", s), free("w")}},
		"it depends on a third":     {answers: []*sighting{has("p-1", s), free(), nil}, unknown: true},
		"free on two of three":      {answers: []*sighting{free(), free(), nil}},
		"two of three are silent":   {answers: []*sighting{free(), nil, nil}, unknown: true},
		"it depends on the others":  {answers: []*sighting{has("p-1", s), has("p-1", s), free(), free(), nil}, unknown: true},
		"queues on several nodes":   {answers: []*sighting{has("p-1", s, "a", "b"), has("p-1", s, "b", "c"), free()}, want: State{true, "p-1", "", s, 3}},
		"a majority and one silent": {answers: []*sighting{has("p-1", s), has("p-1", 2*s), nil}, want: State{true, "p-1", "", s, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			got, known := stateOf(tt.answers)
			require.Equal(t, !tt.unknown, known)
			require.Equal(t, tt.want, got)
		})
	}
}
