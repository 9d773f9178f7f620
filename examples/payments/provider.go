package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"
)

// provider stands for a payment provider: it charges once for a key, and one in two of its calls goes wrong.
type provider struct {
	url           string
	server        *httptest.Server
	calls, failed atomic.Int64

	mu      sync.Mutex
	charges map[string]charge
}

type charge struct {
	amount  string
	refused bool
}

func newProvider() *provider {
	p := &provider{charges: make(map[string]charge)}
	p.server = httptest.NewServer(http.HandlerFunc(p.serve))
	p.url = p.server.URL
	return p
}

func (p *provider) close() { p.server.Close() }

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	p.calls.Add(1)
	fault := rand.IntN(12)
	if fault < 6 {
		p.failed.Add(1)
	}
	switch fault {
	case 0: // fails before it charges
		http.Error(w, "try again later", http.StatusServiceUnavailable)
	case 1: // fails after that
		p.charge(r)
		http.Error(w, "something went wrong", http.StatusInternalServerError)
	case 2: // the connection breaks
		p.charge(r)
		panic(http.ErrAbortHandler)
	case 3: // hangs before it charges
		<-r.Context().Done()
	case 4: // hangs after that
		p.charge(r)
		<-r.Context().Done()
	case 5: // charges when nobody listens any more
		time.Sleep(2 * patience)
		p.charge(r)
	default:
		status := http.StatusCreated
		if p.charge(r).refused {
			status = http.StatusPaymentRequired
		}
		w.WriteHeader(status)
		fmt.Fprintln(w, "done")
	}
}

// charge charges the card unless the key has been there. It refuses each seventh amount.
func (p *provider) charge(r *http.Request) charge {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := r.Header.Get("Idempotency-Key")
	c, ok := p.charges[key]
	if !ok {
		amount := r.URL.Query().Get("amount")
		c = charge{amount: amount, refused: len(amount) > 0 && amount[len(amount)-1] == '7'}
		p.charges[key] = c
	}
	return c
}
