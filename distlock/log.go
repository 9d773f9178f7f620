package distlock

import (
	"context"
	"errors"
	"log/slog"
)

// LogEvents returns a function for OnEvent that writes one line to logger for each event that an operator should know:
//
//	level  message                              event
//	Error  distlock: lost                       Lost
//	Warn   distlock: not released as it should  Released with an error, unless the lease was lost
//	Warn   distlock: not extended               Extended with an error
//	Warn   distlock: not queued                 NotQueued
//	Debug  distlock: acquired, waited, extended, released   all others
//
// The attributes are lock, which is the name of the lock, duration, late, handed_over and error; those that don't apply
// are left out. LogEvents panics if logger is nil.
//
//	locks, err := distlock.New(clients, distlock.OnEvent(distlock.LogEvents(slog.Default())))
func LogEvents(logger *slog.Logger) func(context.Context, Event) {
	if logger == nil {
		panic("distlock: LogEvents: logger is nil")
	}
	return func(ctx context.Context, e Event) {
		level, message := lineFor(e)
		if logger.Enabled(ctx, level) {
			logger.LogAttrs(ctx, level, message, e.attributes()...)
		}
	}
}

// lineFor returns the level and the message of the line for an event.
func lineFor(e Event) (slog.Level, string) {
	switch {
	case e.Kind == Lost:
		return slog.LevelError, "distlock: lost"
	case e.Kind == Released && e.Err != nil && !errors.Is(e.Err, ErrLost):
		return slog.LevelWarn, "distlock: not released as it should"
	case e.Kind == Extended && e.Err != nil:
		return slog.LevelWarn, "distlock: not extended"
	case e.Kind == NotQueued:
		return slog.LevelWarn, "distlock: not queued"
	}
	return slog.LevelDebug, "distlock: " + e.Kind.String()
}

func (e Event) attributes() []slog.Attr {
	list := append(make([]slog.Attr, 0, 5), slog.String("lock", e.Name))
	if e.Kind != NotQueued {
		list = append(list, slog.Duration("duration", e.Duration))
	}
	if e.Late > 0 {
		list = append(list, slog.Duration("late", e.Late))
	}
	if e.HandedOver {
		list = append(list, slog.Bool("handed_over", true))
	}
	if e.Err != nil {
		list = append(list, slog.Any("error", e.Err))
	}
	return list
}
