package faultproxy

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Request is what a client has sent since the server last spoke, up to now.
type Request struct {
	Bytes []byte // only valid during the call
	// Executes are the SQL statements that the request runs, as the client wrote them, whether it sends the text now or
	// prepared it before. Empty for Redis.
	Executes []string
}

// Match tells whether a request is the one that a fault waits for. It must return at once and not call the
// proxy. It is not called concurrently.
type Match func(Request) bool

// Executes matches the request that runs a statement containing text, upper or lower case. A prepared statement matches
// each time that it is executed, and not when it is prepared.
func Executes(text string) Match {
	text = strings.ToUpper(text)
	return func(r Request) bool {
		for _, sql := range r.Executes {
			if strings.Contains(strings.ToUpper(sql), text) {
				return true
			}
		}
		return false
	}
}

// Contains matches the request with these bytes in it.
func Contains(text string) Match {
	return func(r Request) bool { return bytes.Contains(r.Bytes, []byte(text)) }
}

// Protocol is what client and server speak, without TLS. It tells the proxy which statement a request runs.
type Protocol struct{ statements func() statements }

// The protocols.
var (
	Redis    = Protocol{func() statements { return opaque{} }} // or any other: nothing is looked into
	Postgres = Protocol{func() statements { return &postgres{named: map[string]string{}} }}
	MySQL    = Protocol{func() statements { return &mysql{prepared: map[uint32]string{}} }}
)

// statements reads along on one connection. It is not called concurrently.
type statements interface {
	request(b []byte) (executes []string)
	reply(b []byte)
}

// tap gathers the request that a connection is about to make.
type tap struct {
	statements statements
	bytes      []byte
	executes   []string
	answered   bool
}

func (p Protocol) tap() tap { return tap{statements: p.statements()} }

func (t *tap) request(b []byte) Request {
	if t.answered {
		t.bytes, t.executes, t.answered = t.bytes[:0], nil, false
	}
	t.bytes = append(t.bytes, b...)
	t.executes = append(t.executes, t.statements.request(b)...)
	return Request{Bytes: t.bytes, Executes: t.executes}
}

func (t *tap) reply(b []byte) {
	t.answered = true
	t.statements.reply(b)
}

type opaque struct{}

func (opaque) request([]byte) []string { return nil }
func (opaque) reply([]byte)            {}

// postgres reads the messages of a PostgreSQL client:
// https://www.postgresql.org/docs/current/protocol-message-formats.html.
type postgres struct {
	pending []byte
	started bool
	named   map[string]string // prepared statements
	bound   string            // the statement of the last Bind
}

func (p *postgres) request(b []byte) (executes []string) {
	p.pending = append(p.pending, b...)
	for {
		header := 1 // the type
		if !p.started {
			header = 0
		}
		if len(p.pending) < header+4 {
			return executes
		}
		size := header + int(binary.BigEndian.Uint32(p.pending[header:]))
		if len(p.pending) < size {
			return executes
		}
		message := p.pending[:size]
		p.pending = p.pending[size:]
		body := message[header+4:]
		if !p.started {
			// The client may ask for TLS before it starts, which is answered with no.
			p.started = len(body) >= 4 && binary.BigEndian.Uint16(body) == 3
			continue
		}
		switch message[0] {
		case 'Q':
			executes = append(executes, cString(&body))
		case 'P':
			name := cString(&body)
			p.named[name] = cString(&body)
		case 'B':
			_ = cString(&body) // the portal
			p.bound = p.named[cString(&body)]
		case 'E':
			executes = append(executes, p.bound)
		}
	}
}

func (*postgres) reply([]byte) {}

// cString takes a string that ends with a zero byte.
func cString(b *[]byte) string {
	s, rest, _ := bytes.Cut(*b, []byte{0})
	*b = rest
	return string(s)
}

// mysql reads the commands of a MySQL client: https://mariadb.com/kb/en/clientserver-protocol.
type mysql struct {
	pending   []byte
	preparing string // what the next reply gives a number to
	prepared  map[uint32]string
}

func (m *mysql) request(b []byte) (executes []string) {
	const query, prepare, execute = 0x03, 0x16, 0x17
	m.pending = append(m.pending, b...)
	for {
		if len(m.pending) < 4 {
			return executes
		}
		size := 4 + int(uint32(m.pending[0])|uint32(m.pending[1])<<8|uint32(m.pending[2])<<16)
		if len(m.pending) < size {
			return executes
		}
		sequence, body := m.pending[3], m.pending[4:size]
		m.pending = m.pending[size:]
		if sequence != 0 || len(body) == 0 {
			continue // of the handshake
		}
		switch command, rest := body[0], body[1:]; {
		case command == query:
			executes = append(executes, string(rest))
		case command == prepare:
			m.preparing = string(rest)
		case command == execute && len(rest) >= 4:
			executes = append(executes, m.prepared[binary.LittleEndian.Uint32(rest)])
		}
	}
}

func (m *mysql) reply(b []byte) {
	if m.preparing == "" {
		return
	}
	if len(b) >= 9 && b[4] == 0 { // the answer to a preparation is OK, then the number
		m.prepared[binary.LittleEndian.Uint32(b[5:])] = m.preparing
	}
	m.preparing = ""
}
