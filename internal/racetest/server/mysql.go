package server

import (
	"context"
	"database/sql"

	"github.com/nogap-go/nogap/internal/sqlerr"
)

type mysql struct{ innodb }

// blocked looks for waits for rows and for metadata locks, to which those of GET_LOCK belong.
//
// The thread of a lock is the one that made it. If a row was locked by being inserted, it is the waiting thread that makes the lock of
// the other one, and data_lock_waits has the two the wrong way round, or does not name one of them. So it tells whether anybody waits, and
// the list of transactions who, if it does.
//
// https://dev.mysql.com/doc/refman/8.4/en/performance-schema-data-lock-waits-table.html
func (mysql) blocked(ctx context.Context, db *sql.DB, id int64) (Waiting, error) {
	anybody, err := mysqlWaits(ctx, db, "SELECT 1 FROM performance_schema.data_lock_waits LIMIT 1")
	if err != nil || anybody.Answer == Unknown {
		return anybody, err
	}
	if anybody.Answer == Yes {
		if row, err := mysqlRow(ctx, db, id); err != nil || row.Answer != No {
			return row, err
		}
	}
	return mysqlWaits(ctx, db, pending, id)
}

// mysqlRow says whether a session waits for a row. The list of transactions does not have all that wait, and data_lock_waits may have them
// the wrong way round, but then the list has the other one.
func mysqlRow(ctx context.Context, db *sql.DB, id int64) (Waiting, error) {
	row, err := waitsForRow(ctx, db, id)
	if err != nil || row.Answer == Unknown {
		return row, err
	}
	if row.Answer == Yes {
		by, err := mysqlWaits(ctx, db, concerned, id)
		return Waiting{Yes, by.By}, err
	}
	requesting, err := mysqlWaits(ctx, db, requested, id)
	if err != nil || requesting.Answer != Yes {
		return requesting, err
	}
	for _, other := range requesting.By {
		row, err := waitsForRow(ctx, db, other)
		if err != nil {
			return row, err
		}
		if row.Answer != Yes {
			continue
		}
		// The other one waits, too. Unless that is in data_lock_waits by itself, this is it, the wrong way round.
		if own, err := mysqlWaits(ctx, db, requested, other); err != nil || own.Answer == No {
			return Waiting{Answer: No}, err
		}
	}
	return requesting, nil
}

const (
	requested = `
SELECT COALESCE(b.PROCESSLIST_ID, 0)
FROM performance_schema.threads AS r
JOIN performance_schema.data_lock_waits AS w ON w.REQUESTING_THREAD_ID = r.THREAD_ID
LEFT JOIN performance_schema.threads AS b ON b.THREAD_ID = w.BLOCKING_THREAD_ID
WHERE r.PROCESSLIST_ID = ?`
	concerned = `
SELECT COALESCE(o.PROCESSLIST_ID, 0)
FROM performance_schema.threads AS r
JOIN performance_schema.data_lock_waits AS w ON r.THREAD_ID IN (w.REQUESTING_THREAD_ID, w.BLOCKING_THREAD_ID)
LEFT JOIN performance_schema.threads AS o ON o.THREAD_ID IN (w.REQUESTING_THREAD_ID, w.BLOCKING_THREAD_ID) AND o.THREAD_ID <> r.THREAD_ID
WHERE r.PROCESSLIST_ID = ?`
	pending = `
SELECT COALESCE(b.PROCESSLIST_ID, 0)
FROM performance_schema.threads AS r
JOIN performance_schema.metadata_locks AS w ON w.OWNER_THREAD_ID = r.THREAD_ID AND w.LOCK_STATUS = 'PENDING'
JOIN performance_schema.metadata_locks AS h ON h.LOCK_STATUS = 'GRANTED' AND h.OWNER_THREAD_ID <> w.OWNER_THREAD_ID
	AND h.OBJECT_TYPE = w.OBJECT_TYPE AND h.OBJECT_SCHEMA <=> w.OBJECT_SCHEMA AND h.OBJECT_NAME <=> w.OBJECT_NAME
LEFT JOIN performance_schema.threads AS b ON b.THREAD_ID = h.OWNER_THREAD_ID
WHERE r.PROCESSLIST_ID = ?`
)

func mysqlWaits(ctx context.Context, db *sql.DB, query string, args ...any) (Waiting, error) {
	by, err := values[int64](ctx, db, query, args...)
	switch {
	case sqlerr.Of(err).Has(sqlerr.Server): // it does not let us look
		return Waiting{}, nil
	case err != nil:
		return Waiting{}, err
	case len(by) == 0:
		return Waiting{Answer: No}, nil
	}
	return Waiting{Yes, by}, nil
}
