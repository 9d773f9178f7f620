package optimistic

import (
	"fmt"

	"github.com/nogap-go/nogap/internal/dialect"
)

// checkVersion returns an error if the server cannot compare this kind of version. A timestamp must be kept to the
// microsecond, by the driver and by the column: otherwise two versions of the same second would be one, and the second
// writer's condition would hold.
func checkVersion(s dialect.Server, look dialect.Look, version dialect.Ident, k versionKind) error {
	switch {
	case k == xminVersion && s.SystemVersion == "":
		return fmt.Errorf("%v has no xmin", s)
	case k != timestampVersion:
		return nil
	case look.CutsTimes:
		return fmt.Errorf("the version column %q: the driver writes times without microseconds (timeTruncate, for example): "+
			"a timestamp is a version only with them", version)
	case s.TypelessTimes:
		return nil
	case look.Type == "":
		return fmt.Errorf("the type of the version column %q could not be found out: no such table or column is listed", version)
	case !s.KeepsMicroseconds(look.Type):
		return fmt.Errorf("the version column %q is %s: a timestamp is a version only if it keeps microseconds", version, look.Type)
	}
	return nil
}
