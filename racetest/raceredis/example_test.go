package raceredis_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/racetest/fakeitems"
	"github.com/nogap-go/nogap/racetest"
	"github.com/nogap-go/nogap/racetest/raceredis"
)

// In a test of yours it is the *testing.T.
var t = quiet{}

// Two requests count a visit by GET and SET: one of them is lost. INCR closes the gap.
func Example() {
	rdb := newRedis() // your *redis.Client
	defer rdb.Close()

	visit := func(ctx context.Context, _ *sql.DB) error {
		n, err := rdb.Get(ctx, "visits").Int()
		if err != nil {
			return err
		}
		return rdb.Set(ctx, "visits", n+1, 0).Err()
	}
	failure := racetest.MustFail(t, racetest.Scenario{
		Open:      fakeitems.New(), // racetest.Open("pgx", dsn)
		Resources: []racetest.Resource{raceredis.Clients(rdb)},
		Setup:     func(ctx context.Context, _ *sql.DB) error { return rdb.Set(ctx, "visits", 0, 0).Err() },
		Clients:   []racetest.Client{{Name: "ann", Run: visit}, {Name: "bob", Run: visit}},
	})
	fmt.Println(failure.Kind)
	fmt.Println(failure.Differences[0])
	fmt.Println(failure.Schedule)
	for _, advice := range failure.Advice {
		fmt.Println(advice)
	}
	// Output:
	// lost update
	// redis, key visits: value is 1; every order of whole clients ends with 2
	// ann:1 bob:2 ann:1
	// one command (INCR, SET with NX), one Lua script that reads, decides and writes, or WATCH with MULTI and EXEC has no gap;
	// distlock.Locker.WithLock lets one in at a time
}

// quiet is a test whose log nobody reads.
type quiet struct{}

func (quiet) Helper()                        {}
func (quiet) Name() string                   { return "TestVisit" }
func (quiet) Logf(string, ...any)            {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// newRedis returns a client of a Redis in memory that knows what the example needs.
func newRedis() *redis.Client {
	var mu sync.Mutex
	values := map[string]string{}
	return redis.NewClient(&redis.Options{
		DisableIdentity: true,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				for r := bufio.NewReader(server); ; {
					args, err := readCommand(r)
					if err != nil {
						return
					}
					mu.Lock()
					reply := answer(values, args)
					mu.Unlock()
					if _, err := io.WriteString(server, reply); err != nil {
						return
					}
				}
			}()
			return client, nil
		},
	})
}

// readCommand reads a command of the protocol RESP: how many arguments there are, and of each its length and its bytes.
func readCommand(r *bufio.Reader) ([]string, error) {
	number := func() (int, error) {
		line, err := r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	n, err := number()
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		length, err := number()
		if err != nil {
			return nil, err
		}
		text := make([]byte, length+len("\r\n"))
		if _, err := io.ReadFull(r, text); err != nil {
			return nil, err
		}
		args[i] = string(text[:length])
	}
	return args, nil
}

// answer carries out a command, and returns its reply in RESP.
func answer(values map[string]string, args []string) string {
	info := func(name, flag string) string {
		return fmt.Sprintf("*6\r\n$%d\r\n%s\r\n:-2\r\n*1\r\n+%s\r\n:1\r\n:1\r\n:1\r\n", len(name), name, flag)
	}
	switch strings.ToLower(args[0]) {
	case "command": // which commands read, and which write
		return "*2\r\n" + info("get", "readonly") + info("set", "write")
	case "set":
		values[args[1]] = args[2]
		return "+OK\r\n"
	case "get":
		v, found := values[args[1]]
		if !found {
			return "$-1\r\n"
		}
		return fmt.Sprintf("$%d\r\n%s\r\n", len(v), v)
	case "del":
		delete(values, args[1])
		return ":1\r\n"
	case "type":
		if _, found := values[args[1]]; found {
			return "+string\r\n"
		}
		return "+none\r\n"
	case "pttl":
		return ":-1\r\n"
	}
	return "-ERR unknown command\r\n"
}
