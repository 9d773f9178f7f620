package perdb

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Observers holds what nogap.Observe was given for each *sql.DB. The root package fills it and the packages below read
// it; this one, which both import, can't name the type nogap.Observer.
var Observers Map[List]

// List is a list that is read often and changed seldom. The zero value is empty and ready for use. A nil *List is empty.
type List struct {
	adding sync.Mutex
	p      atomic.Pointer[[]*any]
}

// All returns what was added, in that order. It costs one atomic load. The caller must not change it.
func (l *List) All() []*any {
	if l == nil {
		return nil
	}
	if p := l.p.Load(); p != nil {
		return *p
	}
	return nil
}

// Add puts v at the end, and returns what removes it.
func (l *List) Add(v any) (remove func()) {
	l.adding.Lock()
	defer l.adding.Unlock()
	item := &v
	list := append(slices.Clone(l.All()), item)
	l.p.Store(&list)
	return func() {
		l.adding.Lock()
		defer l.adding.Unlock()
		left := slices.DeleteFunc(slices.Clone(l.All()), func(other *any) bool { return other == item })
		l.p.Store(&left)
		if len(left) == 0 {
			l.p.Store(nil)
		}
	}
}
