package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The dashboard asks for nothing that is not there, and what it asks for is there under load.
func TestDashboard(t *testing.T) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	text, err := os.ReadFile("../../docs/grafana.json")
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	wanted := map[string]bool{}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			for _, name := range regexp.MustCompile(`nogap_[a-z_]+`).FindAllString(target.Expr, -1) {
				if !slices.Contains([]string{"nogap_outcome", "nogap_renewal_failed", "nogap_wait_place"}, name) {
					wanted[name] = true
				}
			}
		}
	}
	require.Greater(t, len(wanted), 5)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	urls, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- run(ctx, "127.0.0.1:0", func(url string) { urls <- url }) }()
	url := <-urls
	// These come only with a fault or with time.
	for _, rare := range []string{"nogap_lock_losses", "nogap_lock_loss_delay", "nogap_lock_unqueued", "nogap_lock_renewals"} {
		for name := range wanted {
			if strings.HasPrefix(name, rare) {
				delete(wanted, name)
			}
		}
	}
	require.Eventually(t, func() bool {
		body := get(t, url)
		for name := range wanted {
			if !strings.Contains(body, "\n"+name+"{") {
				return false
			}
		}
		return strings.Contains(body, `nogap_outcome="refused"`) && strings.Contains(body, `nogap_outcome="conflict"`)
	}, 50*time.Second, 50*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}
