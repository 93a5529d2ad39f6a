package wechatopen

import (
	"bytes"
	"context"
	"slices"
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
	left  atomic.Int64 // calls of Set until the next sweep
}

// NewMemoryStore returns an empty MemoryStore.
func NewMemoryStore() *MemoryStore {
	// Without an interval go-cache starts no goroutine; Set sweeps instead.
	return &MemoryStore{cache: cache.New(cache.NoExpiration, 0)}
}

// sweepEvery is how many calls of Set at least share the cost of one sweep of what has expired. A sweep looks at every
// key, so with more keys more calls share it.
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
	if m.left.Add(-1) == -1 {
		m.cache.DeleteExpired()
		m.left.Store(int64(max(sweepEvery, m.cache.ItemCount())))
	}
	return nil
}

// Delete removes a key.
func (m *MemoryStore) Delete(_ context.Context, key string) error {
	m.cache.Delete(key)
	return nil
}

// memoryLocker is the Locker of a single process. A key that nobody holds takes no memory.
type memoryLocker struct {
	mu sync.Mutex
	// waiting has a key while somebody holds it, with who waits for it, first come first served. Closing a channel is
	// passing the lock on.
	waiting map[string][]chan struct{}
}

func newMemoryLocker() *memoryLocker {
	return &memoryLocker{waiting: make(map[string][]chan struct{})}
}

// memoryLock is a lock that is held. Its context ends with it.
type memoryLock struct {
	quietContext
	m   *memoryLocker
	key string
}

func (m *memoryLocker) Lock(ctx context.Context, key string) (held context.Context, unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	l := &memoryLock{m: m, key: key}
	l.Context = ctx
	m.mu.Lock()
	waiting, taken := m.waiting[key]
	if !taken {
		m.waiting[key] = nil
		m.mu.Unlock()
		return l, l.unlock, nil
	}
	turn := make(chan struct{})
	m.waiting[key] = append(waiting, turn)
	m.mu.Unlock()
	select {
	case <-turn:
		return l, l.unlock, nil
	case <-ctx.Done():
		m.leave(key, turn)
		return nil, nil, ctx.Err()
	}
}

func (l *memoryLock) unlock() {
	if l.end(context.Canceled) {
		l.m.mu.Lock()
		defer l.m.mu.Unlock()
		l.m.pass(l.key)
	}
}

// pass gives a lock to who waits longest, or back. The caller has mu.
func (m *memoryLocker) pass(key string) {
	if waiting := m.waiting[key]; len(waiting) > 0 {
		close(waiting[0])
		m.waiting[key] = waiting[1:]
	} else {
		delete(m.waiting, key)
	}
}

// leave takes one who waits away, to whom the lock may just have been passed.
func (m *memoryLocker) leave(key string, turn chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(m.waiting[key], turn); i >= 0 {
		m.waiting[key] = slices.Delete(m.waiting[key], i, i+1)
	} else {
		m.pass(key)
	}
}
