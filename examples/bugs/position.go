package bugs

import (
	"context"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/transaction"
)

// addCardWithGap gives two cards the same position.
func (s *service) addCardWithGap(ctx context.Context, list, title string) error {
	var position int64
	err := s.db.QueryRowContext(ctx, "SELECT COALESCE(MAX(position), 0) + 1 FROM cards WHERE list = ?", list).Scan(&position)
	if err != nil {
		return err
	}
	_, err = s.db.ExecContext(ctx, "INSERT INTO cards (title, list, position) VALUES (?, ?, ?)", title, list, position)
	return err
}

// addCard takes the position from a counter of the list, in the transaction that uses it.
func (s *service) addCard(ctx context.Context, list, title string) error {
	return transaction.Run(ctx, s.db, func(ctx context.Context, tx *sqlx.Tx) error {
		position, err := s.positions.WithTx(tx).Increment(ctx, 1, list)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, tx.Rebind("INSERT INTO cards (title, list, position) VALUES (?, ?, ?)"), title, list, position)
		return err
	})
}
