//go:build unix

package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// HasGroupReplication reports whether there is a MySQL to make a group of, or a group of yours in the environment.
func HasGroupReplication() bool {
	_, err := fetched("mysql")
	return err == nil || os.Getenv(sharedGroup.variable) != ""
}

var sharedGroup = &shared{variable: "NOGAP_GROUP_REPLICATION_DSNS", plan: groupPlan(1, nil, 0), start: startGroupReplication}

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

// StartGroupReplication starts a group of n members, all of them primaries, for this test alone. Those that are not the first one
// may be killed, and come back with RejoinGroup.
func StartGroupReplication(tb testing.TB, n int) []*Server {
	tb.Helper()
	var members []*Server
	for id := range n {
		var peer *Server
		if id > 0 {
			peer = members[0]
		}
		member := own(tb, func() (*Server, error) { return start(groupPlan(id+1, peer, 0)) })
		if err := joinGroup(member, peer == nil); err != nil {
			tb.Fatal(err)
		}
		members = append(members, member)
	}
	return members
}

// RejoinGroup starts a member of a group again, after Kill or instead of it, and returns when it takes part again. The group, of
// which peer is another member, has to notice first that it was gone.
func (s *Server) RejoinGroup(tb testing.TB, peer *Server) {
	tb.Helper()
	// Until it is in the group, what it took from clients would be in no other member: MySQL then keeps it out for good.
	if readOnly := "--super-read-only=ON"; !slices.Contains(s.argv, readOnly) {
		s.argv = append(s.argv, readOnly)
	}
	s.Restart(tb)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	query := fmt.Sprint("SELECT count(*) FROM performance_schema.replication_group_members WHERE member_port = ", s.ports[0].number)
	for listed := ""; listed != "0"; time.Sleep(20 * time.Millisecond) {
		var err error
		if listed, err = askMySQL(ctx, peer.DSN, query); err != nil {
			tb.Fatal(err)
		}
	}
	var err error
	for ctx.Err() == nil { // it refuses for a moment longer
		if err = startInGroup(s, "START GROUP_REPLICATION"); err == nil {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	tb.Fatal(err)
}

func startGroupReplication() ([]*Server, error) {
	const expel = 60 // no member goes, and on a busy machine one may be silent for a while
	first, err := start(groupPlan(1, nil, expel))
	if err != nil {
		return nil, err
	}
	if err := joinGroup(first, true); err != nil {
		return nil, err
	}
	second, err := start(groupPlan(2, first, expel))
	if err != nil {
		return nil, err
	}
	return []*Server{first, second}, joinGroup(second, false)
}

// groupPlan starts a server that can found a group, or join that of another. A member that is suspected to have gone is expelled
// after some more seconds.
func groupPlan(id int, peer *Server, expel int) plan {
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
			"--group-replication-start-on-boot=OFF", "--group-replication-member-expel-timeout="+strconv.Itoa(expel),
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
	return startInGroup(s,
		"RESET BINARY LOGS AND GTIDS", // forget the birth of the account, which each member has in its own name
		"CHANGE REPLICATION SOURCE TO SOURCE_USER = 'nogap' FOR CHANNEL 'group_replication_recovery'",
		fmt.Sprintf("SET GLOBAL group_replication_bootstrap_group = %t", found),
		"START GROUP_REPLICATION",
		"SET GLOBAL group_replication_bootstrap_group = FALSE",
	)
}

// startInGroup runs statements that have a server take part in a group, and waits until it does.
func startInGroup(s *Server, statements ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := sql.Open("mysql", s.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, statement := range statements {
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
