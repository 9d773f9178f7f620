package bugs

import (
	"context"
	"errors"

	"github.com/nogap-go/nogap/optimistic"
)

type page struct {
	ID      string `db:"id"`
	Text    string `db:"text"`
	Version int64  `db:"version"`
}

// appendWithGap compares the version and forgets to look whether a row was written: the loser is told that all is well.
func (s *service) appendWithGap(ctx context.Context, id, text string) error {
	var p page
	err := s.db.QueryRowContext(ctx, "SELECT id, text, version FROM pages WHERE id = ?", id).Scan(&p.ID, &p.Text, &p.Version)
	if err != nil {
		return err
	}
	_, err = s.db.ExecContext(ctx, "UPDATE pages SET text = ?, version = version + 1 WHERE id = ? AND version = ?",
		p.Text+text, p.ID, p.Version)
	return err
}

// append is run again with the newest text when somebody was faster.
func (s *service) append(ctx context.Context, id, text string) error {
	_, err := s.pages.Modify(ctx, func(p *page) error {
		p.Text += text
		return nil
	}, id)
	return err
}

// save is for a person who edits: it says that somebody was faster.
func (s *service) save(ctx context.Context, p *page) error {
	err := s.pages.Update(ctx, p)
	if errors.Is(err, optimistic.ErrVersionConflict) {
		return errConflict
	}
	return err
}
