package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A meter shows on stderr how far a story is, so that neither -json nor a file has it in it: on a terminal in a line that
// moves, and else in a few lines that stay.
type meter struct {
	w     io.Writer
	moves bool
	rows  bool // the table shows the last turn itself, row by row

	story *story
	turns int
}

// newMeter returns a meter. When stdout is a pipe, what reads it may write to the same terminal at any moment, so no line
// moves there.
func newMeter(to screen, json bool) *meter {
	m := &meter{w: to.stderr, moves: isTerminal(to.stderr) && os.Getenv("TERM") != "dumb", rows: !json}
	if f, ok := to.stdout.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
			m.moves = false
		}
	}
	return m
}

// begin tells the meter about the story that follows.
func (m *meter) begin(st *story, turns int) { m.story, m.turns = st, turns }

// follow shows which strategy is on, until stop is called.
func (m *meter) follow(turn int, strategy string, p *progress) (stop func()) {
	if !m.moves {
		m.tell(turn, strategy)
		return func() {}
	}
	return m.move(fmt.Sprintf("turn %d of %d, %s", turn, m.turns, strategy), p)
}

// tell prints a line for each strategy at its first turn, and one for each later turn of all. The rows of the table say the
// rest.
func (m *meter) tell(turn int, strategy string) {
	all := m.story.strategies
	switch {
	case m.rows && turn == m.turns:
	case m.turns == 1:
		fmt.Fprintf(m.w, "%s: %s\n", m.story.name, strategy)
	case turn == 1:
		fmt.Fprintf(m.w, "%s, turn 1 of %d: %s\n", m.story.name, m.turns, strategy)
	case strategy == all[0].name && len(all) == 1:
		fmt.Fprintf(m.w, "%s, turn %d of %d: %s again\n", m.story.name, turn, m.turns, strategy)
	case strategy == all[0].name:
		fmt.Fprintf(m.w, "%s, turn %d of %d: all %d again\n", m.story.name, turn, m.turns, len(all))
	}
}

// move keeps a line up to date until stop is called, which erases it.
func (m *meter) move(what string, p *progress) (stop func()) {
	const erase = "\r\x1b[K"
	var wg sync.WaitGroup
	quit := make(chan struct{})
	began := time.Now()
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			line := what + ": the servers start"
			if round := p.round.Load(); round > 0 {
				line = fmt.Sprintf("%s, sale %d: %d of %d answered, %.1f s", what, round,
					p.answers.Load(), p.buyers.Load(), time.Since(began).Seconds())
			}
			fmt.Fprint(m.w, erase+line)
			select {
			case <-tick.C:
			case <-quit:
				fmt.Fprint(m.w, erase)
				return
			}
		}
	})
	return func() {
		close(quit)
		wg.Wait()
	}
}
