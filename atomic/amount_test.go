package atomic_test

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"math"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
)

// decimal is what a decimal library's type looks like to database/sql.
type decimal struct{ *big.Rat }

func (d decimal) Value() (driver.Value, error) {
	if d.Rat == nil {
		return nil, errors.New("no decimal")
	}
	return d.FloatString(4), nil
}

type cents int32

func TestSign(t *testing.T) {
	tests := []struct {
		amount any
		want   int
		err    string
	}{
		{amount: 3, want: 1},
		{amount: int64(math.MinInt64), want: -1},
		{amount: cents(-1), want: -1},
		{amount: uint64(math.MaxUint64), want: 1},
		{amount: uint8(0), want: 0},
		{amount: 0.5, want: 1},
		{amount: -0.5, want: -1},
		{amount: math.Copysign(0, -1), want: 0},
		{amount: math.NaN(), err: "not a finite number"},
		{amount: math.Inf(1), err: "not a finite number"},
		{amount: "12.50", want: 1},
		{amount: "-0.00", want: 0},
		{amount: "+.5", want: 1},
		{amount: []byte("-3"), want: -1},
		{amount: decimal{big.NewRat(-1, 8)}, want: -1},
		{amount: decimal{}, err: "no decimal"},
		{amount: (*decimal)(nil), err: "nil"},
		{amount: sql.NullInt64{Int64: 4, Valid: true}, want: 1},
		{amount: sql.NullInt64{}, err: "not a number"},
		{amount: "", err: "not a number"},
		{amount: "1 OR 1=1", err: "not a number"},
		{amount: "1.2.3", err: "not a number"},
		{amount: "1/3", err: "not a number"},
		{amount: "٣", err: "not a number"},
		{amount: nil, err: "not a number"},
		{amount: time.Second, want: 1},
		{amount: true, err: "not a number"},
	}
	for _, tt := range tests {
		got, err := atomic.Sign(tt.amount)
		if tt.err != "" {
			require.ErrorContains(t, err, tt.err, "%#v", tt.amount)
			continue
		}
		require.NoError(t, err, "%#v", tt.amount)
		require.Equal(t, tt.want, got, "%#v", tt.amount)
	}
}

func FuzzSign(f *testing.F) {
	for _, s := range []string{"1", "-1", "0.0", "1e5", "0x1", " 1", "1_000", "--1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, amount string) {
		sign, err := atomic.Sign(amount)
		if err != nil {
			return
		}
		r, ok := new(big.Rat).SetString(amount)
		require.True(t, ok)
		require.Equal(t, r.Sign(), sign)
		require.NotContains(t, amount, "e", "not every server reads exponents alike")
	})
}
