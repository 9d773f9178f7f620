package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// item is the id of what is on sale.
const item int64 = 1

// databaseConns is how many connections to the database the API servers have between them, as far as each needs one.
// PostgreSQL allows 100 unless it is told otherwise.
const databaseConns = 40

// clientConns is how many connections the buyers have to one server at most. In the default sale every buyer has one.
const clientConns = 128

// A sale is one run of the program: so many buyers, so many items, one strategy.
type sale struct {
	database database
	redis    redisNodes
	strategy strategy
	buyers   int
	stock    int
	servers  int
}

// run makes a table with the item, holds the sale, and drops the table, whatever happens. The counts of t grow
// meanwhile. When ctx ends it cleans up and returns ctx's error.
func (s sale) run(ctx context.Context, t *tally) (r result, err error) {
	db, err := s.database.open(1)
	if err != nil {
		return result{}, err
	}
	defer db.Close()
	shop := shop{db: db, dialect: s.database.dialect, table: newTableName()}

	defer func() { err = errors.Join(err, shop.dropTable(context.WithoutCancel(ctx))) }()
	if err := shop.createTable(ctx, item, s.stock); err != nil {
		return result{}, err
	}
	elapsed, latencies, err := s.hold(ctx, shop.table, t)
	if err != nil {
		return result{}, err
	}
	left, err := shop.stock(ctx, item)
	if err != nil {
		return result{}, fmt.Errorf("read what is left: %w", err)
	}
	return newResult(s, t, left, elapsed, latencies), nil
}

// hold starts the servers, lets everyone buy at once, and stops the servers. It returns how long the buying took, in
// all and for each buyer.
func (s sale) hold(ctx context.Context, table string, t *tally) (elapsed time.Duration, each []time.Duration, err error) {
	fraud, err := startFraudService()
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, fraud.stop()) }()
	servers, err := startServers(s, table, fraud)
	defer func() { err = errors.Join(err, stopServers(servers)) }()
	if err != nil {
		return 0, nil, err
	}
	client, closeIdle := newClient(clientConns)
	defer closeIdle()
	buyers := make([]buyer, s.buyers)
	for i := range buyers {
		url := fmt.Sprintf("%s/items/%d", servers[i%len(servers)].url, item)
		buyers[i] = buyer{client: client, item: url}
	}

	// Everyone looks at the item first. This opens the connections, which are not what the sale is to measure.
	looks := make([]error, s.buyers)
	atOnce(s.buyers, func(i int) { looks[i] = buyers[i].look(ctx) })
	if ctx.Err() != nil {
		return 0, nil, ctx.Err()
	}
	for _, err := range looks {
		if err != nil {
			return 0, nil, fmt.Errorf("look at the item: %w", err)
		}
	}

	each = make([]time.Duration, s.buyers)
	elapsed = atOnce(s.buyers, func(i int) {
		start := time.Now()
		t.add(buyers[i].purchase(ctx))
		each[i] = time.Since(start)
	})
	return elapsed, each, ctx.Err()
}

// atOnce calls f for 0 to n-1, all at the same moment, each in its own goroutine. It returns how long they took.
func atOnce(n int, f func(i int)) time.Duration {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-start
			f(i)
		})
	}
	ready.Wait()
	began := time.Now()
	close(start)
	done.Wait()
	return time.Since(began)
}
