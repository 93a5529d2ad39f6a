package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wechatopen/wechatopen"
)

// Store is a [wechatopen.Store] and a [wechatopen.Locker] on Redis. It is safe for concurrent use, starts nothing of its
// own and needs no closing; the client is the caller's to close.
type Store struct {
	client redis.UniversalClient
	prefix string
	lease  time.Duration
}

var (
	_ wechatopen.Store  = (*Store)(nil)
	_ wechatopen.Locker = (*Store)(nil)
)

// DefaultLease is the lease of a lock unless [WithLease] says otherwise. It is longer than any refresh of a token takes.
const DefaultLease = 60 * time.Second

// Option changes what [New] makes.
type Option func(*Store)

// WithLease sets how long a lock outlives a holder who died, and how long a holder who cannot reach Redis may go on.
// 0 or less means [DefaultLease]. A shorter lease than a minute frees a dead process's locks sooner and bears a shorter
// outage of Redis.
func WithLease(d time.Duration) Option {
	return func(s *Store) {
		if d <= 0 {
			d = DefaultLease
		}
		s.lease = d
	}
}

// WithPrefix puts prefix before every key. There is none by default: keys begin with "wechatopen:" and the appid, so
// that platforms do not meet. Environments that share a Redis (production and staging of one component) need one each.
func WithPrefix(prefix string) Option { return func(s *Store) { s.prefix = prefix } }

// New returns a Store on client, which may be of a single server, of sentinels or of a cluster. It asks Redis nothing;
// call [Store.Check] to learn whether the servers keep what they are given.
func New(client redis.UniversalClient, opts ...Option) *Store {
	s := &Store{client: client, lease: DefaultLease}
	for _, opt := range opts {
		opt(s)
	}
	return s
}

// Get returns the value of key. The error wraps [wechatopen.ErrNotFound] if Redis answers that it has none, and nothing
// else does.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	b, err := s.client.Get(ctx, s.prefix+key).Bytes()
	if errors.Is(err, redis.Nil) {
		err = wechatopen.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("redisstore: get %s: %w", key, err)
	}
	return b, nil
}

// Set keeps value for ttl, rounded up to a millisecond, or until it is deleted if ttl is 0 (or less). What Redis
// acknowledges is as durable as its settings make it: see [Store.Check].
func (s *Store) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := s.client.Set(ctx, s.prefix+key, value, wholeMillis(ttl)).Err(); err != nil {
		return fmt.Errorf("redisstore: set %s: %w", key, err)
	}
	return nil
}

// Delete removes key.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.client.Del(ctx, s.prefix+key).Err(); err != nil {
		return fmt.Errorf("redisstore: delete %s: %w", key, err)
	}
	return nil
}

// wholeMillis rounds up to what Redis can count, and takes everything below 0 for 0: go-redis reads a meaning of its own
// into -1.
func wholeMillis(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	if rest := d % time.Millisecond; rest > 0 {
		d += time.Millisecond - rest
	}
	return d
}
