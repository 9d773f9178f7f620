// Package perdb keeps something for every *sql.DB in use without keeping the *sql.DB alive.
package perdb

import (
	"database/sql"
	"runtime"
	"sync"
	"weak"
)

// Map holds one V for each *sql.DB. The zero value is an empty Map, ready for use. It is safe for concurrent use and must
// not be copied after first use. A Map has to live as long as the program, as a package's variable does: it forgets a V
// when its *sql.DB is garbage, not sooner.
type Map[V any] struct {
	m sync.Map // weak.Pointer[sql.DB] -> *V
}

// Of returns the V of db, the same for every caller. The first one's is made by fresh, or is a zero V if fresh is nil. V
// must not hold db.
func (m *Map[V]) Of(db *sql.DB, fresh func() *V) *V {
	key := weak.Make(db)
	if v, ok := m.m.Load(key); ok {
		return v.(*V)
	}
	first := new(V)
	if fresh != nil {
		first = fresh()
	}
	v, loaded := m.m.LoadOrStore(key, first)
	if !loaded {
		runtime.AddCleanup(db, func(k weak.Pointer[sql.DB]) { m.m.Delete(k) }, key)
	}
	return v.(*V)
}
