package distlock

import (
	"context"
	"time"
)

// leaseKey is the key under which a context has the innermost lease that it comes from.
type leaseKey struct{}

// leaseParent is a Lease as the parent of its own context: it has the values of the caller's context, and the lease. It
// stands for two contexts of package context, which would each have to be allocated for every lease.
type leaseParent Lease

func (p *leaseParent) Value(key any) any {
	if key == (leaseKey{}) {
		return (*Lease)(p)
	}
	return p.caller.Value(key)
}

func (p *leaseParent) Deadline() (time.Time, bool) {
	if p.detached {
		return time.Time{}, false
	}
	return p.caller.Deadline()
}

func (p *leaseParent) Done() <-chan struct{} {
	if p.detached {
		return nil
	}
	return p.caller.Done()
}

func (p *leaseParent) Err() error {
	if p.detached {
		return nil
	}
	return p.caller.Err()
}

// holds reports whether ctx comes from a lease of the name that has not been unlocked. A caller that waited for the lock
// with such a context would wait for itself.
func (l *Locker) holds(ctx context.Context, name string) bool {
	for {
		lease, _ := ctx.Value(leaseKey{}).(*Lease)
		if lease == nil {
			return false
		}
		if lease.locker == l && lease.Name() == name && !lease.unlocked.Load() {
			return true
		}
		ctx = lease.caller
	}
}
