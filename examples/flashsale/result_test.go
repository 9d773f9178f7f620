package main

import (
	"errors"
	"strings"
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
	s := sale{database: database{dialect: nogap.MariaDB}, story: walletStory, strategy: strategy{name: "test"}, buyers: 6, stock: 2}
	each := []time.Duration{6e6, 5e6, 4e6, 3e6, 2e6, 1e6}
	require.Equal(t, result{
		Story: "wallet", Strategy: "test", Database: "MariaDB", Buyers: 6, Stock: 2,
		Sold: 3, Left: 1, Oversold: 1, LostUpdates: 2, Refused: 1, Errors: 2,
		Seconds: 0.5, PerSecond: 8, P50: 3, P99: 6,
		words: &walletStory.words, firstError: counts.err,
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

// What is shown is a round in the middle, but never one that hides that another went wrong.
func TestTypical(t *testing.T) {
	sound := func(seconds float64) result { return result{Sold: 1, Stock: 1, Seconds: seconds} }
	wrong := result{Sold: 2, Stock: 1, Oversold: 1, LostUpdates: 1, Seconds: 9}
	require.Equal(t, sound(2), typical([]result{sound(3), sound(1), sound(2)}))
	require.Equal(t, sound(1), typical([]result{sound(3), sound(1)}))
	require.Equal(t, sound(3), typical([]result{sound(3)}))
	require.Equal(t, wrong, typical([]result{sound(3), sound(1), wrong, sound(2)}))
	rounds := []result{sound(3), sound(1), sound(2)}
	typical(rounds)
	require.Equal(t, []result{sound(3), sound(1), sound(2)}, rounds, "the rounds are left as they were")
}

func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		story *story
		r     result
		want  string
	}{
		{stockStory, result{Stock: 100, Sold: 100, Refused: 400}, "✓ sold exactly 100"},
		{stockStory, result{Stock: 100, Sold: 5, Left: 95}, "✓ sold 5 of 100"},
		{stockStory, result{Stock: 100, Sold: 213, Left: 10, Oversold: 113, LostUpdates: 123}, "✗ oversold 113"},
		{stockStory, result{Stock: 100, Sold: 5, Left: 96, LostUpdates: 1}, "✗ 1 lost update"},
		{stockStory, result{Stock: 100, Sold: 4, Left: 94, LostUpdates: -2}, "✗ 2 lost items"},
		{stockStory, result{Stock: 100, Sold: 100, Errors: 2}, "✗ 2 errors"},
		{walletStory, result{Stock: 100, Sold: 100}, "✓ 100 paid once"},
		{walletStory, result{Stock: 100, Sold: 500, Oversold: 400, LostUpdates: 400}, "✗ 400 paid again"},
		{likeStory, result{Stock: 100, Sold: 100}, "✓ 100 liked once"},
		{likeStory, result{Stock: 100, Sold: 500, Left: -400, Oversold: 400}, "✗ 400 liked again"},
	} {
		test.r.words = &test.story.words
		require.Equal(t, test.want, test.r.verdict())
		require.Equal(t, test.r.sound(), strings.HasPrefix(test.want, "✓"))
	}
}

func TestExplain(t *testing.T) {
	for _, test := range []struct {
		story *story
		r     result
		want  string
	}{
		{stockStory, result{Stock: 100, Sold: 100, Refused: 400}, ""},
		{stockStory, result{Stock: 100, Sold: 5, Left: 95}, ""},
		{stockStory, result{Stock: 100, Sold: 213, Left: 10, Oversold: 113, LostUpdates: 123, Refused: 287},
			"S sold 213 items, but only 100 existed. Only 90 came off the stock: 123 updates were overwritten by another buyer's."},
		{stockStory, result{Stock: 100, Sold: 5, Left: 96, LostUpdates: 1},
			"S sold 5 items of 100. Only 4 came off the stock: 1 update was overwritten by another buyer's."},
		{stockStory, result{Stock: 100, Sold: 4, Left: 95, LostUpdates: -1, Errors: 1, firstError: errors.New("timeout")},
			"S sold 4 items of 100. 5 came off the stock: 1 item was not for anyone. " +
				"1 request failed, the first with: timeout."},
		{walletStory, result{Stock: 100, Sold: 500, Oversold: 400, LostUpdates: 400},
			"S accepted 500 payments, but there was money for 100. Only 100 came out of the wallets: " +
				"400 updates were overwritten by another request's."},
		{likeStory, result{Stock: 100, Sold: 500, Left: -400, Oversold: 400},
			"S counted 500 likes, but only 100 users could like the post."},
	} {
		test.r.Strategy = "S"
		test.r.words = &test.story.words
		require.Equal(t, test.want, test.r.explain())
	}
}
