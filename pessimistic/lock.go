package pessimistic

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/table"
)

// lock is a lock that a call wants, with what the errors say that it is on.
type lock struct {
	holding.Lock // the zero one is the whole database
	table        string
	key          nogap.Key
	name         string
}

func (l *lock) String() string { return place(l.table, l.key, l.name) }

// failed returns an error of the statement that was to take the lock.
func (l *lock) failed(err error) error { return fmt.Errorf("%v: %w", l, err) }

// refused returns the error for a lock that was not acquired.
func (l *lock) refused(waited time.Duration, err error) error {
	return &LockError{Table: l.table, Key: l.key, Name: l.name, Waited: waited, Err: err}
}

func rowLock(t *table.Table, key any) (*lock, error) {
	k := spread(key)
	if err := t.CheckKey(k); err != nil {
		return nil, err
	}
	return &lock{Lock: t.Lock(k), table: t.Name.String(), key: k}, nil
}

// rowLocks returns the locks of several rows, each once, in the order of the values of their keys: locks that every
// process takes in this order can't form a circle. at says which of them belongs to each of the keys.
//
// Two keys of one row that have different texts, say because the database ignores case, only meet in the database: see
// lockAll.
func rowLocks(t *table.Table, keys []any) (locks []*lock, at []int, err error) {
	if len(keys) == 0 {
		return nil, nil, fmt.Errorf("no keys of %s: give Keys or Where", t.Name)
	}
	asked := make([]*lock, len(keys))
	for i, key := range keys {
		if asked[i], err = rowLock(t, key); err != nil {
			return nil, nil, err
		}
	}
	if len(asked) == 1 {
		return asked, []int{0}, nil
	}
	locks = slices.Clone(asked)
	slices.SortFunc(locks, byKey)
	locks = slices.CompactFunc(locks, func(a, b *lock) bool { return a.Lock == b.Lock })
	at = make([]int, len(asked))
	for i, l := range asked {
		at[i], _ = slices.BinarySearchFunc(locks, l, byKey)
	}
	return locks, at, nil
}

func byKey(a, b *lock) int { return strings.Compare(a.Key, b.Key) }
