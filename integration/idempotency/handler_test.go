//go:build unix

package idempotency_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/integration/matrix"
)

// byUser is the scope of a request.
func byUser(r *http.Request) (string, error) { return r.Header.Get("X-User"), nil }

// shop is a server whose requests write payments, and its client.
type shop struct {
	*httptest.Server
	runs atomic.Int32
}

// newShop starts a server on tables that newStore has made. A request writes a payment through the transaction, and then does
// what handle does.
func newShop(t *testing.T, db *sql.DB, handle http.HandlerFunc, opts ...idempotency.HandlerOption) *shop {
	t.Helper()
	s := new(shop)
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.runs.Add(1)
		tx := idempotency.Tx(r.Context())
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = tx.ExecContext(r.Context(), tx.Rebind("INSERT INTO payments VALUES (?, ?)"), fmt.Sprintf("%.200s", body), len(body))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		handle(w, r)
	})
	h, err := idempotency.NewHandler(db, "idempotency_keys", next, append(opts, idempotency.ScopeBy(byUser))...)
	require.NoError(t, err)
	s.Server = httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // panics are part of the test
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// answer is a response, as the client has got it.
type answer struct {
	status  int
	header  http.Header
	trailer http.Header
	body    []byte
}

// title is that of a problem.
func (a *answer) title(t *testing.T) string {
	t.Helper()
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
	var problem struct{ Title string }
	require.NoError(t, json.Unmarshal(a.body, &problem))
	return problem.Title
}

// post sends a request with a key, as a user.
func (s *shop) post(ctx context.Context, user, key, path, body string) (*answer, error) {
	r, err := http.NewRequestWithContext(ctx, "POST", s.URL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.GetBody = nil // else net/http sends a request with a key again by itself, when its connection ends
	r.Header.Set("X-User", user)
	r.Header.Set("Idempotency-Key", strconv.Quote(key))
	got, err := s.Client().Do(r)
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	data, err := io.ReadAll(got.Body)
	return &answer{got.StatusCode, got.Header, got.Trailer, data}, err
}

func (s *shop) mustPost(t *testing.T, user, key, path, body string) *answer {
	t.Helper()
	got, err := s.post(within(t, time.Minute), user, key, path, body)
	require.NoError(t, err)
	return got
}

// A second try gets the first one's status, header, body and trailer, byte for byte. Another user's request is another one,
// though it has the same key.
func TestHandlerReplays(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		newStore(t, target, db)
		var n atomic.Int32
		s := newShop(t, db, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Link", "</style.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			h.Set("Location", fmt.Sprint("/payments/", n.Add(1)))
			h.Set("X-Latin", "caf\xe9")
			h.Add("X-Two", "1")
			h.Add("X-Two", "2")
			h.Set("Set-Cookie", "session=1")
			h.Set("Trailer", "X-Sum")
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte("binary \x00\xff"))
			_, _ = w.Write(bytes.Repeat([]byte{'\n'}, 5000))
			h.Set("X-Sum", "17")
			h.Set(http.TrailerPrefix+"X-More", "18")
		})
		key := strings.Repeat(`k "\`, 200)
		first := s.mustPost(t, "alice", key, "/pay?a=1", "7")
		require.Equal(t, http.StatusCreated, first.status)
		require.Equal(t, "/payments/1", first.header.Get("Location"))
		require.Equal(t, "caf\xe9", first.header.Get("X-Latin"))
		require.Equal(t, "session=1", first.header.Get("Set-Cookie"))
		require.Equal(t, http.Header{"X-Sum": {"17"}, "X-More": {"18"}}, first.trailer)
		require.Len(t, first.body, 5009)
		require.Equal(t, 1, payments(t, db))

		again := s.mustPost(t, "alice", key, "/pay?a=1", "7")
		require.Empty(t, again.header.Get("Set-Cookie"))
		for _, h := range []http.Header{first.header, again.header} {
			h.Del("Set-Cookie")
			h.Del("Date")
		}
		require.Equal(t, first, again)
		require.Equal(t, 1, payments(t, db))

		other := s.mustPost(t, "bob", key, "/pay?a=1", "7")
		require.Equal(t, "/payments/2", other.header.Get("Location"))
		require.Equal(t, 2, payments(t, db))

		for _, changed := range [][2]string{{"/pay?a=1", "8"}, {"/pay?a=2", "7"}, {"/refund?a=1", "7"}} {
			got := s.mustPost(t, "alice", key, changed[0], changed[1])
			require.Equal(t, http.StatusUnprocessableEntity, got.status)
			require.Equal(t, "Idempotency-Key is already used", got.title(t))
		}
		require.Equal(t, 2, payments(t, db))
	})
}

// What is not kept is rolled back and passed through, and the next try runs again.
func TestHandlerRollsBack(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		newStore(t, target, db)
		s := newShop(t, db, func(w http.ResponseWriter, r *http.Request) {
			status, _ := strconv.Atoi(r.URL.Path[1:])
			switch {
			case r.URL.Path == "/panic":
				panic("boom")
			case r.URL.Path == "/goes-away":
				panic(http.ErrAbortHandler)
			case r.URL.Path == "/streams":
				if _, is := w.(http.Flusher); is {
					t.Error("the response says that it can be flushed")
				}
				control := http.NewResponseController(w)
				_, _, err := control.Hijack()
				http.Error(w, errors.Join(control.Flush(), err).Error(), http.StatusNotImplemented)
			case status > 0:
				w.Header().Set("X-Status", r.URL.Path)
				w.WriteHeader(status)
				_, _ = fmt.Fprint(w, "as it is")
			}
		}, idempotency.KeepStatus(http.StatusPaymentRequired))
		for _, path := range []string{"/400", "/409", "/500", "/503"} {
			for range 2 {
				got := s.mustPost(t, "alice", path, path, "x")
				require.Equal(t, path, "/"+strconv.Itoa(got.status))
				require.Equal(t, path, got.header.Get("X-Status"))
				require.Equal(t, "as it is", string(got.body))
			}
		}
		require.EqualValues(t, 8, s.runs.Load())
		for _, path := range []string{"/panic", "/goes-away"} {
			_, err := s.post(within(t, time.Minute), "alice", path, path, "x")
			require.ErrorIs(t, err, io.EOF)
		}
		got := s.mustPost(t, "alice", "streams", "/streams", "x")
		require.Equal(t, http.StatusNotImplemented, got.status)
		require.Contains(t, string(got.body), "idempotency: Flush: ")
		require.Contains(t, string(got.body), "idempotency: Hijack: ")
		require.Zero(t, payments(t, db))
		require.Zero(t, keys(t, db))

		before := s.runs.Load()
		for range 2 {
			got := s.mustPost(t, "alice", "402", "/402", "x")
			require.Equal(t, http.StatusPaymentRequired, got.status)
			got = s.mustPost(t, "alice", "303", "/303", "x")
			require.Equal(t, http.StatusSeeOther, got.status)
			got = s.mustPost(t, "alice", "nothing", "/", "x")
			require.Equal(t, http.StatusOK, got.status)
			require.Empty(t, got.body)
		}
		require.EqualValues(t, 3, s.runs.Load()-before)
		require.Equal(t, 3, payments(t, db))
	})
}

// Tries that come at once, to two servers, have one effect, and all get its response. With NoWait they are told to come back.
func TestHandlerDuplicates(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		dbs := []*sql.DB{target.Connect(t, dsn), target.Connect(t, dsn)}
		newStore(t, target, dbs[0])
		write := func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Header.Get("X-User"), payments(t, dbs[0]))
		}
		shops := []*shop{newShop(t, dbs[0], write), newShop(t, dbs[1], write)}
		bodies := make([]string, 20)
		together(t, len(bodies), func(i int) error {
			got, err := shops[i%2].post(within(t, time.Minute), "alice", "k", "/", "x")
			if err == nil && got.status != http.StatusOK {
				err = fmt.Errorf("%d: %s", got.status, got.body)
			}
			if err == nil {
				bodies[i] = string(got.body)
			}
			return err
		})
		for _, body := range bodies {
			require.Equal(t, bodies[0], body)
		}
		require.EqualValues(t, 1, shops[0].runs.Load()+shops[1].runs.Load())
		require.Equal(t, 1, payments(t, dbs[0]))

		began, end := make(chan struct{}), make(chan struct{})
		hurried := newShop(t, dbs[0], func(http.ResponseWriter, *http.Request) {
			close(began)
			<-end
		}, idempotency.NoWait())
		patient := newShop(t, dbs[0], write, idempotency.Timeout(20*time.Millisecond))
		done := make(chan error, 1)
		go func() {
			got, err := hurried.post(within(t, time.Minute), "alice", "slow", "/", "x")
			if err == nil && got.status != http.StatusOK {
				err = fmt.Errorf("%d: %s", got.status, got.body)
			}
			done <- err
		}()
		<-began
		for _, s := range []*shop{hurried, patient} {
			got := s.mustPost(t, "alice", "slow", "/", "x")
			require.Equal(t, http.StatusConflict, got.status)
			require.Equal(t, "A request is outstanding for this Idempotency-Key", got.title(t))
		}
		close(end)
		require.NoError(t, <-done)
		require.Equal(t, http.StatusOK, hurried.mustPost(t, "alice", "slow", "/", "x").status)
		require.EqualValues(t, 1, hurried.runs.Load())
		require.Zero(t, patient.runs.Load())
		require.Equal(t, 2, payments(t, dbs[0]))
	})
}

// A client that goes away has its request rolled back, and may send it again.
func TestHandlerClientGoes(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		newStore(t, target, db)
		ctx, cancel := context.WithCancel(within(t, time.Minute))
		gone := make(chan struct{})
		var once atomic.Bool
		s := newShop(t, db, func(w http.ResponseWriter, r *http.Request) {
			if !once.Swap(true) {
				cancel()
				<-r.Context().Done()
				close(gone)
			}
		})
		_, err := s.post(ctx, "alice", "k", "/", "x")
		require.ErrorIs(t, err, context.Canceled)
		<-gone
		require.Equal(t, http.StatusOK, s.mustPost(t, "alice", "k", "/", "x").status)
		require.EqualValues(t, 2, s.runs.Load())
		require.Equal(t, 1, payments(t, db))
	})
}

// A COMMIT that is lost is found again. If it can't be before the time is over, the client is told to come back, and gets the
// response then.
func TestHandlerLostCommit(t *testing.T) {
	t.Parallel()
	matrix.Parallel(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		proxy, through := target.Proxy(t, dsn)
		direct, db := target.Connect(t, dsn), target.Connect(t, through)
		newStore(t, target, direct)
		var endTime context.CancelFunc
		s := newShop(t, db, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/away" {
				proxy.Refuse()
				onceStruck(proxy.LoseReply(commits), endTime)
			}
			w.Header().Set("Set-Cookie", "session=1")
			_, _ = fmt.Fprint(w, "paid")
		})
		next := s.Config.Handler
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			endTime = cancel
			next.ServeHTTP(w, r.WithContext(ctx))
		})
		require.Equal(t, http.StatusOK, s.mustPost(t, "alice", "before", "/", "x").status)
		lost := proxy.LoseReply(commits)
		got := s.mustPost(t, "alice", "k", "/", "x")
		lost.Await(t)
		require.Equal(t, "paid", string(got.body))
		require.Equal(t, "session=1", got.header.Get("Set-Cookie"), "it is this request's own response")

		got = s.mustPost(t, "alice", "away", "/away", "x")
		require.Equal(t, http.StatusServiceUnavailable, got.status)
		require.Equal(t, "The outcome is not known yet", got.title(t))
		require.Equal(t, "1", got.header.Get("Retry-After"))
		proxy.Pass()
		got = s.mustPost(t, "alice", "away", "/away", "x")
		require.Equal(t, http.StatusOK, got.status)
		require.Equal(t, "paid", string(got.body))
		require.Equal(t, 3, payments(t, direct))
	})
}

// What the database can't do is not told to clients, but to observers.
func TestHandlerWithoutTable(t *testing.T) {
	matrix.Run(t, matrix.SQLite()[:1], func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		told := make(chan nogap.Result, 1)
		defer nogap.Observe(db, observer(told))()
		s := newShop(t, db, func(http.ResponseWriter, *http.Request) {})
		got := s.mustPost(t, "alice", "k", "/", "x")
		require.Equal(t, http.StatusInternalServerError, got.status)
		require.Equal(t, "The request was not carried out", got.title(t))
		require.NotContains(t, string(got.body), "idempotency_keys")
		require.ErrorContains(t, (<-told).Err, "CREATE TABLE")
	})
}

type observer chan nogap.Result

func (o observer) Start(ctx context.Context, _ nogap.Operation) (context.Context, func(nogap.Result)) {
	return ctx, func(r nogap.Result) { o <- r }
}
