package txn

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// message is one of PostgreSQL's.
func message(kind byte, body string) string {
	length := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
	return string(kind) + string(length) + body
}

const (
	fatal  = "SFATAL\x00VFATAL\x00C57P01\x00Mterminating connection due to administrator command\x00\x00"
	french = "SFATALE\x00VFATAL\x00C57P01\x00Mbye\x00\x00"
	failed = "SERROR\x00VERROR\x00C23505\x00Mduplicate\x00\x00"
)

func TestSaysFatal(t *testing.T) {
	notice, setting := message('N', "SWARNING\x00M\x00\x00"), message('S', "TimeZone\x00UTC\x00")
	for text, want := range map[string]bool{
		"":                                false,
		setting:                           false,
		notice + setting:                  false,
		message('E', fatal):               true,
		notice + message('E', french):     true,
		message('E', failed):              false, // of a statement whose rows nobody has read
		message('D', message('E', fatal)): false,
		message('E', fatal)[:20]:          false,
		"E\x00\x00\x00\x00" + fatal:       false,
		"E\xff\xff\xff\xff" + fatal:       false,
		"\x17\x03\x03\x00\x13" + fatal:    false, // encrypted
		"\x01\x00\x00\x00\x00":            false, // MySQL's
	} {
		require.Equal(t, want, saysFatal([]byte(text)), "%q", text)
	}
}

func FuzzSaysFatal(f *testing.F) {
	f.Add([]byte(message('N', "") + message('E', fatal)))
	f.Fuzz(func(t *testing.T, unread []byte) {
		if saysFatal(unread) {
			require.Contains(t, string(unread), "FATAL")
		}
	})
}
