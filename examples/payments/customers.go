package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// told is what the customers were told.
type told struct {
	tries, gaveUp atomic.Int64
	mu            sync.Mutex
	receipts      map[string][]receipt // by customer
}

// visit lets customers pay, 50 at a time. They wait for a moment, press the button again, and some give up.
func visit(ctx context.Context, s *shop, payments int, keys bool) *told {
	t := &told{receipts: make(map[string][]receipt)}
	next := make(chan int)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for i := range next {
				t.customer(ctx, s, i, keys)
			}
		})
	}
	for i := range payments {
		next <- i
	}
	close(next)
	wg.Wait()
	return t
}

func (t *told) customer(ctx context.Context, s *shop, i int, keys bool) {
	customer := fmt.Sprint("customer-", i)
	for try := 0; ctx.Err() == nil; try++ {
		key := customer // a browser takes a random one, and keeps it with the form
		if !keys {
			key += "-" + strconv.Itoa(try)
		}
		t.tries.Add(1)
		patience, lose := context.WithTimeout(ctx, time.Duration(1+rand.IntN(300))*time.Millisecond)
		r, err := s.pay(patience, key, customer, int64(1000+i))
		lose()
		switch {
		case err == nil:
			t.note(customer, r)
			if rand.IntN(4) > 0 { // else the answer is lost, or somebody presses once more
				return
			}
		case rand.IntN(10) == 0:
			t.gaveUp.Add(1)
			return
		}
	}
}

func (t *told) note(customer string, r receipt) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.receipts[customer] = append(t.receipts[customer], r)
}
