package distlock_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/distlock"
)

var ctx = context.Background()

func Example() {
	a, b, c := newRedis("a:6379"), newRedis("b:6379"), newRedis("c:6379") // your clients of three independent servers
	db := newDB()                                                         // your *sql.DB, with the table of fence.Schema(nogap.Postgres)

	locks, err := distlock.New([]redis.UniversalClient{a, b, c})
	if err != nil {
		panic(err)
	}
	defer locks.Close()
	fence, err := distlock.NewFence(db, "lock_fences")
	if err != nil {
		panic(err)
	}

	err = locks.WithLock(ctx, "report", func(ctx context.Context, lease *distlock.Lease) error {
		token, err := fence.Mint(ctx, lease)
		if err != nil {
			return err
		}
		// The work goes here. ctx ends if the lock is lost meanwhile.
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := fence.Guard(ctx, tx, token); err != nil {
			return err // ErrFenced: a later holder exists
		}
		if _, err := tx.ExecContext(ctx, "UPDATE reports SET total = $1 WHERE day = $2", 7, "Monday"); err != nil {
			return err
		}
		return tx.Commit()
	})
	fmt.Println(err)
	// Output:
	// UPDATE reports SET total = $1 WHERE day = $2
	// <nil>
}

func ExampleLocker_WithLocks() {
	locks, _ := distlock.New([]redis.UniversalClient{newRedis("redis:6379")})
	defer locks.Close()

	files := []string{"inbox", "archive"}
	err := locks.WithLocks(ctx, files, func(ctx context.Context, leases []*distlock.Lease) error {
		fmt.Println("moving from", leases[0].Name(), "to", leases[1].Name())
		return ctx.Err() // it ends if one of the two is lost
	})
	fmt.Println(err)
	// Output:
	// moving from inbox to archive
	// <nil>
}

func ExampleLocker_Lock() {
	locks, err := distlock.New([]redis.UniversalClient{newRedis("redis:6379")})
	if err != nil {
		panic(err)
	}
	defer locks.Close()

	process := func(ctx context.Context, item string) (err error) {
		// The context bounds how long to wait for the lock. How long it is held is up to Unlock.
		waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		lease, err := locks.Lock(waiting, item)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, lease.Unlock(ctx)) }()

		fmt.Println("working on", lease.Name())
		return lease.Context().Err() // the context to work with: it ends if the lock is lost
	}
	fmt.Println(process(ctx, "item:42"))
	// Output:
	// working on item:42
	// <nil>
}

func ExampleLocker_TryLock() {
	server := newRedis("redis:6379")
	locks, _ := distlock.New([]redis.UniversalClient{server})
	defer locks.Close()
	other, _ := distlock.New([]redis.UniversalClient{server}) // what another instance of the service has
	defer other.Close()

	lease, err := locks.TryLock(ctx, "nightly")
	if err != nil {
		fmt.Println("here:", err)
		return
	}
	_, err = other.TryLock(ctx, "nightly")
	if errors.Is(err, distlock.ErrNotAcquired) { // somebody else has it, or too few nodes answered: see Error
		fmt.Println("there: not now")
	}
	fmt.Println("here:", lease.Unlock(ctx))
	// Output:
	// there: not now
	// here: <nil>
}

func ExampleLease_Context() {
	server := newRedis("redis:6379")
	locks, _ := distlock.New([]redis.UniversalClient{server}, distlock.TTL(3*time.Second))
	defer locks.Close()

	err := locks.WithLock(ctx, "item:42", func(ctx context.Context, lease *distlock.Lease) error {
		server.FlushAll(context.Background()) // somebody deletes all locks
		<-ctx.Done()                          // the next extension finds out
		return context.Cause(ctx)
	})
	fmt.Println(errors.Is(err, distlock.ErrLost))
	// Output: true
}

func ExampleError() {
	server := newRedis("redis:6379")
	locks, _ := distlock.New([]redis.UniversalClient{server})
	defer locks.Close()
	others, _ := distlock.New([]redis.UniversalClient{server})
	defer others.Close()
	lease, _ := others.Lock(ctx, "item:42")
	defer lease.Unlock(ctx)

	_, err := locks.TryLock(ctx, "item:42")
	fmt.Println(err)
	var failure *distlock.Error
	if errors.As(err, &failure) {
		for _, node := range failure.Nodes {
			fmt.Println(node.Addr, "is in order:", node.Held)
		}
	}
	// Output:
	// distlock: lock "item:42": lock not acquired: 1 of 1 nodes failed or refused: node 0 (redis:6379): held by somebody else
	// redis:6379 is in order: true
}

func ExampleOnEvent() {
	locks, _ := distlock.New([]redis.UniversalClient{newRedis("redis:6379")}, distlock.OnEvent(func(_ context.Context, e distlock.Event) {
		fmt.Println(e.Name, e.Kind, e.Err) // e.Duration is for a histogram
	}))
	defer locks.Close()

	locks.WithLock(ctx, "item:42", func(context.Context, *distlock.Lease) error { return nil })
	// Output:
	// item:42 acquired <nil>
	// item:42 released <nil>
}

func ExampleFence_Guard() {
	// Some errors are left out for brevity.
	server, db := newRedis("redis:6379"), newDB()
	locks, _ := distlock.New([]redis.UniversalClient{server})
	defer locks.Close()
	fence, _ := distlock.NewFence(db, "lock_fences")

	write := func(token distlock.Token) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := fence.Guard(ctx, tx, token); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE items SET stock = stock - 1 WHERE id = 42"); err != nil {
			return err
		}
		return tx.Commit()
	}

	lease, _ := locks.Lock(ctx, "item:42")
	defer lease.Unlock(ctx)
	token, _ := fence.Mint(ctx, lease)

	// This process is paused, Redis forgets the lock, and another process gets it.
	server.FlushAll(ctx)
	other, _ := distlock.New([]redis.UniversalClient{server})
	defer other.Close()
	later, _ := other.Lock(ctx, "item:42")
	defer later.Unlock(ctx)
	newest, _ := fence.Mint(ctx, later)

	fmt.Println("later holder:", write(newest))
	err := write(token)
	fmt.Println("earlier holder:", err)
	fmt.Println(errors.Is(err, distlock.ErrFenced))
	// Output:
	// UPDATE items SET stock = stock - 1 WHERE id = 42
	// later holder: <nil>
	// earlier holder: distlock: fenced off, a later token exists: item:42#1
	// true
}

func ExampleFence_Schema() {
	fence, err := distlock.NewFence(newDB(), "app.lock_fences")
	if err != nil {
		panic(err)
	}
	fmt.Println(fence.Schema(nogap.MySQL))
	// Output:
	// CREATE TABLE IF NOT EXISTS `app`.`lock_fences` (
	// 	name VARBINARY(1000) NOT NULL PRIMARY KEY,
	// 	token BIGINT NOT NULL,
	// 	writes BIGINT NOT NULL
	// ) ENGINE=InnoDB
}

func ExampleLocker_Inspect() {
	server := newRedis("redis:6379")
	locks, _ := distlock.New([]redis.UniversalClient{server}, distlock.Label("host-7/pid-4711"))
	defer locks.Close()
	lease, _ := locks.Lock(ctx, "nightly")
	defer lease.Unlock(ctx)

	operator, _ := distlock.New([]redis.UniversalClient{server})
	defer operator.Close()
	info, err := operator.Inspect(ctx, "nightly")
	fmt.Println(info.Label, "has it for", info.Left, "and", info.Waiting, "processes wait:", err)
	info, err = operator.Inspect(ctx, "another")
	fmt.Println("free:", info == distlock.Info{}, err)
	// Output:
	// host-7/pid-4711 has it for 8s and 0 processes wait: <nil>
	// free: true <nil>
}

func ExampleLocker_Break() {
	server := newRedis("redis:6379")
	locks, _ := distlock.New([]redis.UniversalClient{server})
	defer locks.Close()
	hangs, _ := locks.Lock(ctx, "nightly")

	operator, _ := distlock.New([]redis.UniversalClient{server})
	defer operator.Close()
	fmt.Println(operator.Break(ctx, "nightly"))
	fmt.Println("nobody there:", errors.Is(operator.Break(ctx, "nightly"), distlock.ErrNotHeld))
	fmt.Println("the holder:", errors.Is(hangs.Unlock(ctx), distlock.ErrLost))
	// Output:
	// <nil>
	// nobody there: true
	// the holder: true
}

func ExampleMaxHold() {
	locks, _ := distlock.New([]redis.UniversalClient{newRedis("redis:6379")}, distlock.MaxHold(10*time.Millisecond))
	defer locks.Close()

	err := locks.WithLock(ctx, "nightly", func(ctx context.Context, lease *distlock.Lease) error {
		<-ctx.Done() // work that does not end by itself
		return context.Cause(ctx)
	})
	fmt.Println(errors.Is(err, distlock.ErrLost))
	// Output: true
}

// The lock is released in every case: after an error, a panic and the end of ctx.
func ExampleLocker_WithLock() {
	locks, err := distlock.New([]redis.UniversalClient{newRedis("redis:6379")})
	if err != nil {
		panic(err)
	}
	defer locks.Close()

	err = locks.WithLock(ctx, "nightly", func(ctx context.Context, lease *distlock.Lease) error {
		fmt.Println("working under", lease.Name())
		return ctx.Err() // the work uses ctx, which ends if the lock is lost
	})
	switch {
	case err == nil:
		fmt.Println("done")
	case errors.Is(err, distlock.ErrNotAcquired):
		fmt.Println("not run:", err)
	case errors.Is(err, distlock.ErrLost):
		fmt.Println("another holder may have worked at the same time:", err)
	default:
		fmt.Println(err)
	}
	// Output:
	// working under nightly
	// done
}

// The lock is released although the context has ended. A second Unlock says that the lease is over.
func ExampleLease_Unlock() {
	locks, err := distlock.New([]redis.UniversalClient{newRedis("redis:6379")})
	if err != nil {
		panic(err)
	}
	defer locks.Close()

	ctx, cancel := context.WithCancel(ctx)
	lease, err := locks.Lock(ctx, "item:42")
	if err != nil {
		panic(err)
	}
	cancel()
	fmt.Println(lease.Unlock(ctx))
	fmt.Println(errors.Is(lease.Unlock(ctx), distlock.ErrLost))
	// Output:
	// <nil>
	// true
}

// Each holder gets a greater number than all holders before.
func ExampleFence_Mint() {
	locks, err := distlock.New([]redis.UniversalClient{newRedis("redis:6379")})
	if err != nil {
		panic(err)
	}
	defer locks.Close()
	fence, err := distlock.NewFence(newDB(), "lock_fences")
	if err != nil {
		panic(err)
	}
	for range 2 {
		err := locks.WithLock(ctx, "item:42", func(ctx context.Context, lease *distlock.Lease) error {
			token, err := fence.Mint(ctx, lease)
			fmt.Println(token, err)
			return err
		})
		if err != nil {
			panic(err)
		}
	}
	lease, err := locks.Lock(ctx, "item:42")
	if err != nil {
		panic(err)
	}
	lease.Unlock(ctx)
	_, err = fence.Mint(ctx, lease) // too late
	fmt.Println(errors.Is(err, distlock.ErrLost))
	// Output:
	// item:42#1 <nil>
	// item:42#2 <nil>
	// true
}

// Lock waits for as long as its context lasts, or until WaitLimit is over.
func ExampleWaitLimit() {
	server := newRedis("redis:6379")
	locks, _ := distlock.New([]redis.UniversalClient{server}, distlock.WaitLimit(10*time.Millisecond))
	defer locks.Close()
	others, _ := distlock.New([]redis.UniversalClient{server})
	defer others.Close()
	lease, _ := others.Lock(ctx, "nightly")
	defer lease.Unlock(ctx)

	_, err := locks.Lock(ctx, "nightly")
	fmt.Println(errors.Is(err, distlock.ErrNotAcquired), errors.Is(err, context.DeadlineExceeded))
	// Output: true false
}

// A service that shuts down closes its Locker: who waits for a lock returns, and leases can still be unlocked.
func ExampleLocker_Close() {
	locks, _ := distlock.New([]redis.UniversalClient{newRedis("redis:6379")})
	lease, _ := locks.Lock(ctx, "nightly")

	fmt.Println(locks.Close())
	_, err := locks.Lock(ctx, "item:42")
	fmt.Println(errors.Is(err, distlock.ErrClosed))
	fmt.Println(lease.Unlock(ctx))
	// Output:
	// <nil>
	// true
	// <nil>
}

func ExampleWithObserver() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		Level: slog.LevelDebug, // the error of a callback is the program's own
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "took" || a.Key == "waited" || a.Key == "error" { // which differ each time
				return slog.Attr{}
			}
			return a
		},
	}))
	locks, _ := distlock.New([]redis.UniversalClient{newRedis("redis:6379")}, distlock.WithObserver(nogap.LogObserver(logger)))
	defer locks.Close()

	locks.WithLock(ctx, "nightly", func(context.Context, *distlock.Lease) error { return errors.New("disk full") })
	// Output:
	// level=DEBUG msg="nogap: the callback returned an error" operation=distlock.WithLock attempts=1
}
