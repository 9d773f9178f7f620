package dialect

import (
	"fmt"
	"sync"

	"github.com/nogap-go/nogap"
)

// languages are all dialects, in the order in which an answer is shown to them: MySQL takes whatever begins with a digit.
var languages = []*language{&postgres, &mariadb, &mysql, &sqlite}

// Assume returns the server that WithDialect names. It has the capabilities that all versions of it have.
func Assume(d nogap.Dialect) (Server, error) {
	s, ok := assumed()[d]
	if !ok {
		return Server{}, fmt.Errorf("unknown dialect %v", d)
	}
	return s, nil
}

// assumed are the servers that Assume returns. They are made once, since some callers say with every call what theirs is.
var assumed = sync.OnceValue(func() map[nogap.Dialect]Server {
	servers := make(map[nogap.Dialect]Server)
	for _, l := range languages {
		servers[l.dialect] = l.server(l.product, "")
	}
	return servers
})

// identify reads the answer to a question.
func identify(question, reply string) (Server, error) {
	for _, l := range languages {
		if l.question != question {
			continue
		}
		if product, version := l.recognize(reply); product != 0 {
			return l.server(product, version), nil
		}
	}
	return Server{}, &UnknownServerError{Reply: reply}
}

// An UnknownServerError says that a server has answered, but is none of those that nogap knows.
type UnknownServerError struct{ Reply string }

func (e *UnknownServerError) Error() string {
	return fmt.Sprintf("the server calls itself %q, which is none that nogap knows; say what it speaks with WithDialect", e.Reply)
}
