package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
)

// Without a terminal the meter says what is on, in few lines. The rows of a table say it in the last turn.
func TestProgressInAPipe(t *testing.T) {
	said := func(rows bool, turns int, strategies ...strategy) string {
		var shown bytes.Buffer
		m := meter{w: &shown, rows: rows}
		m.begin(&story{name: "stock", strategies: strategies}, turns)
		for turn := 1; turn <= turns; turn++ {
			for _, s := range strategies {
				m.follow(turn, s.name, new(progress))()
			}
		}
		return shown.String()
	}
	a, b := strategy{name: "unsafe"}, strategy{name: "atomic"}
	require.Equal(t, "stock, turn 1 of 3: unsafe\nstock, turn 1 of 3: atomic\nstock, turn 2 of 3: all 2 again\n", said(true, 3, a, b))
	require.Equal(t, "stock, turn 1 of 2: unsafe\nstock, turn 1 of 2: atomic\nstock, turn 2 of 2: all 2 again\n", said(false, 2, a, b))
	require.Equal(t, "stock, turn 1 of 3: unsafe\nstock, turn 2 of 3: unsafe again\n", said(true, 3, a))
	require.Equal(t, "stock: unsafe\nstock: atomic\n", said(false, 1, a, b))
	require.Empty(t, said(true, 1, a, b))
}

// What a row is is said in a line of the table.
func TestHeaderFits80Columns(t *testing.T) {
	for _, c := range []config{{}, {rounds: 1}, {rounds: 100}} {
		for _, d := range []nogap.Dialect{nogap.Postgres, nogap.MySQL, nogap.MariaDB, nogap.SQLite} {
			c.stories, c.buyers, c.stock, c.servers, c.database = stories, 500, 100, 16, &database{dialect: d}
			var shown bytes.Buffer
			for _, st := range stories {
				table := table{w: &shown}
				table.header(st, c, c.effort())
				table.columns(st)
				table.advice(st.advice(func(string) float64 { return 1 }), st.code())
			}
			requireNarrow(t, shown.String())
		}
	}
}

// The column after what was given out is the story's own, with its own number.
func TestColumnOfEachStory(t *testing.T) {
	for _, test := range []struct {
		story        *story
		head, number string
	}{{stockStory, "left", "-3"}, {walletStory, "money", "-3"}, {likeStory, "likes", "13"}} {
		var shown bytes.Buffer
		table := table{w: &shown}
		table.columns(test.story)
		table.row(outcome{result: result{Strategy: "test", Stock: 10, Sold: 10, Left: -3, words: &test.story.words}})
		head, row, _ := strings.Cut(shown.String(), "\n")
		require.Equal(t, test.head, strings.Fields(head)[2])
		require.Equal(t, test.number, strings.Fields(row)[2])
	}
}

// The last line of a story names files that are there, of strategies that its advice is about.
func TestCodeOfTheCures(t *testing.T) {
	for _, st := range stories {
		advice := strings.Join(st.advice(func(string) float64 { return 1 }), " ")
		require.NotEmpty(t, st.cures)
		for _, name := range st.cures {
			s, ok := st.strategy(name)
			require.True(t, ok, name)
			require.True(t, s.safe, name)
			_, err := os.Stat(st.file(name))
			require.NoError(t, err)
			require.Contains(t, st.code(), st.file(name))
			if name != "atomic-coalesced" { // which is named if it is faster
				require.Contains(t, advice, name)
			}
		}
	}
}

// The report shows how it was made, but no password and no directory.
func TestFlagsAsShown(t *testing.T) {
	c, err := parseFlags([]string{"-db", "postgres://u:secret@db/shop?password=secret", "-html", "/home/secret/report.html",
		"-strategy", "unsafe, atomic", "-json"}, nil)
	require.NoError(t, err)
	require.Equal(t, " -db postgres:… -html report.html -json=true -strategy 'unsafe, atomic'", c.given)
	c, err = parseFlags(nil, nil)
	require.NoError(t, err)
	require.Empty(t, c.given)
}
