//go:build unix

package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// galeraProvider is where Debian's galera-4 keeps the library.
const galeraProvider = "/usr/lib/galera/libgalera_smm.so"

var sharedGalera = &shared{variable: "NOGAP_GALERA_DSNS", plan: galeraPlan(nil), start: startGalera}

// Galera returns the DSNs of the two nodes of a MariaDB Galera cluster that the tests of this binary share.
func Galera(tb testing.TB) []string {
	tb.Helper()
	dsns := sharedGalera.dsns(tb)
	if len(dsns) < 2 {
		tb.Fatalf("servers: %s names one node; a cluster has two at least", sharedGalera.variable)
	}
	return dsns
}

// StartGalera starts a cluster of n nodes for this test alone. Those that are not the first one may be killed and restarted, and
// join again. Of two nodes the other has no quorum then.
func StartGalera(tb testing.TB, n int) []*Server {
	tb.Helper()
	nodes := []*Server{own(tb, func() (*Server, error) { return start(galeraPlan(nil)) })}
	for len(nodes) < n {
		nodes = append(nodes, own(tb, func() (*Server, error) { return start(galeraPlan(nodes[0])) }))
	}
	return nodes
}

func startGalera() ([]*Server, error) {
	// No node goes, and on a busy machine one may be silent for longer than the usual five seconds.
	patient := []string{"evs.suspect_timeout=PT1M", "evs.inactive_timeout=PT2M"}
	first, err := start(galeraPlan(nil, patient...))
	if err != nil {
		return nil, err
	}
	second, err := start(galeraPlan(first, patient...))
	if err != nil {
		return nil, err
	}
	return []*Server{first, second}, nil
}

// galeraPlan starts a node of a new cluster, or one that joins the cluster of another, with options of the provider.
func galeraPlan(peer *Server, more ...string) plan {
	const client, group, ist, sst = 0, 1, 2, 3 // ports
	size := 1
	if peer != nil {
		size = 2
	}
	p := mariadbPlan
	p.name = "galera"
	p.ports = 4
	p.prepare = func(s *Server) ([]string, error) {
		argv, err := prepareMariaDB(s)
		if err != nil {
			return nil, err
		}
		root, err := newest("mariadb")
		if err != nil {
			return nil, err
		}
		provider := root + galeraProvider
		if _, err := os.Stat(provider); err != nil {
			return nil, fmt.Errorf("servers: %s is missing: install the Debian package galera-4: %w", provider, err)
		}
		if _, err := find("rsync", "rsync"); err != nil { // hands the data to a node that joins
			return nil, err
		}
		cluster := "gcomm://"
		if peer != nil {
			cluster += loopback(peer.ports[group].number)
		}
		options := append([]string{
			"gmcast.listen_addr=tcp://" + loopback(s.ports[group].number),
			"ist.recv_addr=" + loopback(s.ports[ist].number),
			"gcache.size=16M",
		}, more...)
		return append(argv, "--wsrep-on=ON", "--wsrep-provider="+provider, "--wsrep-cluster-name=nogap",
			"--wsrep-cluster-address="+cluster, "--wsrep-node-address=127.0.0.1",
			"--wsrep-provider-options="+strings.Join(options, ";"),
			"--wsrep-sst-method=rsync", "--wsrep-sst-receive-address="+loopback(s.ports[sst].number),
			"--binlog-format=ROW", "--innodb-autoinc-lock-mode=2"), nil
	}
	p.ready = func(ctx context.Context, s *Server) (string, error) { return galeraSynced(ctx, s.DSN, size) }
	return p
}

// galeraSynced returns the version of a node that takes part in a cluster of at least size nodes.
func galeraSynced(ctx context.Context, dsn string, size int) (version string, err error) {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return "", err
	}
	defer db.Close()
	var state, provider string
	var nodes int
	err = db.QueryRowContext(ctx, `SELECT version(),
		(SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'wsrep_provider_version'),
		(SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'wsrep_local_state_comment'),
		(SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'wsrep_cluster_size')`).
		Scan(&version, &provider, &state, &nodes)
	if err != nil {
		return "", err
	}
	if state != "Synced" || nodes < size {
		return "", errors.New("servers: the node is " + state)
	}
	return "Galera " + provider + " of MariaDB " + version, nil
}
