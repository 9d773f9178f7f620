package server

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/nogap-go/nogap/internal/sqlerr"
)

type mariadb struct{ innodb }

// blocked asks first what costs little: what the session is doing, and how many sessions of the server wait for a row. Only if some
// do, it looks whether this one does. INNODB_TRX and INNODB_LOCK_WAITS are not asked, because they are up to 100 ms old, and older
// if they are asked more often than that.
func (mariadb) blocked(ctx context.Context, db *sql.DB, id int64) (Waiting, error) {
	var state sql.NullString
	var waits int64
	err := db.QueryRowContext(ctx, "SELECT p.STATE, (SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS "+
		"WHERE VARIABLE_NAME = 'INNODB_ROW_LOCK_CURRENT_WAITS') FROM information_schema.PROCESSLIST AS p WHERE p.ID = ?", id).
		Scan(&state, &waits)
	switch {
	case errors.Is(err, sql.ErrNoRows): // it is gone, or somebody else's
		return Waiting{}, nil
	case err != nil:
		return Waiting{}, err
	case state.String == "User lock", strings.HasPrefix(state.String, "Waiting for ") && strings.HasSuffix(state.String, " lock"):
		return Waiting{Answer: Yes}, nil
	case waits == 0:
		return Waiting{Answer: No}, nil
	}
	return waitsForRow(ctx, db, id)
}

// waitsForRow looks for the session in what InnoDB says of its transactions, for which the right PROCESS is needed.
func waitsForRow(ctx context.Context, db *sql.DB, id int64) (Waiting, error) {
	var kind, name, status string
	err := db.QueryRowContext(ctx, "SHOW ENGINE INNODB STATUS").Scan(&kind, &name, &status)
	if sqlerr.Of(err).Has(sqlerr.Server) {
		return Waiting{}, nil
	}
	if err != nil {
		return Waiting{}, err
	}
	for _, trx := range transactions(status) {
		if trx.thread == id && trx.waits {
			return Waiting{Answer: Yes}, nil
		}
	}
	return Waiting{Answer: No}, nil
}

// transaction is one that InnoDB tells of.
type transaction struct {
	thread int64
	waits  bool
}

var (
	beginsTransaction = regexp.MustCompile(`(?m)^---TRANSACTION `)
	ofThread          = regexp.MustCompile(`(?m)^(?:MariaDB|MySQL) thread id (\d+),`)
	lockWait          = regexp.MustCompile(`(?m)^LOCK WAIT `)
)

// transactions reads the list of transactions in InnoDB's status. What comes before it is the last deadlock, whose transactions look
// the same and have other headings. The text of the statement, which may be anything, comes after both lines that are looked for.
func transactions(status string) (all []transaction) {
	_, status, _ = strings.Cut(status, "\nLIST OF TRANSACTIONS FOR EACH SESSION:")
	for _, one := range beginsTransaction.Split(status, -1)[1:] {
		thread := ofThread.FindStringSubmatchIndex(one)
		if thread == nil {
			continue
		}
		id, err := strconv.ParseInt(one[thread[2]:thread[3]], 10, 64)
		if err == nil {
			all = append(all, transaction{id, lockWait.MatchString(one[:thread[0]])})
		}
	}
	return all
}
