// Package sqlite has errors of the shapes that the drivers of SQLite use. It is a package of its own because package
// sqlerr goes by the name of the package, as a program's own errors have methods and fields called Code too.
package sqlite

// Coded has the shape of *sqlite.Error of modernc.org/sqlite.
type Coded struct{ C int }

func (e *Coded) Error() string { return "coded" }

// Code returns the extended result code.
func (e *Coded) Code() int { return e.C }

// Fields has the shape of sqlite3.Error of mattn/go-sqlite3, which is no pointer.
type Fields struct {
	Code         ErrNo
	ExtendedCode ErrNoExtended
}

func (e Fields) Error() string { return "fields" }

type (
	// ErrNo is mattn's result code, an error itself.
	ErrNo int
	// ErrNoExtended is mattn's extended result code.
	ErrNoExtended int
	// ErrorCode is the result code of ncruces/go-sqlite3, an error itself.
	ErrorCode uint8
	// ExtendedErrorCode is the extended result code of ncruces, an error itself.
	ExtendedErrorCode uint16
)

func (e ErrNo) Error() string             { return "code" }
func (e ErrorCode) Error() string         { return "code" }
func (e ExtendedErrorCode) Error() string { return "code" }

// Code cuts the extended part off.
func (e ExtendedErrorCode) Code() ErrorCode { return ErrorCode(e) }

// Typed has the shape of *sqlite3.Error of ncruces.
type Typed struct{ C uint16 }

func (e *Typed) Error() string { return "typed" }

// Code returns the primary result code.
func (e *Typed) Code() ErrorCode { return ErrorCode(e.C) }

// ExtendedCode returns the extended result code.
func (e *Typed) ExtendedCode() ExtendedErrorCode { return ExtendedErrorCode(e.C) }

// Plain has a code that nobody can read.
type Plain struct{ C int }

func (e Plain) Error() string { return "plain" }

// Asking has a method Code that needs an argument.
type Asking struct{}

func (Asking) Error() string { return "asking" }

// Code returns what it is given.
func (Asking) Code(n int) int { return n }

// Many has a method Code that returns two values.
type Many struct{}

func (Many) Error() string { return "many" }

// Code returns a code and whether there is one.
func (Many) Code() (int, bool) { return 5, true }
