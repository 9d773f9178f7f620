package dialect

import (
	"database/sql/driver"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
)

type money string

func (m money) Value() (driver.Value, error) { return []byte(m), nil }

func TestScaleOfAnAmount(t *testing.T) {
	s, err := Assume(nogap.MySQL)
	require.NoError(t, err)
	maria, err := Assume(nogap.MariaDB)
	require.NoError(t, err)
	small := "0." + strings.Repeat("0", 49) + "1"
	for _, test := range []struct {
		amount any
		mysql  string
		maria  string
	}{
		{"1", "0", "0"}, {"+10.50", "1", "1"}, {"-.25", "2", "2"}, {"7.", "0", "0"}, {0.125, "3", "3"}, {float32(0.5), "1", "1"},
		{money("12.3450"), "3", "3"}, {5, "0", "0"}, {small, "30", "38"}, {1e-45, "30", "38"},
		{strings.Repeat("9", 60) + ".1234567", "5", "5"}, {"000" + strings.Repeat("9", 64) + ".12", "1", "1"}, {nil, "0", "0"},
	} {
		for server, want := range map[*Server]string{&s: test.mysql, &maria: test.maria} {
			st := server.Compile("SET a = " + server.Amount(Decimal, 2) + " WHERE id = {1}")
			text, args := st.Bind([]any{7, test.amount})
			require.Equal(t, "SET a = CAST(? AS DECIMAL(65,"+want+")) WHERE id = ?", text, "%v", test.amount)
			require.Equal(t, []any{test.amount, 7}, args)
		}
	}
	require.NoError(t, s.CheckAmount(Decimal, "00"+strings.Repeat("9", 65)+".5"))
	require.ErrorContains(t, s.CheckAmount(Decimal, strings.Repeat("9", 66)), "66 digits")
	require.NoError(t, s.CheckAmount(Signed, 5))
	postgres, err := Assume(nogap.Postgres)
	require.NoError(t, err)
	require.NoError(t, postgres.CheckAmount(Decimal, strings.Repeat("9", 66)))
}
