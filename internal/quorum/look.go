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
	fine   atomic.Bool
	shards sync.Map     // those of a Ring that are fine, by *redis.Client
	bad    atomic.Bool  // the last look at a Ring has found an objection
	again  atomic.Int64 // when to look again at a Ring of which a shard was down, in Unix nanoseconds; 0 if none was
	known  *identities

	turn chan struct{} // one at a time looks
	// The last look, if it was not fine. Who has the turn may use them.
	objection *Objection
	at        time.Time
}

func newLooking() looking { return looking{turn: make(chan struct{}, 1)} }

// look returns an error if the node can't keep a lock with the key, or can't say so now.
func (n *Node) look(ctx context.Context, key string) error {
	if n.looked(key) {
		return nil
	}
	l := &n.looking
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if n.looked(key) {
		return nil
	}
	if l.objection != nil && time.Since(l.at) < lookAgain {
		return l.objection
	}
	err := n.lookAt(ctx)
	objected := errors.As(err, &l.objection)
	if objected {
		l.at = time.Now()
	}
	ring, ok := n.given.(*redis.Ring)
	if !ok {
		l.fine.Store(err == nil)
		return err
	}
	l.bad.Store(objected)
	l.again.Store(0)
	if n.shardsLooked() < len(ring.Options().Addrs) {
		l.again.Store(time.Now().Add(lookAgain).UnixNano())
	}
	if n.looked(key) {
		return nil // the others are no matter of this lock, until they object
	}
	return err
}

// looked reports whether a look has found nothing wrong with the node. A shard of a Ring that was down then is looked at
// when it has the key of a lock, and in any case soon after it is up.
func (n *Node) looked(key string) bool {
	ring, ok := n.given.(*redis.Ring)
	if !ok {
		return n.looking.fine.Load()
	}
	if n.looking.bad.Load() {
		return false
	}
	if again := n.looking.again.Load(); again != 0 && time.Now().UnixNano() >= again {
		return false
	}
	shard, err := ring.GetShardClientForKey(key)
	if err != nil {
		return false
	}
	_, fine := n.looking.shards.Load(shard)
	return fine
}

// shardsLooked returns how many shards of a Ring are fine.
func (n *Node) shardsLooked() (count int) {
	n.looking.shards.Range(func(any, any) bool { count++; return true })
	return count
}

// lookAt looks at the servers behind the client: all of a Ring that are up, and of a Cluster one.
func (n *Node) lookAt(ctx context.Context) error {
	var ids []string
	switch c := n.client.(type) {
	case *redis.ClusterClient:
		//lint:ignore SA1019 Redis 6 has no CLUSTER SHARDS
		slots, err := c.ClusterSlots(ctx).Result()
		if !answered(err) {
			return err
		}
		for _, slot := range slots {
			for _, server := range slot.Nodes {
				ids = append(ids, server.ID)
			}
		}
		if _, err := n.lookAtServer(ctx, c); err != nil {
			return err
		}
	case *redis.Ring:
		return n.lookAtShards(ctx, c)
	default:
		id, err := n.lookAtServer(ctx, c)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	return n.looking.known.claim(n, ids)
}

// lookAtShards looks at the shards of a Ring that are up. Those that were fine are not asked again.
func (n *Node) lookAtShards(ctx context.Context, ring *redis.Ring) error {
	var up atomic.Bool
	err := ring.ForEachShard(ctx, func(ctx context.Context, shard *redis.Client) error {
		up.Store(true)
		if _, fine := n.looking.shards.Load(shard); fine {
			return nil
		}
		id, err := n.lookAtServer(ctx, shard)
		if err == nil {
			err = n.looking.known.claim(n, []string{id})
		}
		if err == nil {
			n.looking.shards.Store(shard, true)
		}
		return err
	})
	if err == nil && !up.Load() {
		err = errors.New("no shard of the Ring is up")
	}
	return err
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
		if _, own := n.given.(*redis.Client); own { // any other type may choose a server by the key
			n.alone.Store(infoField(server.Val(), "redis_mode") == "standalone" || infoField(server.Val(), "server_mode") == "standalone")
		}
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
