package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wechatopen/wechatopen"
)

// moment is how long a test watches that something does not happen.
const moment = 100 * time.Millisecond

// Locker checks what a [wechatopen.Locker] promises. Each call of open returns the Locker of another process, with the
// same locks as the others. A Locker whose locks are leases must have leases longer than ten seconds here: a lock that
// is found free only when a lease runs out is a failure.
func Locker(t *testing.T, open func(t *testing.T) wechatopen.Locker) {
	for _, c := range []struct {
		name  string
		check func(t *testing.T, a, b wechatopen.Locker, key string)
	}{
		{"one holder at a time", oneHolder},
		{"held ends with unlock", heldEnds},
		{"held derives from the context", heldDerives},
		{"a second unlock is harmless", unlockTwice},
		{"an unlocked key is free at once", freeAtOnce},
		{"unlock works after the end of the context", unlockLate},
		{"a caller that stops waiting gets the error of its context", stopWaiting},
		{"a caller that leaves in the middle leaves no lock behind", leave},
		{"different keys do not wait for each other", independentKeys},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A key of its own, so that what an earlier run left in a shared server is of no matter.
			c.check(t, open(t), open(t), "wechatopen:storetest:"+rand.Text())
		})
	}
}

// tryLock is l.Lock for a ctx that ends soon. It fails the test if Lock does not return soon after that.
func tryLock(ctx context.Context, t *testing.T, l wechatopen.Locker, key string) (held context.Context, unlock func(), err error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		held, unlock, err = l.Lock(ctx, key)
	}()
	select {
	case <-done:
		return held, unlock, err
	case <-ctx.Done():
	}
	select {
	case <-done:
		return held, unlock, err
	case <-time.After(patience):
		t.Fatalf("Lock(%q) still waits %v after the end of its context", key, patience)
		panic("unreachable")
	}
}

// lock fails the test unless l gets the lock soon.
func lock(ctx context.Context, t *testing.T, l wechatopen.Locker, key string) (context.Context, func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(cancel)
	late := time.AfterFunc(patience, cancel)
	held, unlock, err := tryLock(ctx, t, l, key)
	late.Stop()
	if err != nil {
		t.Fatalf("Lock(%q): %v, want the lock within %v", key, err, patience)
	}
	t.Cleanup(unlock) // so that a failed test does not keep others waiting
	if err := held.Err(); err != nil {
		t.Fatalf("Lock(%q): held has ended already: %v", key, err)
	}
	return held, unlock
}

// passes fails the test unless l gets the lock soon, and gives it back.
func passes(t *testing.T, l wechatopen.Locker, key string) {
	t.Helper()
	_, unlock := lock(t.Context(), t, l, key)
	unlock()
}

// waits fails the test if l gets the lock, or gives up with another error than that of its context.
func waits(ctx context.Context, t *testing.T, l wechatopen.Locker, key string) {
	t.Helper()
	_, unlock, err := tryLock(ctx, t, l, key)
	if err == nil {
		unlock()
		t.Fatalf("Lock(%q) succeeded while another holds it", key)
	}
	if !errors.Is(err, ctx.Err()) {
		t.Fatalf("Lock(%q) returned %v, want the error of its context, %v", key, err, ctx.Err())
	}
}

// locked fails the test unless callers of l wait.
func locked(t *testing.T, l wechatopen.Locker, key string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), moment)
	defer cancel()
	waits(ctx, t, l, key)
}

// ended fails the test unless held ends soon.
func ended(t *testing.T, held context.Context, when string) {
	t.Helper()
	select {
	case <-held.Done():
	case <-time.After(patience):
		t.Fatalf("held has not ended %v after %s", patience, when)
	}
}

func oneHolder(t *testing.T, a, b wechatopen.Locker, key string) {
	const callers = 16 // of each Locker
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	var holders atomic.Int32
	unguarded := 0 // the race detector watches it
	var wg sync.WaitGroup
	for range callers {
		for _, l := range []wechatopen.Locker{a, b} {
			wg.Go(func() {
				_, unlock, err := l.Lock(ctx, key)
				if err != nil {
					t.Errorf("Lock: %v", err)
					return
				}
				defer unlock()
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d callers hold the lock at once", n)
				}
				unguarded++
				time.Sleep(time.Millisecond)
				holders.Add(-1)
			})
		}
	}
	wg.Wait()
	if unguarded != 2*callers && !t.Failed() {
		t.Errorf("the lock guarded %d of %d additions", unguarded, 2*callers)
	}
}

func heldEnds(t *testing.T, a, _ wechatopen.Locker, key string) {
	held, unlock := lock(t.Context(), t, a, key)
	unlock()
	ended(t, held, "unlock")
}

func heldDerives(t *testing.T, a, _ wechatopen.Locker, key string) {
	type contextKey struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), contextKey{}, "value"))
	defer cancel()
	held, unlock := lock(ctx, t, a, key)
	defer unlock()
	if held.Value(contextKey{}) != "value" {
		t.Error("held does not have the values of the context of Lock")
	}
	cancel()
	ended(t, held, "the end of the context of Lock")
}

func unlockTwice(t *testing.T, a, b wechatopen.Locker, key string) {
	_, unlock := lock(t.Context(), t, a, key)
	unlock()
	unlock()
	for _, l := range []wechatopen.Locker{a, b} {
		held, unlockNext := lock(t.Context(), t, l, key)
		unlock()
		locked(t, a, key)
		locked(t, b, key)
		if err := held.Err(); err != nil {
			t.Fatalf("a second unlock of the holder before ended held: %v", err)
		}
		unlockNext()
	}
}

func freeAtOnce(t *testing.T, a, b wechatopen.Locker, key string) {
	for range 3 {
		_, unlock := lock(t.Context(), t, a, key)
		locked(t, b, key)
		unlock()
		passes(t, b, key)
	}
	_, unlock := lock(t.Context(), t, a, key)
	time.AfterFunc(moment/5, unlock)
	passes(t, b, key) // having waited
}

func unlockLate(t *testing.T, a, b wechatopen.Locker, key string) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, unlock := lock(ctx, t, a, key)
	cancel()
	unlock()
	passes(t, b, key)
}

func stopWaiting(t *testing.T, a, b wechatopen.Locker, key string) {
	_, unlock := lock(t.Context(), t, a, key)
	for _, l := range []wechatopen.Locker{a, b} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(moment/5, cancel)
		waits(ctx, t, l, key)

		ctx, cancel = context.WithTimeout(t.Context(), moment/5)
		waits(ctx, t, l, key)
		cancel()
	}
	unlock()
	passes(t, b, key)
	passes(t, a, key)
}

// leave ends the context at many moments of taking a lock that is free, before the first step and between any two.
func leave(t *testing.T, a, b wechatopen.Locker, key string) {
	for i := range 40 {
		ctx, cancel := context.WithCancel(t.Context())
		if i == 0 {
			cancel()
		}
		time.AfterFunc(time.Duration(i)*25*time.Microsecond, cancel)
		if _, unlock, err := tryLock(ctx, t, a, key); err == nil {
			unlock()
		}
		cancel()
	}
	passes(t, b, key)
}

func independentKeys(t *testing.T, a, b wechatopen.Locker, key string) {
	lock(t.Context(), t, a, key)
	for _, other := range []string{key + ":", key + "x", key[:len(key)-1]} {
		passes(t, a, other)
		passes(t, b, other)
	}
}
