package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// newShop returns a shop with so many of the item.
func newShop(t *testing.T, stock int) shop {
	d := sqliteFile(filepath.Join(t.TempDir(), "shop.db"))
	db, err := d.open(2)
	require.NoError(t, err)
	nodes, stop, err := startRedis()
	require.NoError(t, err)
	t.Cleanup(stop)
	s := shop{db: db, dialect: d.dialect, table: newTableName(), redis: nodes.open()}
	t.Cleanup(func() { require.NoError(t, s.close()) })
	require.NoError(t, s.createTable(t.Context(), item, stock))
	return s
}

// fraudURL returns the URL of a fraud service that objects to nothing.
func fraudURL(t *testing.T) string {
	fraud, err := startFraudService()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, fraud.stop()) })
	return fraud.url
}

// newAPI returns the API of a shop that sells by the strategy.
func newAPI(t *testing.T, shop shop, st strategy, fraudURL string) http.Handler {
	seller, err := st.open(shop)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, closeSeller(seller)) })
	client, closeIdle := newClient(1)
	t.Cleanup(closeIdle)
	return routes(shop, seller, fraudClient{client: client, url: fraudURL})
}

func answer(h http.Handler, method, path string) (status int, body string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Body.String()
}

func TestAPI(t *testing.T) {
	fraud := fraudURL(t)
	for _, st := range strategies {
		t.Run(st.name, func(t *testing.T) {
			api := newAPI(t, newShop(t, 2), st, fraud)
			for _, step := range []struct {
				method, path string
				status       int
				body         string
			}{
				{"GET", "/items/1", 200, "{\"left\":2}\n"},
				{"POST", "/items/1/purchase", 200, "{\"left\":1}\n"},
				{"POST", "/items/1/purchase", 200, "{\"left\":0}\n"},
				{"POST", "/items/1/purchase", 409, "sold out\n"},
				{"GET", "/items/1", 200, "{\"left\":0}\n"},
				{"POST", "/items/2/purchase", 404, "no such item\n"},
				{"GET", "/items/2", 404, "no such item\n"},
				{"POST", "/items/socks/purchase", 404, "no such item\n"},
				{"GET", "/items/1/purchase", 405, "Method Not Allowed\n"},
			} {
				status, body := answer(api, step.method, step.path)
				require.Equal(t, fmt.Sprint(step.status, step.body), fmt.Sprint(status, body), step.method+" "+step.path)
			}
		})
	}
}

// An objection of the fraud service stops every strategy before anything is taken.
func TestFraudCheckFails(t *testing.T) {
	fraud := httptest.NewServer(http.NotFoundHandler())
	defer fraud.Close()
	for _, st := range strategies {
		t.Run(st.name, func(t *testing.T) {
			shop := newShop(t, 2)
			status, body := answer(newAPI(t, shop, st, fraud.URL), "POST", "/items/1/purchase")
			require.Equal(t, http.StatusInternalServerError, status)
			require.Contains(t, body, "fraud check: status 404")
			left, err := shop.stock(t.Context(), item)
			require.NoError(t, err)
			require.EqualValues(t, 2, left)
		})
	}
}

func TestDatabaseErrorIsA500(t *testing.T) {
	fraud := fraudURL(t)
	for _, st := range strategies {
		t.Run(st.name, func(t *testing.T) {
			shop := newShop(t, 2)
			api := newAPI(t, shop, st, fraud)
			require.NoError(t, shop.dropTable(t.Context()))
			status, body := answer(api, "POST", "/items/1/purchase")
			require.Equal(t, http.StatusInternalServerError, status)
			require.Contains(t, body, "no such table")
		})
	}
}
