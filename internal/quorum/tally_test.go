package quorum

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTally(t *testing.T) {
	type want struct{ answered, agreed, held, lost bool }
	eof := errors.New("EOF")
	tests := map[string]struct {
		total  int
		failed []error
		want
	}{
		"one, held":                       {1, []error{errHeld}, want{answered: true, held: true, lost: true}},
		"one, gone":                       {1, []error{errGone}, want{answered: true, held: true, lost: true}},
		"one, down":                       {1, []error{eof}, want{}},
		"one, granted too late":           {1, nil, want{answered: true, agreed: true}},
		"three, all refuse":               {3, []error{errHeld, errHeld, errHeld}, want{answered: true, held: true, lost: true}},
		"three, one down and two refuse":  {3, []error{errHeld, eof, errGone}, want{answered: true, held: true, lost: true}},
		"three, two refuse":               {3, []error{errHeld, errHeld}, want{answered: true, lost: true}},
		"three, one refuses":              {3, []error{errHeld}, want{answered: true, agreed: true}},
		"three, two down":                 {3, []error{eof, eof}, want{}},
		"three, two down and one refuses": {3, []error{eof, eof, errHeld}, want{}},
		"five, two down and two refuse":   {5, []error{eof, eof, errHeld, errHeld}, want{answered: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tally := &Tally{Total: tt.total}
			for i, err := range tt.failed {
				tally.Failed = append(tally.Failed, NodeFailure{Node: i, Err: err, Refused: refusal(err)})
			}
			require.Equal(t, tt.want, want{tally.Answered(), tally.Agreed(), tally.Held(), tally.Lost()})
		})
	}
}
