package explore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/racetest/effect"
	"github.com/nogap-go/nogap/internal/racetest/gate"
	"github.com/nogap-go/nogap/internal/racetest/oracle"
	"github.com/nogap-go/nogap/internal/racetest/play"
	"github.com/nogap-go/nogap/internal/racetest/server"
)

// harness plays schedules, each on a database that Setup has made ready.
type harness struct {
	Config
	server *server.Server
	db     *sql.DB // for Setup and Check; not wrapped
	player *play.Player

	connecting sync.WaitGroup // the clients

	tables  []string // that are compared
	ignored map[string]bool
	solos   []*play.Trace
	// unsteady are the columns that Setup fills with other values each time.
	unsteady []oracle.Unsteady
	oracle   *oracle.Oracle
	setups   time.Duration // spent in Setup
	runs     int
}

func newHarness(ctx context.Context, cfg Config) (_ *harness, err error) {
	h := &harness{Config: cfg, player: &play.Player{Patience: cfg.Patience}, ignored: map[string]bool{}}
	for _, column := range cfg.Ignore {
		h.ignored[strings.ToLower(column)] = true
	}
	h.server, err = server.Open(ctx, cfg.Connector)
	if err != nil {
		return nil, err
	}
	h.db = sql.OpenDB(borrowed{cfg.Connector})
	h.player.Blocked = h.blocked
	for _, c := range cfg.Clients {
		client := &play.Client{Name: c.Name, Run: c.Run}
		client.DB = sql.OpenDB(gate.Wrap(prepared{cfg.Connector, h.server.Product}, client))
		client.DB.SetMaxIdleConns(8) // to connect takes longer than a schedule
		h.connect(ctx, client)
		h.player.Clients = append(h.player.Clients, client)
	}
	if h.server.Product == dialect.PostgreSQL {
		h.player.Rest = 5 * time.Millisecond
	}
	h.player.Init()
	if err := h.ask(ctx); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

// connect makes the first connection of a client while the server is asked. What goes wrong shows at the first use. An SQLite database
// may be locked by that, and is connected to at once anyway.
func (h *harness) connect(ctx context.Context, c *play.Client) {
	if h.server.Product != dialect.SQLite {
		h.connecting.Go(func() { _ = c.DB.PingContext(ctx) })
	}
}

// borrowed is a connector that somebody else closes.
type borrowed struct{ driver.Connector }

// prepared makes the sessions of clients ready.
type prepared struct {
	driver.Connector
	product dialect.Product
}

// Connect has PostgreSQL look for deadlocks soon, instead of after a second. Where the user may not, it takes the second. A session that
// waits looks once. So that it is always the last one to wait that finds the deadlock, and is undone, the player lets the others look in
// peace.
func (p prepared) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := p.Connector.Connect(ctx)
	if err == nil && p.product == dialect.PostgreSQL {
		if e, ok := c.(driver.ExecerContext); ok {
			_, _ = e.ExecContext(ctx, "SET deadlock_timeout = '1ms'", nil)
		}
	}
	return c, err
}

func (h *harness) close() {
	h.connecting.Wait()
	for _, r := range h.Resources {
		r.Close()
	}
	for _, c := range h.player.Clients {
		c.DB.Close()
	}
	h.db.Close()
	h.server.Close()
}

var errUnseen = errors.New("the server does not tell whether a session waits for a lock: the user needs the right to see it " +
	"(PROCESS, and on MySQL SELECT on performance_schema)")

func (h *harness) blocked(ctx context.Context, s *gate.Session) (bool, error) {
	w, err := h.server.Blocked(ctx, s)
	if err == nil && w.Answer == server.Unknown {
		err = errUnseen
	}
	return w.Answer == server.Yes, err
}

// ask asks the server for what effects depend on.
func (h *harness) ask(ctx context.Context) error {
	switch h.server.Product {
	case dialect.SQLite:
		h.player.Dialect.OneLock = true
		h.player.Default = effect.Snapshot
		return nil
	case dialect.PostgreSQL:
		return h.askLevel(ctx, "SHOW default_transaction_isolation")
	}
	h.player.Dialect = effect.Dialect{Backslash: true, LockingReads: true}
	h.player.DirtyReads = true
	err := h.askLevel(ctx, "SELECT @@transaction_isolation")
	if err != nil {
		err = h.askLevel(ctx, "SELECT @@tx_isolation")
	}
	return err
}

func (h *harness) askLevel(ctx context.Context, query string) error {
	var level string
	if err := h.db.QueryRowContext(ctx, query).Scan(&level); err != nil {
		return fmt.Errorf("asking for the level of isolation: %w", err)
	}
	switch strings.ToUpper(strings.ReplaceAll(level, "-", " ")) {
	case "READ COMMITTED":
		h.player.Default = effect.ReadCommitted
	case "REPEATABLE READ":
		h.player.Default = effect.Snapshot
	default:
		h.player.Default = effect.Serializable
	}
	return nil
}

func (h *harness) setup(ctx context.Context) error {
	began := time.Now()
	defer func() { h.setups += time.Since(began); h.runs++ }()
	for _, r := range h.Resources {
		if err := r.Reset(ctx); err != nil {
			return err
		}
	}
	if h.Setup != nil {
		if err := h.Setup(ctx, h.db); err != nil {
			return fmt.Errorf("the Setup of the scenario: %w", err)
		}
	}
	for _, r := range h.Resources {
		r.Start()
	}
	return nil
}

// schedule plays one schedule from its Setup to its end.
func (h *harness) schedule(ctx context.Context, choose play.Chooser) (*play.Trace, oracle.End, error) {
	if err := h.setup(ctx); err != nil {
		return nil, oracle.End{}, err
	}
	trace, err := h.player.Play(ctx, choose)
	if err != nil || trace.Leak != nil {
		return trace, oracle.End{}, err
	}
	end, err := h.end(ctx, trace)
	return trace, end, err
}

// order is what the oracle has run.
func (h *harness) order(ctx context.Context, order []int, moved bool) (oracle.End, error) {
	if err := h.setup(ctx); err != nil {
		return oracle.End{}, err
	}
	if moved {
		for _, table := range h.tables { // one by one, so that no two tables get the same numbers
			if err := h.server.AdvanceSequences(ctx, []string{table}); err != nil {
				return oracle.End{}, err
			}
		}
	}
	trace, err := h.player.PlayOrder(ctx, order)
	if err != nil {
		return oracle.End{}, err
	}
	end, err := h.end(ctx, trace)
	if err != nil {
		return end, err
	}
	if trace.Doubt != "" {
		return end, fmt.Errorf("the clients one after the other: %s", trace.Doubt)
	}
	if h.Check != nil && len(order) == len(h.Clients) {
		if err := h.check(ctx, end.Errs); err != nil {
			return end, fmt.Errorf("the Check of the scenario fails for clients that ran one after the other: %w", err)
		}
	}
	return end, nil
}

func (h *harness) check(ctx context.Context, errs []error) error {
	results := map[string]error{}
	for i, c := range h.Clients {
		results[c.Name] = errs[i]
	}
	return h.Check(ctx, h.db, results)
}
