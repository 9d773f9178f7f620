package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
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
func startServers(s sale, table string, fraud fraudService, w *witness) (servers []*apiServer, err error) {
	for i := range s.servers {
		server, err := startServer(s, table, fraud, func(step step) {
			step.server = i + 1
			w.note(step)
		})
		if err != nil {
			return servers, err
		}
		servers = append(servers, server)
	}
	return servers, nil
}

func startServer(s sale, table string, fraud fraudService, note func(step)) (*apiServer, error) {
	db, err := s.database.open(max(1, databaseConns/s.servers))
	if err != nil {
		return nil, err
	}
	shop := shop{db: db, dialect: s.database.dialect, table: table, file: s.database.file()}
	if s.strategy.redis > 0 {
		shop.redis = s.redis.open()
	}
	seller, err := s.strategy.open(shop)
	if err != nil {
		return nil, errors.Join(err, shop.close())
	}
	client, closeIdle := newClient(fraudConns)
	l, err := listen(routes(s.story, shop, seller, fraudClient{client: client, url: fraud.url}, note))
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

// routes are the API. For the story of the stock they are:
//
//	GET  /items/{id}           200 and what is left
//	POST /items/{id}/purchase  200 and what is left after this sale, 409 if it is sold out
//
// Both answer 404 if there is no such item, and 500 with the error if it could not be done. Each request that was served
// is noted.
func routes(story *story, shop shop, seller seller, fraud fraudClient, note func(step)) http.Handler {
	mux := http.NewServeMux()
	path := "/" + story.noun + "s/{id}"
	mux.HandleFunc("GET "+path, handle(story.noun, shop.file, func(r *http.Request, id int64) (left int64, err error) {
		return story.look(r.Context(), shop, id)
	}))
	buy := func(r *http.Request, id int64) (left int64, err error) {
		s := step{id: id}
		s.buyer, _ = strconv.Atoi(r.Header.Get(buyerHeader))
		left, err = seller.purchase(r.Context(), id, func(ctx context.Context) error {
			s.asked = time.Now()
			defer func() { s.answered = time.Now() }()
			return fraud.check(ctx)
		})
		s.done, s.left, s.sold = time.Now(), left, err == nil
		note(s)
		return left, err
	}
	mux.HandleFunc("POST "+path+"/"+story.action, handle(story.noun, shop.file, buy))
	return mux
}

// handle answers a request with what f says is left of its id, which is that of a noun. Errors of SQLite name its file.
func handle(noun, file string, f func(r *http.Request, id int64) (left int64, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		if err != nil {
			http.Error(w, "no such "+noun, http.StatusNotFound)
			return
		}
		left, err := f(r, id)
		var no refusal
		switch {
		case err == nil:
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(map[string]int64{"left": left})
		case errors.As(err, &no):
			http.Error(w, no.Error(), http.StatusConflict)
		case errors.Is(err, sql.ErrNoRows):
			http.Error(w, "no such "+noun, http.StatusNotFound)
		default:
			http.Error(w, locate(err, file).Error(), http.StatusInternalServerError)
		}
	}
}
