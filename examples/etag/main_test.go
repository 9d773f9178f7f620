package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShow(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out, ""))
	require.Equal(t, `Alice GET                               -> 200 {"id":1,"text":"milk"}
Bob   GET                               -> 200 {"id":1,"text":"milk"}
Alice PUT {"text": "milk, bread"}       -> 200 {"id":1,"text":"milk, bread"}
Bob   PUT {"text": "milk, eggs"}        -> 412 somebody else has changed the note
Bob   GET                               -> 200 {"id":1,"text":"milk, bread"}
Bob   PUT {"text": "milk, bread, eggs"} -> 200 {"id":1,"text":"milk, bread, eggs"}
`, out.String())
}

// start returns a function that sends a request and returns the status and the ETag.
func start(t *testing.T) func(method, path, ifMatch, body string) (int, string) {
	db, err := open(t.Context(), filepath.Join(t.TempDir(), "notes.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	api, err := newAPI(db)
	require.NoError(t, err)
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	return func(method, path, ifMatch, body string) (int, string) {
		request, err := http.NewRequestWithContext(context.Background(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		if ifMatch != "" {
			request.Header.Set("If-Match", ifMatch)
		}
		response, err := server.Client().Do(request)
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		defer response.Body.Close()
		io.Copy(io.Discard, response.Body)
		return response.StatusCode, response.Header.Get("ETag")
	}
}

func TestStatus(t *testing.T) {
	send := start(t)
	for _, step := range []struct {
		method, path, ifMatch, body string
		want                        int
	}{
		{"GET", "/notes/1", "", "", 200},
		{"GET", "/notes/2", "", "", 404},
		{"GET", "/notes/x", "", "", 404},
		{"PUT", "/notes/1", "", `{"text": "x"}`, 428},
		{"PUT", "/notes/1", "first", `{"text": "x"}`, 428},
		{"PUT", "/notes/1", "*", `{"text": "x"}`, 428},
		{"PUT", "/notes/1", `"first"`, `text`, 400},
		{"PUT", "/notes/1", `"second"`, `{"text": "x"}`, 412},
		{"PUT", "/notes/1", `""`, `{"text": "x"}`, 412},
		{"PUT", "/notes/2", `"first"`, `{"text": "x"}`, 404},
		{"PUT", "/notes/1", `"first"`, `{"text": "x"}`, 200},
		{"PUT", "/notes/1", `"first"`, `{"text": "y"}`, 412},
		{"DELETE", "/notes/1", "", "", 428},
		{"DELETE", "/notes/1", `"first"`, "", 412},
	} {
		got, _ := send(step.method, step.path, step.ifMatch, step.body)
		require.Equal(t, step.want, got, "%+v", step)
	}
	_, etag := send("GET", "/notes/1", "", "")
	got, _ := send("DELETE", "/notes/1", etag, "")
	require.Equal(t, 204, got)
	got, _ = send("DELETE", "/notes/1", etag, "")
	require.Equal(t, 404, got)
}

// Of many who have read the same note one is the first to change it.
func TestOneWinner(t *testing.T) {
	send := start(t)
	_, etag := send("GET", "/notes/1", "", "")
	var won, lost atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			switch status, _ := send("PUT", "/notes/1", etag, `{"text": "mine"}`); status {
			case 200:
				won.Add(1)
			case 412:
				lost.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, won.Load())
	require.EqualValues(t, 19, lost.Load())
}
