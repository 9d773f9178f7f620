package main

import (
	"context"
	"fmt"
	"strings"
)

// A story is a bug that a gap between a read and a write makes, and the strategies that close the gap. Its numbers are those
// of a sale: so many buyers, so much to have.
type story struct {
	name  string
	about string
	scene string // what happens, with the numbers of buyers and of what there is

	noun, action string // the API's: POST /items/{id}/purchase

	strategies []strategy

	// tables are the statements that make the tables that all strategies need.
	tables func(s shop) []string
	// fill adds what a round is about: stock of it, under ids from first on, which no other round has.
	fill func(ctx context.Context, s shop, first int64, stock int) error
	// look returns what is left for id, and sql.ErrNoRows if there is none.
	look func(ctx context.Context, s shop, id int64) (left int64, err error)
	// left returns what the database says is left of the stock of a round. It is negative if more was given out than
	// there was.
	left func(ctx context.Context, s shop, first int64, stock int) (int64, error)
	// target says which of the ids, counted from 0, a buyer wants.
	target func(buyer, buyers, stock int) int
	// advice are sentences that say what to use, to those who have seen the table.
	advice func(speed func(strategy string) float64) []string
	// cures are the strategies that the advice names.
	cures []string

	words words
}

// words are how a story tells of its results.
type words struct {
	column string // what was given out: "sold"
	rest   string // what the database says of it afterwards: "left"
	// restOf returns the number under rest; nil for what is left of the stock.
	restOf func(stock, left int64) int64

	accepted string // how many: "sold %s"
	item     string // what: "item"
	only     string // how many there were: "only %d existed"
	taken    string // where it was taken from: "came off the stock"
	again    string // the verdict on too many: "oversold %d"
	exactly  string // the verdict on all: "sold exactly %d"
	some     string // the verdict on fewer than there are: "sold %d of %d"

	buyer string             // who: "buyer"
	reads func(int64) string // what one who was told that so much is left has read: "reads 1"
	write func(int64) string // and written: "writes 0"
	both  string             // "both sell"
}

var stories = []*story{stockStory, walletStory, likeStory}

// chooseStories returns the named one, or all.
func chooseStories(name string) ([]*story, error) {
	if name == "all" {
		return stories, nil
	}
	for _, st := range stories {
		if st.name == name {
			return []*story{st}, nil
		}
	}
	return nil, fmt.Errorf("there is no %q, only %s and all", name, strings.Join(storyNames(), ", "))
}

// directory is where the code of the strategies stands, as seen from the repository.
const directory = "examples/flashsale"

// code says in which files the cures stand.
func (st *story) code() string {
	var files []string
	for _, name := range st.cures {
		files = append(files, st.file(name))
	}
	return "The code, in " + directory + ": " + strings.Join(files, ", ")
}

// file returns the name of the file in which a strategy stands.
func (st *story) file(strategy string) string {
	return st.name + "_" + strings.ReplaceAll(strategy, "-", "_") + ".go"
}

func storyNames() []string {
	var names []string
	for _, st := range stories {
		names = append(names, st.name)
	}
	return names
}

// one is the target of stories in which everyone wants the same.
func one(_, _, _ int) int { return 0 }

// neighbours is the target of stories in which buyers share what they want with those of the next numbers, who are clients
// of other servers.
func neighbours(buyer, buyers, stock int) int { return buyer * stock / buyers }
