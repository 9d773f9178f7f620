package distlock

import (
	"errors"
	"fmt"

	"github.com/nogap-go/nogap/internal/quorum"
)

// checkName refuses a name that no lock can have.
func checkName(nodes *quorum.Nodes, name string) error {
	if name == "" {
		return errors.New("distlock: the name of the lock is empty")
	}
	if !nodes.Suits(name) {
		return fmt.Errorf("distlock: the name %q has a closing brace but no {hash tag}, which a Redis Cluster needs", name)
	}
	return nil
}
