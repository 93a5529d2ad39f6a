package redisstore_test

import (
	"context"
	"errors"
	"math"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/redisstore"
)

const (
	lockedKey = "wechatopen:test:lock"

	// shortLease is of locks that are to be lost. A busy machine may lose them before a test means to.
	shortLease = 300 * time.Millisecond
	// lease is of locks that are to be renewed.
	lease = 3 * time.Second
)

func lockNow(t *testing.T, s *redisstore.Store) (context.Context, func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	held, unlock, err := s.Lock(ctx, lockedKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unlock)
	return held, unlock
}

// lost fails the test unless held ends soon because the lock was lost.
func lost(t *testing.T, held context.Context) {
	t.Helper()
	select {
	case <-held.Done():
	case <-time.After(patience):
		t.Fatalf("held has not ended after %v", patience)
	}
	if cause := context.Cause(held); !errors.Is(cause, redisstore.ErrLockLost) || !strings.Contains(cause.Error(), lockedKey) {
		t.Errorf("held ended for the cause %v, want ErrLockLost with the key", cause)
	}
}

// owner is who has the lock according to Redis.
func owner(t *testing.T, client *redis.Client) string {
	t.Helper()
	owner, err := client.Get(t.Context(), lockedKey+"#lock").Result()
	if err != nil {
		t.Fatalf("the lock is not there: %v", err)
	}
	return owner
}

// unlockHarmsNobody fails the test if unlock, of a holder that lost its lock, takes it from the next holder.
func unlockHarmsNobody(t *testing.T, unlock func(), s *server) {
	t.Helper()
	client := s.client()
	held, _ := lockNow(t, redisstore.New(client))
	before := owner(t, client)
	unlock()
	if owner(t, client) != before {
		t.Error("unlock after the lock was lost changed the holder")
	}
	if held.Err() != nil {
		t.Errorf("held of the next holder ended: %v", context.Cause(held))
	}
}

func TestHeldLastsLongerThanTheLease(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	held, unlock := lockNow(t, redisstore.New(s.client(), redisstore.WithLease(lease)))
	ctx, cancel := context.WithTimeout(t.Context(), lease*4/3)
	defer cancel()
	if _, _, err := redisstore.New(s.client()).Lock(ctx, lockedKey); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock of a key that another holds: %v, want the end of the context", err)
	}
	if held.Err() != nil {
		t.Errorf("held ended: %v", context.Cause(held))
	}
	unlock()
	if cause := context.Cause(held); cause != context.Canceled {
		t.Errorf("held ended with unlock for the cause %v, want context.Canceled", cause)
	}
}

func TestHeldEndsWithTheCauseOfItsContext(t *testing.T) {
	s := startServer(t)
	why := errors.New("the service stops")
	ctx, cancel := context.WithCancelCause(t.Context())
	held, unlock, err := redisstore.New(s.client()).Lock(ctx, lockedKey)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	cancel(why)
	<-held.Done()
	if cause := context.Cause(held); cause != why {
		t.Errorf("held ended for the cause %v, want %v", cause, why)
	}
}

func TestHeldEndsWhenTheLockIsDeleted(t *testing.T) {
	s := startServer(t)
	held, unlock := lockNow(t, redisstore.New(s.client(), redisstore.WithLease(lease)))
	if n, err := s.client().Del(t.Context(), lockedKey+"#lock").Result(); n != 1 || err != nil {
		t.Fatalf("%d locks deleted, %v", n, err)
	}
	lost(t, held)
	unlockHarmsNobody(t, unlock, s)
}

func TestHeldEndsWhenAnotherHasTheLock(t *testing.T) {
	s := startServer(t)
	held, unlock := lockNow(t, redisstore.New(s.client(), redisstore.WithLease(lease)))
	client := s.client()
	if err := client.Set(t.Context(), lockedKey+"#lock", "another", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	lost(t, held)
	unlock()
	if owner(t, client) != "another" {
		t.Error("unlock after the lock was lost changed the holder")
	}
}

func TestHeldEndsWhenTheServerIsStoppedLongerThanTheLease(t *testing.T) {
	s := startServer(t, durable...)
	start := time.Now()
	held, unlock := lockNow(t, redisstore.New(s.client(), redisstore.WithLease(shortLease)))
	s.stop()
	lost(t, held)
	if d := time.Since(start); d < shortLease {
		t.Errorf("held ended after %v of a lease of %v: Redis may have been back in time", d, shortLease)
	}
	s.start()
	unlockHarmsNobody(t, unlock, s)
}

// The client would wait for an answer much longer than the lease; held does not.
func TestHeldEndsWhenTheServerHangsLongerThanTheLease(t *testing.T) {
	s := startServer(t)
	p := startProxy(t, s)
	client := redis.NewClient(&redis.Options{Addr: p.addr, ReadTimeout: 2 * patience})
	defer client.Close()
	held, unlock := lockNow(t, redisstore.New(client, redisstore.WithLease(shortLease)))
	p.hang.Store(true)
	lost(t, held)
	p.hang.Store(false)
	unlockHarmsNobody(t, unlock, s)
}

// A lock whose lease is over when Redis's answer arrives is not one.
func TestALockGrantedTooLateIsAskedForAgain(t *testing.T) {
	s := startServer(t)
	p := startProxy(t, s)
	const lease = 2 * time.Second
	client := redis.NewClient(&redis.Options{Addr: p.addr, ReadTimeout: 2 * patience})
	defer client.Close()
	store := redisstore.New(client, redisstore.WithLease(lease))
	_, unlock := lockNow(t, store) // there is a connection now
	unlock()
	direct := s.client()
	p.hang.Store(true)
	go func() {
		defer p.hang.Store(false)
		time.Sleep(lease * 5 / 4)
	}()
	held, _ := lockNow(t, store)
	owner(t, direct)
	if held.Err() != nil {
		t.Errorf("held of a new lock has ended: %v", context.Cause(held))
	}
}

func TestHeldOutlastsAFailedRenewal(t *testing.T) {
	s := startServer(t)
	p := startProxy(t, s)
	client := redis.NewClient(&redis.Options{Addr: p.addr, MaxRetries: -1})
	defer client.Close()
	held, _ := lockNow(t, redisstore.New(client, redisstore.WithLease(lease)))
	p.cut.Store(true)
	eventually(t, "a renewal fails", func() bool { return !p.cut.Load() })
	renewed(t, s)
	if held.Err() != nil {
		t.Errorf("held ended: %v", context.Cause(held))
	}
}

func TestHeldOutlastsARestartOfTheServer(t *testing.T) {
	s := startServer(t, durable...)
	held, _ := lockNow(t, redisstore.New(s.client(), redisstore.WithLease(2*lease)))
	s.kill()
	s.start()
	renewed(t, s)
	if held.Err() != nil {
		t.Errorf("held ended: %v", context.Cause(held))
	}
}

// renewed fails the test unless the lease is soon longer than it was.
func renewed(t *testing.T, s *server) {
	t.Helper()
	client := s.client()
	low := time.Duration(math.MaxInt64)
	eventually(t, "the lease is renewed", func() bool {
		left, err := client.PTTL(t.Context(), lockedKey+"#lock").Result()
		if err != nil {
			t.Fatal(err)
		}
		low = min(low, left)
		return left > low
	})
}

func TestNothingRunsOnAfterHeldEnds(t *testing.T) {
	s := startServer(t)
	client := s.client()
	for name, end := range map[string]func(cancel, unlock func()){
		"unlock":             func(_, unlock func()) { unlock() },
		"end of the context": func(cancel, _ func()) { cancel() },
		"loss of the lock":   func(_, _ func()) { client.Del(t.Context(), lockedKey+"#lock") },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, unlock, err := redisstore.New(client, redisstore.WithLease(lease)).Lock(ctx, lockedKey)
			if err != nil {
				t.Fatal(err)
			}
			defer unlock()
			eventually(t, "the lock is being renewed", func() bool { return renewing(t) })
			end(cancel, unlock)
			eventually(t, "nothing renews any more", func() bool { return !renewing(t) })
		})
	}
}

// renewing reports whether a goroutine of this process renews a lock.
func renewing(t *testing.T) bool {
	t.Helper()
	var stacks strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
		t.Fatal(err)
	}
	return strings.Contains(stacks.String(), "(*lock).keep")
}

func TestALockIsNoValue(t *testing.T) {
	s := startServer(t)
	client := s.client()
	store := redisstore.New(client)
	lockNow(t, store)
	before := owner(t, client)
	if _, err := store.Get(t.Context(), lockedKey); !errors.Is(err, wechatopen.ErrNotFound) {
		t.Errorf("Get of a key that is locked and not set: %v, want ErrNotFound", err)
	}
	if err := store.Set(t.Context(), lockedKey, []byte("value"), 0); err != nil {
		t.Fatal(err)
	}
	if err := store.Delete(t.Context(), lockedKey); err != nil {
		t.Fatal(err)
	}
	if owner(t, client) != before {
		t.Error("Set and Delete of a key touch its lock")
	}
}

func TestALostServerGrantsNoLock(t *testing.T) {
	s := startServer(t)
	lockNow(t, redisstore.New(s.client()))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := redis.NewClient(&redis.Options{Addr: s.addr, DialerRetries: 1})
	defer client.Close()
	got := make(chan error, 1)
	go func() {
		_, _, err := redisstore.New(client).Lock(ctx, lockedKey)
		got <- err
	}()
	eventually(t, "the second caller waits", func() bool { return client.PoolStats().Hits > 1 })
	s.kill()
	err := <-got
	refused(t, "Lock while Redis is lost", lockedKey, err)
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock waited for a lost Redis to the end of its context: %v", err)
	}
	_, _, err = redisstore.New(client).Lock(ctx, lockedKey)
	refused(t, "Lock without Redis", lockedKey, err)
}
