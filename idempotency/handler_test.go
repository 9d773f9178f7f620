package idempotency_test

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/internal/fakedb"
)

func alice(*http.Request) (string, error) { return "alice", nil }

func TestInvalidHandlerOptions(t *testing.T) {
	next := http.NotFoundHandler()
	scope := idempotency.ScopeBy(alice)
	for want, opts := range map[string][]idempotency.HandlerOption{
		"ScopeBy is missing":           nil,
		"option 1 is nil":              {scope, nil},
		"ScopeBy(nil)":                 {idempotency.ScopeBy(nil)},
		"ScopeBy is given twice":       {scope, scope},
		"Methods: there is none":       {scope, idempotency.Methods()},
		"given twice":                  {scope, idempotency.Methods("POST", "POST")},
		"MaxBody(-1) is negative":      {scope, idempotency.MaxBody(-1)},
		"KeepStatus: there is none":    {scope, idempotency.KeepStatus()},
		"KeepStatus(200)":              {scope, idempotency.KeepStatus(402, 200)},
		"Documentation":                {scope, idempotency.Documentation("/idempotency")},
		"Fingerprint is not an option": {scope, idempotency.Fingerprint("x")},
		"contradict":                   {scope, idempotency.NoWait(), idempotency.Timeout(time.Second)},
		"the name is empty":            {scope, idempotency.Scope("")},
	} {
		_, err := idempotency.NewHandler(silent(t), "keys", next, opts...)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "idempotency: ")
	}
	_, err := idempotency.NewHandler(silent(t), "keys", nil, scope)
	require.ErrorContains(t, err, "next handler is nil")
	h, err := idempotency.NewHandler(silent(t), "keys", next, scope, idempotency.Scope("http"), idempotency.WithDialect(nogap.SQLite),
		idempotency.Timeout(time.Second), idempotency.MaxAttempts(3), idempotency.Methods("PUT"), idempotency.MaxBody(0))
	require.NoError(t, err)
	require.Contains(t, h.Schema(nogap.SQLite), "CREATE TABLE IF NOT EXISTS `keys`")
}

// What a Handler refuses, it refuses before it asks the database.
func TestHandlerRefuses(t *testing.T) {
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the next handler is called") })
	nobody := idempotency.ScopeBy(func(*http.Request) (string, error) { return "", errors.New("secret") })
	docs := "https://developer.example.com/idempotency"
	for _, test := range []struct {
		name, key, body string
		opts            []idempotency.HandlerOption
		status          int
		title           string
	}{
		{"no key", "", "", nil, 400, "Idempotency-Key is missing"},
		{"no string", "8e03978e", "", nil, 400, "Idempotency-Key is not valid"},
		{"large", `"k"`, "12345", []idempotency.HandlerOption{idempotency.MaxBody(4)}, 413, "The request is too large"},
		{"nobody", `"k"`, "1234", []idempotency.HandlerOption{nobody}, 403, "Idempotency-Key is not accepted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			opts := append(test.opts, idempotency.Documentation(docs))
			if test.name != "nobody" {
				opts = append(opts, idempotency.ScopeBy(alice))
			}
			h, err := idempotency.NewHandler(silent(t), "keys", next, opts...)
			require.NoError(t, err)
			server := httptest.NewServer(h)
			defer server.Close()
			r, err := http.NewRequestWithContext(t.Context(), "POST", server.URL, strings.NewReader(test.body))
			require.NoError(t, err)
			if test.key != "" {
				r.Header.Set("Idempotency-Key", test.key)
			}
			got, err := server.Client().Do(r)
			require.NoError(t, err)
			defer got.Body.Close()
			require.Equal(t, test.status, got.StatusCode)
			require.Equal(t, "application/problem+json", got.Header.Get("Content-Type"))
			require.Equal(t, `<`+docs+`>; rel="describedby"`, got.Header.Get("Link"))
			var problem struct {
				Type, Title, Detail string
				Status              int
			}
			require.NoError(t, json.NewDecoder(got.Body).Decode(&problem))
			require.Equal(t, docs, problem.Type)
			require.Equal(t, test.title, problem.Title)
			require.Equal(t, test.status, problem.Status)
			require.NotEmpty(t, problem.Detail)
			require.NotContains(t, problem.Detail, "secret")
		})
	}
}

// Requests with other methods go on as they are: with their body, without a transaction, and they may be streamed.
func TestHandlerPassesOn(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if idempotency.Tx(r.Context()) != nil {
			t.Error("there is a transaction")
		}
		w.Header().Set("X-Method", r.Method)
		_, _ = io.Copy(w, r.Body)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	})
	h, err := idempotency.NewHandler(silent(t), "keys", next, idempotency.ScopeBy(alice), idempotency.MaxBody(1))
	require.NoError(t, err)
	server := httptest.NewServer(h)
	defer server.Close()
	for method, body := range map[string]string{"GET": "", "HEAD": "", "PUT": "body", "DELETE": ""} {
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL, strings.NewReader(body))
		require.NoError(t, err)
		got, err := server.Client().Do(r)
		require.NoError(t, err)
		data, err := io.ReadAll(got.Body)
		require.NoError(t, err)
		require.NoError(t, got.Body.Close())
		require.Equal(t, body, string(data))
		require.Equal(t, 200, got.StatusCode)
		require.Equal(t, method, got.Header.Get("X-Method"))
	}
}

// A COMMIT whose outcome is not known when the request's time is over is settled by the next try, which gets the response that
// the first one has made, though the next handler is not called for it.
func TestHandlerSettlesLater(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	var row []driver.Value
	lost := false
	db := fakedb.New(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case strings.Contains(c.Query, "version()"):
			return fakedb.Row("PostgreSQL 15.0"), nil
		case strings.HasPrefix(c.Query, "INSERT") && row == nil:
			row = []driver.Value{c.Arg(2), nil, nil, c.Arg(3)}
			return fakedb.Row(int64(1), "1"), nil
		case strings.HasPrefix(c.Query, "INSERT"):
			return fakedb.Reply{Columns: []string{"session", "transaction"}}, nil
		case strings.HasPrefix(c.Query, "UPDATE"):
			row[1], row[2] = c.Arg(2), c.Arg(3)
		case strings.HasPrefix(c.Query, "SELECT fingerprint"):
			return fakedb.Row(row...), nil
		case c.Kind == fakedb.Commit && !lost:
			lost = true
			end()
			return fakedb.Reply{}, io.ErrUnexpectedEOF
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	}).DB()
	defer db.Close()
	runs := 0
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		runs++
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "paid")
	})
	h, err := idempotency.NewHandler(db, "keys", next, idempotency.ScopeBy(alice))
	require.NoError(t, err)
	post := func(ctx context.Context) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(ctx, "POST", "/", nil)
		r.Header.Set("Idempotency-Key", `"k"`)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	require.Equal(t, http.StatusServiceUnavailable, post(ctx).Code)
	got := post(t.Context())
	require.Equal(t, http.StatusCreated, got.Code)
	require.Equal(t, "paid", got.Body.String())
	require.Equal(t, 1, runs)
}
