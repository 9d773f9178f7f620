package idempotency

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// problem is an answer of a Handler by itself, a problem detail of RFC 9457. The titles are those of the draft.
type problem struct {
	Type   string `json:"type,omitempty"` // "about:blank" if it is absent
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

var (
	keyMissing = problem{Status: http.StatusBadRequest, Title: "Idempotency-Key is missing",
		Detail: "This operation needs the header field Idempotency-Key. Its value is the same for each try of one request, " +
			"and another one for each other request."}
	keyInvalid = problem{Status: http.StatusBadRequest, Title: "Idempotency-Key is not valid",
		Detail: "The value of Idempotency-Key is to be one string that is not empty, in double quotes: a String of RFC 9651, " +
			`such as "8e03978e-40d5-43dd-bc93-6894a57f9324".`}
	bodyUnread = problem{Status: http.StatusBadRequest, Title: "The request is incomplete",
		Detail: "Its body could not be read to the end."}
	noScope = problem{Status: http.StatusForbidden, Title: "Idempotency-Key is not accepted",
		Detail: "It can't be told whose request this is."}
	keyReused = problem{Status: http.StatusUnprocessableEntity, Title: "Idempotency-Key is already used",
		Detail: "The same Idempotency-Key came with another method, path, query or body before. Another request needs another key."}
	keyInUse = problem{Status: http.StatusConflict, Title: "A request is outstanding for this Idempotency-Key",
		Detail: "A request with the same Idempotency-Key is being processed. Send this one again later, with the same key."}
	outcomeUnknown = problem{Status: http.StatusServiceUnavailable, Title: "The outcome is not known yet",
		Detail: "The request may have been carried out. Send it again with the same Idempotency-Key, and with no other one: " +
			"it has one effect."}
	tryAgain = problem{Status: http.StatusServiceUnavailable, Title: "The request was not carried out",
		Detail: "Nothing has been written. Send it again later, with the same Idempotency-Key."}
	notDone = problem{Status: http.StatusInternalServerError, Title: "The request was not carried out",
		Detail: "Nothing has been written. The request may be sent again with the same Idempotency-Key."}
	unreplayable = problem{Status: http.StatusInternalServerError, Title: "The response can't be repeated",
		Detail: "The request with this Idempotency-Key was carried out before, but its response can't be read."}
)

func bodyTooLarge(limit int64) problem {
	return problem{Status: http.StatusRequestEntityTooLarge, Title: "The request is too large",
		Detail: fmt.Sprintf("Its body has more than %d bytes.", limit)}
}

// problemOf returns the answer for an error of do. Its text is for those who observe the database, and not for clients.
func problemOf(err error) problem {
	switch {
	case errors.Is(err, nogap.ErrOutcomeUnknown):
		return outcomeUnknown
	case errors.Is(err, ErrKeyReused):
		return keyReused
	case errors.Is(err, ErrInProgress), errors.Is(err, nogap.ErrLockTimeout) && !sqlerr.Of(err).Has(sqlerr.Retry):
		return keyInUse
	case errors.Is(err, nogap.ErrLockTimeout), errors.Is(err, nogap.ErrRetriesExhausted), // a busy SQLite
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return tryAgain
	case errors.Is(err, ErrTypeChanged), errors.Is(err, errNoResult):
		return unreplayable
	}
	return notDone
}

// send answers with the problem.
func (p problem) send(w http.ResponseWriter, docs string) {
	header := w.Header()
	if docs != "" {
		p.Type = docs
		header.Add("Link", fmt.Sprintf(`<%s>; rel="describedby"`, docs))
	}
	if p.Status == http.StatusServiceUnavailable {
		header.Set("Retry-After", "1")
	}
	header.Set("Content-Type", "application/problem+json")
	header.Set("Content-Language", "en")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // if the client has gone, it asks again
}
