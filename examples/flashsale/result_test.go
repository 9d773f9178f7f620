package main

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
)

func TestNewResult(t *testing.T) {
	var counts tally
	counts.add(true, nil)
	counts.add(true, nil)
	counts.add(true, nil)
	counts.add(false, nil)
	counts.add(false, errors.New("first"))
	counts.add(false, errors.New("second"))
	s := sale{database: database{dialect: nogap.MariaDB}, strategy: strategy{name: "test"}, buyers: 6, stock: 2}
	each := []time.Duration{6e6, 5e6, 4e6, 3e6, 2e6, 1e6}
	require.Equal(t, result{
		Strategy: "test", Database: "MariaDB", Buyers: 6, Stock: 2,
		Sold: 3, Left: 1, Oversold: 1, LostUpdates: 2, Refused: 1, Errors: 2,
		Seconds: 0.5, PerSecond: 8, P50: 3, P99: 6,
		firstError: counts.err,
	}, newResult(s, &counts, 1, 500*time.Millisecond, each))
	require.EqualError(t, counts.err, "first")
}

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	require.EqualValues(t, 50, percentile(hundred, 50))
	require.EqualValues(t, 99, percentile(hundred, 99))
	require.EqualValues(t, 1, percentile(hundred[:1], 50))
	require.EqualValues(t, 1, percentile(hundred[:1], 99))
	require.EqualValues(t, 2, percentile(hundred[:3], 50))
}

func TestExplain(t *testing.T) {
	for _, test := range []struct {
		r    result
		want string
	}{
		{result{Stock: 100, Sold: 100, Refused: 400},
			"S sold 100 items, exactly what there was, and told 400 buyers that it was sold out."},
		{result{Stock: 1, Sold: 1, Refused: 1},
			"S sold 1 item, exactly what there was, and told 1 buyer that it was sold out."},
		{result{Stock: 100, Sold: 5, Left: 95}, "S sold 5 items of 100."},
		{result{Stock: 100, Sold: 213, Left: 10, Oversold: 113, LostUpdates: 123, Refused: 287},
			"S sold 213 items, but only 100 existed, and told 287 buyers that it was sold out. " +
				"Only 90 left the stock: 123 updates were overwritten by another buyer's."},
		{result{Stock: 100, Sold: 5, Left: 96, LostUpdates: 1},
			"S sold 5 items of 100. Only 4 left the stock: 1 update was overwritten by another buyer's."},
		{result{Stock: 100, Sold: 4, Left: 95, LostUpdates: -1, Errors: 1, firstError: errors.New("timeout")},
			"S sold 4 items of 100. 5 left the stock: 1 item was not sold to anyone. " +
				"1 request failed, the first with: timeout."},
	} {
		test.r.Strategy = "S"
		require.Equal(t, test.want, test.r.explain())
	}
}
