package dialect

// Capabilities are what a server can do and how it says it. The packages above ask for them and never for a server by
// name. They are plain data, so that each dialect stands in one file.
type Capabilities struct {
	// Notation.

	quote        string // around a name
	placeholders placeholders
	// NullSafeEquals is the operator under which NULL equals NULL.
	NullSafeEquals string
	// BindName is the name by which sqlx knows the placeholders.
	BindName string

	// What a write returns.

	// UpdateReturning: UPDATE … RETURNING works. Where it does not, LAST_INSERT_ID(expression) carries an integer back.
	UpdateReturning bool
	// OnConflict: INSERT … ON CONFLICT … RETURNING works, and INSERT … RETURNING. Where it does not, a duplicate is an error of
	// INSERT, ON DUPLICATE KEY UPDATE works, and LAST_INSERT_ID is the number that the server has made.
	OnConflict bool
	// WritingCTE: WITH … AS (INSERT … RETURNING …) SELECT works.
	WritingCTE bool
	// verifyStored is the end of an UPDATE that makes it fail if a condition does not hold for the row as it is stored, and
	// otherwise return a number. Empty where there is none.
	verifyStored string
	// Returning is the end of an INSERT or a DELETE that makes it return a number for each row, where that can tell more than
	// their count does: see Look.Returns. CockroachDB's count for INSERT … DO NOTHING can't be trusted either. Empty elsewhere.
	Returning string
	// uniqueIndexes counts the unique indexes on exactly some columns; empty if the server refuses an ON CONFLICT
	// without its index by itself.
	uniqueIndexes string

	// Numbers. The formats take a bound value, a column or both.

	amounts    [numbers]string // a bound amount, typed so that the server computes with it as exactly as with the column
	decimals   decimals        // of the amounts in which {scale} stands
	numeric    string          // a column as a number, for comparisons
	noOverflow string          // the condition under which column, amount and their sum are integers alike; may be empty
	// Unsigned64: there are columns and parameters of unsigned 64 bits.
	Unsigned64 bool

	// Transactions.

	// FixedIsolation: every transaction is serializable, whatever is asked for.
	FixedIsolation bool
	// LocalSettings: settings can be made to end with the transaction, and named locks do. Elsewhere both outlive it.
	LocalSettings bool
	// SavepointBegins: SAVEPOINT outside a transaction begins one. Elsewhere it, or RELEASE, is refused there.
	SavepointBegins bool
	// LatestRead and LatestReadShared stand at the end of a SELECT that must see the newest row inside a transaction,
	// as an UPDATE does. Empty where a plain SELECT does.
	LatestRead, LatestReadShared string

	// ReturnsSession are two columns that an INSERT returns with its row: which session the transaction runs in, and the
	// number of the transaction there; 0 and an empty text where it is not known. SessionInValue stands behind a number
	// that is inserted, so that LAST_INSERT_ID is the session. See EndSession.
	ReturnsSession, SessionInValue string
	ends                           sessionEnd

	// TakesArgument is a statement that does nothing with its one argument, where drivers may have the server prepare each
	// statement that has arguments. Empty elsewhere.
	TakesArgument string

	// Locks.

	// RowLocks: rows are locked one by one, and the server queues those who wait. Elsewhere there is one write lock, and
	// WriteLock takes it.
	RowLocks bool
	modes    [lockModes]string // the clauses; empty for a mode that the server does not have
	waits    [lockWaits]bool
	// GapLocks: under REPEATABLE READ a locking read also locks the rows and the gaps that it passes over.
	GapLocks bool
	// MissesReinserted: a locking read that has waited does not see a row that was deleted and inserted again meanwhile.
	MissesReinserted bool
	// LockLimit is how the wait for a lock is bounded.
	LockLimit LockLimit
	// NamedLocks is what there is to lock a name.
	NamedLocks NamedLocks
	// MayBeGalera: the server may be a node of a Galera cluster or of a replication group, whose locks are its own.
	MayBeGalera bool

	// keyIndex selects the name of a unique index on exactly some columns, which statements of manyRows name; empty if they do not.
	keyIndex string
	// oneByOne counts the triggers and the like for which rows are not written together; see OneByOne.
	oneByOne string
	// manyRows is how rows that several keys name are locked and written by one statement each.
	manyRows manyRows

	// Columns.

	// SystemVersion is the SQL of a number that the server itself changes with each write of a row; empty if none.
	SystemVersion string
	// TypelessTimes: times are stored as the driver writes them, and compared as that.
	TypelessTimes bool
	// Clock is the SQL of the server's time, in microseconds since 1970 UTC. Empty where the process's clock is the server's.
	Clock string
	// toCome is the condition that the time in a column has not come yet; one without a time zone is UTC. Empty where only
	// the driver knows which instant it has stored.
	toCome string
	// binaryTypes are the types of columns of bytes as drivers name them, since they read text as []byte, too. Empty where each
	// value says what it is.
	binaryTypes string
	// bits is the type of columns that drivers read as the bytes of a number, the highest first. Empty if none.
	bits         string
	timesOfSix   string // the types of times that keep microseconds: "" without a precision, or with six
	narrow       string // the types of numbers that hold fewer integers than 64 bits; empty if all hold as many
	exactText    string // the type of a text column that compares bytes, of so many at most
	sameBytes    string // the condition that two texts are the same, whatever their collation says
	tableOptions string // at the end of CREATE TABLE
	exactBytes   string // the type of a column of so many bytes at most, which compares them exactly
	// LongBytes is the type of a column of any number of bytes.
	LongBytes string
	// Now is the server's time, and InstantType the type of a column that keeps it, for comparing with ago alone: the server's
	// time so many microseconds ago.
	Now, InstantType, ago string
	// inMode makes a statement that runs in a sql_mode of its own, of the mode, the first word and what follows. Empty if the
	// server can't, or has no modes that cut values. mode is what Strictly has chosen.
	inMode, mode string

	// driverCutsTimes: the driver may send times without their microseconds, depending on its settings.
	driverCutsTimes bool

	// The first look. {schema} stands for the schema of the table, {2} for its name.

	// look selects the fields of Look and the definition of a view whose tables are to be looked at. {type} stands for
	// columnType, {cut} for the question whether times are cut.
	look string
	// columnType selects the type of column {3} of the table, in look.
	columnType string
	// currentSchema is the SQL of the schema that is meant if none is named; if empty, look itself knows.
	currentSchema string
	// catalogFixesSnapshot: a SELECT from the catalog fixes what a transaction sees, as one from a table does.
	catalogFixesSnapshot bool
	// session selects the session's autocommit and completion_type; empty where every statement is committed by itself.
	session string

	// Names.

	// FoldsColumns: names of columns compare without regard to case.
	FoldsColumns bool
	sameTable    string // selects 1 if two names are of one table, else 0
	makesValues  string // selects 1 if INSERT makes values of column {3} of the table {1}, in the schema {2}, and can say which; else 0
}

// Number is how the values of a Go type travel to and from a column.
type Number int

// The kinds of numbers.
const (
	Verbatim Number = iota // not a number: bound as it is
	Signed                 // fits a signed integer of 64 bits
	Unsigned               // fits an unsigned integer of 64 bits
	Decimal                // anything else: text, a decimal type, a float
	numbers
)

// LockLimit is how the time that a statement waits for a lock is bounded.
type LockLimit int

// The ways.
const (
	// LocalLimit is a setting that ends with the transaction, in milliseconds.
	LocalLimit LockLimit = iota + 1
	// StatementLimit stands before a statement and holds for it alone.
	StatementLimit
	// SessionLimit is a setting of the session, in seconds.
	SessionLimit
	// BusyLimit is SQLite's busy_timeout.
	BusyLimit
)

// NamedLocks is what a server has to lock a name.
type NamedLocks int

// The kinds of named locks.
const (
	// NoNamedLocks: none that hold.
	NoNamedLocks NamedLocks = iota
	// AdvisoryLocks end with the transaction.
	AdvisoryLocks
	// UserLocks (GET_LOCK) end with the session; UserLocksInFractions wait for fractions of a second.
	UserLocks
	UserLocksInFractions
	// DatabaseLock: the write lock of the database serves.
	DatabaseLock
)

// placeholders is how a server writes them.
type placeholders int

const (
	dollars               placeholders = iota + 1 // $1
	numberedQuestionMarks                         // ?1
	questionMarks                                 // ?, one for each occurrence
)
