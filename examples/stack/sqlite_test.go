package stack

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/sql/sqlgraph"
	"entgo.io/ent/schema/field"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	_ "modernc.org/sqlite" // the driver "sqlite", in pure Go

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
)

func sqliteFile(t *testing.T) string {
	return "file:" + filepath.Join(t.TempDir(), "shop.db") + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"
}

func openSQLite(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", sqliteFile(t))
	require.NoError(t, err)
	return setUp(t, db)
}

// setUp makes the tables with 5 pens in stock, and closes db after the test.
func setUp(t *testing.T, db *sql.DB) *sql.DB {
	t.Helper()
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, s := range append(schema, "INSERT INTO items VALUES ('pen', 5)") {
		_, err := db.Exec(s)
		require.NoError(t, err)
	}
	return db
}

func newStock(t *testing.T, db *sql.DB) *atomic.Counter[int64] {
	t.Helper()
	stock, err := atomic.NewCounter[int64](db, "items", "stock")
	require.NoError(t, err)
	return stock
}

// requireSales tests that a sale is one transaction: one that the stock refuses leaves no order.
func requireSales(t *testing.T, db *sql.DB, sell func(context.Context, Order) error) {
	t.Helper()
	require.NoError(t, sell(t.Context(), Order{ID: 1, SKU: "pen", Quantity: 2}))
	require.Error(t, sell(t.Context(), Order{ID: 1, SKU: "pen", Quantity: 2}), "there is an order 1")
	require.ErrorIs(t, sell(t.Context(), Order{ID: 2, SKU: "pen", Quantity: 4}), atomic.ErrInsufficient)
	require.NoError(t, sell(t.Context(), Order{ID: 3, SKU: "pen", Quantity: 1}))

	var left, orders, sold int64
	require.NoError(t, db.QueryRow("SELECT stock FROM items").Scan(&left))
	require.NoError(t, db.QueryRow("SELECT count(*), sum(quantity) FROM orders WHERE sku = 'pen'").Scan(&orders, &sold))
	require.Equal(t, []int64{2, 2, 3}, []int64{left, orders, sold})
}

func TestSqlx(t *testing.T) {
	t.Parallel()
	for name, sell := range map[string]func(context.Context, *sqlx.DB, *atomic.Counter[int64], Order) error{
		"sqlx in nogap": sellWithSqlx, "nogap in sqlx": sellInSqlx,
	} {
		t.Run(name, func(t *testing.T) {
			db := sqlx.NewDb(openSQLite(t), "sqlite")
			stock, err := newSqlxStock(db)
			require.NoError(t, err)
			requireSales(t, db.DB, func(ctx context.Context, o Order) error { return sell(ctx, db, stock, o) })
		})
	}
}

func TestBun(t *testing.T) {
	t.Parallel()
	for name, sell := range map[string]func(context.Context, *bun.DB, *atomic.Counter[int64], Order) error{
		"bun in nogap": sellWithBun, "nogap in bun": sellInBun,
	} {
		t.Run(name, func(t *testing.T) {
			b := bun.NewDB(openSQLite(t), sqlitedialect.New())
			stock, err := newBunStock(b)
			require.NoError(t, err)
			requireSales(t, b.DB, func(ctx context.Context, o Order) error { return sell(ctx, b, stock, o) })
		})
	}
}

// What the client of ent that is generated from a schema calls is sqlgraph.
func TestEnt(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	create := func(ctx context.Context, driver dialect.Driver, o Order) error {
		id := sqlgraph.NewFieldSpec("id", field.TypeInt64)
		spec := sqlgraph.NewCreateSpec("orders", id)
		spec.ID.Value = o.ID
		spec.SetField("sku", field.TypeString, o.SKU)
		spec.SetField("quantity", field.TypeInt64, 0)
		if err := sqlgraph.CreateNode(ctx, driver, spec); err != nil {
			return err
		}
		update := sqlgraph.NewUpdateSpec("orders", []string{"id"}, id) // begins a transaction of its own
		update.SetField("quantity", field.TypeInt64, o.Quantity)
		update.Node.ID.Value = o.ID
		update.ScanValues = func([]string) ([]any, error) { return []any{new(int64)}, nil }
		update.Assign = func([]string, []any) error { return nil }
		return sqlgraph.UpdateNode(ctx, driver, update)
	}
	stock := newStock(t, db)
	requireSales(t, db, func(ctx context.Context, o Order) error { return sellWithEnt(ctx, db, stock, o, create) })
	require.NoError(t, create(t.Context(), openEnt(db), Order{ID: 4, SKU: "pen"}), "outside of nogap, on the same pool")
}

// The span of a statement is a child of the span of the operation of nogap that sent it.
func TestOtelsql(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	before := otel.GetTracerProvider()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	defer otel.SetTracerProvider(before)
	db, stop, err := openTraced("sqlite", sqliteFile(t))
	require.NoError(t, err)
	defer stop()
	setUp(t, db)
	stock := newStock(t, db)
	_, err = stock.Decrement(t.Context(), 2, "pen")
	require.NoError(t, err)

	operation := ended(t, spans, "atomic.Decrement items")
	children := 0
	for _, s := range spans.Ended() {
		if s.Parent().SpanID() == operation.SpanContext().SpanID() {
			children++
		}
	}
	require.Positive(t, children)
}

func ended(t *testing.T, spans *tracetest.SpanRecorder, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	for _, s := range spans.Ended() {
		if s.Name() == name {
			return s
		}
	}
	require.Fail(t, "there is no span "+name)
	return nil
}

// A pool is no transaction, and bun.Tx rewrites placeholders: both are refused, with nothing written.
func TestRefused(t *testing.T) {
	t.Parallel()
	b := bun.NewDB(openSQLite(t), sqlitedialect.New())
	stock, err := newBunStock(b)
	require.NoError(t, err)
	tx, err := b.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback()
	for text, tx := range map[string]nogap.Tx{"is a pool": b, "pass the *sql.Tx that it embeds": tx} {
		_, err := stock.WithTx(tx).Decrement(t.Context(), 1, "pen")
		require.ErrorContains(t, err, text)
	}
}
