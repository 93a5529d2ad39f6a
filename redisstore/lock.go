package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrLockLost is wrapped by the [context.Cause] of a held context that ended because the lock was lost or may have been:
// it was not renewed within its lease, or Redis knows another owner or none. After unlock the cause is [context.Canceled],
// and otherwise that of the context given to Lock.
var ErrLockLost = errors.New("redisstore: lock lost")

const (
	// lockSuffix sets a lock's key apart from values: no key of package wechatopen holds this character.
	lockSuffix = "#lock"

	// A waiter asks again after minPause to maxPause, by chance, so that many do not ask at once.
	minPause = 20 * time.Millisecond
	maxPause = 250 * time.Millisecond

	// releaseTime bounds unlock when Redis does not answer. The lease ends by itself then.
	releaseTime = 3 * time.Second
)

// Lock waits until this process holds key or ctx ends. It fails at once when Redis cannot be asked: without Redis nobody
// knows who holds a lock.
//
// The lock is a lease, renewed every third of it until unlock is called, ctx ends or the lock is lost. held ends then; its
// [context.Cause] says why, and wraps [ErrLockLost] if it was lost. unlock gives back only what is still this holder's,
// and waits for Redis no longer than some seconds; call it also after ctx has ended, or the next holder waits for the end
// of the lease.
func (s *Store) Lock(ctx context.Context, key string) (held context.Context, unlock func(), err error) {
	l := &lock{client: s.client, key: s.prefix + key + lockSuffix, owner: rand.Text(), lease: wholeMillis(s.lease)}
	start, err := l.acquire(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("redisstore: lock of %s: %w", key, err)
	}
	held, end := context.WithCancelCause(ctx)
	lose := func(why error) { end(fmt.Errorf("%w: %s: %w", ErrLockLost, key, why)) }
	go l.keep(held, lose, start)
	return held, sync.OnceFunc(func() {
		end(nil)
		l.release(ctx)
	}), nil
}

// lock is one attempt to hold a key, and the holding of it.
type lock struct {
	client redis.UniversalClient
	key    string // in Redis
	owner  string // the value of key while it is held by this lock
	lease  time.Duration
}

// The owner is compared and the key changed in one step, which takes a script. Each touches one key.
var (
	// A client repeats a command whose answer was lost, so the lock may be there and be one's own.
	acquireScript = redis.NewScript(`
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`)

	renewScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`)

	releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`)
)

// run reports whether the script found the lock to be this owner's.
func (l *lock) run(ctx context.Context, script *redis.Script) (bool, error) {
	return script.Run(ctx, l.client, []string{l.key}, l.owner, l.lease.Milliseconds()).Bool()
}

// acquire waits for the lock. The lease is counted from start, the moment before Redis was asked, so that it ends here
// no later than there.
func (l *lock) acquire(ctx context.Context) (start time.Time, err error) {
	for limit := 2 * minPause; ; limit = min(2*limit, maxPause) {
		if err := ctx.Err(); err != nil {
			return start, err
		}
		start = time.Now()
		ok, err := l.run(ctx, acquireScript)
		if err != nil {
			// Redis may have granted what it could not tell. Whoever waits here is not kept for that.
			go l.release(ctx)
			if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
				err = fmt.Errorf("%w: %w", ended, err)
			}
			return start, err
		}
		if ok && time.Since(start) < l.lease {
			return start, nil
		}
		if ok {
			continue // the answer came too late to rely on; ask again
		}
		select {
		case <-ctx.Done():
			return start, fmt.Errorf("another has it: %w", ctx.Err())
		case <-time.After(minPause + mathrand.N(limit-minPause)):
		}
	}
}

// keep renews the lock until held ends, and ends held when the lock is lost.
func (l *lock) keep(held context.Context, lose func(why error), start time.Time) {
	var failure atomic.Pointer[error] // of the latest renewal
	// A timer of its own: a renewal that hangs must not keep held alive.
	expire := time.AfterFunc(time.Until(start.Add(l.lease)), func() {
		if err := failure.Load(); err != nil {
			lose(fmt.Errorf("not renewed within its lease of %v: %w", l.lease, *err))
		} else {
			lose(fmt.Errorf("not renewed within its lease of %v: no answer from Redis", l.lease))
		}
	})
	defer expire.Stop()
	for next := start.Add(l.lease / 3); ; {
		select {
		case <-held.Done():
			return
		case <-time.After(time.Until(next)):
		}
		start := time.Now()
		switch ok, err := l.run(held, renewScript); {
		case err != nil:
			failure.Store(&err)
			next = time.Now().Add(l.lease / 20) // there is time for more than one try
		case !ok:
			lose(errors.New("another owner, or none, is in Redis"))
			return
		default:
			failure.Store(nil)
			expire.Reset(time.Until(start.Add(l.lease)))
			next = start.Add(l.lease / 3)
		}
	}
}

// release gives the lock back if it is still this owner's. ctx may have ended.
func (l *lock) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	_, _ = l.run(ctx, releaseScript) // the lease ends by itself
}
