package idempotency

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
)

// response is what a handler has answered. It is the result that is stored.
type response struct {
	Status          int
	Header, Trailer fields
	Body            []byte
}

// fields are those of a header.
type fields map[string][]octets

// octets are the bytes of a field's value, which need not be UTF-8. In JSON each is the character with its number.
type octets string

func (o octets) MarshalJSON() ([]byte, error) {
	characters := make([]rune, len(o))
	for i := range len(o) {
		characters[i] = rune(o[i])
	}
	return json.Marshal(string(characters))
}

func (o *octets) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	octet := make([]byte, 0, len(text))
	for _, r := range text {
		if r > 0xff {
			return fmt.Errorf("%q is no byte", r)
		}
		octet = append(octet, byte(r))
	}
	*o = octets(octet)
	return nil
}

// fieldsOf returns the fields of a header for which keep is true.
func fieldsOf(header http.Header, keep func(name string) bool) fields {
	f := make(fields)
	for name, values := range header {
		if keep(name) {
			f[name] = nil // which has a meaning for net/http
			for _, v := range values {
				f[name] = append(f[name], octets(v))
			}
		}
	}
	return f
}

// set sets the fields in a header.
func (f fields) set(header http.Header) {
	for name, values := range f {
		header[name] = nil
		for _, v := range values {
			header[name] = append(header[name], string(v))
		}
	}
}

// send answers with the response.
func (r *response) send(w http.ResponseWriter) {
	r.Header.set(w.Header())
	w.WriteHeader(r.Status)
	if len(r.Body) > 0 {
		_, _ = w.Write(r.Body) // if the client has gone, it asks again
	}
	r.Trailer.set(w.Header())
}

// recorder is the http.ResponseWriter that takes a response down.
type recorder struct {
	outer  http.Header // what handlers around this one have set
	header http.Header
	sent   http.Header // as it was at WriteHeader
	status int         // 0 before WriteHeader
	body   bytes.Buffer
}

func newRecorder(outer http.Header) *recorder {
	return &recorder{outer: outer.Clone(), header: cloned(outer)}
}

func cloned(h http.Header) http.Header {
	if h = h.Clone(); h == nil {
		h = make(http.Header)
	}
	return h
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	switch {
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid WriteHeader code %v", status)) // as net/http does
	case status == http.StatusSwitchingProtocols:
		panic(fmt.Errorf("idempotency: %w", errStreaming))
	case status < 200 || r.status != 0: // an informational response, or a second one
		return
	}
	r.status, r.sent = status, cloned(r.header)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if r.status == http.StatusNoContent || r.status == http.StatusNotModified {
		return 0, http.ErrBodyNotAllowed
	}
	return r.body.Write(p)
}

var errStreaming = fmt.Errorf("a response that is kept for replays can't be streamed, and its connection can't be taken over; "+
	"serve that without the Handler: %w", http.ErrNotSupported)

// FlushError implements what http.ResponseController looks for.
func (r *recorder) FlushError() error { return fmt.Errorf("idempotency: Flush: %w", errStreaming) }

// Hijack implements http.Hijacker.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, fmt.Errorf("idempotency: Hijack: %w", errStreaming)
}

// end ends the response when the handler has returned.
func (r *recorder) end() {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
}

// kept returns what of the response is kept: all that the handler has set, except for what belongs to one connection, one moment
// or one browser.
func (r *recorder) kept() *response {
	return r.response(func(name string) bool {
		return !r.passing(name) && !(has(r.outer, name) && slices.Equal(r.outer[name], r.sent[name]))
	})
}

// send answers with the response as the handler has written it.
func (r *recorder) send(w http.ResponseWriter) {
	maps.DeleteFunc(w.Header(), func(name string, _ []string) bool { return !has(r.sent, name) })
	r.response(func(string) bool { return true }).send(w)
}

// response returns the response with those fields for which keep is true.
func (r *recorder) response(keep func(name string) bool) *response {
	announced := tokens(r.sent["Trailer"])
	trails := func(name string) bool {
		return announced[name] || strings.HasPrefix(name, http.TrailerPrefix)
	}
	return &response{
		Status: r.status, Body: r.body.Bytes(),
		Header:  fieldsOf(r.sent, func(name string) bool { return !trails(name) && keep(name) }),
		Trailer: fieldsOf(r.header, trails),
	}
}

// passing reports whether a field is not part of the result: cookies, the time, and what concerns the connection alone, by
// section 7.6.1 of RFC 9110.
func (r *recorder) passing(name string) bool {
	switch name {
	case "Set-Cookie", "Date", "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Transfer-Encoding", "Upgrade":
		return true
	}
	return tokens(r.sent["Connection"])[name]
}

// tokens returns the names of fields in a list.
func tokens(values []string) map[string]bool {
	names := make(map[string]bool)
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			names[http.CanonicalHeaderKey(strings.TrimSpace(name))] = true
		}
	}
	return names
}

func has(h http.Header, name string) bool {
	_, ok := h[name]
	return ok
}
