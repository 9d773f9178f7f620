//go:build unix

package racetest_test

import (
	"context"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/racetest/explore"
)

// reads reports how many rows a table has, and writes another one that nobody else touches.
func reads(table string) work {
	return func(ctx context.Context, db *sqlx.DB) error {
		n, err := number(ctx, db, "SELECT COUNT(*) FROM "+table)
		if err == nil {
			_, err = exec(ctx, db, "INSERT INTO reports (n) VALUES (?)", n)
		}
		return err
	}
}

func runs(statement string) work {
	return func(ctx context.Context, db *sqlx.DB) error { return all(ctx, db, statement) }
}

// What a statement does to tables that it does not name counts too: the orders of two such clients are different classes.
func TestHidden(t *testing.T) {
	const reports = "CREATE TABLE reports (id $serial, n INT NOT NULL)"
	customers := []string{
		reports, "CREATE TABLE customers (id INT PRIMARY KEY)",
		"CREATE TABLE orders (id INT PRIMARY KEY, customer INT NOT NULL, FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE CASCADE)",
		"CREATE TABLE parcels (id INT PRIMARY KEY, a_order INT NOT NULL, FOREIGN KEY (a_order) REFERENCES orders (id) ON DELETE CASCADE)",
	}
	one := []string{"INSERT INTO customers VALUES (1)", "INSERT INTO orders VALUES (1, 1)", "INSERT INTO parcels VALUES (1, 1)"}
	matrix.Run(t, targets(), func(t *testing.T, target matrix.Target) {
		t.Parallel()
		programs := []program{
			{name: "a cascade of two steps", schema: customers, data: one, clients: []work{reads("parcels"), runs("DELETE FROM customers")}},
			{name: "a comma after a statement in brackets", schema: customers, data: one,
				clients: []work{reads("(SELECT 1) AS one, customers"), runs("DELETE FROM customers")}},
		}
		if target.Dialect == nogap.Postgres {
			programs = append(programs,
				program{name: "a trigger behind a cascade", schema: append([]string{
					"CREATE TABLE removals (id INT PRIMARY KEY)",
					"CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO removals VALUES (OLD.id); RETURN OLD; END'",
				}, append(customers, "CREATE TRIGGER noted AFTER DELETE ON parcels FOR EACH ROW EXECUTE FUNCTION note()")...),
					data: one, clients: []work{reads("removals"), runs("DELETE FROM customers")}},
				program{name: "inheritance", schema: []string{reports, "CREATE TABLE cities (id INT)", "CREATE TABLE capitals () INHERITS (cities)"},
					clients: []work{reads("cities"), runs("INSERT INTO capitals VALUES (1)")}},
			)
		}
		for _, p := range programs {
			t.Run(p.name, func(t *testing.T) {
				result, err := explore.Run(t.Context(), p.config(t, target))
				require.NoError(t, err)
				require.Nil(t, result.Failure, "%+v", result.Failure)
				require.Empty(t, result.Inconclusive())
				require.Greater(t, result.Classes, 1, "%+v", result)
			})
		}
	})
}
