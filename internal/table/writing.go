package table

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/perdb"
	"github.com/nogap-go/nogap/internal/txn"
)

// writing is how a user package writes columns of a table: it compares a version and then writes what it read and
// changed, or it changes one column where it is, and may count a version up. If the second kind does not count up what
// the first one compares, the first one overwrites what the second one wrote.
type writing struct {
	table    dialect.Ident
	columns  []dialect.Ident
	version  *dialect.Ident // that is compared or counted up; nil if there is none
	compares bool
	integer  bool // the version that is compared can be counted up
	// suspects were there before, and are in the way if the server knows both names for one table.
	suspects []*writing
}

// writings are the ways in which the columns of one database are written. There is one for each that differs, so there
// are as many as the program has names.
type writings struct {
	mu  sync.Mutex
	all []*writing
}

var allWritings perdb.Map[writings]

// Counts notes that the column is changed in place, and that the version, unless it is nil, is counted up with it. The
// error says that somebody compares another version and would overwrite the column.
func (t *Table) Counts(column dialect.Ident, version *dialect.Ident) error {
	return t.note(&writing{table: t.Name, columns: []dialect.Ident{column}, version: version})
}

// Compares notes that the columns are written if the row still has the version. integer says whether it can be counted
// up. The error says that somebody changes one of the columns and does not count up the version.
func (t *Table) Compares(version dialect.Ident, integer bool, columns []dialect.Ident) error {
	return t.note(&writing{table: t.Name, columns: columns, version: &version, compares: true, integer: integer})
}

// note keeps w, unless something that was there before it is in the way.
func (t *Table) note(w *writing) error {
	all := allWritings.Of(t.db, nil)
	all.mu.Lock()
	defer all.mu.Unlock()
	if i := slices.IndexFunc(all.all, w.equal); i >= 0 {
		t.writing = all.all[i] // which was there before those that it is in the way of
		return nil
	}
	for _, other := range all.all {
		if !strings.EqualFold(w.table.Last(), other.table.Last()) {
			continue
		}
		if w.table.String() == other.table.String() {
			if err := w.clash(other, sameText); err != nil {
				return err
			}
		}
		if w.clash(other, foldedText) != nil {
			w.suspects = append(w.suspects, other)
		}
	}
	t.writing, all.all = w, append(all.all, w)
	return nil
}

// checkWriting returns an error if one of those that were there before is in the way: only the server knows all the
// spellings of a table's name.
func (t *Table) checkWriting(ctx context.Context, r txn.Runner, s dialect.Server) error {
	if t.writing == nil {
		return nil
	}
	for _, other := range t.writing.suspects {
		clash := t.writing.clash(other, s.SameColumn)
		if clash == nil {
			continue
		}
		q, args := s.SameTable(t.Name, other.table)
		var same int
		if err := r.Read(ctx, q.Text, q.Args(args), &same); err != nil {
			return fmt.Errorf("finding out whether %s and %s are one table: %w", t.Name, other.table, err)
		}
		if same == 1 {
			return clash
		}
	}
	return nil
}

func sameText(a, b dialect.Ident) bool   { return a.String() == b.String() }
func foldedText(a, b dialect.Ident) bool { return strings.EqualFold(a.String(), b.String()) }

func (w *writing) equal(other *writing) bool {
	return w.table.String() == other.table.String() && w.compares == other.compares && w.integer == other.integer &&
		slices.EqualFunc(w.columns, other.columns, sameText) &&
		(w.version == nil) == (other.version == nil) && (w.version == nil || sameText(*w.version, *other.version))
}

// clash returns an error if w and other, which are of one table, lose each other's writes. same compares the names of
// columns.
func (w *writing) clash(other *writing, same func(a, b dialect.Ident) bool) error {
	compares, counts := w, other
	if !w.compares {
		compares, counts = other, w
	}
	if !compares.compares || counts.compares {
		return nil
	}
	column := counts.columns[0]
	written := slices.ContainsFunc(compares.columns, func(c dialect.Ident) bool { return same(c, column) })
	if !written || counts.version != nil && compares.integer && same(*counts.version, *compares.version) {
		return nil
	}
	return errors.New(w.clashText(column, compares, counts))
}

// clashText says what is in the way of w, and what to do.
func (w *writing) clashText(column dialect.Ident, compares, counts *writing) string {
	text := fmt.Sprintf("%s.%s: an optimistic.Table of %s writes the column too, and would write back what it read",
		w.table, column, compares.table)
	if w.compares {
		text = fmt.Sprintf("column %s is changed by package atomic too, in %s, and would be written back as it was read",
			column, counts.table)
	}
	if !compares.integer {
		return fmt.Sprintf("%s: the version %q is no integer that atomic.VersionColumn could count up, so give "+
			"optimistic.ReadOnly(%q) to the Table", text, *compares.version, column)
	}
	return fmt.Sprintf("%s: give atomic.VersionColumn(%q) to what counts, or optimistic.ReadOnly(%q) to the Table",
		text, *compares.version, column)
}
