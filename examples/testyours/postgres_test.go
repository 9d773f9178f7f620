//go:build unix

package testyours

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

// onPostgres makes a database of this test alone, and names it in the environment.
func onPostgres(t *testing.T) {
	t.Helper()
	server := servers.Postgres(t)
	admin, err := sql.Open("pgx", server)
	require.NoError(t, err)
	name := "shop_" + strings.ToLower(rand.Text())
	_, err = admin.Exec("CREATE DATABASE " + name)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := admin.Exec("DROP DATABASE " + name + " WITH (FORCE)")
		require.NoError(t, errors.Join(err, admin.Close()))
	})
	u, err := url.Parse(server)
	require.NoError(t, err)
	u.Path = "/" + name
	t.Setenv("SHOP_DSN", u.String())
}

// The same tests as on SQLite, on PostgreSQL.
func TestOnPostgres(t *testing.T) {
	onPostgres(t)
	for name, test := range map[string]func(*testing.T){
		"Buy": TestBuy, "LastPen": TestLastPen, "ManyCustomers": TestManyCustomers, "RunAgain": TestRunAgain,
	} {
		t.Run(name, test)
	}
}

// An unknown outcome, for real: the session ends while the answer to COMMIT is awaited. What a deferred trigger does belongs to COMMIT.
func TestUnknownOutcome(t *testing.T) {
	onPostgres(t)
	s, _, _ := open(t)
	require.NoError(t, exec(t.Context(), s.db,
		"CREATE FUNCTION quit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'",
		"CREATE CONSTRAINT TRIGGER quits AFTER INSERT ON sales DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION quit()"))
	_, err := s.buy(t.Context(), "ann", "pen", "book")
	require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
	requireBooks(t, s, 0) // this time it was not applied
}
