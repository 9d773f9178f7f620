package dialect

import (
	"context"
	"fmt"
)

// Session is what a session does at the end of a statement or a transaction.
type Session struct {
	AutoCommit int
	// Completion is what follows a COMMIT: NO_CHAIN is nothing.
	Completion string
}

// SessionCommits reports whether every session commits each statement by itself, whatever its settings.
func (s Server) SessionCommits() bool { return s.session == "" }

// Session asks for the settings of the session behind r, where there are any.
func (s Server) Session(ctx context.Context, r Reader) (Session, error) {
	var session Session
	if err := r.Read(ctx, s.session+LookMark, nil, &session.AutoCommit, &session.Completion); err != nil {
		return session, fmt.Errorf("asking for the settings of the session: %w", err)
	}
	return session, nil
}
