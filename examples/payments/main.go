// Payments charges the cards of customers at a provider that fails, hangs and answers late, while the customers lose patience
// and press the button again. Each payment is charged once. The pattern is in shop.go, to be copied: one transaction before
// the call of the provider and one after it, each with an idempotency key, and the provider's own key in between.
//
//	go run -C examples ./payments               # 1,000 payments
//	go run -C examples ./payments -keys=false   # a new key for each try: what the keys are for
//
// The payments are kept in an SQLite file that is removed at the end.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite", in pure Go
)

func main() {
	payments := flag.Int("payments", 1000, "how many payments customers make")
	keys := flag.Bool("keys", true, "whether the tries of one payment have one key")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *payments, *keys); err != nil {
		fmt.Fprintln(os.Stderr, "payments:", err)
		os.Exit(1)
	}
}

var errWrong = errors.New("the books are wrong")

func run(ctx context.Context, out io.Writer, payments int, keys bool) error {
	dir, err := os.MkdirTemp("", "payments")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "payments.db")+
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // SQLite has one writer at a time, and database/sql queues more fairly than it does
	p := newProvider()
	defer p.close()
	s, err := newShop(ctx, db, p.url)
	if err != nil {
		return err
	}

	told := visit(ctx, s, payments, keys)
	settled, err := s.settlePending(ctx)
	if err != nil {
		return err
	}
	b, err := audit(ctx, db, p, told)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d customers tried %d times; %d gave up, and a job settled %d payments\n",
		payments, told.tries.Load(), told.gaveUp.Load(), settled)
	fmt.Fprintf(out, "%d of %d calls of the provider failed\n", p.failed.Load(), p.calls.Load())
	fmt.Fprintf(out, "paid %d, refused %d, pending %d\n", b.paid, b.refused, b.pending)
	fmt.Fprintf(out, "charged twice %d, charged and not paid %d, paid and not charged %d, told otherwise %d\n",
		b.twice, b.lost, b.unpaid, b.otherwise)
	if b.twice+b.lost+b.unpaid+b.otherwise+b.pending > 0 {
		return errWrong
	}
	return nil
}
