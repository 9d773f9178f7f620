package quorum

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/look.lua
var lookSource string

var lookScript = redis.NewScript(lookSource)

// lookAgain is how long a node is not asked again after a look has found something wrong.
const lookAgain = time.Second

// Objection says why a node can't keep locks.
type Objection struct {
	Err     error
	mayPass bool // as a replica may become a master
}

func (o *Objection) Error() string { return o.Err.Error() }

// Unwrap returns Err.
func (o *Objection) Unwrap() error { return o.Err }

// looking is what is known of whether a node can keep locks. It is found out before its first lock, once: what a server
// says later about its rights or its role shows in the errors of its commands.
type looking struct {
	fine  atomic.Bool
	known *identities

	turn chan struct{} // one at a time looks
	// The last look that found something wrong, or a shard of a Ring down. Who has the turn may use them.
	objection *Objection
	at        time.Time
}

func newLooking() looking { return looking{turn: make(chan struct{}, 1)} }

// look returns an error if the node can't keep locks, or can't say so now.
func (n *Node) look(ctx context.Context) error {
	l := &n.looking
	if l.fine.Load() {
		return nil
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.fine.Load() {
		return nil
	}
	if time.Since(l.at) < lookAgain {
		if l.objection != nil {
			return l.objection
		}
		return nil // a shard is down, and has none of the locks for now
	}
	whole, err := n.lookAt(ctx)
	l.objection = nil
	if errors.As(err, &l.objection) || err == nil && !whole {
		l.at = time.Now()
	}
	l.fine.Store(err == nil && whole)
	return err
}

// lookAt looks at the servers behind the client: of a Cluster one, and of a Ring all that are up. whole is false if one is
// not.
func (n *Node) lookAt(ctx context.Context) (whole bool, err error) {
	var ids []string
	whole = true
	switch c := n.client.(type) {
	case *redis.ClusterClient:
		//lint:ignore SA1019 Redis 6 has no CLUSTER SHARDS
		slots, err := c.ClusterSlots(ctx).Result()
		if !answered(err) {
			return false, err
		}
		for _, slot := range slots {
			for _, server := range slot.Nodes {
				ids = append(ids, server.ID)
			}
		}
		if _, err := n.lookAtServer(ctx, c); err != nil {
			return false, err
		}
	case *redis.Ring:
		var mu sync.Mutex
		err := c.ForEachShard(ctx, func(ctx context.Context, shard *redis.Client) error {
			id, err := n.lookAtServer(ctx, shard)
			mu.Lock()
			defer mu.Unlock()
			ids = append(ids, id)
			return err
		})
		if err != nil {
			return false, err
		}
		if len(ids) == 0 {
			return false, errors.New("no shard of the Ring is up")
		}
		whole = len(ids) >= len(c.Options().Addrs)
	default:
		id, err := n.lookAtServer(ctx, c)
		if err != nil {
			return false, err
		}
		ids = append(ids, id)
	}
	return whole, n.looking.known.claim(n, ids)
}

// lookAtServer asks a server, in one pipeline, whether it can keep locks. id is the server's own name for itself, if it
// tells.
func (n *Node) lookAtServer(ctx context.Context, c redis.UniversalClient) (id string, err error) {
	key := n.keys.Queue(n.keys.Lock("")) // no lock has this name
	pipe := c.Pipeline()
	server, replication := pipe.Info(ctx, "server"), pipe.Info(ctx, "replication")
	eval := pipe.Eval(ctx, lookSource, []string{key})
	evalSHA := pipe.EvalSha(ctx, lookScript.Hash(), []string{key})
	publish := redis.NewIntCmd(ctx, "publish", n.keys.Channel("nobody"), "")
	publish.SetFirstKeyPos(1)
	pipe.Process(ctx, publish)
	pipe.Exec(ctx)

	for _, cmd := range []redis.Cmder{server, replication, eval, evalSHA, publish} {
		if err := cmd.Err(); !settled(err) {
			return "", err
		}
	}
	if !n.clustered() { // which would have asked any of its servers
		id = infoField(server.Val(), "run_id")
		if err := replica(replication.Val()); err != nil {
			return "", err
		}
	}
	for _, cmd := range []redis.Cmder{eval, evalSHA, publish} {
		if err := cmd.Err(); err != nil {
			return "", &Objection{Err: fmt.Errorf("%w: %s: %w", errRights, strings.ToUpper(cmd.Name()), err)}
		}
	}
	return id, refusedToScripts(eval)
}

// errRights is what a user lacks. A server without scripts lacks them for everybody.
var errRights = errors.New("the user may not do what locks need (see \"Rights\" in the documentation of distlock)")

// replica returns an error if the answer to INFO replication is that of a replica.
func replica(info string) error {
	if infoField(info, "role") != "slave" {
		return nil
	}
	return &Objection{mayPass: true, Err: fmt.Errorf("it is a replica of %s:%s, which need not know a lock that is kept here",
		infoField(info, "master_host"), infoField(info, "master_port"))}
}

// scriptError is what a server said to a command of a script.
type scriptError string

func (e scriptError) Error() string { return string(e) }
func (e scriptError) RedisError()   {}

// refusedToScripts returns an error if the script that looked says that something is refused.
func refusedToScripts(look *redis.Cmd) error {
	refused, _ := look.StringSlice()
	var commands []string
	var why error
	for _, each := range refused {
		command, text, _ := strings.Cut(each, ": ")
		err := scriptError(text)
		if passing(err) || errorCode(err) == "OOM" {
			return err // it says nothing of the rights
		}
		commands = append(commands, command)
		if why == nil {
			why = err
		}
	}
	if why == nil {
		return nil
	}
	return &Objection{Err: fmt.Errorf("%w: %s in scripts: %w", errRights, strings.Join(commands, ", "), why)}
}

// infoField returns a field of a server's answer to INFO.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// identities are the servers that have been seen behind the nodes, by the names that they have for themselves. The zero
// value is ready for use.
type identities struct {
	mu     sync.Mutex
	byName map[string]*Node
}

// claim notes that the node leads to these servers. It returns an error if another node leads to one of them.
func (is *identities) claim(n *Node, names []string) error {
	is.mu.Lock()
	defer is.mu.Unlock()
	if is.byName == nil {
		is.byName = make(map[string]*Node)
	}
	for _, name := range names {
		if name == "" {
			continue
		}
		if first, known := is.byName[name]; known && first != n {
			return &Objection{Err: fmt.Errorf("it leads to the same server as node %d (%s), %s: nodes must be independent",
				first.index, first.addr, name)}
		}
	}
	for _, name := range names {
		is.byName[name] = n
	}
	return nil
}
