package idempotency

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
)

// A Handler gives a request one effect, however often a client sends it. The client marks the tries of one request by
// the header field Idempotency-Key of the IETF's draft draft-ietf-httpapi-idempotency-key-header. A Handler is safe
// for concurrent use.
type Handler struct {
	handlerConfig
	s    *store
	next http.Handler
}

// NewHandler returns a Handler in front of next. It keeps the responses by their keys in the named table of db, as a
// Store keeps its results; see New. It returns an error if ScopeBy is not given, if db or next is nil, or if a name
// or an option is invalid.
//
//	h, err := idempotency.NewHandler(db, "idempotency_keys", next, idempotency.ScopeBy(userID))
//
// A POST or PATCH must have a key, which is a string in double quotes:
//
//	Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"
//
// The first request with the key is passed to next, in a transaction that Tx returns. The writes of next in it, the
// key and the response are committed together. Then the response is sent. A later request with the key is not passed
// to next: it gets the same status, header and body. A request that comes while the first is under way waits for it.
// With NoWait it gets 409 at once, and with Timeout when the time is over. Requests with other methods are passed to
// next as they are.
//
// # Rules for next
//
//   - All that it writes must go through Tx. It may be called again with the same request, in another transaction: when
//     the transaction has lost against others, or when COMMIT was lost before it arrived.
//   - The transaction is rolled back after a status from 400 on, except those of KeepStatus, after a panic, and when the
//     request's context ends. The response is sent to the client and is not kept, so the next try is passed to next
//     again. After each error of the transaction next must answer with such a status.
//   - The response is sent when next has returned and the transaction is committed. Flush and Hijack, also through
//     http.ResponseController, return errors that wrap http.ErrNotSupported. Informational responses (1xx) are dropped.
//   - Of the header these fields are not kept: those that a handler around this one has set, Set-Cookie, Date, and those
//     that belong to the connection. A response that next has not finished is not kept either.
//
// # Answers of its own
//
// They are problem details (application/problem+json, RFC 9457), with the statuses of the draft:
//
//	400  the key is missing or is not a string, or the body ends too early
//	403  ScopeBy returned an error
//	409  a request with the key is in progress
//	413  the body has more than MaxBody bytes
//	422  the key was used with another method, path, query or body
//	503  the outcome is unknown, or the transaction lost every attempt: send it again with the same key
//	500  another error, which sending again does not solve; nothing was written
//
// Their errors go to observers (nogap.Observe), as those of Do. After a lost COMMIT the Handler asks the database
// until the request's context ends. So give that context a deadline, in a handler around this one.
func NewHandler(db *sql.DB, table string, next http.Handler, opts ...HandlerOption) (*Handler, error) {
	if next == nil {
		return nil, fail(errors.New("the next handler is nil"))
	}
	c, err := configureHandler(opts)
	if err != nil {
		return nil, fail(err)
	}
	s, err := newStore[response](db, table, c.store)
	if err != nil {
		return nil, fail(err)
	}
	return &Handler{handlerConfig: c, s: s, next: next}, nil
}

// Schema returns the CREATE TABLE IF NOT EXISTS statement of the Handler's table. See [Store.Schema].
func (h *Handler) Schema(d nogap.Dialect) string { return h.s.schemaOf(d) }

// Sweep deletes the keys of requests that began longer ago than olderThan. It also deletes those of a Store with the
// same table and Scope. Its errors and what the end of ctx does are as in [Store.Sweep].
func (h *Handler) Sweep(ctx context.Context, olderThan time.Duration) (deleted int, err error) {
	deleted, err = h.s.sweep(ctx, olderThan)
	return deleted, fail(err)
}

type txKey struct{}

// Tx returns the transaction in which a Handler has called its next handler, for the context of the request. It
// returns nil for any other context. The end of ctx changes nothing of that. The Handler commits the transaction or
// rolls it back.
func Tx(ctx context.Context) *sqlx.Tx {
	tx, _ := ctx.Value(txKey{}).(*sqlx.Tx)
	return tx
}

// ServeHTTP implements http.Handler. [NewHandler] says what it does.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !slices.Contains(h.methods, r.Method) {
		h.next.ServeHTTP(w, r)
		return
	}
	request, refused := h.accept(w, r)
	if refused != nil {
		refused.send(w, h.docs)
		return
	}
	h.answer(w, request)
}

// request is one with a key.
type request struct {
	*http.Request
	body        []byte
	key         string // of the store
	fingerprint []byte
}

// accept reads a request, or returns why it is refused.
func (h *Handler) accept(w http.ResponseWriter, r *http.Request) (*request, *problem) {
	key, found, valid := keyOf(r.Header)
	switch {
	case !found:
		return nil, &keyMissing
	case !valid:
		return nil, &keyInvalid
	}
	if r.Body == nil { // a request that no server has read
		r = r.Clone(r.Context())
		r.Body = http.NoBody
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.maxBody))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		large := bodyTooLarge(h.maxBody)
		return nil, &large
	case err != nil:
		return nil, &bodyUnread
	}
	request := &request{Request: r, body: body}
	scope, err := h.scopeBy(request.again(r.Context()))
	if err != nil || scope == "" {
		return nil, &noScope
	}
	request.key = scopedKey(scope, key)
	request.fingerprint = fingerprint(r, body)
	return request, nil
}

// fingerprint says what a request is. A handler around this one may have cut its path (http.StripPrefix), and may have read the
// body as a form.
func fingerprint(r *http.Request, body []byte) []byte {
	path, query := r.URL.EscapedPath(), r.URL.RawQuery
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil {
		path, query = u.EscapedPath(), u.RawQuery
	}
	var files []string
	if r.MultipartForm != nil {
		for field, all := range r.MultipartForm.File {
			for _, f := range all {
				files = append(files, fmt.Sprintf("%q %q %d", field, f.Filename, f.Size))
			}
		}
		slices.Sort(files)
	}
	print := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q %s", r.Method, path, query, r.PostForm.Encode(), files, body))
	return print[:]
}

// scopedKey returns the key of the store for that of a client. It is of one length, whatever theirs are.
func scopedKey(scope, key string) string {
	text := binary.BigEndian.AppendUint64(nil, uint64(len(scope)))
	sum := sha256.Sum256(append(append(text, scope...), key...))
	return hex.EncodeToString(sum[:])
}

// again returns the request with its body for one more reader.
func (r *request) again(ctx context.Context) *http.Request {
	fresh := r.Clone(ctx)
	fresh.Body, fresh.ContentLength, fresh.TransferEncoding = io.NopCloser(bytes.NewReader(r.body)), int64(len(r.body)), nil
	return fresh
}

var errNotKept = errors.New("the response has a status that is not kept")

// answer has the next handler answer the request, or replays the response.
func (h *Handler) answer(w http.ResponseWriter, r *request) {
	config := h.do
	config.fingerprint = r.fingerprint
	var last *recorder
	data, replayed, err := h.s.do(r.Context(), r.key, config, func(ctx context.Context, tx *sqlx.Tx) ([]byte, error, error) {
		last = newRecorder(w.Header())
		h.next.ServeHTTP(last, r.again(context.WithValue(ctx, txKey{}, tx)))
		last.end()
		if last.status >= 400 && !slices.Contains(h.kept, last.status) {
			return nil, errNotKept, nil
		}
		data, err := encode(last.kept())
		return data, nil, err
	})
	switch {
	case err == nil && (replayed || last == nil): // what an earlier try has lost may be its own result, too
		stored, err := decode[response](data)
		if err != nil {
			unreplayable.send(w, h.docs)
			return
		}
		stored.send(w)
	case err == nil, errors.Is(err, errNotKept) && !errors.Is(err, nogap.ErrOutcomeUnknown):
		last.send(w)
	default:
		problemOf(err).send(w, h.docs)
	}
}
