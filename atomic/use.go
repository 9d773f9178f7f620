package atomic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fields"
	"github.com/nogap-go/nogap/internal/txn"
)

// useSQL is how a row is used, in the SQL of its server: at once, or locked by reading it and then written. The values are
// the key and then the time of the use.
type useSQL struct {
	// atOnce says that use does all of it. It selects 1 and the columns; question selects a finding about a row that it
	// did not write.
	atOnce        bool
	use, question dialect.Statement

	// read selects a finding, the expiry and the server's clock, where they are needed, and the columns, and locks the row.
	// writeLock comes before it unless it is empty.
	read                    dialect.Statement
	writeLock               string
	readsExpiry, readsClock bool
	typeless                bool // times are what the driver makes of them
	write                   dialect.Statement
	// verify selects 1 if the row is used, where a trigger may have meddled with write; in the same transaction.
	verify    dialect.Statement
	rewritten bool

	columns []fields.Column // that are selected
	marked  *fields.Column  // gets the time of the use in Go; nil if it is selected, or has no field
}

// The findings about a row, besides those of a guarded update.
const (
	wasUsed = fails + 1 + iota
	isExpired
)

func (u *singleUse) statements(ctx context.Context) (*useSQL, error) {
	return u.sql.Of(ctx, u.t, func(_ context.Context, _ txn.Runner, s dialect.Server, look dialect.Look) (*useSQL, error) {
		command := dialect.Update
		if u.deletes {
			command = dialect.Delete
		}
		if err := u.t.CheckWritten(look, command); err != nil {
			return nil, err
		}
		if u.version != nil {
			if err := checkVersionType(u.t, *u.usedAt, *u.version, look); err != nil {
				return nil, err
			}
		}
		return u.build(s, look.Rewrites && !u.deletes)
	})
}

// build makes the SQL. rewritten says that an UPDATE may store something else than it says.
func (u *singleUse) build(s dialect.Server, rewritten bool) (*useSQL, error) {
	guard, finding, inSQL := u.guard(s)
	q := &useSQL{atOnce: s.UpdateReturning && inSQL && !rewritten, rewritten: rewritten}
	if q.atOnce {
		u.buildAtOnce(s, q, guard, finding)
		return q, nil
	}
	q.typeless, q.readsExpiry = s.TypelessTimes, !inSQL
	q.readsClock = s.Clock != "" && (q.readsExpiry || u.usedAt != nil)
	return q, u.buildLocked(s, q, guard, finding)
}

func (u *singleUse) from(s dialect.Server) string {
	return " FROM " + s.Quote(u.t.Name) + " WHERE " + s.Equals(u.t.Key, 1)
}

func (u *singleUse) buildAtOnce(s dialect.Server, q *useSQL, guard, finding string) {
	returning := ""
	if u.usedAt != nil {
		returning = s.Verify(s.Quote(*u.usedAt) + " IS NOT NULL")
	}
	if returning == "" {
		returning = " RETURNING 1"
	}
	q.columns = u.columns
	q.use = s.Compile(u.command(s) + guard + returning + u.list(s, q))
	q.question = s.Compile("SELECT " + finding + u.from(s))
}

func (u *singleUse) buildLocked(s dialect.Server, q *useSQL, guard, finding string) error {
	lock, err := s.LockClause(dialect.ForUpdate, dialect.Wait)
	if err != nil {
		return err
	}
	facts := finding
	if q.readsExpiry {
		facts += ", " + s.Quote(*u.expiresAt)
	}
	if q.readsClock {
		facts += ", " + s.Clock
	}
	for i, c := range u.columns {
		if u.usedAt != nil && s.SameColumn(c.Name, *u.usedAt) {
			q.marked = &u.columns[i]
			continue
		}
		q.columns = append(q.columns, c)
	}
	q.read = s.Compile("SELECT " + facts + u.list(s, q) + u.from(s) + lock)
	q.writeLock = s.WriteLock(u.t.Name)
	q.write = s.Compile(u.command(s) + guard)
	if q.rewritten {
		q.verify = s.Compile("SELECT CASE WHEN " + s.Quote(*u.usedAt) + " IS NULL THEN 0 ELSE 1 END" + u.from(s))
	}
	return nil
}

// guard returns what is added to the condition of the key, and the finding about a row. inSQL says that they tell whether
// the row is expired.
func (u *singleUse) guard(s dialect.Server) (guard, finding string, inSQL bool) {
	finding, inSQL = strconv.Itoa(holds), true
	add := func(condition string, otherwise int) {
		guard = " AND " + condition + guard
		finding = fmt.Sprintf("CASE WHEN %s THEN %s ELSE %d END", condition, finding, otherwise)
	}
	if u.where != "" {
		add(u.where, fails)
	}
	if u.expiresAt != nil {
		toCome := s.ToCome(*u.expiresAt)
		if inSQL = toCome != ""; inSQL {
			add("("+s.Quote(*u.expiresAt)+" IS NULL OR "+toCome+")", isExpired)
		}
	}
	if u.usedAt != nil {
		add(s.Quote(*u.usedAt)+" IS NULL", wasUsed)
	}
	return guard, finding, inSQL
}

// command returns what writes the row with the key.
func (u *singleUse) command(s dialect.Server) string {
	where := " WHERE " + s.Equals(u.t.Key, 1)
	if u.deletes {
		return "DELETE FROM " + s.Quote(u.t.Name) + where
	}
	return "UPDATE " + s.Quote(u.t.Name) + " SET " + s.Quote(*u.usedAt) + " = {" + strconv.Itoa(len(u.t.Key)+1) + "}" +
		countUp(s, u.version) + where
}

// list returns the columns as they are selected, each behind a comma. Before the write, the version is one short.
func (u *singleUse) list(s dialect.Server, q *useSQL) string {
	var b strings.Builder
	for _, c := range q.columns {
		name := s.Quote(c.Name)
		if u.version != nil && !q.atOnce && s.SameColumn(c.Name, *u.version) {
			name = countedUp(s, *u.version)
		}
		b.WriteString(", " + name)
	}
	return b.String()
}

// useAtOnce uses the row in one statement, and otherwise finds out why it could not.
func (u *singleUse) useAtOnce(ctx context.Context, r txn.Runner, q *useSQL, key Key, row reflect.Value) error {
	args := arguments(key, timeOfUse(time.Now()))
	for turn := 1; ; turn++ {
		var one int
		err := r.QueryRow(ctx, q.use.Text, q.use.Args(args), q.dest(row, &one)...)
		switch {
		case dialect.Unverified(err):
			return fmt.Errorf("%w: %w", errOtherwise, err)
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		var finding int
		err = r.Read(ctx, q.question.Text, q.question.Args(args), &finding)
		switch {
		case err != nil:
			return err
		case finding != holds:
			return u.refused(finding, key)
		case turn == maxTurns:
			return errHeldBack
		}
	}
}

// useLocked locks the row, decides, and writes it.
func (u *singleUse) useLocked(ctx context.Context, r txn.Runner, q *useSQL, key Key, row reflect.Value) error {
	if q.writeLock != "" {
		if _, err := r.Exec(ctx, q.writeLock); err != nil {
			return err
		}
	}
	finding, expiry, clock := 0, instant{typeless: q.typeless}, int64(0)
	facts := []any{&finding}
	if q.readsExpiry {
		facts = append(facts, &expiry)
	}
	if q.readsClock {
		facts = append(facts, &clock)
	}
	if err := r.Read(ctx, q.read.Text, q.read.Args(key), q.dest(row, facts...)...); err != nil {
		return err
	}
	now := time.Now()
	if q.readsClock {
		now = time.UnixMicro(clock)
	}
	if finding != wasUsed && expiry.passed(now) {
		finding = isExpired
	}
	if finding != holds {
		return u.refused(finding, key)
	}
	now = timeOfUse(now)
	if q.marked != nil {
		if err := storeTime(reflect.ValueOf(q.marked.Pointer(row)).Elem(), now); err != nil {
			return err
		}
	}
	return u.write(ctx, r, q, arguments(key, now))
}

// write writes the row, which is locked and can be used.
func (u *singleUse) write(ctx context.Context, r txn.Runner, q *useSQL, args []any) error {
	_, wrote, err := txn.ExecOne(ctx, r, q.write.Text, q.write.Args(args)...)
	if err == nil && !wrote {
		err = errHeldBack
	}
	if err != nil || q.verify.Text == "" {
		return err
	}
	var used int
	err = r.Read(ctx, q.verify.Text, q.verify.Args(args), &used)
	if err == nil && used != 1 {
		err = errOtherwise
	}
	return err
}

// dest returns where a row is scanned to, behind some facts.
func (q *useSQL) dest(row reflect.Value, facts ...any) []any {
	for _, c := range q.columns {
		facts = append(facts, c.Pointer(row))
	}
	return facts
}

// timeOfUse returns a time as it is written: every server keeps microseconds, and those of the drivers that write text
// write UTC.
func timeOfUse(now time.Time) time.Time { return now.UTC().Truncate(time.Microsecond) }
