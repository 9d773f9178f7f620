package nogap_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
)

// pgError looks like *pgconn.PgError.
type pgError string

func (e pgError) Error() string    { return "ERROR " + string(e) }
func (e pgError) SQLState() string { return string(e) }

// MySQLError looks like *mysql.MySQLError.
type MySQLError struct {
	Number  uint16
	Message string
}

func (e *MySQLError) Error() string { return e.Message }

func TestRetryable(t *testing.T) {
	deadlock, lockWait := &MySQLError{Number: 1213}, &MySQLError{Number: 1205}
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"serialization failure", pgError("40001"), true},
		{"deadlock of PostgreSQL", pgError("40P01"), true},
		{"deadlock of MySQL", deadlock, true},
		{"wrapped", fmt.Errorf("paying: %w", deadlock), true},
		{"joined with the callback's own", errors.Join(errors.New("paying"), deadlock), true},
		{"joined before", errors.Join(deadlock, errors.New("paying")), true},
		{"deep inside", fmt.Errorf("c: %w", errors.Join(errors.New("a"), fmt.Errorf("b: %w", deadlock))), true},
		{"the context was cancelled", fmt.Errorf("%w: %w", context.Canceled, deadlock), false},
		{"the time was up", fmt.Errorf("%w: %w", context.DeadlineExceeded, deadlock), false},
		{"lock wait of MySQL", lockWait, false},
		{"lock_timeout of PostgreSQL", pgError("55P03"), false},
		{"lock timeout around a deadlock", fmt.Errorf("%w: %w", nogap.ErrLockTimeout, deadlock), false},
		{"unknown", fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, pgError("40001")), false},
		{"unknown, joined", errors.Join(pgError("40001"), fmt.Errorf("x: %w", nogap.ErrOutcomeUnknown)), false},
		{"exhausted", fmt.Errorf("%w: %w", nogap.ErrRetriesExhausted, pgError("40001")), false},
		{"unique", pgError("23505"), false},
		{"not unique", nogap.ErrNotUnique, false},
		{"cancelled", context.Canceled, false},
		{"other", errors.New("40001"), false},
		{"a nil pointer", (*MySQLError)(nil), false},
	} {
		t.Run(tt.name, func(t *testing.T) { require.Equal(t, tt.want, nogap.Retryable(tt.err)) })
	}
}

func TestDialectString(t *testing.T) {
	for d, want := range map[nogap.Dialect]string{
		nogap.Postgres: "PostgreSQL", nogap.MySQL: "MySQL", nogap.MariaDB: "MariaDB", nogap.SQLite: "SQLite",
		0: "Dialect(0)", -1: "Dialect(-1)", 99: "Dialect(99)",
	} {
		require.Equal(t, want, d.String())
	}
}
