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
	for _, zero := range []any{0, 0.0, "0.000", "-0", nil} {
		require.NoError(t, s.CheckAmount(Decimal, zero))
	}
	least := strings.Repeat("0", 29) + "1"
	for _, large := range []any{"0." + least, "1.0" + least, 1e-30, "5." + strings.Repeat("0", 40) + "1"} {
		require.NoError(t, s.CheckAmount(Decimal, large))
	}
	for _, tiny := range []any{"0.0" + least, "-.00" + least + "5", 1e-31, 5e-324, float32(1e-40), money("0.0" + least)} {
		require.ErrorContains(t, s.CheckAmount(Decimal, tiny), "is less than a DECIMAL of MySQL can hold, which has 30 decimal places")
	}
	require.NoError(t, maria.CheckAmount(Decimal, 1e-38))
	require.ErrorContains(t, maria.CheckAmount(Decimal, 1e-39), "38 decimal places")
	postgres, err := Assume(nogap.Postgres)
	require.NoError(t, err)
	require.NoError(t, postgres.CheckAmount(Decimal, strings.Repeat("9", 66)))
}
