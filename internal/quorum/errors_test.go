package quorum

import (
	"errors"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

func TestPassingErrors(t *testing.T) {
	var _ redis.Error = reply("")
	for text, want := range map[string]bool{
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.":          true,
		"LOADING Redis is loading the dataset in memory":                                                  true,
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk": true,
		"CLUSTERDOWN The cluster is down":                                                                 true,
		"TRYAGAIN Multiple keys request during rehashing of slot":                                         true,
		"READONLY You can't write against a read only replica.":                                           true,
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.":                true,
		"NOREPLICAS Not enough good replicas to write.":                                                   true,
		"ERR Error running script (call to f_1): @user_script:9: @user_script: 9: -READONLY You can't":    true,
		"ERR Error running script (call to f_1): @user_script:9: @user_script: 9: -WRONGTYPE Operation":   false,
		"@user_script: 9: -READONLY You can't write against a read only replica.":                         true,
		"ERR max number of clients reached":                                                               true,
		"ERR unknown command 'EVALSHA'":                                                                   false,
		"NOPERM this user has no permissions to run the 'eval' command":                                   false,
		"BUSYGROUP Consumer Group name already exists":                                                    false,
		"": false,
	} {
		err := fmt.Errorf("wrapped: %w", reply(text))
		require.Equal(t, want, passing(err), text)
		require.Equal(t, !want, settled(err), text)
		require.True(t, answered(err))
	}
	require.True(t, settled(nil))
	for _, err := range []error{errors.New("EOF"), errors.New("READONLY, says the network")} {
		require.False(t, answered(err))
		require.False(t, settled(err))
		require.False(t, passing(err))
	}
}
