package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
)

// fraudConns is how many connections an API server has to the fraud service at most.
const fraudConns = 16

// An apiServer is one replica of the shop's API. It has its own connections to everything that the replicas share, and
// knows nothing of the other replicas.
type apiServer struct {
	*listener
	shop      shop
	seller    seller
	closeIdle func()
}

// startServers starts the API servers of a sale. If it fails it returns those that have started, to be stopped too.
func startServers(s sale, table string, fraud fraudService) (servers []*apiServer, err error) {
	for range s.servers {
		server, err := startServer(s, table, fraud)
		if err != nil {
			return servers, err
		}
		servers = append(servers, server)
	}
	return servers, nil
}

func startServer(s sale, table string, fraud fraudService) (*apiServer, error) {
	db, err := s.database.open(max(1, databaseConns/s.servers))
	if err != nil {
		return nil, err
	}
	shop := shop{db: db, dialect: s.database.dialect, table: table}
	if s.strategy.redis > 0 {
		shop.redis = s.redis.open()
	}
	seller, err := s.strategy.open(shop)
	if err != nil {
		return nil, errors.Join(err, shop.close())
	}
	client, closeIdle := newClient(fraudConns)
	l, err := listen(routes(shop, seller, fraudClient{client: client, url: fraud.url}))
	if err != nil {
		return nil, errors.Join(err, closeSeller(seller), shop.close())
	}
	return &apiServer{listener: l, shop: shop, seller: seller, closeIdle: closeIdle}, nil
}

func closeSeller(s seller) error {
	if c, ok := s.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func stopServers(servers []*apiServer) error {
	var errs []error
	for _, s := range servers {
		errs = append(errs, s.stop(), closeSeller(s.seller), s.shop.close())
		s.closeIdle()
	}
	return errors.Join(errs...)
}

// routes are the API:
//
//	GET  /items/{id}           200 and what is left
//	POST /items/{id}/purchase  200 and what is left after this sale, 409 if it is sold out
//
// Both answer 404 if there is no such item, and 500 with the error if it could not be done.
func routes(shop shop, seller seller, fraud fraudClient) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items/{id}", handle(shop.stock))
	mux.HandleFunc("POST /items/{id}/purchase", handle(
		func(ctx context.Context, item int64) (left int64, err error) {
			return seller.purchase(ctx, item, fraud.check)
		}))
	return mux
}

// handle answers a request about an item with what f says is left of it.
func handle(f func(ctx context.Context, item int64) (left int64, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		item, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		if err != nil {
			http.Error(w, "no such item", http.StatusNotFound)
			return
		}
		left, err := f(r.Context(), item)
		switch {
		case err == nil:
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(map[string]int64{"left": left})
		case errors.Is(err, errSoldOut):
			http.Error(w, errSoldOut.Error(), http.StatusConflict)
		case errors.Is(err, sql.ErrNoRows):
			http.Error(w, "no such item", http.StatusNotFound)
		default:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}
}
