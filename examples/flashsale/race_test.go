package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRace(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	sold := func(buyer, server int, left int64, asked, answered, done int) step {
		return step{buyer: buyer, server: server, id: 1, left: left, sold: true, asked: at(asked), answered: at(answered), done: at(done)}
	}
	for _, test := range []struct {
		name  string
		steps []step
		want  string
	}{
		{"none", nil, ""},
		{"one after another", []step{sold(1, 1, 0, 0, 10, 20), sold(2, 2, 0, 10, 20, 30)}, ""},
		{"other values", []step{sold(1, 1, 1, 0, 10, 20), sold(2, 2, 0, 1, 11, 21)}, ""},
		{"both", []step{sold(203, 2, 0, 5, 15, 25), sold(17, 1, 0, 0, 10, 20)},
			"buyer 17 reads 1 · buyer 203 reads 1 · both sell"},
		{"the last piece rather", []step{sold(1, 1, 7, 0, 10, 20), sold(2, 2, 7, 1, 11, 21),
			sold(3, 1, 0, 30, 40, 50), sold(4, 2, 0, 31, 41, 51)},
			"buyer 3 reads 1 · buyer 4 reads 1 · both sell"},
		{"two servers rather", []step{sold(1, 1, 0, 0, 10, 20), sold(2, 1, 0, 1, 11, 21), sold(3, 2, 0, 2, 12, 22)},
			"buyer 1 reads 1 · buyer 3 reads 1 · both sell"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := new(witness)
			for _, s := range test.steps {
				w.note(s)
				refused := s
				refused.sold = false
				w.note(refused)
			}
			r := w.race()
			if test.want == "" {
				require.Nil(t, r)
				return
			}
			require.NotNil(t, r)
			require.Equal(t, test.want, r.summary(&stockStory.words))
			w.begin()
			require.Nil(t, w.race(), "a new round")
		})
	}
}

func TestTimeline(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	r := race{
		step{buyer: 17, server: 1, asked: at(0), done: at(30)},
		step{buyer: 203, server: 4, asked: at(4), done: at(20)},
	}
	require.Equal(t, []moment{
		{0, "buyer 17", 1, "reads 1"},
		{4e6, "buyer 203", 4, "reads 1"},
		{20e6, "buyer 203", 4, "writes 0, sold"},
		{30e6, "buyer 17", 1, "writes 0, sold"},
	}, r.timeline(&stockStory.words))
}
