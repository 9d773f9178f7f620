package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// databaseConns is how many connections to the database the API servers have between them, as far as each needs one.
// PostgreSQL allows 100 unless it is told otherwise.
const databaseConns = 40

// clientConns is how many connections the buyers have to one server at most. In the default sale every buyer has one.
const clientConns = 128

// A sale is one strategy of a story, for so many buyers and so much in stock.
type sale struct {
	database database
	redis    redisNodes
	story    *story
	strategy strategy
	buyers   int
	stock    int
	servers  int
}

// An effort says how often a sale is repeated.
type effort struct {
	turns  int           // a strategy's time comes in so many parts, between which the others have theirs
	rounds int           // so often, if it is not 0,
	main   time.Duration // or else for so long
	sizes  []int         // other numbers of buyers, for the curves
	curve  time.Duration // for so long with each of them, or once if rounds is not 0
}

// An outcome is what came of a strategy.
type outcome struct {
	result          // of the sale
	safe   bool     // it should be
	race   *race    // of one of its rounds; nil if none was seen
	curve  []result // with fewer buyers, in the order of the effort's sizes
}

// unsound returns a result with books that are not in order, and nil if there is none. typical has kept one if any round
// was such.
func (o outcome) unsound() *result {
	for _, r := range append([]result{o.result}, o.curve...) {
		if !r.sound() {
			return &r
		}
	}
	return nil
}

// whatIsWrong says in sentences what a verdict is about. It is empty if all is well.
func (o outcome) whatIsWrong() string {
	r := o.unsound()
	switch {
	case r == nil:
		return ""
	case o.result.sound(): // only with fewer buyers
		return fmt.Sprintf("With %s: %s", count(r.Buyers, r.words.buyer), r.explain())
	}
	return r.explain()
}

// points are the results with all numbers of buyers, the fewest first.
func (o outcome) points() []result { return append(slices.Clone(o.curve), o.result) }

// A sample is what a turn of a strategy has measured: all of its rounds.
type sample struct {
	rounds []result
	race   *race      // of one of them
	curve  [][]result // for each of the effort's sizes
}

// add adds another turn of the strategy.
func (s *sample) add(other sample) {
	s.rounds = append(s.rounds, other.rounds...)
	s.race = cmp.Or(s.race, other.race)
	for i, rounds := range other.curve {
		if i == len(s.curve) {
			s.curve = append(s.curve, nil)
		}
		s.curve[i] = append(s.curve[i], rounds...)
	}
}

func (s sample) outcome(safe bool) outcome {
	o := outcome{result: typical(s.rounds), safe: safe, race: s.race}
	for _, rounds := range s.curve {
		o.curve = append(o.curve, typical(rounds))
	}
	return o
}

// A progress tells how far a sale is. It may be read while it grows.
type progress struct {
	round, buyers, answers atomic.Int64
}

// run makes the tables, repeats the sale for one turn, and drops the tables, whatever happens. When ctx ends it cleans up
// and returns ctx's error.
func (s sale) run(ctx context.Context, e effort, p *progress) (all sample, err error) {
	started := time.Now()
	db, err := s.database.open(1)
	if err != nil {
		return sample{}, err
	}
	defer db.Close()
	shop := shop{db: db, dialect: s.database.dialect, table: newTableName(), file: s.database.file()}

	defer func() { err = errors.Join(err, leftBehind(shop.dropTables(context.WithoutCancel(ctx)))) }()
	if err := shop.createTables(ctx, s.story, s.strategy); err != nil {
		return sample{}, err
	}
	m, err := s.openMarket(shop, p)
	defer func() { err = errors.Join(err, m.close()) }()
	if err != nil {
		return sample{}, err
	}
	all.rounds, all.race, err = m.rounds(ctx, s.buyers, s.stock, e.rounds, started.Add(e.main/time.Duration(e.turns)))
	if err != nil {
		return sample{}, err
	}
	for _, buyers := range e.sizes {
		end := time.Now().Add(e.curve / time.Duration(e.turns))
		rounds, _, err := m.rounds(ctx, buyers, scaled(s.stock, buyers, s.buyers), min(1, e.rounds), end)
		if err != nil {
			return sample{}, err
		}
		all.curve = append(all.curve, rounds)
	}
	return all, nil
}

// scaled returns the stock that is as scarce for so many buyers as stock is for all. It is 0 only if stock is.
func scaled(stock, buyers, all int) int { return min(stock, max(1, stock*buyers/all)) }

// A market is what a sale needs, running.
type market struct {
	sale
	shop      shop
	progress  *progress
	fraud     fraudService
	servers   []*apiServer
	client    *http.Client
	closeIdle func()
	witness   *witness
	warm      bool  // the connections are open
	next      int64 // the first id that no round has used
}

// openMarket starts the servers. If it fails it returns what has started, to be closed too.
func (s sale) openMarket(shop shop, p *progress) (m *market, err error) {
	m = &market{sale: s, shop: shop, progress: p, witness: new(witness), next: 1}
	if m.fraud, err = startFraudService(); err != nil {
		return m, err
	}
	m.client, m.closeIdle = newClient(clientConns)
	m.servers, err = startServers(s, shop.table, m.fraud, m.witness)
	return m, err
}

func (m *market) close() error {
	if m.fraud.listener == nil {
		return nil
	}
	m.closeIdle()
	return errors.Join(stopServers(m.servers), m.fraud.stop())
}

// rounds holds n rounds, or if n is 0 at least one and as many as begin before the end. It returns the first race that it
// has seen, if the strategy is not safe.
func (m *market) rounds(ctx context.Context, buyers, stock, n int, end time.Time) (all []result, seen *race, err error) {
	for len(all) == 0 || len(all) < n || n == 0 && time.Now().Before(end) {
		r, race, err := m.round(ctx, buyers, stock)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, r)
		if !m.strategy.safe {
			seen = cmp.Or(seen, race)
		}
	}
	return all, seen, nil
}

// round lets so many buyers buy at once.
func (m *market) round(ctx context.Context, buyers, stock int) (result, *race, error) {
	first := m.next
	m.next += int64(max(1, stock))
	if err := m.story.fill(ctx, m.shop, first, stock); err != nil {
		return result{}, nil, fmt.Errorf("fill the table: %w", err)
	}
	crowd := make([]buyer, buyers)
	for i := range crowd {
		id := first + int64(m.story.target(i, buyers, stock))
		url := fmt.Sprintf("%s/%ss/%d", m.servers[i%len(m.servers)].url, m.story.noun, id)
		crowd[i] = buyer{client: m.client, number: i + 1, look: url, purchase: url + "/" + m.story.action}
	}
	if !m.warm {
		if err := lookAll(ctx, crowd); err != nil {
			return result{}, nil, err
		}
		m.warm = true
	}

	m.witness.begin()
	m.progress.answers.Store(0)
	m.progress.buyers.Store(int64(buyers))
	m.progress.round.Add(1)
	var t tally
	each := make([]time.Duration, buyers)
	elapsed := atOnce(buyers, func(i int) {
		start := time.Now()
		t.add(crowd[i].buy(ctx))
		each[i] = time.Since(start)
		m.progress.answers.Add(1)
	})
	if ctx.Err() != nil {
		return result{}, nil, ctx.Err()
	}
	left, err := m.story.left(ctx, m.shop, first, stock)
	if err != nil {
		return result{}, nil, fmt.Errorf("read what is left: %w", err)
	}
	s := m.sale
	s.buyers, s.stock = buyers, stock
	return newResult(s, &t, left, elapsed, each), m.witness.race(), nil
}

// lookAll lets everyone look before the first round. This opens the connections, which are not what the sale is to measure.
func lookAll(ctx context.Context, crowd []buyer) error {
	looks := make([]error, len(crowd))
	atOnce(len(crowd), func(i int) { looks[i] = crowd[i].see(ctx) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, err := range looks {
		if err != nil {
			return fmt.Errorf("look before the sale: %w", err)
		}
	}
	return nil
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
