package quorum

import (
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// answered reports whether err comes from the server, or is no error.
func answered(err error) bool {
	if err == nil {
		return true
	}
	var reply redis.Error
	return errors.As(err, &reply)
}

// settled reports whether the server has carried out the command, or refused it for good.
func settled(err error) bool { return answered(err) && !passing(err) }

// passing reports whether err says that the server has not run the command, and may run it later.
func passing(err error) bool {
	if err == nil {
		return false
	}
	switch errorCode(err) {
	case "BUSY", "LOADING", "MISCONF", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "MASTERDOWN", "NOREPLICAS":
		return true
	}
	return answered(err) && strings.Contains(err.Error(), "ERR max number of clients reached")
}

// incurable reports whether err has a reason that no waiting removes.
func incurable(err error) bool {
	switch errorCode(err) {
	case "NOAUTH", "WRONGPASS", "NOPERM", "WRONGTYPE":
		return true
	}
	var objection *Objection
	return errors.As(err, &objection) && !objection.mayPass
}

// errorCode returns the first word of a server's error, or "". Before version 7 a script's error has that of the command
// in its text: ERR Error running script (call to f_1): @user_script: 7: -READONLY You can't write against a replica.
func errorCode(err error) string {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return ""
	}
	text := reply.Error()
	if strings.HasPrefix(text, "ERR Error running script") || strings.HasPrefix(text, "@user_script") {
		if _, inner, ok := strings.Cut(text, ": -"); ok {
			text = inner
		}
	}
	code, _, _ := strings.Cut(text, " ")
	return code
}
