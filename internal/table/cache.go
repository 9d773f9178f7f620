package table

import (
	"database/sql"
	"sync"
)

// Cache keeps the Tables that calls name each time they are made, so that a name is taken apart once, and with each of
// them an S, which is what else the caller has made of the names. One Cache belongs to one *sql.DB, which it does not keep
// alive, so it can stand in a perdb.Map. The zero Cache is empty and ready for use. It must not be copied.
//
// A program has as many names as it has calls in its source. One that makes them up, with a schema for each tenant say, has
// any number, so a Cache that is full begins again.
type Cache[K comparable, S any] struct {
	mu      sync.RWMutex
	entries map[K]cached[S]
}

type cached[S any] struct {
	table Table // without its database
	with  *S
}

// maxCached is how many Tables a Cache keeps at most.
const maxCached = 1000

// Of returns the Table that bind, which is called if it is not in the Cache, has made for key and db, and the S. The Table
// is the caller's own, the S is shared.
func (c *Cache[K, S]) Of(db *sql.DB, key K, bind func() (*Table, *S, error)) (*Table, *S, error) {
	c.mu.RLock()
	e, ok := c.entries[key]
	c.mu.RUnlock()
	if ok {
		e.table.db = db
		return &e.table, e.with, nil
	}
	t, with, err := bind()
	if err != nil {
		return nil, nil, err
	}
	unbound := *t
	unbound.db = nil
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxCached {
		clear(c.entries)
	}
	if c.entries == nil {
		c.entries = make(map[K]cached[S])
	}
	c.entries[key] = cached[S]{unbound, with}
	return t, with, nil
}
