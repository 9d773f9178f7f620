// Etag is an HTTP API over notes that two people may edit at once. The version of a row is its ETag: who read the note
// sends it back as If-Match, and gets 412 if somebody else wrote the note in between.
//
//	go run -C examples ./etag                        # shows how two editors meet
//	go run -C examples ./etag -listen localhost:8080 # serves, to try it with curl
//
// The notes are kept in an SQLite file that is removed at the end.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite", in pure Go
)

func main() {
	listen := flag.String("listen", "", "the address to serve on, instead of a show")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *listen); err != nil {
		fmt.Fprintln(os.Stderr, "etag:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, listen string) error {
	dir, err := os.MkdirTemp("", "etag")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := open(ctx, filepath.Join(dir, "notes.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	api, err := newAPI(db)
	if err != nil {
		return err
	}
	return serve(ctx, out, listen, api)
}

// open makes the database, with one note.
func open(ctx context.Context, file string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)")
	if err != nil {
		return nil, err
	}
	for _, statement := range []string{
		"CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL, version TEXT NOT NULL)",
		"INSERT INTO notes VALUES (1, 'milk', 'first')",
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			db.Close()
			return nil, err
		}
	}
	return db, nil
}

// serve serves the API: for the length of the show, or, on an address of the user's, until the program is interrupted.
func serve(ctx context.Context, out io.Writer, address string, api http.Handler) error {
	listener, err := net.Listen("tcp", cmp.Or(address, "127.0.0.1:0"))
	if err != nil {
		return err
	}
	url := "http://" + listener.Addr().String()
	server := &http.Server{Handler: api}
	defer server.Close()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	if address == "" {
		return show(ctx, out, url)
	}
	fmt.Fprintf(out, "try: curl -i %s/notes/1\n", url)
	fmt.Fprintf(out, "then: curl -i -X PUT -H 'If-Match: \"first\"' -d '{\"text\": \"bread\"}' %s/notes/1\n", url)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}
