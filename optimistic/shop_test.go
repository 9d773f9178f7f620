package optimistic_test

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/optimistic"
)

// shop is a PostgreSQL that has one table, with the rows of Item, and knows the statements on it.
type shop struct {
	*fakedb.Server
	// before is called ahead of each statement. Its error is the answer.
	before func(fakedb.Call) error
	// after is called behind each statement that wrote something. Its error is the answer.
	after func(fakedb.Call) error

	mu   sync.Mutex
	rows map[int64]*Item
}

func newShop() *shop {
	s := &shop{rows: map[int64]*Item{42: {ID: 42, Stock: 2, Version: 7}}}
	s.Server = fakedb.Recorded(s.serve)
	return s
}

// item returns a row as it is now; the zero Item if it is gone.
func (s *shop) item(id int64) Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	if row := s.rows[id]; row != nil {
		return *row
	}
	return Item{}
}

// rival writes a row as somebody else would.
func (s *shop) rival(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows[id].Stock += 100
	s.rows[id].Version++
}

func (s *shop) remove(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.rows, id)
}

// statements returns the SQL that the shop was asked, without the question which server it is.
func (s *shop) statements() []string {
	var log []string
	for _, line := range s.Log() {
		if line != "SELECT version()" {
			log = append(log, line)
		}
	}
	return log
}

// spelling removes quotes. The column version may be called revision.
var spelling = strings.NewReplacer(`"`, "", "revision", "version")

func (s *shop) serve(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
	if c.Kind != fakedb.Exec && c.Kind != fakedb.Query {
		if s.before != nil && c.Kind == fakedb.Commit {
			return fakedb.Reply{}, s.before(c)
		}
		return fakedb.Reply{}, nil
	}
	if c.Query == "SELECT version()" {
		return fakedb.Row("PostgreSQL 15.4"), nil
	}
	if s.before != nil {
		if err := s.before(c); err != nil {
			return fakedb.Reply{}, err
		}
	}
	if c.Query == "SELECT 1" || c.Query == "ROLLBACK" { // asked of a connection that has failed
		return fakedb.Row(int64(1)), nil
	}
	s.mu.Lock()
	query, _, verifies := strings.Cut(c.Query, " RETURNING 1 / ") // no trigger changes what is stored
	reply, wrote := s.answer(spelling.Replace(query), c.Args)
	s.mu.Unlock()
	if verifies {
		reply = one(wrote)
	}
	if wrote && s.after != nil {
		return reply, s.after(c)
	}
	return reply, nil
}

// isWrite reports whether a call is a statement that writes, in a transaction or alone.
func isWrite(c fakedb.Call) bool {
	return strings.HasPrefix(c.Query, "UPDATE") || strings.HasPrefix(c.Query, "DELETE")
}

// one is the reply to a statement that returns a number for the row that it writes.
func one(wrote bool) fakedb.Reply {
	if !wrote {
		return fakedb.Reply{Columns: []string{"one"}}
	}
	return fakedb.Row(int64(1))
}

func (s *shop) answer(query string, args []driver.NamedValue) (reply fakedb.Reply, wrote bool) {
	arg := func(i int) int64 { return args[i].Value.(int64) }
	switch {
	case strings.HasPrefix(query, "UPDATE items SET stock = stock - "): // an atomic.Counter's Decrement
		row := s.rows[arg(0)]
		if row == nil || row.Stock < arg(1) {
			return fakedb.Reply{Columns: []string{"stock"}}, false
		}
		row.Stock -= arg(1)
		if strings.Contains(query, "version = COALESCE(version, 0) + 1") {
			row.Version++
		}
		return fakedb.Row(row.Stock), true
	case strings.HasPrefix(query, "SELECT count(*) FROM pg_attribute"): // the server makes values of id
		return fakedb.Row(int64(1)), false
	case query == "INSERT INTO items (stock, version) VALUES ($1, $2) RETURNING 1, id":
		id := int64(len(s.rows) + 42)
		s.rows[id] = &Item{id, arg(0), arg(1)}
		return fakedb.Row(int64(1), id), true
	case query == "INSERT INTO items (id, stock, version) VALUES ($1, $2, $3) RETURNING 1":
		if s.rows[arg(0)] != nil {
			return fakedb.Reply{Err: serverError("23505")}, false
		}
		s.rows[arg(0)] = &Item{arg(0), arg(1), arg(2)}
		return fakedb.Row(int64(1)), true
	case strings.HasPrefix(query, "SELECT"):
		row := s.rows[arg(0)]
		if row == nil {
			return fakedb.Reply{Columns: []string{"none"}}, false
		}
		columns, _, _ := strings.Cut(strings.TrimPrefix(query, "SELECT "), " FROM")
		var values []driver.Value
		for _, c := range strings.Split(columns, ", ") {
			values = append(values, map[string]int64{"id": row.ID, "stock": row.Stock, "version": row.Version}[c])
		}
		return fakedb.Row(values...), false
	case query == "UPDATE items SET stock = $1, version = $2 WHERE id = $3 AND version = $4":
		if row := s.rows[arg(2)]; row != nil && row.Version == arg(3) {
			row.Stock, row.Version = arg(0), arg(1)
			return fakedb.Reply{RowsAffected: 1}, true
		}
		return fakedb.Reply{}, false
	case query == "DELETE FROM items WHERE id = $1 AND version = $2 RETURNING 1":
		if row := s.rows[arg(0)]; row != nil && row.Version == arg(1) {
			delete(s.rows, arg(0))
			return one(true), true
		}
		return one(false), false
	}
	return fakedb.Reply{Err: fmt.Errorf("the shop does not know %s", query)}, false
}

// openItems returns the Table of a shop.
func openItems(t *testing.T, s *shop, opts ...optimistic.Option) *optimistic.Table[Item] {
	t.Helper()
	db := s.DB()
	t.Cleanup(func() {
		require.Zero(t, db.Stats().InUse, "connections in use")
		require.NoError(t, db.Close())
	})
	items, err := optimistic.NewTable[Item](db, "items", opts...)
	require.NoError(t, err)
	return items
}
