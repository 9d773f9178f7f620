package httpstatus

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/optimistic"
	"github.com/nogap-go/nogap/pessimistic"
)

type answer struct {
	err    error
	status int
	again  bool
}

var answers = map[string]answer{
	"nogap.ErrOutcomeUnknown":         {nogap.ErrOutcomeUnknown, 500, false},
	"nogap.ErrRetriesExhausted":       {nogap.ErrRetriesExhausted, 503, true},
	"nogap.ErrLockTimeout":            {nogap.ErrLockTimeout, 503, true},
	"nogap.ErrNotUnique":              {nogap.ErrNotUnique, 500, false},
	"atomic.ErrInsufficient":          {atomic.ErrInsufficient, 409, false},
	"atomic.ErrLimit":                 {atomic.ErrLimit, 409, false},
	"atomic.ErrMismatch":              {atomic.ErrMismatch, 409, false},
	"atomic.ErrConditionFailed":       {atomic.ErrConditionFailed, 409, false},
	"atomic.ErrUsed":                  {atomic.ErrUsed, 410, false},
	"atomic.ErrExpired":               {atomic.ErrExpired, 410, false},
	"atomic.ErrNoUniqueIndex":         {atomic.ErrNoUniqueIndex, 500, false},
	"atomic.ErrOverloaded":            {atomic.ErrOverloaded, 503, true},
	"atomic.ErrClosed":                {atomic.ErrClosed, 503, true},
	"atomic.ErrRetriesExhausted":      {atomic.ErrRetriesExhausted, 503, true},
	"pessimistic.ErrLocked":           {pessimistic.ErrLocked, 409, true},
	"pessimistic.ErrLockTimeout":      {pessimistic.ErrLockTimeout, 503, true},
	"pessimistic.ErrTooManyRows":      {pessimistic.ErrTooManyRows, 422, false},
	"pessimistic.ErrRetriesExhausted": {pessimistic.ErrRetriesExhausted, 503, true},
	"optimistic.ErrVersionConflict":   {optimistic.ErrVersionConflict, 409, false},
	"optimistic.ErrDuplicate":         {optimistic.ErrDuplicate, 409, false},
	"optimistic.ErrOverloaded":        {optimistic.ErrOverloaded, 503, true},
	"optimistic.ErrClosed":            {optimistic.ErrClosed, 503, true},
	"optimistic.ErrRetriesExhausted":  {optimistic.ErrRetriesExhausted, 503, true},
	"idempotency.ErrInProgress":       {idempotency.ErrInProgress, 409, true},
	"idempotency.ErrKeyReused":        {idempotency.ErrKeyReused, 422, false},
	"idempotency.ErrTypeChanged":      {idempotency.ErrTypeChanged, 500, false},
	"distlock.ErrNotAcquired":         {distlock.ErrNotAcquired, 409, true},
	"distlock.ErrLost":                {distlock.ErrLost, 500, false},
	"distlock.ErrNotHeld":             {distlock.ErrNotHeld, 404, false},
	"distlock.ErrFenced":              {distlock.ErrFenced, 409, false},
	"distlock.ErrClosed":              {distlock.ErrClosed, 503, true},
}

func TestOf(t *testing.T) {
	for name, a := range answers {
		for _, err := range []error{a.err, fmt.Errorf("buy: %w", a.err)} {
			status, again := Of(err)
			require.Equal(t, a, answer{a.err, status, again}, name)
		}
	}
	for _, a := range []answer{
		{nil, 200, false},
		{sql.ErrNoRows, 404, false},
		{context.Canceled, 499, false},
		{context.DeadlineExceeded, 503, true},
		{errors.New("another one"), 500, false},
		{errors.Join(nogap.ErrOutcomeUnknown, context.Canceled), 500, false},
		{errors.Join(nogap.ErrRetriesExhausted, optimistic.ErrVersionConflict), 503, true},
		{errors.Join(distlock.ErrNotAcquired, distlock.ErrClosed), 503, true},
	} {
		status, again := Of(a.err)
		require.Equal(t, a, answer{a.err, status, again})
	}
}

// A lock that nobody holds and Redis does not give is not the client's conflict.
func TestNoRedis(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	locks, err := distlock.New([]redis.UniversalClient{client})
	require.NoError(t, err)
	defer locks.Close()
	_, err = locks.TryLock(t.Context(), "report")
	require.ErrorIs(t, err, distlock.ErrNotAcquired)
	status, again := Of(err)
	require.Equal(t, answer{err, 503, true}, answer{err, status, again})
	require.False(t, tooFewNodes(&distlock.Error{Err: distlock.ErrNotAcquired, Total: 3,
		Nodes: []distlock.NodeError{{Err: err, Held: true}, {Err: err, Held: true}, {Err: err}}}))
}

func TestWrite(t *testing.T) {
	w := httptest.NewRecorder()
	Write(w, nogap.ErrOutcomeUnknown)
	require.Equal(t, 500, w.Code)
	require.Contains(t, w.Body.String(), "look before you try again")
	require.Empty(t, w.Header().Get("Retry-After"))
	w = httptest.NewRecorder()
	Write(w, nogap.ErrLockTimeout)
	require.Equal(t, 503, w.Code)
	require.Equal(t, "1", w.Header().Get("Retry-After"))
}

// Every error that a package exports is among the answers and on the page, with its status.
func TestAllErrors(t *testing.T) {
	page, err := os.ReadFile("../../docs/errors.md")
	require.NoError(t, err)
	files, err := filepath.Glob("../../api/*.txt")
	require.NoError(t, err)
	declared := regexp.MustCompile(`^pkg ([a-z/]+), var (Err\w+) error$`)
	seen := 0
	for _, name := range files {
		file, err := os.Open(name)
		require.NoError(t, err)
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			m := declared.FindStringSubmatch(lines.Text())
			if m == nil {
				continue
			}
			seen++
			name := m[1] + "." + m[2]
			a, ok := answers[name]
			require.True(t, ok, "%s has no answer", name)
			row := regexp.MustCompile("(?m)^\\| .*`" + regexp.QuoteMeta(name) + "`.*\\| " + fmt.Sprint(a.status) + " \\|")
			require.Regexp(t, row, strings.ReplaceAll(string(page), "\r", ""))
		}
	}
	require.Len(t, answers, seen)
}
