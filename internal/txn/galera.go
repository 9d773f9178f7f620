package txn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/perdb"
)

// link is what is known of the way from a *sql.DB to its server.
type link struct {
	galera, prepares fact
	direct           fact // to PostgreSQL itself, with no pooler in between
	aside            aside
}

// fact is true, false or not known yet. The zero fact is not known.
type fact struct{ known atomic.Pointer[bool] }

// is reports whether the fact is known to be that.
func (f *fact) is(value bool) bool {
	known := f.known.Load()
	return known != nil && *known == value
}

// find returns the fact, which ask finds out if nobody has yet. An error is not kept.
func (f *fact) find(ask func() (bool, error)) (bool, error) {
	if known := f.known.Load(); known != nil {
		return *known, nil
	}
	found, err := ask()
	if err == nil {
		f.known.Store(&found)
	}
	return found, err
}

var links perdb.Map[link]

// linkOf returns the link of db, or an empty one if db is nil: then everything is asked each time.
func linkOf(db *sql.DB) *link {
	if db == nil {
		return new(link)
	}
	return links.Of(db, nil)
}

// CheckAborts returns an error if a transaction of db can lose an abort: on a Galera cluster, if the driver has the server
// prepare what has arguments. A server that is to abort a transaction for the write of another node, while it answers the
// PREPARE of a SELECT in it, drops the error. What the transaction wrote before is gone then, what it writes afterwards is
// committed statement by statement, and COMMIT succeeds.
//
// What is not known yet is asked over a connection from the pool.
func CheckAborts(ctx context.Context, db *sql.DB, s dialect.Server) error {
	if !s.MayBeGalera {
		return nil
	}
	l := linkOf(db)
	if l.keepsAborts() {
		return nil
	}
	return With(ctx, db, func(c *Conn) error { return l.checkAborts(ctx, c, s) })
}

// CheckAbortsIn is CheckAborts for a transaction of the caller's, in which it asks. db is that of tx, or nil if it is not
// known: then everything is asked each time.
func CheckAbortsIn(ctx context.Context, db *sql.DB, tx nogap.Tx, s dialect.Server) error {
	if !s.MayBeGalera {
		return nil
	}
	l := linkOf(db)
	if l.keepsAborts() {
		return nil
	}
	return l.checkAborts(ctx, In(tx), s)
}

// IsGalera reports whether the server of tx, a transaction of db, is a node of a Galera cluster.
func IsGalera(ctx context.Context, db *sql.DB, tx nogap.Tx, s dialect.Server) (bool, error) {
	if !s.MayBeGalera {
		return false, nil
	}
	return linkOf(db).isGalera(ctx, In(tx))
}

// HasOtherWriters reports whether the server of tx, a transaction of db, is a node of a Galera cluster or of a MySQL replication
// group. Then a row that others have written on another node may come until tx is committed, although tx has seen none, and
// has written it.
func HasOtherWriters(ctx context.Context, db *sql.DB, tx nogap.Tx, s dialect.Server) (bool, error) {
	galera, err := IsGalera(ctx, db, tx, s)
	if galera || err != nil || !s.MayBeGalera {
		return galera, err
	}
	var variable, value string
	err = In(tx).ReadSession(ctx, "SHOW GLOBAL VARIABLES LIKE 'group_replication_group_name'", nil, &variable, &value)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("asking whether the server is a member of a replication group: %w", err)
	}
	return value != "", nil
}

var errLosesAborts = errors.New("the server is a node of a Galera cluster, where a transaction can lose its abort, and be " +
	"half committed, if the driver prepares statements: add interpolateParams=true to the DSN")

// keepsAborts reports whether it is known that no abort is lost.
func (l *link) keepsAborts() bool { return l.galera.is(false) || l.prepares.is(false) }

func (l *link) checkAborts(ctx context.Context, r Runner, s dialect.Server) error {
	galera, err := l.isGalera(ctx, r)
	if err != nil || !galera {
		return err
	}
	prepares, err := l.driverPrepares(ctx, r, s)
	if err == nil && prepares {
		err = errLosesAborts
	}
	return err
}

func (l *link) isGalera(ctx context.Context, r Runner) (bool, error) {
	return l.galera.find(func() (bool, error) {
		var variable, value string
		err := r.ReadSession(ctx, "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'", nil, &variable, &value)
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("asking whether the server is a node of a Galera cluster: %w", err)
		}
		return value == "ON", nil
	})
}

// DriverPrepares reports whether the driver has the server prepare each statement that has arguments, each time anew, in
// two round trips. tx is a transaction of db, or db is nil if that is not known.
func DriverPrepares(ctx context.Context, db *sql.DB, tx nogap.Tx, s dialect.Server) (bool, error) {
	if s.TakesArgument == "" {
		return false, nil
	}
	return linkOf(db).driverPrepares(ctx, In(tx), s)
}

func (l *link) driverPrepares(ctx context.Context, r Runner, s dialect.Server) (bool, error) {
	return l.prepares.find(func() (bool, error) {
		var p countedArgument
		// Galera loses no abort in the PREPARE of this one.
		err := r.ReadSession(ctx, s.TakesArgument, []any{&p})
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return false, fmt.Errorf("finding out whether the driver prepares statements: %w", err)
		}
		return p.asked > 1, nil
	})
}

// countedArgument is an argument that counts how often its value is asked for. database/sql asks once and gives the statement to the
// driver. If the driver answers that it must be prepared (driver.ErrSkip), database/sql asks once more to execute it.
type countedArgument struct{ asked int }

func (p *countedArgument) Value() (driver.Value, error) {
	p.asked++
	return int64(0), nil
}
