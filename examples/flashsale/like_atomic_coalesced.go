package main

import "github.com/nogap-go/nogap/atomic"

// coalescedLike likes as atomicLike does. The likes that wait for the post's row anyway are counted by one UPDATE.
type coalescedLike struct {
	atomicLike
	hot *atomic.Coalescer[int64]
}

func openCoalescedLike(s shop) (seller, error) {
	likes, err := atomic.NewSet(s.db, s.likes(), []string{"post", "user_id"})
	if err != nil {
		return nil, err
	}
	count, err := atomic.NewCounter[int64](s.db, s.table, "likes")
	if err != nil {
		return nil, err
	}
	hot := atomic.Coalesce(count)
	return coalescedLike{atomicLike{likes, hot}, hot}, nil
}

// Close is called when the server stops.
func (c coalescedLike) Close() error { return c.hot.Close() }
