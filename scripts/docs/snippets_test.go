package docs_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every block of Go on a page stands in a Go file of the repository, so it compiles, and runs where that is a test or an example.
// See parts for what a block may leave out.
func TestSnippets(t *testing.T) {
	sources := map[string][]string{}
	for file, lines := range goFiles(t) {
		sources[file] = condense(lines)
	}
	require.Contains(t, sources, "examples/checkout/shop.go", "the nested modules are searched, too")
	for _, page := range pages(t) {
		for _, b := range blocks(readLines(t, page)) {
			if problem := search(b.lines, sources); problem != "" {
				t.Errorf("%s:%d: %s", name(page), b.line, problem)
			}
		}
	}
}

// block is a fenced block of Go, and the number of its first line.
type block struct {
	line  int
	lines []string
}

// blocks returns the blocks of a page that begin with ```go.
func blocks(page []string) []block {
	var found []block
	inside, isGo := false, false
	for i, line := range page {
		fence, ok := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case ok && inside:
			inside, isGo = false, false
		case ok:
			inside, isGo = true, strings.TrimSpace(fence) == "go"
			if isGo {
				found = append(found, block{line: i + 2})
			}
		case isGo:
			last := &found[len(found)-1]
			last.lines = append(last.lines, line)
		}
	}
	return found
}

// leftOut is the line of a block that stands for any number of lines of the source.
const leftOut = "// …"

// condense returns lines without indentation, alignment and empty lines, in which a block and its source may differ.
func condense(lines []string) []string {
	var condensed []string
	for _, line := range lines {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			condensed = append(condensed, line)
		}
	}
	return condensed
}

// parts returns what of a block stands between lines that are left out.
func parts(lines []string) [][]string {
	var all [][]string
	begun := false
	for _, line := range condense(lines) {
		switch {
		case line == leftOut:
			begun = false
		case begun:
			all[len(all)-1] = append(all[len(all)-1], line)
		default:
			all, begun = append(all, []string{line}), true
		}
	}
	return all
}

// search looks for a block in condensed sources, and says what is wrong if none of them has it: all of its parts, in their order.
func search(lines []string, sources map[string][]string) (problem string) {
	wanted := parts(lines)
	if len(wanted) == 0 {
		return "the block is empty"
	}
	longest, nearest := -1, ""
	for _, file := range slices.Sorted(maps.Keys(sources)) {
		n, whole := match(wanted, sources[file])
		if whole {
			return ""
		}
		if n > longest {
			longest, nearest = n, file
		}
	}
	all := slices.Concat(wanted...)
	if longest < 1 {
		return fmt.Sprintf("this block is in no Go file of the repository. It begins\n\t%s", all[0])
	}
	return fmt.Sprintf("this block is in no Go file of the repository. %s has what comes before this line:\n\t%s", nearest, all[longest])
}

// match returns how many lines of the parts a source has, counted from the first, and whether it has them all.
func match(wanted [][]string, source []string) (n int, whole bool) {
	for _, part := range wanted {
		longest, end := 0, -1
		for i := range source {
			common := 0
			for common < len(part) && i+common < len(source) && part[common] == source[i+common] {
				common++
			}
			longest = max(longest, common)
			if common == len(part) {
				end = i + common
				break
			}
		}
		n += longest
		if end < 0 {
			return n, false
		}
		source = source[end:]
	}
	return n, true
}

// The test finds what it is there to find.
func TestSearch(t *testing.T) {
	sources := map[string][]string{
		"a.go": condense([]string{"func f() {", "\ta()   // why", "", "\tb()", "\tc()", "}"}),
		"b.go": condense([]string{"x()"}),
	}
	for text, want := range map[string]string{
		"a() // why\n\nb()":     "",
		"\ta() // why\n\tb()":   "",
		"func f() {\n// …\n}":   "",
		"// …\na() // why":      "",
		"a() // why\nc()":       "this block is in no Go file of the repository. a.go has what comes before this line:\n\tc()",
		"a() // why\n// …\nx()": "this block is in no Go file of the repository. a.go has what comes before this line:\n\tx()",
		"b()\n// …\na() // why": "this block is in no Go file of the repository. a.go has what comes before this line:\n\ta() // why",
		"a()":                   "this block is in no Go file of the repository. It begins\n\ta()",
		"// …":                  "the block is empty",
	} {
		require.Equal(t, want, search(strings.Split(text, "\n"), sources), text)
	}
	require.Equal(t, []block{{line: 3, lines: []string{"a()", "b()"}}, {line: 10, lines: []string{"\tc()"}}},
		blocks(strings.Split("text\n```go\na()\nb()\n```\n```\nno()\n```\n  ```go\n\tc()\n  ```\nno()", "\n")))
}
