package atomic

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// statements returns the guarded updates, and asks the server what it and the table are if that isn't known.
func (c *column) statements(ctx context.Context) (*columnSQL, error) {
	return c.sql.Of(ctx, c.t, func(ctx context.Context, r txn.Runner, s dialect.Server, look dialect.Look) (*columnSQL, error) {
		if err := c.checkLook(look); err != nil {
			return nil, err
		}
		if c.creates {
			if err := checkUniqueIndex(ctx, r, c.t, s); err != nil {
				return nil, fmt.Errorf("CreateMissing: %w", err)
			}
		}
		return c.build(s, look), nil
	})
}

// checkLook returns an error if the column can't be changed by guarded updates, or the version is no number, which some
// servers would count up as if it were.
func (c *column) checkLook(look dialect.Look) error {
	commands := dialect.Update
	if c.creates {
		commands |= dialect.Insert
	}
	if err := c.t.CheckWritten(look, commands); err != nil {
		return err
	}
	if look.CutsTimes {
		return &placedError{c.t.Name.String() + "." + c.name.String(), errCutTimes}
	}
	if c.version == nil {
		return nil
	}
	return checkVersionType(c.t, c.name, *c.version, look)
}

var errCutTimes = errors.New("the driver cuts the microseconds of times (timeTruncate, for example), so that two of them are " +
	"one: change its settings")

// checkVersionType returns an error if the version that is counted up with a column is no number.
func checkVersionType(t *table.Table, column, version dialect.Ident, look dialect.Look) error {
	if look.Type == "" || dialect.IsNumber(look.Type) {
		return nil
	}
	return &placedError{t.Name.String(), fmt.Errorf("the version column %q is %s: only an integer can be counted up; "+
		"optimistic.ReadOnly(%q) is the other way out", version, look.Type, column)}
}

func (c *column) build(s dialect.Server, look dialect.Look) *columnSQL {
	var (
		col    = s.Quote(c.name)
		first  = s.Amount(c.number, len(c.t.Key)+1)
		second = s.Amount(c.number, len(c.t.Key)+2)
		sum    = col + " + " + first
		held   = s.Numeric(c.number, c.name)
		fits   = col + " IS NOT NULL"
		how    = c.howToReturn(s)
	)
	if exact := s.NoOverflow(col, first, sum); exact != "" {
		fits += " AND " + exact
	}
	if look.Rewrites {
		how = readBack
	}
	q := &columnSQL{
		locksRefused: s.LatestRead != "",
		get:          s.Compile("SELECT " + col + " FROM " + s.Quote(c.t.Name) + " WHERE " + s.Equals(c.t.Key, 1)),
		checkAmount:  func(amount any) error { return s.CheckAmount(c.number, amount) },
	}
	if c.creates {
		q.creation = c.creation(s, how, look.MeddlesInserts)
	}
	// c >= n, and not c - n >= 0, which is an error where the column is UNSIGNED.
	q.updates[decrementOne] = c.guard(s, col+" - 1", held+" >= 1", how, ErrInsufficient)
	take := func(a newValue) guardedUpdate {
		return c.guard(s, col+" - "+first, held+" >= "+first, a, ErrInsufficient)
	}
	add := func(a newValue) guardedUpdate { return c.guard(s, sum, fits, a, ErrLimit) }
	q.updates[decrement] = take(how)
	q.updates[increment] = add(how)
	q.updates[incrementUpTo] = c.guard(s, sum, fits+" AND "+sum+" <= "+second, how, ErrLimit)
	q.updates[compareAndSet] = c.guardSwap(s, second, held+" = "+first)
	// Nobody asks for the value of a part, so it has no RETURNING, which costs time. A part with LAST_INSERT_ID keeps its
	// statement, so it refuses what a single change refuses.
	part := how
	if part == returned {
		part = unneeded
	}
	q.parts[decrement], q.parts[increment], q.parts[decrementOther] = take(part), add(part), c.guardOther(s, first, held, part)
	for i := range q.parts {
		q.parts[i].value = unneeded
	}
	if look.Rewrites {
		q.updates[compareAndSet].verify = c.verify(s, second, held+" = "+first)
	}
	return q
}

// howToReturn returns how the new value comes back from the server.
func (c *column) howToReturn(s dialect.Server) newValue {
	switch {
	case s.UpdateReturning:
		return returned
	case c.number == dialect.Signed || c.number == dialect.Unsigned:
		return insertID
	}
	return readBack
}

func (c *column) guard(s dialect.Server, value, condition string, a newValue, refusal error) guardedUpdate {
	if a == insertID {
		// An UNSIGNED or a DECIMAL column holds more than comes back in a number of 64 bits. What is taken from is looked at
		// before, since a difference below zero would be an error there.
		largest, most := s.Quote(c.name), "9223372036854775807"
		if c.number == dialect.Unsigned {
			most = "18446744073709551615"
		}
		if refusal == ErrLimit {
			largest = value
		}
		condition += " AND " + largest + " <= " + most
	}
	u := guardedUpdate{value: a, refusal: refusal}
	u.question, u.latest = c.question(s, condition, strconv.Itoa(holds))
	tail := ""
	switch a {
	case returned:
		tail = " RETURNING " + s.Quote(c.name)
	case insertID:
		// https://dev.mysql.com/doc/refman/8.4/en/information-functions.html#function_last-insert-id
		// What the function returns is not stored: it is unsigned, and rounded where the column is a DECIMAL.
		carried := value
		if c.number == dialect.Unsigned {
			// MySQL takes a decimal for a signed number, and cuts what is more.
			carried = "CAST(" + value + " AS UNSIGNED)"
		}
		value = "CASE WHEN LAST_INSERT_ID(" + carried + ") = 0 THEN " + value + " ELSE " + value + " END"
	case checked:
		tail = s.Verify(c.stored(s, value, condition))
		u.verifies = tail != ""
	}
	u.statement = s.Compile("UPDATE " + s.Quote(c.t.Name) + " SET " + s.Quote(c.name) + " = " + value + countUp(s, c.version) +
		" WHERE " + s.Equals(c.t.Key, 1) + " AND " + condition + c.and() + tail)
	return u
}

// guardOther is the guard of a decrement by which the row that was added to before can't pay: if it is the same one, the
// guard and the refusal look at what it had before.
func (c *column) guardOther(s dialect.Server, first, held string, how newValue) guardedUpdate {
	col, same := s.Quote(c.name), s.Equals(c.t.Key, len(c.t.Key)+2)
	condition := held + " >= " + first + " AND CASE WHEN " + same + " THEN " + col + " - " + first + " >= " + first + " ELSE 1 = 1 END"
	u := c.guard(s, col+" - "+first, condition, how, ErrInsufficient)
	u.question, u.latest = c.questionAbout(s, "CASE WHEN "+same+" THEN "+col+" - "+first+" ELSE "+col+" END", condition, strconv.Itoa(holds))
	return u
}

// and is what the option Where adds to a condition.
func (c *column) and() string {
	if c.where == "" {
		return ""
	}
	return " AND " + c.where
}

// stored is the condition that the column holds a value that was to replace the one under a condition. A decimal may have
// been rounded.
func (c *column) stored(s dialect.Server, value, condition string) string {
	stored := s.Quote(c.name) + " " + s.NullSafeEquals + " " + value
	if c.number == dialect.Decimal {
		stored += " OR NOT (" + condition + ")"
	}
	return stored
}

// verify selects 1 if the row holds what a compare-and-set has written.
func (c *column) verify(s dialect.Server, to, condition string) dialect.Statement {
	return s.Compile("SELECT CASE WHEN " + c.stored(s, to, condition) + " THEN 1 ELSE 0 END FROM " + s.Quote(c.t.Name) +
		" WHERE " + s.Equals(c.t.Key, 1))
}

// countUp is the assignment that counts a version up, behind that of the value. It is empty if there is none.
func countUp(s dialect.Server, version *dialect.Ident) string {
	if version == nil {
		return ""
	}
	return ", " + s.Quote(*version) + " = " + countedUp(s, *version)
}

// countedUp is the next version. After NULL comes 1, as in package optimistic.
func countedUp(s dialect.Server, version dialect.Ident) string {
	return "COALESCE(" + s.Quote(version) + ", 0) + 1"
}

// guardSwap is the guard of a compare-and-set. With a version the row changes even if the value is there already.
func (c *column) guardSwap(s dialect.Server, to, condition string) guardedUpdate {
	u := c.guard(s, to, condition, checked, ErrMismatch)
	if c.version == nil {
		u.question, u.latest = c.question(s, condition,
			fmt.Sprintf("CASE WHEN %s = %s THEN %d ELSE %d END", s.Quote(c.name), to, noop, holds))
	}
	return u
}

func (c *column) question(s dialect.Server, condition, finding string) (question, latest dialect.Statement) {
	return c.questionAbout(s, s.Quote(c.name), condition, finding)
}

// questionAbout is the question that selects another value than that of the column alone.
func (c *column) questionAbout(s dialect.Server, value, condition, finding string) (question, latest dialect.Statement) {
	if c.where != "" {
		finding = fmt.Sprintf("CASE WHEN %s THEN %s ELSE %d END", c.where, finding, fails)
	}
	text := fmt.Sprintf("SELECT %s, CASE WHEN %s THEN %s ELSE %d END FROM %s WHERE %s",
		value, condition, finding, refuses, s.Quote(c.t.Name), s.Equals(c.t.Key, 1))
	return s.Compile(text), s.Compile(text + s.LatestRead)
}
