package idempotency

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKeyOf(t *testing.T) {
	for _, test := range []struct {
		values []string
		key    string
	}{
		{[]string{`"8e03978e-40d5-43dd-bc93-6894a57f9324"`}, "8e03978e-40d5-43dd-bc93-6894a57f9324"},
		{[]string{`  "a b"  `}, "a b"},
		{[]string{`"a\"b\\c"`}, `a"b\c`},
		{[]string{`"\\\""`}, `\"`},
		{[]string{`"a";b`}, "a"},
		{[]string{`"a";  b=-1;c=1.5;d="x\"y";e=tok/en;f=:aGk=:;g=?1;h=@17;i=%"f%c3%bc";*j_k.-*=*`}, "a"},

		{[]string{""}, ""},
		{[]string{`""`}, ""},
		{[]string{"8e03978e"}, ""}, // a token
		{[]string{"17"}, ""},
		{[]string{`'a'`}, ""},
		{[]string{`"a`}, ""},
		{[]string{`a"`}, ""},
		{[]string{`"a"b`}, ""},
		{[]string{`"a" ;b`}, ""},
		{[]string{`"a";B`}, ""},
		{[]string{`"a";b=`}, ""},
		{[]string{`"a\n"`}, ""},
		{[]string{`"a\`}, ""},
		{[]string{"\"\u00e4\""}, ""},
		{[]string{"\"a\x7f\""}, ""},
		{[]string{"\"a\tb\""}, ""},
		{[]string{`"a", "b"`}, ""},
		{[]string{`"a"`, `"a"`}, ""}, // a list
		{[]string{`("a")`}, ""},
	} {
		key, found, valid := keyOf(http.Header{"Idempotency-Key": test.values})
		require.True(t, found)
		require.Equal(t, test.key != "", valid, "%q", test.values)
		require.Equal(t, test.key, key, "%q", test.values)
	}
	_, found, _ := keyOf(http.Header{})
	require.False(t, found)
}

// Which scope a key has, its bytes don't blur.
func TestScopedKey(t *testing.T) {
	require.NotEqual(t, scopedKey("a", "bc"), scopedKey("ab", "c"))
	require.NotEqual(t, scopedKey("", "abc"), scopedKey("abc", ""))
	require.Equal(t, scopedKey("a", "b"), scopedKey("a", "b"))
	require.NoError(t, checkKey(scopedKey("\x00", "\x00")))
}
