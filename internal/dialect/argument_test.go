package dialect_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

func TestArgument(t *testing.T) {
	noon := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		dialect    nogap.Dialect
		value      any
		columnType string
		want       any
	}{
		{nogap.Postgres, int64(7), "INT8", int64(7)},
		{nogap.Postgres, []byte("a"), "BYTEA", []byte("a")},
		{nogap.Postgres, []byte("6ba7b810"), "UUID", "6ba7b810"},
		{nogap.Postgres, []byte("glad"), "", "glad"}, // lib/pq knows no name for an enum
		{nogap.Postgres, []byte("101"), "BIT", "101"},
		{nogap.Postgres, noon, "TIMESTAMPTZ", noon},
		{nogap.Postgres, []byte(nil), "BYTEA", []byte(nil)},
		{nogap.MySQL, []byte("sku-1"), "VARCHAR", "sku-1"},
		{nogap.MySQL, []byte("sku-1"), "VARBINARY", []byte("sku-1")},
		{nogap.MySQL, []byte("-12"), "BIGINT", int64(-12)}, // of old drivers
		{nogap.MySQL, []byte("18446744073709551615"), "UNSIGNED BIGINT", uint64(1<<64 - 1)},
		{nogap.MySQL, []byte("18446744073709551616"), "BIGINT", "18446744073709551616"},
		{nogap.MySQL, []byte("12.50"), "DECIMAL", "12.50"},
		{nogap.MySQL, []byte{1, 0x61}, "BIT", uint64(0x161)},
		{nogap.MariaDB, noon, "DATETIME", noon},
		{nogap.SQLite, []byte("a"), "TEXT", []byte("a")}, // a value has the type that it was stored with
		{nogap.SQLite, "a", "BLOB", "a"},
		{nogap.SQLite, nil, "INTEGER", nil},
	} {
		s, err := dialect.Assume(tt.dialect)
		require.NoError(t, err)
		got, err := s.Argument(tt.value, tt.columnType)
		require.NoError(t, err)
		require.Equal(t, tt.want, got, "%v %s", tt.dialect, tt.columnType)
	}
}

func TestArgumentThatMayNotReturn(t *testing.T) {
	for _, tt := range []struct {
		dialect nogap.Dialect
		value   any
	}{{nogap.Postgres, 0.1}, {nogap.MySQL, float32(0.1)}, {nogap.SQLite, 0.5}, {nogap.SQLite, time.Now()}} {
		s, err := dialect.Assume(tt.dialect)
		require.NoError(t, err)
		_, err = s.Argument(tt.value, "")
		require.Error(t, err, "%v %T", tt.dialect, tt.value)
	}
}
