package wechatopen

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/patrickmn/go-cache"
)

// Store keeps the state of a Platform or an Account: the verify ticket, the merchants' refresh tokens, access tokens,
// and what remembers pushes and logins for a while. Several platforms, and several processes of one platform, may share
// a Store: keys begin with "wechatopen:" and the appid.
//
// Methods are safe for concurrent use, and neither side changes a value after handing it over. Values hold secrets: who
// reads the Store can act for the merchants.
type Store interface {
	// Get returns the value of a key, or [ErrNotFound], possibly wrapped. Any other error means that the Store cannot
	// be asked now; it is never taken for an absent value.
	Get(ctx context.Context, key string) ([]byte, error)

	// Set keeps value until ttl has passed. A ttl of 0 means until it is deleted: WeChat will not hand such a value out
	// again, so it is neither evicted nor lost with the process, and Set returns only when that is so.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error

	// Delete removes a key. It returns nil if there is none.
	Delete(ctx context.Context, key string) error
}

// Locker lets one of several processes do what must be done once, such as refreshing a token.
type Locker interface {
	// Lock waits until the caller holds key or ctx ends. held is derived from ctx and ends as soon as the lock may have
	// been lost, and with unlock, which gives the lock back and may be called again. A lease must outlast the
	// time limit of the HTTP client (10 seconds unless set otherwise) by a good margin, or be renewed while it is held.
	Lock(ctx context.Context, key string) (held context.Context, unlock func(), err error)
}

// MemoryStore is a [Store] in this process's memory: for tests, for trying things out, and for what may be lost. The
// merchants' authorizations are lost with the process.
type MemoryStore struct {
	cache *cache.Cache
	sets  atomic.Uint64
}

// NewMemoryStore returns an empty MemoryStore.
func NewMemoryStore() *MemoryStore {
	// Without an interval go-cache starts no goroutine; Set sweeps instead.
	return &MemoryStore{cache: cache.New(cache.NoExpiration, 0)}
}

// sweepEvery is how many calls of Set share the cost of one sweep of what has expired.
const sweepEvery = 4096

// Get returns a copy of the value.
func (m *MemoryStore) Get(_ context.Context, key string) ([]byte, error) {
	v, ok := m.cache.Get(key)
	if !ok {
		return nil, ErrNotFound
	}
	return bytes.Clone(v.([]byte)), nil
}

// Set keeps a copy of the value.
func (m *MemoryStore) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
	if ttl <= 0 {
		ttl = cache.NoExpiration
	}
	m.cache.Set(key, bytes.Clone(value), ttl)
	if m.sets.Add(1)%sweepEvery == 0 {
		m.cache.DeleteExpired()
	}
	return nil
}

// Delete removes a key.
func (m *MemoryStore) Delete(_ context.Context, key string) error {
	m.cache.Delete(key)
	return nil
}

// memoryLocker is the Locker of a single process. A key that nobody holds or waits for takes no memory.
type memoryLocker struct {
	mu    sync.Mutex
	locks map[string]*memoryLock
}

type memoryLock struct {
	free chan struct{} // holds one value while nobody holds the lock
	refs int           // holder and waiters; guarded by memoryLocker.mu
}

func newMemoryLocker() *memoryLocker { return &memoryLocker{locks: make(map[string]*memoryLock)} }

func (m *memoryLocker) Lock(ctx context.Context, key string) (context.Context, func(), error) {
	m.mu.Lock()
	l := m.locks[key]
	if l == nil {
		l = &memoryLock{free: make(chan struct{}, 1)}
		l.free <- struct{}{}
		m.locks[key] = l
	}
	l.refs++
	m.mu.Unlock()

	leave := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if l.refs--; l.refs == 0 {
			delete(m.locks, key)
		}
	}
	select {
	case <-l.free:
	case <-ctx.Done():
		leave()
		return nil, nil, ctx.Err()
	}
	held, cancel := context.WithCancel(ctx)
	return held, sync.OnceFunc(func() {
		cancel()
		l.free <- struct{}{}
		leave()
	}), nil
}
