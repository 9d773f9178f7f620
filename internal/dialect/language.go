package dialect

import "github.com/nogap-go/nogap"

// language is a dialect: the servers that speak it, and what they can do.
type language struct {
	dialect nogap.Dialect
	product Product // what WithDialect is taken for
	// question asks a server for its version. Servers that don't understand it refuse it before they start anything.
	question string
	// recognize returns the product and its version from its reply, or 0 if the server speaks another dialect.
	recognize    func(reply string) (Product, string)
	capabilities func(Server) Capabilities
}

func (l *language) server(p Product, version string) Server {
	s := Server{Dialect: l.dialect, Product: p}
	s.Major, s.Minor = leadingVersion(version)
	c := l.capabilities(s)
	s.Capabilities = &c
	return s
}
