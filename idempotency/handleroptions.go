package idempotency

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/nogap-go/nogap/internal/option"
)

// HandlerOption changes what NewHandler makes. Those of New and those of Do, except Fingerprint, are HandlerOptions, too. An
// invalid HandlerOption and one that is given twice are errors of NewHandler.
type HandlerOption interface {
	handlerOption() option.Option[handlerConfig]
}

type handlerConfig struct {
	store storeConfig
	do    doConfig

	scopeBy func(*http.Request) (string, error)
	methods []string
	maxBody int64
	kept    []int
	docs    string
}

type handlerOption option.Option[handlerConfig]

func (o handlerOption) handlerOption() option.Option[handlerConfig] {
	return option.Option[handlerConfig](o)
}

// defaultMaxBody is MaxBody unless it is given.
const defaultMaxBody = 1 << 20

func configureHandler(opts []HandlerOption) (handlerConfig, error) {
	c := handlerConfig{methods: []string{http.MethodPost, http.MethodPatch}, maxBody: defaultMaxBody}
	given, err := option.Apply(&c, opts, HandlerOption.handlerOption)
	if err == nil {
		err = given.Refuse("NewHandler, which takes the request itself", "Fingerprint")
	}
	if err == nil {
		err = c.do.complete(given)
	}
	if err == nil && !given.Has("ScopeBy") {
		err = errors.New("ScopeBy is missing: without it one user gets the response of another one who has sent the same key; " +
			"where there is one client only, ScopeBy may return a constant")
	}
	return c, err
}

// ScopeBy says whose request it is, by the ID of the user who is logged in for example. A key of one scope is another
// key than the same key of another scope. NewHandler demands it: clients choose their keys, and a client that sends
// another client's key must not get that client's response. f may read the body. If it returns an error or an empty
// scope, the request is refused with 403. To refuse it in another way, do so in a handler around this one.
// Authentication must be in such a handler, too: a replay reaches no check of next.
func ScopeBy(f func(*http.Request) (string, error)) HandlerOption {
	return handlerOption{Name: "ScopeBy", Set: func(c *handlerConfig) error {
		c.scopeBy = f
		return option.NotNil("ScopeBy", f == nil)
	}}
}

// Methods says which methods need a key: POST and PATCH unless it is given. Requests with other methods are passed on
// as they are.
func Methods(names ...string) HandlerOption {
	return handlerOption{Name: "Methods", Set: func(c *handlerConfig) error {
		if len(names) == 0 {
			return errors.New("Methods: there is none")
		}
		for i, name := range names {
			if name == "" || slices.Contains(names[:i], name) {
				return fmt.Errorf("Methods: %q is empty or given twice", name)
			}
		}
		c.methods = slices.Clone(names)
		return nil
	}}
}

// MaxBody is how many bytes the body of a request has at most: 1 MiB unless it is given. The whole body is read
// before the transaction begins. A larger one is refused with 413.
func MaxBody(n int64) HandlerOption {
	return handlerOption{Name: "MaxBody", Set: func(c *handlerConfig) error {
		if n < 0 {
			return fmt.Errorf("MaxBody(%d) is negative", n)
		}
		c.maxBody = n
		return nil
	}}
}

// KeepStatus says which statuses from 400 to 599 are results, such as 402 for a payment that the bank has refused.
// All that the handler wrote is committed then, and the response is kept and replayed. So check everything before the first write,
// or roll back to a savepoint before you answer with such a status: a handler that takes from a stock and then answers 402 for an
// empty wallet loses the piece. A status below 400 is always a result. All other statuses roll back.
func KeepStatus(codes ...int) HandlerOption {
	return handlerOption{Name: "KeepStatus", Set: func(c *handlerConfig) error {
		if len(codes) == 0 {
			return errors.New("KeepStatus: there is none")
		}
		for _, code := range codes {
			if code < 400 || code > 599 {
				return fmt.Errorf("KeepStatus(%d): the status is not one from 400 to 599", code)
			}
		}
		c.kept = slices.Clone(codes)
		return nil
	}}
}

// Documentation is the address of the page that tells clients how to use their keys. The responses with which a Handler refuses
// a request name it, as the draft asks for: as the type of the problem and in a Link.
func Documentation(address string) HandlerOption {
	return handlerOption{Name: "Documentation", Set: func(c *handlerConfig) error {
		u, err := url.Parse(address)
		if err != nil || !u.IsAbs() {
			return fmt.Errorf("Documentation(%q): it is no absolute URL", address)
		}
		c.docs = u.String()
		return nil
	}}
}
