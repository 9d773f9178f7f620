package nogap

import (
	"context"
	"log/slog"
	"time"
)

// LogObserver returns an Observer that writes one line to logger for each operation that did not simply succeed:
//
//	level  message                                     outcome
//	Error  nogap: outcome unknown                      unknown
//	Warn   nogap: gave up after all attempts           exhausted
//	Warn   nogap: failed                               error, unless the operation's context has ended
//	Debug  nogap: the callback returned an error       error, of the callback
//	Debug  nogap: conflict                             conflict
//	Debug  nogap: had to be run again                  ok, refused or an ended context, after more than one attempt
//
// A refusal is an answer, and is not logged. The error of a callback may be one too: it is the program's own, which gets it
// back. Conflicts and repetitions are normal under load, and there may be many of them a second. The attributes are operation, table, attempts, batch, waited, waited_in_server, took and error.
// Those that don't apply are left out. The text of the error may hold the key of a row or the name of a lock. The line
// is written with the operation's context, from which a handler may take a trace. LogObserver panics if logger is nil.
//
//	defer nogap.Observe(db, nogap.LogObserver(slog.Default()))()
//
// distlock.WithObserver takes it as well. distlock.LogEvents logs what happens to a lease in between.
func LogObserver(logger *slog.Logger) Observer {
	if logger == nil {
		panic("nogap: LogObserver: logger is nil")
	}
	return logObserver{logger}
}

type logObserver struct{ logger *slog.Logger }

// Start implements Observer.
func (o logObserver) Start(ctx context.Context, operation Operation) (context.Context, func(Result)) {
	began := time.Now()
	return ctx, func(r Result) {
		level, message := lineFor(ctx, r)
		if message == "" || !o.logger.Enabled(ctx, level) {
			return
		}
		o.logger.LogAttrs(ctx, level, message, attributes(operation, r, time.Since(began))...)
	}
}

// lineFor returns the level and the message of the line for a result, and no message if there is none.
func lineFor(ctx context.Context, r Result) (slog.Level, string) {
	switch {
	case r.Outcome == OutcomeUnknown:
		return slog.LevelError, "nogap: outcome unknown"
	case r.Outcome == OutcomeExhausted:
		return slog.LevelWarn, "nogap: gave up after all attempts"
	case r.Outcome == OutcomeConflict:
		return slog.LevelDebug, "nogap: conflict"
	case r.Outcome == OutcomeError && r.Callback:
		return slog.LevelDebug, "nogap: the callback returned an error"
	case r.Outcome == OutcomeError && ctx.Err() == nil:
		return slog.LevelWarn, "nogap: failed"
	case r.Attempts > 1:
		return slog.LevelDebug, "nogap: had to be run again"
	}
	return 0, ""
}

func attributes(operation Operation, r Result, took time.Duration) []slog.Attr {
	list := append(make([]slog.Attr, 0, 8), slog.String("operation", operation.Name))
	if operation.Table != "" {
		list = append(list, slog.String("table", operation.Table))
	}
	list = append(list, slog.Int("attempts", r.Attempts))
	if r.Batch > 0 {
		list = append(list, slog.Int("batch", r.Batch))
	}
	if r.Waited > 0 {
		list = append(list, slog.Duration("waited", r.Waited))
	}
	if r.WaitedInServer > 0 {
		list = append(list, slog.Duration("waited_in_server", r.WaitedInServer))
	}
	list = append(list, slog.Duration("took", took))
	if r.Err != nil {
		list = append(list, slog.Any("error", r.Err))
	}
	return list
}
