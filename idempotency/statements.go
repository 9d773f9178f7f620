package idempotency

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// statements are what a Store says to its table. Their values are the scope, the key, and what their comments say.
type statements struct {
	server dialect.Server
	// insert takes the fingerprint and the number of the try. Where it returns nothing, a key that is there is an error.
	insert dialect.Statement
	// lookup reads the row as everybody sees it, lookupLatest the newest one, and locks it against writers.
	lookup, lookupLatest dialect.Statement
	// probe is lookupLatest, but fails at once if the row is locked; unset where the server can't do that.
	probe dialect.Statement
	// finish takes the result and its type.
	finish dialect.Statement
	// forget returns a number if forgetReturns.
	forget        dialect.Statement
	forgetReturns bool
	// old takes the key after which to go on, the age in microseconds and a number of keys. forgetOld takes,
	// without a key of its own, the age and as many keys as batch says. It returns how many it has deleted if forgetOldCounts.
	old, forgetOld  dialect.Statement
	forgetOldCounts bool
	batch           int
}

const (
	ofKey   = " WHERE scope = {1} AND idempotency_key = {2}"
	entryIs = "SELECT fingerprint, result, result_type, try FROM "
)

func build(s dialect.Server, table dialect.Ident) *statements {
	name := s.Quote(table)
	insert := "INSERT INTO " + name + " (scope, idempotency_key, fingerprint, try, created_at) VALUES ({1}, {2}, {3}, {4}" +
		s.SessionInValue + ", " + s.Now + ")"
	if s.OnConflict {
		insert += " ON CONFLICT (scope, idempotency_key) DO NOTHING RETURNING " + s.ReturnsSession
	}
	// InnoDB would lock all that it passes over on its way to several keys, and wait for those whose calls run.
	batch := sweepBatch
	if s.GapLocks {
		batch = 1
	}
	q := &statements{
		batch:         batch,
		server:        s,
		insert:        s.Compile(insert),
		lookup:        s.Compile(entryIs + name + ofKey),
		lookupLatest:  s.Compile(entryIs + name + ofKey + s.LatestReadShared),
		finish:        s.Compile("UPDATE " + name + " SET result = {3}, result_type = {4}" + ofKey),
		forget:        s.Compile("DELETE FROM " + name + ofKey + s.Returning),
		forgetReturns: s.Returning != "",
		old: s.Compile("SELECT idempotency_key FROM " + name + " WHERE scope = {1} AND idempotency_key > {2} AND created_at < " +
			s.Ago("{3}") + " ORDER BY idempotency_key LIMIT {4}"),
	}
	forgetOld := "DELETE FROM " + name + " WHERE scope = {1} AND created_at < " + s.Ago("{2}") +
		" AND idempotency_key IN (" + values(3, batch) + ")"
	if q.forgetOldCounts = s.WritingCTE && s.Returning != ""; q.forgetOldCounts {
		forgetOld = "WITH swept AS (" + forgetOld + s.Returning + ") SELECT count(*) FROM swept"
	}
	q.forgetOld = s.Compile(forgetOld)
	if clause, err := s.LockClause(dialect.ForShare, dialect.NoWait); err == nil {
		q.probe = s.Compile(entryIs + name + ofKey + clause)
	}
	return q
}

// values returns placeholders for n of the caller's values, from first on.
func values(first, n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("{%d}", first+i)
	}
	return strings.Join(all, ", ")
}

// statements returns what to say to the table, which is looked at once.
func (s *store) statements(ctx context.Context) (*statements, error) {
	return s.sql.Of(ctx, s.t, func(ctx context.Context, r txn.Runner, server dialect.Server, look dialect.Look) (*statements, error) {
		if !look.Listed {
			return nil, fmt.Errorf("there is no table %s, or the user may not see it; it is to be made by\n%s", s.t.Name, s.schema(server))
		}
		if err := s.t.CheckWritten(look, dialect.Insert|dialect.Update|dialect.Delete); err != nil {
			return nil, err
		}
		if err := s.checkIndex(ctx, r, server); err != nil {
			return nil, err
		}
		return build(server, s.t.Name), nil
	})
}

// checkIndex looks for the unique index, unless the server itself refuses to do without.
func (s *store) checkIndex(ctx context.Context, r txn.Runner, server dialect.Server) error {
	query, args, needed := server.UniqueIndexes(s.t.Name, s.t.Key)
	if !needed {
		return nil
	}
	var found int
	if err := r.Read(ctx, query.Text, query.Args(args), &found); err != nil {
		return fmt.Errorf("looking for the unique index of %s: %w", s.t.Name, err)
	}
	if found == 0 {
		return fmt.Errorf("%w: table %s has none on exactly the columns (%s); it is to be made by\n%s", errNoIndex, s.t.Name,
			s.t.KeyNames(), s.schema(server))
	}
	return nil
}

var errNoIndex = errors.New("no unique index")

// schema returns the CREATE TABLE of a server.
func (s *store) schema(server dialect.Server) string {
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s (
	scope %[2]s NOT NULL,
	idempotency_key %[2]s NOT NULL,
	fingerprint %[3]s,
	result %[4]s,
	result_type %[4]s,
	try BIGINT NOT NULL,
	created_at %[5]s NOT NULL,
	PRIMARY KEY (scope, idempotency_key)
)%[6]s`, server.Quote(s.t.Name), server.ExactBytes(maxKey), server.ExactBytes(32), server.LongBytes, server.InstantType,
		server.TableOptions())
}
