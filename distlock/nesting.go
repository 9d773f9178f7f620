package distlock

import (
	"context"
	"time"
)

// leaseKey is the key under which a context has the innermost lease that it comes from.
type leaseKey struct{}

// leaseParent is the parent of a lease's context. It has the values of the context given to Lock, and the lease. It
// stands for two contexts of package context, which would each have to be allocated for every lease.
type leaseParent struct {
	context.Context
	lease    *Lease
	detached bool // it does not end with the context given to Lock
}

func (p *leaseParent) Value(key any) any {
	if key == (leaseKey{}) {
		return p.lease
	}
	return p.Context.Value(key)
}

func (p *leaseParent) Deadline() (time.Time, bool) {
	if p.detached {
		return time.Time{}, false
	}
	return p.Context.Deadline()
}

func (p *leaseParent) Done() <-chan struct{} {
	if p.detached {
		return nil
	}
	return p.Context.Done()
}

func (p *leaseParent) Err() error {
	if p.detached {
		return nil
	}
	return p.Context.Err()
}

// holds reports whether ctx comes from a lease of the name that has not been unlocked. A caller that waited for the lock
// with such a context would wait for itself.
func (l *Locker) holds(ctx context.Context, name string) bool {
	for {
		lease, _ := ctx.Value(leaseKey{}).(*Lease)
		if lease == nil {
			return false
		}
		if lease.locker == l && lease.name == name && !lease.unlocked.Load() {
			return true
		}
		ctx = lease.parent.Context
	}
}
