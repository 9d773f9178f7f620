package effect_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/racetest/effect"
)

type step struct {
	command effect.Command
	sql     string
}

// lost is a lost update: BEGIN, SELECT, UPDATE, COMMIT.
var lost = []step{{effect.Begin, ""}, {effect.Run, "SELECT stock FROM items"}, {effect.Run, "UPDATE items SET stock = 1"}, {effect.Commit, ""}}

// orders returns all orders of the steps of two clients, as if no statement ever waited.
func orders(a, b int) (all [][]int) {
	if a == 0 && b == 0 {
		return [][]int{nil}
	}
	if a > 0 {
		for _, o := range orders(a-1, b) {
			all = append(all, append([]int{0}, o...))
		}
	}
	if b > 0 {
		for _, o := range orders(a, b-1) {
			all = append(all, append([]int{1}, o...))
		}
	}
	return all
}

func events(order []int, clients [2][]step, level effect.Isolation) (all []effect.Event) {
	var tx [2]effect.Tx
	var at [2]int
	for _, c := range order {
		s := clients[c][at[c]]
		d, e, after := tx[c].Step(s.command, level, effect.Dialect{}.Parse(s.sql))
		d.Client, d.Step, e.Client, e.Step, e.Done = c, at[c], c, at[c], true
		tx[c] = after
		at[c]++
		all = append(all, d, e)
	}
	return all
}

func classes(clients [2][]step, level effect.Isolation) (orderCount, classCount int) {
	seen := map[string]bool{}
	all := orders(len(clients[0]), len(clients[1]))
	for _, o := range all {
		seen[effect.Class(events(o, clients, level))] = true
	}
	return len(all), len(seen)
}

func TestClass(t *testing.T) {
	other := []step{{effect.Begin, ""}, {effect.Run, "SELECT n FROM other"}, {effect.Run, "UPDATE other SET n = 1"}, {effect.Commit, ""}}
	n, m := classes([2][]step{lost, other}, effect.ReadCommitted)
	require.Equal(t, []int{70, 1}, []int{n, m}, "clients of different tables")
	n, m = classes([2][]step{lost, lost}, effect.ReadCommitted)
	require.Equal(t, 70, n)
	t.Log("lost update:", n, "orders,", m, "classes")
	readers := []step{{effect.Run, "SELECT * FROM items"}}
	_, m = classes([2][]step{readers, readers}, effect.Serializable)
	require.Equal(t, 1, m, "readers")
}

func TestConflict(t *testing.T) {
	visible := effect.Event{Client: 1, Visible: effect.Of("t")}
	require.True(t, effect.Conflict(effect.Event{Reads: effect.Of("t")}, visible))
	require.True(t, effect.Conflict(effect.Event{Reads: effect.All()}, visible), "a snapshot")
	require.True(t, effect.Conflict(effect.Event{Locks: effect.Of("t")}, visible))
	require.False(t, effect.Conflict(effect.Event{Reads: effect.Of("u"), Locks: effect.Of("u")}, visible))
	require.False(t, effect.Conflict(effect.Event{Reads: effect.All()}, effect.Event{Client: 1, Releases: effect.Of("t")}), "a reader waits for no lock")
	require.True(t, effect.Conflict(effect.Event{Locks: effect.Of("t")}, effect.Event{Client: 1, Releases: effect.Of("t")}))
	locks := effect.Event{Client: 1, Locks: effect.Of("t")}
	require.False(t, effect.Conflict(effect.Event{Reads: effect.Of("t")}, locks))
	require.True(t, effect.Conflict(effect.Event{Reads: effect.Of("t"), Serializable: true}, locks))
}
