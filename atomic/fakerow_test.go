package atomic_test

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/nogap-go/nogap/internal/fakedb"
)

// fakeRow is a PostgreSQL server with one table, items, of which the integer column stock is all that matters. It
// evaluates the statements of package atomic, and is as strict about overflow as the original.
type fakeRow struct {
	mu        sync.Mutex
	stock     map[driver.Value]*int64 // by id; nil is NULL
	low, high int64                   // what the column's type, or a CHECK, lets in
	refuses   string                  // the SQLSTATE for what it does not let in
	log       []string                // writes are "UPDATE", a look is "SELECT"

	// before is called before each statement; the row is not locked.
	before func(ctx context.Context, c fakedb.Call) error
}

type sqlState string

func (s sqlState) Error() string    { return "SQLSTATE " + string(s) }
func (s sqlState) SQLState() string { return string(s) }

// smallint is the row of sku-1 in a SMALLINT column.
func smallint(stock int64) *fakeRow {
	return &fakeRow{
		stock: map[driver.Value]*int64{"sku-1": &stock}, low: -1 << 15, high: 1<<15 - 1, refuses: "22003",
	}
}

// beforeUpdates sets before to a function that is called before UPDATEs alone.
func (f *fakeRow) beforeUpdates(call func(ctx context.Context) error) {
	f.before = func(ctx context.Context, c fakedb.Call) error {
		if strings.HasPrefix(c.Query, "UPDATE") {
			return call(ctx)
		}
		return nil
	}
}

func (f *fakeRow) set(v int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stock["sku-1"] = &v
}

func (f *fakeRow) get() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *f.stock["sku-1"]
}

// statements returns the log, and forgets it.
func (f *fakeRow) statements() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	log := f.log
	f.log = nil
	return log
}

var (
	updatePattern = regexp.MustCompile(`^UPDATE "items" SET "stock" = (.*) WHERE "id" = \$1 AND (.*) RETURNING "stock"$`)
	checkPattern  = regexp.MustCompile(`^SELECT "stock", CASE WHEN (.*) THEN 1 ELSE 0 END FROM "items" WHERE "id" = \$1$`)
	lookPattern   = regexp.MustCompile(`^SELECT "stock" FROM "items" WHERE "id" = \$1( FOR UPDATE)?$`)
	castPattern   = regexp.MustCompile(`CAST\(\$(\d) AS (?:BIGINT|NUMERIC)\)`)
)

func (f *fakeRow) handle(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
	if c.Query == "SELECT 1" { // asks whether the connection still answers
		return fakedb.Row(int64(1)), nil
	}
	if f.before != nil && c.Kind == fakedb.Query {
		if err := f.before(ctx, c); err != nil {
			return fakedb.Reply{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch c.Kind {
	case fakedb.Begin, fakedb.Commit, fakedb.Rollback:
		f.log = append(f.log, c.Kind.String())
	}
	if c.Kind != fakedb.Query {
		return fakedb.Reply{}, nil
	}
	verb, _, _ := strings.Cut(c.Query, " ")
	if strings.HasSuffix(c.Query, "FOR UPDATE") {
		verb = "LOCK"
	}
	f.log = append(f.log, verb)
	stock, found := f.stock[c.Arg(0)]
	if !found {
		return fakedb.Reply{Columns: []string{"stock"}}, nil
	}
	if m := lookPattern.FindStringSubmatch(c.Query); m != nil {
		return fakedb.Row(column(stock)), nil
	}
	if m := checkPattern.FindStringSubmatch(c.Query); m != nil {
		holds, err := condition(m[1], stock, c)
		if err != nil {
			return fakedb.Reply{}, err
		}
		return fakedb.Row(column(stock), int64(map[bool]int{true: 1}[holds])), nil
	}
	m := updatePattern.FindStringSubmatch(c.Query)
	if m == nil {
		return fakedb.Reply{}, fmt.Errorf("fakeRow does not know %s", c.Query)
	}
	holds, err := condition(m[2], stock, c)
	if err != nil || !holds {
		return fakedb.Reply{Columns: []string{"stock"}}, err
	}
	v, err := expression(m[1], stock, c)
	if err != nil {
		return fakedb.Reply{}, err
	}
	if v < f.low || v > f.high {
		return fakedb.Reply{}, sqlState(f.refuses)
	}
	*stock = v
	return fakedb.Row(v), nil
}

func column(stock *int64) driver.Value {
	if stock == nil {
		return nil
	}
	return *stock
}

// condition evaluates terms joined by AND. As anywhere in SQL, one about NULL does not hold.
func condition(text string, stock *int64, c fakedb.Call) (bool, error) {
	if stock == nil {
		return false, nil
	}
	for term := range strings.SplitSeq(text, " AND ") {
		if term == `"stock" IS NOT NULL` {
			continue
		}
		operator := " >= "
		if !strings.Contains(term, operator) {
			operator = " <= "
		}
		left, right, found := strings.Cut(term, operator)
		if !found {
			return false, fmt.Errorf("fakeRow does not know the condition %s", term)
		}
		a, err := expression(left, stock, c)
		if err != nil {
			return false, err
		}
		b, err := expression(right, stock, c)
		if err != nil {
			return false, err
		}
		if operator == " >= " && a < b || operator == " <= " && a > b {
			return false, nil
		}
	}
	return true, nil
}

// expression evaluates a value, or a sum or difference of two, in 64 bits.
func expression(text string, stock *int64, c fakedb.Call) (int64, error) {
	for _, operator := range []string{" + ", " - "} {
		left, right, found := strings.Cut(text, operator)
		if !found {
			continue
		}
		a, err := expression(left, stock, c)
		if err != nil {
			return 0, err
		}
		b, err := expression(right, stock, c)
		if err != nil {
			return 0, err
		}
		sum := new(big.Int)
		if operator == " + " {
			sum.Add(big.NewInt(a), big.NewInt(b))
		} else {
			sum.Sub(big.NewInt(a), big.NewInt(b))
		}
		if !sum.IsInt64() {
			return 0, sqlState("22003")
		}
		return sum.Int64(), nil
	}
	if text == `"stock"` {
		return *stock, nil
	}
	if m := castPattern.FindStringSubmatch(text); m != nil {
		i, _ := strconv.Atoi(m[1])
		return c.Arg(i - 1).(int64), nil
	}
	return strconv.ParseInt(text, 10, 64)
}
