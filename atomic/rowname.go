package atomic

import (
	"database/sql/driver"
	"encoding/binary"
	"math"
	"time"
)

// appendRow appends text that is the same for two keys only if they are of the same row: each value as the driver would
// send it, so an int and an int64 are the same. The opposite need not hold. It reports false for a value that only the
// driver itself could read.
func appendRow(b []byte, key Key) (name []byte, ok bool) {
	for _, v := range key {
		plain, err := driver.DefaultParameterConverter.ConvertValue(v)
		if err != nil {
			return nil, false
		}
		switch p := plain.(type) {
		case nil:
			b = append(b, 0)
		case bool:
			b = append(b, 'b', 0)
			if p {
				b[len(b)-1] = 1
			}
		case int64:
			b = binary.BigEndian.AppendUint64(append(b, 'i'), uint64(p))
		case float64:
			b = binary.BigEndian.AppendUint64(append(b, 'f'), math.Float64bits(p))
		case string:
			b = append(binary.AppendUvarint(append(b, 's'), uint64(len(p))), p...)
		case []byte:
			b = append(binary.AppendUvarint(append(b, 'x'), uint64(len(p))), p...)
		case time.Time:
			// Not the instant alone: in a column without a time zone, the servers keep what the clock showed.
			if b, err = p.AppendBinary(append(b, 't')); err != nil {
				return nil, false
			}
		default:
			return nil, false
		}
	}
	return b, true
}
