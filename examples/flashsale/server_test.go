package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// newShop returns a shop with the tables of a strategy and so much in stock.
func newShop(t *testing.T, story *story, st strategy, stock int) shop {
	d := sqliteFile(filepath.Join(t.TempDir(), "shop.db"))
	db, err := d.open(2)
	require.NoError(t, err)
	s := shop{db: db, dialect: d.dialect, table: newTableName()}
	if st.redis > 0 {
		nodes, stop, err := startRedis()
		require.NoError(t, err)
		t.Cleanup(stop)
		s.redis = nodes.open()
	}
	t.Cleanup(func() { require.NoError(t, s.close()) })
	require.NoError(t, s.createTables(t.Context(), story, st))
	require.NoError(t, story.fill(t.Context(), s, 1, stock))
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
func newAPI(t *testing.T, shop shop, story *story, st strategy, fraudURL string) http.Handler {
	seller, err := st.open(shop)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, closeSeller(seller)) })
	client, closeIdle := newClient(1)
	t.Cleanup(closeIdle)
	return routes(story, shop, seller, fraudClient{client: client, url: fraudURL}, func(step) {})
}

// eachStrategy runs f for each strategy of each story.
func eachStrategy(t *testing.T, f func(t *testing.T, of *story, st strategy)) {
	for _, story := range stories {
		for _, st := range story.strategies {
			t.Run(story.name+"/"+st.name, func(t *testing.T) { f(t, story, st) })
		}
	}
}

func answer(h http.Handler, method, path string) (status int, body string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Body.String()
}

func TestAPI(t *testing.T) {
	type request struct {
		method, path string
		status       int
		body         string
	}
	requests := map[string][]request{
		"stock": {
			{"GET", "/items/1", 200, "{\"left\":2}\n"},
			{"POST", "/items/1/purchase", 200, "{\"left\":1}\n"},
			{"POST", "/items/1/purchase", 200, "{\"left\":0}\n"},
			{"POST", "/items/1/purchase", 409, "sold out\n"},
			{"GET", "/items/1", 200, "{\"left\":0}\n"},
			{"POST", "/items/2/purchase", 404, "no such item\n"},
			{"GET", "/items/2", 404, "no such item\n"},
			{"POST", "/items/socks/purchase", 404, "no such item\n"},
			{"GET", "/items/1/purchase", 405, "Method Not Allowed\n"},
		},
		"wallet": {
			{"GET", "/wallets/2", 200, "{\"left\":1}\n"},
			{"POST", "/wallets/2/payment", 200, "{\"left\":0}\n"},
			{"POST", "/wallets/2/payment", 409, "not enough money\n"},
			{"GET", "/wallets/2", 200, "{\"left\":0}\n"},
			{"GET", "/wallets/1", 200, "{\"left\":1}\n"},
			{"POST", "/wallets/3/payment", 404, "no such wallet\n"},
		},
		"like": {
			{"GET", "/users/2", 200, "{\"left\":1}\n"},
			{"POST", "/users/2/like", 200, "{\"left\":0}\n"},
			{"POST", "/users/2/like", 409, "liked already\n"},
			{"GET", "/users/2", 200, "{\"left\":0}\n"},
			{"GET", "/users/1", 200, "{\"left\":1}\n"},
		},
	}
	fraud := fraudURL(t)
	eachStrategy(t, func(t *testing.T, story *story, st strategy) {
		shop := newShop(t, story, st, 2)
		api := newAPI(t, shop, story, st, fraud)
		require.NotEmpty(t, requests[story.name])
		for _, r := range requests[story.name] {
			if st.name == "idempotency" && r.status == 409 {
				r.body = "paid already\n"
			}
			status, body := answer(api, r.method, r.path)
			require.Equal(t, fmt.Sprint(r.status, r.body), fmt.Sprint(status, body), r.method+" "+r.path)
		}
	})
}

// An objection of the fraud service stops every strategy before anything is taken.
func TestFraudCheckFails(t *testing.T) {
	fraud := httptest.NewServer(http.NotFoundHandler())
	defer fraud.Close()
	eachStrategy(t, func(t *testing.T, story *story, st strategy) {
		shop := newShop(t, story, st, 2)
		status, body := answer(newAPI(t, shop, story, st, fraud.URL), "POST", "/"+story.noun+"s/1/"+story.action)
		require.Equal(t, http.StatusInternalServerError, status)
		require.Contains(t, body, "fraud check: status 404")
		left, err := story.left(t.Context(), shop, 1, 2)
		require.NoError(t, err)
		require.EqualValues(t, 2, left)
	})
}

func TestDatabaseErrorIsA500(t *testing.T) {
	fraud := fraudURL(t)
	eachStrategy(t, func(t *testing.T, story *story, st strategy) {
		shop := newShop(t, story, st, 2)
		api := newAPI(t, shop, story, st, fraud)
		require.NoError(t, shop.dropTables(t.Context()))
		status, body := answer(api, "POST", "/"+story.noun+"s/1/"+story.action)
		require.Equal(t, http.StatusInternalServerError, status)
		require.Regexp(t, "no such table|there is no table", body)
	})
}

// A payment that cannot be written down takes no money, and a like that cannot be counted is not there.
func TestTransactionsTakeBothOrNeither(t *testing.T) {
	fraud := fraudURL(t)
	for _, test := range []struct {
		story       *story
		breaks      func(shop) string
		path, query string // query asks for what must still be 1
	}{
		{walletStory, shop.payments, "/wallets/1/payment", "SELECT balance FROM %s WHERE id = 1"},
		{likeStory, func(s shop) string { return s.table }, "/users/1/like", "SELECT 1 - COUNT(*) FROM %s_likes"},
	} {
		t.Run(test.story.name, func(t *testing.T) {
			st, ok := test.story.strategy("transaction")
			require.True(t, ok)
			shop := newShop(t, test.story, st, 2)
			api := newAPI(t, shop, test.story, st, fraud)
			require.NoError(t, shop.exec(t.Context(), "DROP TABLE "+test.breaks(shop)))
			status, body := answer(api, "POST", test.path)
			require.Equal(t, http.StatusInternalServerError, status, body)
			n, err := shop.number(t.Context(), fmt.Sprintf(test.query, shop.table))
			require.NoError(t, err)
			require.EqualValues(t, 1, n)
		})
	}
}

// The payment is written once for each that was accepted.
func TestTransactionWritesPayments(t *testing.T) {
	st, ok := walletStory.strategy("transaction")
	require.True(t, ok)
	shop := newShop(t, walletStory, st, 2)
	api := newAPI(t, shop, walletStory, st, fraudURL(t))
	answer(api, "POST", "/wallets/1/payment")
	answer(api, "POST", "/wallets/1/payment")
	n, err := shop.number(t.Context(), "SELECT COUNT(*) FROM "+shop.payments())
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
}
