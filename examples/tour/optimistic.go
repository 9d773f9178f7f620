package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/nogap-go/nogap/optimistic"
)

// Event is a row of events.
type Event struct {
	ID      int64  `db:"id"`
	Title   string `db:"title"`
	Seats   int64  `db:"seats"`
	Version int64  `db:"version"` // ALTER TABLE events ADD COLUMN version BIGINT NOT NULL DEFAULT 0
}

var errSoldOut = errors.New("sold out")

func checkTheGap(ctx context.Context, db *sql.DB) error {
	events, err := optimistic.NewTable[Event](db, "events") // once
	if err != nil {
		return err
	}
	concert := &Event{Title: "Concert", Seats: 100}
	if err := events.Insert(ctx, concert); err != nil { // fills in the ID that the server makes
		return err
	}
	event, err := events.Modify(ctx, func(e *Event) error { // may run again, if somebody else was faster
		if e.Seats < 1 {
			return errSoldOut
		}
		e.Seats--
		return nil
	}, concert.ID)
	if err != nil {
		return err
	}
	fmt.Println(event.Title, "has", event.Seats, "seats")

	concert.Title = "Concert, moved"
	err = events.Update(ctx, concert) // what was read before: a person thinks meanwhile
	if errors.Is(err, optimistic.ErrVersionConflict) {
		fmt.Println("somebody was faster")
	}

	hot := optimistic.Coalesce(events) // once
	defer hot.Close()
	event, err = hot.Modify(ctx, takeSeat, concert.ID) // the function of the Modify above
	if err != nil {
		return err
	}
	fmt.Println(event.Title, "has", event.Seats, "seats")
	return nil
}

func takeSeat(e *Event) error {
	if e.Seats < 1 {
		return errSoldOut
	}
	e.Seats--
	return nil
}
