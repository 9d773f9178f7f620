package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// A config is what the flags say.
type config struct {
	database *database  // nil: SQLite in a temporary file
	redis    redisNodes // none: in this process
	stories  []*story
	leftOut  []string // strategies that need more Redis nodes
	rounds   int      // of each sale; 0: as many as there is time for
	buyers   int
	stock    int
	servers  int
	json     bool
	html     string // the file of the report, or none
	given    string // the flags that were given, fit to be shown
}

func parseFlags(args []string, stderr io.Writer) (config, error) {
	var c config
	flags := flag.NewFlagSet("flashsale", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run prints the error, and the usage only when it is asked for
	dsn := flags.String("db", "", `the URL of the `+"`database`"+`, in which tables are made and dropped again:
postgres://user:password@host:port/name
mysql://user:password@host:port/name (MariaDB too)
sqlite:path of a file, which is switched to WAL mode
(default: SQLite in a temporary file)`)
	redis := flags.String("redis", "", "comma-separated `addresses` of independent Redis servers;\n"+
		"redlock needs 3 or 5 (default: 5 in this process)")
	story := flags.String("story", "stock", "the `name` of what goes wrong:\n"+strings.Join(storyNames(), ", ")+" or all")
	names := flags.String("strategy", "", "comma-separated `names` of the strategies to run\n(default: all of the story)")
	flags.IntVar(&c.rounds, "rounds", 0, "how often each strategy holds the sale, at least 1 time;\na row shows the sale of median duration\n"+
		"(default: as often as 3 s allow, the whole run less than a minute)")
	flags.IntVar(&c.buyers, "buyers", 500, "how many buy at once")
	flags.IntVar(&c.stock, "stock", 100, "how many items there are, or wallets, or users who like")
	flags.IntVar(&c.servers, "servers", 4, "how many API servers share the database")
	flags.BoolVar(&c.json, "json", false, "print a JSON array instead of the table")
	flags.StringVar(&c.html, "html", "", "also write a report with charts to the `file`, one page for a browser\n"+
		"(best an absolute path: with go run -C examples a relative one\nbegins in examples)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			usage(flags, stderr)
		}
		return config{}, err
	}
	c.given = shown(flags)
	switch {
	case flags.NArg() > 0:
		return config{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case c.buyers < 1:
		return config{}, fmt.Errorf("-buyers %d: at least 1 is needed", c.buyers)
	case c.stock < 0:
		return config{}, fmt.Errorf("-stock %d: at least 0 is needed", c.stock)
	case c.servers < 1:
		return config{}, fmt.Errorf("-servers %d: at least 1 is needed", c.servers)
	case c.rounds < 1 && isSet(flags, "rounds"):
		return config{}, fmt.Errorf("-rounds %d: at least 1 is needed; without the flag it is as often as 3 s allow", c.rounds)
	}
	var err error
	if c.stories, err = chooseStories(*story); err != nil {
		return config{}, fmt.Errorf("-story: %w", err)
	}
	if c.stories, err = choose(c.stories, *names); err != nil {
		return config{}, fmt.Errorf("-strategy: %w", err)
	}
	if c.stock == 0 && (*story == likeStory.name || *story == "all") {
		return config{}, errors.New("-stock 0: at least one user must like the post")
	}
	if *redis != "" {
		if c.redis, err = parseRedis(*redis); err != nil {
			return config{}, fmt.Errorf("-redis: %w", err)
		}
		if c.stories, c.leftOut, err = withRedis(c.stories, len(c.redis), *names != ""); err != nil {
			return config{}, fmt.Errorf("-redis: %w", err)
		}
	}
	if *dsn != "" {
		d, err := parseDSN(*dsn)
		if err != nil {
			return config{}, fmt.Errorf("-db: %w", err)
		}
		c.database = &d
	}
	return c, nil
}

func isSet(flags *flag.FlagSet, name string) (set bool) {
	flags.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// shown returns the flags that were given, as one types them. An address of a database may have a password anywhere in it,
// and the directory of the report is nobody's business: the one is cut to its scheme, the other to the name of the file.
func shown(flags *flag.FlagSet) string {
	var b strings.Builder
	flags.Visit(func(f *flag.Flag) {
		value := f.Value.String()
		switch f.Name {
		case "db":
			scheme, _, _ := strings.Cut(value, ":")
			value = scheme + ":…"
		case "html":
			value = filepath.Base(value)
		}
		if v, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && v.IsBoolFlag() {
			fmt.Fprintf(&b, " -%s=%s", f.Name, value)
			return
		}
		if strings.ContainsAny(value, " \t'\"$\\") {
			value = "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
		}
		fmt.Fprintf(&b, " -%s %s", f.Name, value)
	})
	return b.String()
}

// needsRedis reports whether one of the strategies does.
func (c config) needsRedis() bool {
	for _, st := range c.stories {
		for _, s := range st.strategies {
			if s.redis > 0 {
				return true
			}
		}
	}
	return false
}

func usage(flags *flag.FlagSet, w io.Writer) {
	fmt.Fprint(w, `flashsale sells the last items to many buyers at once, with one strategy after
another. With other stories a wallet is spent twice, or a post is liked twice.

  go run -C examples ./flashsale
  go run -C examples ./flashsale -story all -html /tmp/report.html
  go run -C examples ./flashsale -db postgres://user:password@host:5432/name

Flags:
`)
	flags.SetOutput(w)
	flags.PrintDefaults()
	for _, st := range stories {
		fmt.Fprintf(w, "\n-story %s: %s\n", st.name, st.about)
		for _, s := range st.strategies {
			fmt.Fprintf(w, "  %-20s  %s\n", s.name, s.about)
		}
	}
	fmt.Fprint(w, `
Columns:
  sold, paid, liked  requests that were told yes
  left, money        what the database says is left
  likes              what the post's count says
  req/s              requests answered per second, with yes or no
  p50, p99           what 50 % and 99 % of them waited at most for the answer
  verdict            whether the books are in order; if not, sentences follow

Exit status: 1 if a safe strategy oversold, lost an update or had errors,
or if the sale could not be held; 2 if the flags make no sense; 130 after
Ctrl-C and 143 after SIGTERM, with everything cleaned up. (go run itself exits
with 1 whenever the program's status is not 0, and prints that status.)
`)
}
