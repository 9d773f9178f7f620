package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

var (
	link   = regexp.MustCompile(`\]\(([^()\s]+)\)|(?:src|srcset|href)="([^"\s]+)"`)
	inline = regexp.MustCompile("`[^`]*`")
)

// Every link of a page to a file of the repository leads to one, and where it names a heading, to one of that file.
func TestLinks(t *testing.T) {
	seen := 0
	for _, page := range pages(t) {
		for i, line := range prose(readLines(t, page)) {
			for _, found := range link.FindAllStringSubmatch(line, -1) {
				target := found[1] + found[2]
				if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
					continue
				}
				seen++
				file, heading, _ := strings.Cut(target, "#")
				path := page
				if file != "" {
					path = filepath.Join(filepath.Dir(page), filepath.FromSlash(file))
				}
				if _, err := os.Stat(path); err != nil {
					t.Errorf("%s:%d: there is no file %s", name(page), i+1, file)
				} else if heading != "" && !anchors(readLines(t, path))[heading] {
					t.Errorf("%s:%d: %s has no heading #%s", name(page), i+1, name(path), heading)
				}
			}
		}
	}
	require.NotZero(t, seen)
}

// Every example has a line in the README.
func TestExamples(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	entries, err := os.ReadDir(filepath.Join(root, "examples"))
	require.NoError(t, err)
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			require.True(t, strings.Contains(string(readme), "](examples/"+e.Name()+"): "), "README.md has no line for examples/%s", e.Name())
		}
	}
}

// prose returns the lines of a page, empty where they are code.
func prose(page []string) []string {
	lines := make([]string, len(page))
	inside := false
	for i, line := range page {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			inside = !inside
		} else if !inside {
			lines[i] = inline.ReplaceAllString(line, "``")
		}
	}
	return lines
}

// anchors returns the names that GitHub gives to the headings of a page. (That of a heading which stands there twice is left out.)
func anchors(page []string) map[string]bool {
	names := map[string]bool{}
	inside := false
	for _, line := range page {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			inside = !inside
		}
		marks, heading, ok := strings.Cut(line, " ")
		if inside || !ok || strings.Trim(marks, "#") != "" || marks == "" {
			continue
		}
		names[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, heading)] = true
	}
	return names
}

// The test finds what it is there to find.
func TestAnchors(t *testing.T) {
	require.Equal(t, map[string]bool{"how-fast": true, "errors-their-names-and-errx": true},
		anchors([]string{"# How fast", "text", "```", "# no heading", "```", "## Errors: their names, and `ErrX`", "#no"}))
	require.Equal(t, []string{"see `` [b](c)", "", "", "", "[d](e)"},
		prose([]string{"see `[x](y)` [b](c)", "```go", "m[f](x)", "```", "[d](e)"}))
}
