// Package storetest is the conformance suite of [wechatopen.Store] and [wechatopen.Locker]. Run it on your own, here a
// Store on an SQL table:
//
//	func TestStore(t *testing.T) {
//		storetest.Store(t, func(t *testing.T) wechatopen.Store { return newSQLStore(t) })
//	}
//
// [Durable] is for a Store that is to keep the merchants' authorizations, and [Locker] for a Locker. Run them with
// -race. They take a second or two; only a Store or a Locker that fails takes longer.
package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/wechatopen/wechatopen"
)

// patience is how long something that must come about may take. Only a failure takes so long.
const patience = 5 * time.Second

// get fails the test unless key is there with the value want.
func get(t *testing.T, s wechatopen.Store, key, want string) {
	t.Helper()
	got, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("Get(%q): %v, want a value", key, err)
	}
	if string(got) != want {
		t.Fatalf("Get(%q) returned %s, want %s", key, brief(string(got)), brief(want))
	}
}

// absent fails the test unless key is not there.
func absent(t *testing.T, s wechatopen.Store, key string) {
	t.Helper()
	got, err := s.Get(t.Context(), key)
	if err == nil {
		t.Fatalf("Get(%q) returned %s, want ErrNotFound", key, brief(string(got)))
	}
	if !errors.Is(err, wechatopen.ErrNotFound) {
		t.Fatalf("Get(%q): %v, which is not ErrNotFound; an absent key is told from a Store that cannot be asked by errors.Is", key, err)
	}
}

// set fails the test unless the value is accepted.
func set(t *testing.T, s wechatopen.Store, key, value string, ttl time.Duration) {
	t.Helper()
	if err := s.Set(t.Context(), key, []byte(value), ttl); err != nil {
		t.Fatalf("Set(%q, ttl %v): %v", key, ttl, err)
	}
}

// del fails the test unless Delete returns nil.
func del(t *testing.T, s wechatopen.Store, key string) {
	t.Helper()
	if err := s.Delete(t.Context(), key); err != nil {
		t.Fatalf("Delete(%q): %v, want nil", key, err)
	}
}

// awaitAbsent waits until key is gone.
func awaitAbsent(t *testing.T, s wechatopen.Store, key string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		_, err := s.Get(t.Context(), key)
		switch {
		case errors.Is(err, wechatopen.ErrNotFound):
			return
		case err != nil:
			t.Fatalf("Get(%q): %v", key, err)
		case time.Now().After(deadline):
			t.Fatalf("%q is still there %v after it was set with a short ttl", key, patience)
		}
	}
}

// cancelled is a context that has ended.
func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
