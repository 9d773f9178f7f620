package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/nogap-go/nogap/optimistic"
)

// note is a row. Its version is a random token, which says nothing and so makes a good ETag.
type note struct {
	ID      int64  `db:"id" json:"id"`
	Text    string `db:"text" json:"text"`
	Version string `db:"version" json:"-"`
}

type api struct {
	notes *optimistic.Table[note]
}

func newAPI(db *sql.DB) (http.Handler, error) {
	notes, err := optimistic.NewTable[note](db, "notes")
	if err != nil {
		return nil, err
	}
	a := api{notes}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /notes/{id}", a.get)
	mux.HandleFunc("PUT /notes/{id}", a.put)
	mux.HandleFunc("DELETE /notes/{id}", a.delete)
	return mux, nil
}

func (a api) get(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(w, "no such note", http.StatusNotFound)
		return
	}
	n, err := a.notes.Get(r.Context(), id)
	if err != nil {
		fail(w, err)
		return
	}
	send(w, n)
}

func (a api) put(w http.ResponseWriter, r *http.Request) {
	var body note
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, "the body is not a note: "+err.Error(), http.StatusBadRequest)
		return
	}
	a.write(w, r, func(n *note) error {
		n.Text = body.Text
		if err := a.notes.Update(r.Context(), n); err != nil {
			return err
		}
		send(w, n)
		return nil
	})
}

func (a api) delete(w http.ResponseWriter, r *http.Request) {
	a.write(w, r, func(n *note) error {
		if err := a.notes.Delete(r.Context(), n); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

// write calls do with the note as the client knows it: its version is in If-Match. The note itself need not be read, since
// the swap finds out whether the version is still the note's.
func (a api) write(w http.ResponseWriter, r *http.Request, do func(*note) error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(w, "no such note", http.StatusNotFound)
		return
	}
	version, ok := ifMatch(r)
	if !ok {
		// https://www.rfc-editor.org/rfc/rfc6585#section-3
		http.Error(w, "say which version you have read: If-Match with its ETag", http.StatusPreconditionRequired)
		return
	}
	if err := do(&note{ID: id, Version: version}); err != nil {
		fail(w, err)
	}
}

// ifMatch returns the version that the client has read. One that is no ETag of ours matches no note. A list of ETags and
// "*" are more than this API needs: they are not taken.
func ifMatch(r *http.Request) (version string, ok bool) {
	tag := strings.TrimSpace(r.Header.Get("If-Match"))
	if len(tag) < 2 || tag[0] != '"' || strings.IndexByte(tag[1:], '"') != len(tag)-2 {
		return "", false
	}
	return tag[1 : len(tag)-1], true
}

func send(w http.ResponseWriter, n *note) {
	w.Header().Set("ETag", `"`+n.Version+`"`)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(n)
}

func fail(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, sql.ErrNoRows):
		http.Error(w, "no such note", http.StatusNotFound)
	case errors.Is(err, optimistic.ErrVersionConflict):
		http.Error(w, "somebody else has changed the note", http.StatusPreconditionFailed)
	default:
		// Among others nogap.ErrOutcomeUnknown: the client reads the note to see what came of it.
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
