package main

import (
	"context"
	"fmt"
	"net/http"
)

// A fraudService is the business rule of this shop: before it sells, it asks another service whether it may. So does
// every strategy, and that makes the time between a read and a write what it is in most handlers: one call over the
// network. The service is a real one, on a port of its own. It has no objections.
type fraudService struct {
	*listener
}

func startFraudService() (fraudService, error) {
	l, err := listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	}))
	return fraudService{l}, err
}

// A fraudClient is how an API server asks the service.
type fraudClient struct {
	client *http.Client
	url    string
}

// check returns an error unless the sale may go ahead.
func (f fraudClient) check(ctx context.Context) error {
	status, body, err := call(ctx, f.client, http.MethodPost, f.url, 0)
	if err == nil && status != http.StatusNoContent {
		err = fmt.Errorf("status %d: %s", status, body)
	}
	if err != nil {
		return fmt.Errorf("fraud check: %w", err)
	}
	return nil
}
