package storetest_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/wechatopen/wechatopen"
)

// locks are the locks that several lockers share. The channel of a key holds a value while the lock is free.
type locks struct {
	mu   sync.Mutex
	free map[string]chan struct{}
}

func newLocks() *locks { return &locks{free: map[string]chan struct{}{}} }

func (l *locks) of(key string) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.free[key]
	if !ok {
		c = make(chan struct{}, 1)
		c <- struct{}{}
		l.free[key] = c
	}
	return c
}

// process is the Locker of one process: shared is everyone's, own is its own.
type process struct {
	shared, own *locks
	lock        lockFunc
}

type lockFunc func(p *process, ctx context.Context, key string) (context.Context, func(), error)

func (p *process) Lock(ctx context.Context, key string) (context.Context, func(), error) {
	return p.lock(p, ctx, key)
}

func openLocker(lock lockFunc) func(*testing.T) wechatopen.Locker {
	shared := newLocks()
	return func(*testing.T) wechatopen.Locker {
		return &process{shared: shared, own: newLocks(), lock: lock}
	}
}

func goodLock(p *process, ctx context.Context, key string) (context.Context, func(), error) {
	return take(ctx, p.shared.of(key))
}

func take(ctx context.Context, free chan struct{}) (context.Context, func(), error) {
	select {
	case <-free:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	held, cancel := context.WithCancel(ctx)
	return held, sync.OnceFunc(func() {
		cancel()
		free <- struct{}{}
	}), nil
}

var brokenLocks = []struct {
	name, check string
	lock        lockFunc
}{
	{"nothing is locked", "one holder at a time", func(_ *process, ctx context.Context, _ string) (context.Context, func(), error) {
		held, cancel := context.WithCancel(ctx)
		return held, cancel, nil
	}},
	{"each process locks for itself", "one holder at a time", func(p *process, ctx context.Context, key string) (context.Context, func(), error) {
		return take(ctx, p.own.of(key))
	}},
	{"held outlives unlock", "held ends with unlock", func(p *process, ctx context.Context, key string) (context.Context, func(), error) {
		_, unlock, err := goodLock(p, ctx, key)
		return ctx, unlock, err
	}},
	{"held has no values", "held derives from the context", func(p *process, ctx context.Context, key string) (context.Context, func(), error) {
		_, unlock, err := goodLock(p, ctx, key)
		held, cancel := context.WithCancel(context.Background())
		context.AfterFunc(ctx, cancel)
		return held, unlock, err
	}},
	{"held outlives the context", "held derives from the context", func(p *process, ctx context.Context, key string) (context.Context, func(), error) {
		_, unlock, err := goodLock(p, ctx, key)
		return context.WithoutCancel(ctx), unlock, err
	}},
	{"a second unlock frees the next holder's lock", "a second unlock is harmless", func(p *process, ctx context.Context, key string) (context.Context, func(), error) {
		held, _, err := goodLock(p, ctx, key)
		return held, func() {
			select {
			case p.shared.of(key) <- struct{}{}:
			default:
			}
		}, err
	}},
	{"a second unlock panics", "a second unlock is harmless", func(p *process, ctx context.Context, key string) (context.Context, func(), error) {
		held, unlock, err := goodLock(p, ctx, key)
		used := false
		return held, func() {
			if used {
				panic("unlock of an unlocked lock")
			}
			used = true
			unlock()
		}, err
	}},
	{"unlock leaves the lock to its lease", "an unlocked key is free at once", func(p *process, ctx context.Context, key string) (context.Context, func(), error) {
		held, cancel := context.WithCancel(ctx)
		_, _, err := goodLock(p, ctx, key)
		return held, cancel, err
	}},
	{"unlock uses the ended context", "unlock works after the end of the context", func(p *process, ctx context.Context, key string) (context.Context, func(), error) {
		held, unlock, err := goodLock(p, ctx, key)
		return held, func() {
			if ctx.Err() == nil {
				unlock()
			}
		}, err
	}},
	{"waiting ignores the context", "a caller that stops waiting gets the error of its context", func(p *process, ctx context.Context, key string) (context.Context, func(), error) {
		return goodLock(p, context.WithoutCancel(ctx), key)
	}},
	{"waiting ends with an error of its own", "a caller that stops waiting gets the error of its context", func(p *process, ctx context.Context, key string) (context.Context, func(), error) {
		held, unlock, err := goodLock(p, ctx, key)
		if err != nil {
			err = errors.New("not locked")
		}
		return held, unlock, err
	}},
	{"who stopped waiting gets the lock", "a caller that stops waiting gets the error of its context", func(p *process, ctx context.Context, key string) (context.Context, func(), error) {
		select {
		case <-p.shared.of(key):
			p.shared.of(key) <- struct{}{}
			return goodLock(p, ctx, key)
		case <-ctx.Done():
			go goodLock(p, context.WithoutCancel(ctx), key)
			return nil, nil, ctx.Err()
		}
	}},
	{"an error after the lock was taken", "a caller that leaves in the middle leaves no lock behind", func(p *process, ctx context.Context, key string) (context.Context, func(), error) {
		held, unlock, err := goodLock(p, context.WithoutCancel(ctx), key)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		return held, unlock, err
	}},
	{"one lock for all keys", "different keys do not wait for each other", func(p *process, ctx context.Context, _ string) (context.Context, func(), error) {
		return goodLock(p, ctx, "")
	}},
}
