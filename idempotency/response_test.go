package idempotency

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzOctets(f *testing.F) {
	f.Add("text/plain", []byte("body"))
	f.Add("caf\xe9 \u20ac\x00\u2028", []byte{0xff})
	f.Fuzz(func(t *testing.T, field string, body []byte) {
		want := response{Status: 200, Header: fields{"X-Field": {octets(field), ""}, "X-None": nil}, Trailer: fields{}, Body: body}
		data, err := encode(want)
		require.NoError(t, err)
		got, err := decode[response](data)
		require.NoError(t, err)
		if body == nil {
			require.Empty(t, got.Body)
			got.Body = nil
		}
		require.Equal(t, want, got)
	})
}

func TestKept(t *testing.T) {
	r := newRecorder(http.Header{"X-Request-Id": {"1"}, "Vary": {"Origin"}})
	h := r.Header()
	for name, value := range map[string]string{
		"Set-Cookie": "session=1", "Date": "today", "Connection": "close, X-Hop", "X-Hop": "1", "Keep-Alive": "1", "Te": "1",
		"Upgrade": "x", "Transfer-Encoding": "identity", "Proxy-Connection": "1", "Content-Type": "text/plain", "Etag": `"1"`,
		"Trailer": "X-Sum, x-late",
	} {
		h.Set(name, value)
	}
	h.Add("Vary", "Accept")
	_, err := r.Write([]byte("body"))
	require.NoError(t, err)
	h.Set("X-Too-Late", "1")
	h.Set("X-Sum", "17")
	h.Set(http.TrailerPrefix+"X-More", "18")
	r.end()
	require.Equal(t, &response{
		Status: 200, Body: []byte("body"),
		Header:  fields{"Content-Type": {"text/plain"}, "Etag": {`"1"`}, "Vary": {"Origin", "Accept"}, "Trailer": {"X-Sum, x-late"}},
		Trailer: fields{"X-Sum": {"17"}, http.TrailerPrefix + "X-More": {"18"}},
	}, r.kept())
}

func TestRecorder(t *testing.T) {
	r := newRecorder(nil)
	r.WriteHeader(http.StatusEarlyHints)
	r.WriteHeader(http.StatusNoContent)
	r.WriteHeader(http.StatusOK)
	_, err := r.Write([]byte("body"))
	require.ErrorIs(t, err, http.ErrBodyNotAllowed)
	require.Equal(t, http.StatusNoContent, r.kept().Status)

	control := http.NewResponseController(r)
	require.ErrorIs(t, control.Flush(), http.ErrNotSupported)
	_, _, err = control.Hijack()
	require.ErrorIs(t, err, http.ErrNotSupported)
	require.ErrorContains(t, err, "idempotency: Hijack: ")
	require.Panics(t, func() { r.WriteHeader(99) })
	require.Panics(t, func() { newRecorder(nil).WriteHeader(http.StatusSwitchingProtocols) })
}
