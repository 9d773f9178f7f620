package dialect

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/oneatatime"
	"github.com/nogap-go/nogap/internal/perdb"
)

// Reader runs a statement that writes nothing and stores its row in dest, as txn.Runner does.
type Reader interface {
	Read(ctx context.Context, query string, args []any, dest ...any) error
}

// Source says which server a *sql.DB talks to.
type Source struct {
	told   Server // set by WithDialect
	shared *answer
}

// NewSource returns the Source of db. The server is asked at the first use, unless told is not zero: then it is taken
// as that.
func NewSource(db *sql.DB, told nogap.Dialect) (Source, error) {
	if db == nil {
		return Source{}, errors.New("db is nil")
	}
	if told != 0 {
		s, err := Assume(told)
		return Source{told: s}, err
	}
	return Source{shared: answerOf(db)}, nil
}

// Server returns the server, asking it over r if nobody has yet. r is a connection or a transaction that the caller
// already holds: to take another one from the pool while holding one can wait for ever.
func (s Source) Server(ctx context.Context, r Reader) (Server, error) {
	if s.shared == nil {
		return s.told, nil
	}
	return s.shared.get(ctx, r)
}

// Known returns the server, and false if nobody has asked it yet. The zero Source knows none.
func (s Source) Known() (Server, bool) {
	if s.shared == nil {
		return s.told, s.told.Capabilities != nil
	}
	select {
	case <-s.shared.known:
		return s.shared.Server, true
	default:
		return Server{}, false
	}
}

// Foreign returns the server behind r, a transaction of another *sql.DB: its answer is used and not kept.
func (s Source) Foreign(ctx context.Context, r Reader) (Server, error) {
	if s.shared == nil {
		return s.told, nil
	}
	return Ask(ctx, r)
}

// Ask asks the server behind r what it is. It is for a transaction whose *sql.DB is not known; Source asks only once.
func Ask(ctx context.Context, r Reader) (Server, error) {
	s, err := ask(ctx, r)
	if err != nil {
		return Server{}, fmt.Errorf("asking the server what it is: %w", err)
	}
	return s, nil
}

// answer is what one *sql.DB's server said of itself.
type answer struct {
	asking oneatatime.Turn
	first  sync.Once
	known  chan struct{} // closed once Server is set
	Server
}

func (a *answer) get(ctx context.Context, r Reader) (Server, error) {
	select {
	case <-a.known:
		return a.Server, nil
	default:
	}
	done, err := a.asking.Take(ctx)
	if err != nil {
		return Server{}, err
	}
	defer done()
	select {
	case <-a.known:
		return a.Server, nil
	default:
	}
	s, err := Ask(ctx, r)
	if err != nil {
		return Server{}, err // not kept: the next caller asks again
	}
	a.first.Do(func() {
		a.Server = s
		close(a.known)
	})
	return a.Server, nil
}

// ask asks by SQL and not by the type of db.Driver(), which a wrapper such as otelsql hides.
func ask(ctx context.Context, r Reader) (Server, error) {
	var first error
	asked := ""
	for _, l := range languages {
		if l.question == asked {
			continue
		}
		asked = l.question
		var answer string
		err := r.Read(ctx, asked, nil, &answer)
		switch {
		case err == nil:
			return identify(asked, answer)
		case ctx.Err() != nil:
			return Server{}, errors.Join(ctx.Err(), err)
		case first == nil:
			first = err // that of a server that is down, and the most telling one
		}
	}
	return Server{}, first
}

// answers holds the answer of each *sql.DB, so that many small constructors on one pool ask once.
var answers perdb.Map[answer]

func answerOf(db *sql.DB) *answer {
	return answers.Of(db, func() *answer { return &answer{known: make(chan struct{})} })
}
