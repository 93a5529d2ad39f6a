package wechatopen_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/storetest"
)

func TestMemoryStoreKeepsCopies(t *testing.T) {
	s, ctx := wechatopen.NewMemoryStore(), t.Context()
	value := []byte("value")
	if err := s.Set(ctx, "k", value, 0); err != nil {
		t.Fatal(err)
	}
	value[0] = 'X'
	got, err := s.Get(ctx, "k")
	if err != nil || string(got) != "value" {
		t.Fatalf("after the caller changed what it had set: %q, %v", got, err)
	}
	got[0] = 'Y'
	if got, err := s.Get(ctx, "k"); err != nil || string(got) != "value" {
		t.Errorf("after the caller changed what it had got: %q, %v", got, err)
	}
}

func TestMemoryStoreTellsAbsentFromEmpty(t *testing.T) {
	s, ctx := wechatopen.NewMemoryStore(), t.Context()
	if v, err := s.Get(ctx, "k"); !errors.Is(err, wechatopen.ErrNotFound) || v != nil {
		t.Errorf("absent: %q, %v, want ErrNotFound", v, err)
	}
	if err := s.Delete(ctx, "k"); err != nil {
		t.Errorf("Delete of an absent key: %v, want nil", err)
	}
	for _, empty := range [][]byte{nil, {}} {
		if err := s.Set(ctx, "k", empty, 0); err != nil {
			t.Fatal(err)
		}
		if v, err := s.Get(ctx, "k"); err != nil || len(v) != 0 {
			t.Errorf("empty: %q, %v", v, err)
		}
	}
	if err := s.Delete(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, "k"); !errors.Is(err, wechatopen.ErrNotFound) {
		t.Errorf("deleted: %v, want ErrNotFound", err)
	}
}

// A bubble ends with a panic if NewMemoryStore leaves a goroutine in it.
func TestMemoryStoreForgetsWhenTheTimeHasPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ctx := wechatopen.NewMemoryStore(), t.Context()
		set := func(key, value string, ttl time.Duration) {
			t.Helper()
			if err := s.Set(ctx, key, []byte(value), ttl); err != nil {
				t.Fatal(err)
			}
		}
		has := func(key string) bool {
			t.Helper()
			_, err := s.Get(ctx, key)
			if err != nil && !errors.Is(err, wechatopen.ErrNotFound) {
				t.Fatal(err)
			}
			return err == nil
		}
		set("forever", "1", 0)
		set("minute", "1", time.Minute)
		set("extended", "1", time.Minute)
		set("shortened", "1", 0)
		set("extended", "2", 0)
		set("shortened", "2", time.Second)
		pass(time.Minute - time.Millisecond)
		if !has("minute") || has("shortened") {
			t.Errorf("after a minute but a millisecond: minute %t, shortened %t", has("minute"), has("shortened"))
		}
		pass(2 * time.Millisecond)
		if has("minute") || !has("extended") {
			t.Errorf("after a minute: minute %t, extended %t", has("minute"), has("extended"))
		}
		// Writes sweep what is over; what is to be kept outlives any number of them.
		for i := range 10_000 {
			set(fmt.Sprint("other", i), "1", time.Nanosecond)
		}
		pass(50 * 365 * 24 * time.Hour)
		for i := range 10_000 {
			set(fmt.Sprint("other", i), "1", time.Nanosecond)
		}
		if !has("forever") || !has("extended") {
			t.Error("a value with ttl 0 was evicted")
		}
	})
}

func TestMemoryStoreIsSafeForConcurrentUse(t *testing.T) {
	s, ctx := wechatopen.NewMemoryStore(), context.Background()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				key := fmt.Sprint("k", i%7)
				if err := s.Set(ctx, key, []byte{byte(g), byte(g)}, time.Duration(i%3)*time.Millisecond); err != nil {
					t.Error(err)
				}
				if v, err := s.Get(ctx, key); err == nil && (len(v) != 2 || v[0] != v[1]) {
					t.Errorf("a value made of two: %v", v)
				} else if err != nil && !errors.Is(err, wechatopen.ErrNotFound) {
					t.Error(err)
				}
				if i%5 == 0 {
					if err := s.Delete(ctx, key); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestMemoryLockerIsALocker(t *testing.T) {
	l := wechatopen.NewMemoryLocker()
	storetest.Locker(t, func(*testing.T) wechatopen.Locker { return l })
	if n := wechatopen.Keys(l); n != 0 {
		t.Errorf("%d keys that nobody holds take memory", n)
	}
}

// Those who wait come in their order; one who leaves, at whatever moment, neither keeps the lock nor loses it for others.
func TestMemoryLockerPassesTheLockOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := wechatopen.NewMemoryLocker()
		_, unlock, err := l.Lock(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		var order []int
		for i := range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				_, unlock, err := l.Lock(ctx, "k")
				if err != nil {
					return
				}
				order = append(order, i) // the lock guards it
				unlock()
				unlock()
			}()
			synctest.Wait()
			if i%2 == 1 {
				cancel() // while it waits
			} else {
				defer cancel()
			}
		}
		synctest.Wait()
		unlock()
		synctest.Wait()
		if !slices.Equal(order, []int{0, 2, 4}) {
			t.Errorf("the lock went to %v", order)
		}
	})
}

// Who leaves at the moment when the lock is passed to him passes it on.
func TestMemoryLockerIsNotLeftWithWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := wechatopen.NewMemoryLocker()
		for range 100 {
			_, unlock, err := l.Lock(t.Context(), "k")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if _, unlock, err := l.Lock(ctx, "k"); err == nil {
					unlock()
				}
			}()
			synctest.Wait() // it waits
			cancel()
			unlock()
			synctest.Wait()
			if n := wechatopen.Keys(l); n != 0 {
				t.Fatal("the lock is lost")
			}
		}
	})
}
