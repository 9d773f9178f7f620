package idempotency

import (
	"crypto/sha256"
	"database/sql"
	"errors"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/callback"
	"github.com/nogap-go/nogap/internal/option"
	"github.com/nogap-go/nogap/internal/table"
)

// Option changes what New makes, and NewHandler. An invalid Option and one that is given twice are errors of the constructor.
type Option interface {
	HandlerOption
	storeOption() option.Option[storeConfig]
}

type storeConfig struct {
	dialect nogap.Dialect
	scope   string
}

type storeOption option.Option[storeConfig]

func (o storeOption) storeOption() option.Option[storeConfig] { return option.Option[storeConfig](o) }

func (o storeOption) handlerOption() option.Option[handlerConfig] {
	return option.Part(o.storeOption(), func(c *handlerConfig) *storeConfig { return &c.store })
}

// Scope names the keys of this Store among those of the table, so that several Stores may share it: the key "1" of
// one scope is another key than the key "1" of another scope. It is empty unless it is given, has at most 255 bytes
// and no NUL.
func Scope(name string) Option {
	return storeOption{Name: "Scope", Set: func(c *storeConfig) error {
		if name == "" {
			return errors.New("Scope: the name is empty")
		}
		c.scope = name
		return checkBytes("scope", name)
	}}
}

// WithDialect says which SQL the database speaks, so that the server is not asked.
func WithDialect(d nogap.Dialect) Option {
	return storeOption(table.WithDialect(d, func(c *storeConfig, d nogap.Dialect) { c.dialect = d }))
}

// DoOption changes how a Do runs, and how a Handler answers. An invalid DoOption and one that is given twice are errors before
// anything is sent.
type DoOption interface {
	HandlerOption
	doOption() option.Option[doConfig]
}

type doConfig struct {
	callback.Options
	fingerprint []byte // nil if there is none
	noWait      bool
	timeout     time.Duration // 0 is none
}

func (c *doConfig) shared() *callback.Options { return &c.Options }

type doOption option.Option[doConfig]

func (o doOption) doOption() option.Option[doConfig] { return option.Option[doConfig](o) }

func (o doOption) handlerOption() option.Option[handlerConfig] {
	return option.Part(o.doOption(), func(c *handlerConfig) *doConfig { return &c.do })
}

func configure(opts []DoOption) (c doConfig, given option.Given, err error) {
	given, err = option.Apply(&c, opts, DoOption.doOption)
	if err == nil {
		err = c.complete(given)
	}
	return c, given, err
}

// complete fills in what is not given.
func (c *doConfig) complete(given option.Given) error {
	if !given.Has("Isolation") {
		c.Isolation = sql.LevelReadCommitted
	}
	if given.Has("NoWait") && given.Has("Timeout") {
		return errors.New("NoWait and Timeout contradict each other")
	}
	return nil
}

// Fingerprint says what the request is, such as its body. A call that finds the result of another fingerprint under
// its key gets ErrKeyReused. Only the SHA-256 of s is kept. Nothing is compared if the result was stored without a
// fingerprint, or if the call has none.
func Fingerprint(s string) DoOption {
	return doOption{Name: "Fingerprint", Set: func(c *doConfig) error {
		sum := sha256.Sum256([]byte(s))
		c.fingerprint = sum[:]
		return nil
	}}
}

// NoWait makes Do return ErrInProgress if another call with the key is running, in this process or another one. On
// SQLite only calls of this process are seen. While another process writes anything there, Do returns the error of a
// busy database.
func NoWait() DoOption {
	return doOption{Name: "NoWait", Set: func(c *doConfig) error { c.noWait = true; return nil }}
}

// Timeout is how long Do waits for another call with the key. When it is over, Do returns nogap.ErrLockTimeout, and
// nothing was written. It does not bound the callback. MySQL counts the wait for calls of other processes in whole
// seconds, rounded up. On SQLite busy_timeout bounds that wait.
func Timeout(d time.Duration) DoOption {
	return doOption{Name: "Timeout", Set: func(c *doConfig) error {
		c.timeout = d
		return option.Positive("Timeout", d)
	}}
}

// Isolation sets the isolation level of the transaction: sql.LevelReadCommitted unless it is given. SQLite's transactions
// are serializable whatever is asked for.
func Isolation(level sql.IsolationLevel) DoOption {
	return doOption(callback.Isolation(level, (*doConfig).shared))
}

// MaxAttempts is how often the callback is run when its transaction loses against others: 50 unless it is given. With
// MaxAttempts(1) it is not run again for that. Two things do not count: attempts that end before the callback, and
// the attempt that follows a lost COMMIT.
func MaxAttempts(n int) DoOption {
	return doOption(callback.MaxAttempts(n, (*doConfig).shared))
}
