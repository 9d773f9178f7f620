package main

import (
	"bytes"
	"context"
	"encoding/json"
	"html"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// smallReport holds a sale of each story and returns its report.
func smallReport(t *testing.T) (path, page string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "report.html")
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-story", "all", "-strategy", "unsafe,atomic,atomic-coalesced,transaction",
		"-buyers", "60", "-stock", "12", "-rounds", "1", "-html", path}, &stdout, &stderr), stderr.String())
	require.Contains(t, stdout.String(), "\nThe report is in "+path+"\n")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return path, string(text)
}

// The two tests share a report, since its sales take most of the time.
func TestReport(t *testing.T) {
	path, page := smallReport(t)
	t.Run("without scripts", func(t *testing.T) { testWithoutScripts(t, path, page) })
	t.Run("in a browser", func(t *testing.T) { testInBrowser(t, path, page) })
}

// What the charts show is in tables that need no script, and the page fetches nothing.
func testWithoutScripts(t *testing.T, path, page string) {
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 1, "one file, and nothing beside it")

	require.False(t, strings.Contains(page, "sourceMappingURL"))
	require.True(t, strings.Contains(page, "Released under the MIT License"), "of the script")
	require.False(t, strings.Contains(page, "ZgotmplZ"), "what html/template does not trust")

	visible := html.UnescapeString(page[:strings.Index(page, "<script")])
	require.NotRegexp(t, `(?i)\ssrc|<link[^>]*href="(https?:)?//|@import|url\(`, visible)
	require.Equal(t, 3*3, strings.Count(visible, "<table>"), "results, throughput and waits of each story")
	require.Equal(t, 3*2, strings.Count(visible, "<details open>"))
	for _, row := range []string{"atomic", "transaction", "unsafe", "atomic-coalesced"} {
		require.Contains(t, visible, `<th scope="row">`+row+"</th>")
	}
	require.Contains(t, visible, "./flashsale -buyers 60 -html report.html -rounds 1 -stock 12 -story all -strategy "+
		"unsafe,atomic,atomic-coalesced,transaction</code>")
	require.Len(t, regexp.MustCompile(`From 1 (buyer|request|tap) to 60 (buyer|request|tap)s: unsafe \S.* to \S.*; atomic \S`).
		FindAllString(visible, -1), 3*2, "each chart of lines in words")
	require.Contains(t, visible, "for each strategy: unsafe ")
	require.Contains(t, visible, "stock_atomic.go, stock_pessimistic.go, ")
	for _, want := range []string{`<th scope="col">likes<`, `<th scope="col">money<`, `<th scope="col">left<`, ">✓ sold exactly 12<", ">✓ 12 paid once<", ">✓ 12 liked once<", ">✗ oversold ",
		" · both sell<", " · both pay<", " · both like<", ">1 buyer<", ">6 buyers<", ">24 buyers<", ">60 buyers<"} {
		require.Contains(t, visible, want)
	}
}

// A report that can't be written is known before the first sale, and one that is there stays until there is a new one.
func TestReportFile(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Equal(t, 1, run(t.Context(), []string{"-html", filepath.Join(t.TempDir(), "nowhere", "report.html")}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "flashsale: -html: no file can be made in ")
	require.Empty(t, stdout.String())

	path := filepath.Join(t.TempDir(), "report.html")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	require.Equal(t, 1, run(interrupted, []string{"-html", path}, &stdout, &stderr))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "old", string(text))
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 1)
}

func TestFewerBuyers(t *testing.T) {
	require.Equal(t, []int{10, 50, 200}, fewerBuyers(500))
	require.Equal(t, []int{1, 6, 24}, fewerBuyers(60))
	require.Equal(t, []int{1}, fewerBuyers(4))
	require.Empty(t, fewerBuyers(1))
	require.Equal(t, 2, scaled(100, 10, 500))
	require.Equal(t, 1, scaled(3, 1, 500))
	require.Equal(t, 0, scaled(0, 10, 500))
}

// The whole run takes less than a minute: the effort leaves a quarter of it to what is not selling.
func TestEffort(t *testing.T) {
	for _, args := range [][]string{{}, {"-story", "all"}, {"-html", "x"}, {"-story", "all", "-html", "x"}, {"-strategy", "atomic"}} {
		c, err := parseFlags(args, nil)
		require.NoError(t, err)
		e := c.effort()
		var whole time.Duration
		for _, st := range c.stories {
			whole += time.Duration(len(st.strategies)) * (e.main + time.Duration(len(e.sizes))*e.curve)
		}
		require.LessOrEqual(t, whole, 45*time.Second, args)
		require.GreaterOrEqual(t, e.main, time.Second)
		require.GreaterOrEqual(t, e.turns, 2)
	}
}

// browser is a Chromium without a window. scripts/test.sh installs it.
func browser(t *testing.T) string {
	for _, name := range []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no Chromium: apt-get install chromium-headless-shell")
	return ""
}

// browse opens the page in a window of the size and returns what the browser prints.
func browse(t *testing.T, path string, width, height int, dark bool, args ...string) string {
	t.Helper()
	scheme := "1"
	if dark {
		scheme = "0"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser(t), append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
		"--disable-dev-shm-usage", "--user-data-dir=" + t.TempDir(), "--blink-settings=preferredColorScheme=" + scheme,
		"--window-size=" + strconv.Itoa(width) + "," + strconv.Itoa(height), "--virtual-time-budget=1000"},
		append(args, "file://"+path)...)...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), stderr.String())
	return stdout.String()
}

// screenshot returns a picture of the top of the page.
func screenshot(t *testing.T, path string, width, height int, dark bool) image.Image {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.png")
	browse(t, path, width, height, dark, "--screenshot="+file)
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	picture, err := png.Decode(f)
	require.NoError(t, err)
	require.Equal(t, image.Pt(width, height), picture.Bounds().Size())
	return picture
}

// brightness returns the share of pixels that are brighter than the middle, and how many colours there are.
func brightness(picture image.Image) (bright float64, colours int) {
	seen := make(map[[3]uint32]bool)
	size := picture.Bounds().Size()
	for y := range size.Y {
		for x := range size.X {
			r, g, b, _ := picture.At(x, y).RGBA()
			seen[[3]uint32{r, g, b}] = true
			if r+g+b > 3*0x8000 {
				bright++
			}
		}
	}
	return bright / float64(size.X*size.Y), len(seen)
}

// The page in a browser: all charts are drawn, nothing is wider than a phone, nothing fails, and it is as dark as is wished.
func testInBrowser(t *testing.T, path, page string) {
	browser(t)

	probe := strings.Replace(page, "<style>", `<script>
		const failures = [];
		addEventListener("error", (e) => failures.push(e.message));
		addEventListener("securitypolicyviolation", (e) => failures.push("blocked: " + e.blockedURI));
	</script><style>`, 1)
	probe = strings.Replace(probe, "</body>", `<script>addEventListener("load", () => {
		const canvases = [...document.querySelectorAll("canvas")];
		const empty = (c) => !c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v);
		document.body.dataset.seen = JSON.stringify({
			charts: Object.keys(Chart.instances).length, empty: canvases.filter(empty).length, width: innerWidth,
			wide: document.documentElement.scrollWidth, open: document.querySelectorAll("details[open]").length,
			fetched: performance.getEntriesByType("resource").filter((r) => !r.name.startsWith("data:")).length, failures,
		});
	})</script></body>`, 1)
	probePath := filepath.Join(t.TempDir(), "probe.html")
	require.NoError(t, os.WriteFile(probePath, []byte(probe), 0o600))
	seen := regexp.MustCompile(`data-seen="([^"]*)"`).FindStringSubmatch(browse(t, probePath, 390, 844, false, "--dump-dom"))
	require.NotNil(t, seen, "the page's scripts did not come to their end")
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(html.UnescapeString(seen[1])), &got))
	require.Equal(t, map[string]any{"charts": 9.0, "empty": 0.0, "width": 390.0, "wide": 390.0, "open": 0.0, "fetched": 0.0,
		"failures": []any{}}, got)

	light, colours := brightness(screenshot(t, path, 390, 1200, false))
	require.Greater(t, light, 0.8)
	require.Greater(t, colours, 100, "text, lines and bars have smooth edges")
	dark, colours := brightness(screenshot(t, path, 1280, 1200, true))
	require.Less(t, dark, 0.2)
	require.Greater(t, colours, 100)
}
