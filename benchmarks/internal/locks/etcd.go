package locks

import (
	"context"
	"errors"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

// OpenEtcd locks with etcd's concurrency. A Mutex belongs to a session, in which all callers hold it together, so
// each call that runs has a session to itself. A session is kept for later calls.
func OpenEtcd(addrs []string) (Lock, func(), error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: addrs, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return nil, nil, err
	}
	s := &etcdSessions{client: client}
	return func(ctx context.Context, name string) (func() error, error) {
		session, err := s.take()
		if err != nil {
			return nil, err
		}
		m := concurrency.NewMutex(session, "/"+name)
		if err := m.Lock(ctx); err != nil {
			s.give(session)
			return nil, err
		}
		return func() error {
			defer s.give(session)
			return m.Unlock(context.WithoutCancel(ctx))
		}, nil
	}, s.close, nil
}

// etcdSessions are those that nobody uses at the moment.
type etcdSessions struct {
	client *clientv3.Client
	mu     sync.Mutex
	free   []*concurrency.Session
}

func (s *etcdSessions) take() (*concurrency.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		session := s.free[n-1]
		s.free = s.free[:n-1]
		return session, nil
	}
	session, err := concurrency.NewSession(s.client)
	if err != nil {
		err = errors.Join(errors.New("etcd: no session"), err)
	}
	return session, err
}

func (s *etcdSessions) give(session *concurrency.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, session)
}

func (s *etcdSessions) close() { _ = s.client.Close() } // its server is thrown away, and the sessions with it
