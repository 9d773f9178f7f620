//go:build unix

package contest

import (
	"context"
	"database/sql"
	"errors"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/benchmarks/internal/places"
)

// Size is how large a contest is.
type Size struct {
	Callers int `json:"callers"`
	Rows    int `json:"rows,omitempty"` // that the callers choose among, at random
	Pool    int `json:"pool,omitempty"` // connections; 0 is the place's own
	Held    int `json:"held,omitempty"` // locks that are held meanwhile
}

// Stage is where one contest happens.
type Stage struct {
	Size
	*places.Place
	DB      *sql.DB // nil on Redis
	Subject Subject // of the way that is opened

	cleanups []func() error
}

// newStage opens the pool of a contest. All its connections are open, so that no round pays for them.
func newStage(ctx context.Context, place *places.Place, size Size) (*Stage, error) {
	its := *place
	s := &Stage{Size: size, Place: &its}
	if place.Driver == "" {
		return s, nil
	}
	if s.Pool > 0 {
		s.Conns = s.Pool
	}
	db, err := sql.Open(place.Driver, place.DSN)
	if err != nil {
		return nil, err
	}
	s.DB = db
	s.Cleanup(db.Close)
	db.SetMaxOpenConns(s.Conns)
	db.SetMaxIdleConns(s.Conns)
	conns := make([]*sql.Conn, s.Conns)
	for i := range conns {
		if conns[i], err = db.Conn(ctx); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	for _, c := range conns {
		err = errors.Join(err, c.Close())
	}
	return s, err
}

// Cleanup has f called at the end of the contest, the last one first.
func (s *Stage) Cleanup(f func() error) { s.cleanups = append(s.cleanups, f) }

func (s *Stage) close() error {
	var errs []error
	for i := len(s.cleanups) - 1; i >= 0; i-- {
		errs = append(errs, s.cleanups[i]())
	}
	return errors.Join(errs...)
}

// LikeMySQL reports whether the server is MySQL or MariaDB.
func (s *Stage) LikeMySQL() bool { return s.Dialect == nogap.MySQL || s.Dialect == nogap.MariaDB }
