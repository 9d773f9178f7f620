//go:build unix

package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// HasGroupReplication reports whether there is a MySQL to make a group of, or a group of yours in the environment.
func HasGroupReplication() bool {
	_, err := fetched("mysql")
	return err == nil || os.Getenv(sharedGroup.variable) != ""
}

var sharedGroup = &shared{variable: "NOGAP_GROUP_REPLICATION_DSNS", plan: groupPlan(1, nil), start: startGroupReplication}

// GroupReplication returns the DSNs of the two members of a group of MySQL servers, both of them primaries, that the
// tests of this binary share.
func GroupReplication(tb testing.TB) []string {
	tb.Helper()
	dsns := sharedGroup.dsns(tb)
	if len(dsns) < 2 {
		tb.Fatalf("servers: %s names one member; the tests need two, both of them primaries", sharedGroup.variable)
	}
	return dsns
}

func startGroupReplication() ([]*Server, error) {
	first, err := start(groupPlan(1, nil))
	if err != nil {
		return nil, err
	}
	if err := joinGroup(first, true); err != nil {
		return nil, err
	}
	second, err := start(groupPlan(2, first))
	if err != nil {
		return nil, err
	}
	return []*Server{first, second}, joinGroup(second, false)
}

// groupPlan starts a server that can found a group, or join that of another.
func groupPlan(id int, peer *Server) plan {
	const client, group = 0, 1 // ports
	p := mysqlPlan
	p.name = "group"
	p.ports = 2
	p.prepare = func(s *Server) ([]string, error) {
		argv, err := prepareMySQL(s)
		seeds := ""
		if peer != nil {
			seeds = loopback(peer.ports[group].number)
		}
		return append(argv, "--server-id="+strconv.Itoa(id), "--gtid-mode=ON", "--enforce-gtid-consistency=ON",
			"--report-host=127.0.0.1", "--report-port="+strconv.Itoa(s.ports[client].number),
			"--plugin-load-add=group_replication.so",
			"--group-replication-group-name=6e6f6761-7000-4000-8000-000000000000",
			"--group-replication-local-address="+loopback(s.ports[group].number),
			"--group-replication-group-seeds="+seeds,
			"--group-replication-start-on-boot=OFF",
			"--group-replication-single-primary-mode=OFF", "--group-replication-enforce-update-everywhere-checks=ON",
			"--group-replication-recovery-get-public-key=ON"), err
	}
	p.ready = func(ctx context.Context, s *Server) (string, error) {
		version, err := askMySQL(ctx, s.DSN, "SELECT version()")
		return "Group Replication of MySQL " + version, err
	}
	return p
}

// joinGroup has a server found a group or join it, and waits until it takes part in it.
func joinGroup(s *Server, found bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := sql.Open("mysql", s.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, statement := range []string{
		"RESET BINARY LOGS AND GTIDS", // forget the birth of the account, which each member has in its own name
		"CHANGE REPLICATION SOURCE TO SOURCE_USER = 'nogap' FOR CHANNEL 'group_replication_recovery'",
		fmt.Sprintf("SET GLOBAL group_replication_bootstrap_group = %t", found),
		"START GROUP_REPLICATION",
		"SET GLOBAL group_replication_bootstrap_group = FALSE",
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("servers: %s: %w\n%s", statement, err, s.process.logTail())
		}
	}
	for {
		state, err := askMySQL(ctx, s.DSN, `SELECT member_state FROM performance_schema.replication_group_members
			WHERE member_id = @@server_uuid`)
		if err == nil && state == "ONLINE" {
			return nil
		}
		if err != nil || state == "ERROR" {
			return errors.Join(fmt.Errorf("servers: the member of the group is %q\n%s", state, s.process.logTail()), err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
