package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
)

// A buyer is a client of one API server.
type buyer struct {
	client         *http.Client
	number         int
	look, purchase string // URLs
}

// see asks what is left.
func (b buyer) see(ctx context.Context) error {
	status, body, err := call(ctx, b.client, http.MethodGet, b.look, 0)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", status, body)
	}
	return err
}

// buy tries to buy one. It returns an error unless the answer is a clear yes or no.
func (b buyer) buy(ctx context.Context) (sold bool, err error) {
	status, body, err := call(ctx, b.client, http.MethodPost, b.purchase, b.number)
	switch {
	case err != nil:
		return false, err
	case status == http.StatusOK:
		return true, nil
	case status == http.StatusConflict:
		return false, nil
	}
	return false, fmt.Errorf("status %d: %s", status, body)
}

// A tally counts the answers that the buyers get. The counts may be read while they grow.
type tally struct {
	sold, refused, errors atomic.Int64

	once sync.Once
	err  error // the first error; not to be read before the sale is over
}

// add counts one answer to a purchase.
func (t *tally) add(sold bool, err error) {
	switch {
	case err != nil:
		t.errors.Add(1)
		t.once.Do(func() { t.err = err })
	case sold:
		t.sold.Add(1)
	default:
		t.refused.Add(1)
	}
}
