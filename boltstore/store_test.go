package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/boltstore"
	"github.com/wechatopen/wechatopen/storetest"
	"go.etcd.io/bbolt"
)

const key = "wechatopen:wx0123456789abcdef:ticket"

func TestStore(t *testing.T) {
	storetest.Store(t, func(t *testing.T) wechatopen.Store { return open(t, newPath(t)) })
}

func TestStoreIsDurable(t *testing.T) {
	storetest.Durable(t, func(t *testing.T) (wechatopen.Store, func() wechatopen.Store) {
		path := newPath(t)
		s := open(t, path)
		return s, func() wechatopen.Store {
			s.Close()
			return open(t, path)
		}
	})
}

func TestTTLObeysTheClock(t *testing.T) {
	clock := newClock()
	s := open(t, newPath(t), boltstore.WithClock(clock.now))
	set(t, s, key, "value", time.Minute)
	clock.advance(time.Minute - time.Millisecond)
	if got := get(t, s, key); got != "value" {
		t.Fatalf("just before the end of its ttl the value is %q", got)
	}
	clock.advance(2 * time.Millisecond)
	if got := get(t, s, key); got != "" {
		t.Fatalf("after its ttl the value is there: %q", got)
	}
}

func TestSweepKeepsWhatWasSetAgain(t *testing.T) {
	clock := newClock()
	s := open(t, newPath(t), boltstore.WithClock(clock.now))
	set(t, s, "kept", "short", time.Minute)
	set(t, s, "kept", "for ever", 0)
	set(t, s, "longer", "short", time.Minute)
	set(t, s, "longer", "long", time.Hour)
	set(t, s, "deleted", "short", time.Minute)
	if err := s.Delete(t.Context(), "deleted"); err != nil {
		t.Fatal(err)
	}
	set(t, s, "deleted", "for ever", 0)
	clock.advance(2 * time.Minute)
	for range 20 {
		set(t, s, "a write", "", 0)
	}
	for key, want := range map[string]string{"kept": "for ever", "longer": "long", "deleted": "for ever"} {
		if got := get(t, s, key); got != want {
			t.Errorf("%s is %q after the sweep, want %q", key, got, want)
		}
	}
}

func TestExpiredKeysDoNotFillTheFile(t *testing.T) {
	const keys, atOnce, ttl = 100_000, 1000, time.Minute
	clock := newClock()
	path := newPath(t)
	s := open(t, path, boltstore.WithClock(clock.now))
	set(t, s, key, "for ever", 0)
	var most int64
	for n := 0; n < keys; n += atOnce {
		var wg sync.WaitGroup
		for i := range atOnce {
			wg.Go(func() { set(t, s, fmt.Sprintf("wechatopen:wx0123456789abcdef:push:%d", n+i), "value", ttl) })
		}
		wg.Wait()
		clock.advance(2 * ttl)
		if info, err := os.Stat(path); err != nil {
			t.Fatal(err)
		} else if most = max(most, info.Size()); most > 4<<20 {
			t.Fatalf("after %d keys the file has %d bytes", n+atOnce, most)
		}
	}
	if got := get(t, s, key); got != "for ever" {
		t.Errorf("the kept value is %q", got)
	}
	s.Close()
	entries := count(t, path)
	t.Logf("%d keys that expired left %v entries and a file of %d bytes at most", keys, entries, most)
	for bucket, n := range entries {
		if n > 2*atOnce {
			t.Errorf("%d entries are left in the bucket %s", n, bucket)
		}
	}
}

func TestWritesAndDeletionsSweep(t *testing.T) {
	clock := newClock()
	path := newPath(t)
	s := open(t, path, boltstore.WithClock(clock.now))
	for i := range 40 {
		set(t, s, fmt.Sprint("short", i), "value", time.Minute)
	}
	clock.advance(time.Hour)
	for range 3 {
		set(t, s, key, "value", 0)
	}
	for range 3 {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	if got := count(t, path); got["values"] != 0 || got["ends"] != 0 {
		t.Errorf("six writes left %v of 40 expired entries", got)
	}
}

func TestNegativeTTLIsAnError(t *testing.T) {
	s := open(t, newPath(t))
	if err := s.Set(t.Context(), key, []byte("secret"), -1); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("Set: %v, want an error without the value", err)
	}
	if got := get(t, s, key); got != "" {
		t.Errorf("the value was kept: %q", got)
	}
}

func TestEndedContextChangesNothing(t *testing.T) {
	s := open(t, newPath(t))
	set(t, s, key, "before", 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, key); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v", err)
	}
	if err := s.Set(ctx, key, []byte("after"), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Set: %v", err)
	}
	if err := s.Delete(ctx, key); !errors.Is(err, context.Canceled) {
		t.Errorf("Delete: %v", err)
	}
	if got := get(t, s, key); got != "before" {
		t.Errorf("the value is %q", got)
	}
}

func TestClosedStoreIsAnErrorNotAMiss(t *testing.T) {
	s := open(t, newPath(t))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Get(t.Context(), key)
	for _, err := range []error{err, s.Set(t.Context(), key, nil, 0), s.Delete(t.Context(), key)} {
		if err == nil || errors.Is(err, wechatopen.ErrNotFound) || !strings.Contains(err.Error(), key) {
			t.Errorf("after Close: %v, want an error that names the key", err)
		}
	}
}

func TestDamagedValueIsAnErrorUntilItIsDeleted(t *testing.T) {
	path := newPath(t)
	open(t, path).Close()
	tamper(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("values")).Put([]byte(key), []byte("short")) })
	s := open(t, path)
	_, err := s.Get(t.Context(), key)
	for _, err := range []error{err, s.Set(t.Context(), key, []byte("new"), 0)} {
		if err == nil || errors.Is(err, wechatopen.ErrNotFound) || !strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "short") {
			t.Errorf("a damaged value: %v, want an error that names the key and not the value", err)
		}
	}
	if err := s.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	set(t, s, key, "new", 0)
	if got := get(t, s, key); got != "new" {
		t.Errorf("after Delete and Set the value is %q", got)
	}
}

// clock is a clock that stands still until it is moved.
type clock struct{ offset atomic.Int64 }

func newClock() *clock { return &clock{} }

func (c *clock) now() time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(c.offset.Load()))
}
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

func newPath(t *testing.T) string { return filepath.Join(t.TempDir(), "wechat.db") }

func open(t *testing.T, path string, opts ...boltstore.Option) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func set(t *testing.T, s *boltstore.Store, key, value string, ttl time.Duration) {
	t.Helper()
	if err := s.Set(t.Context(), key, []byte(value), ttl); err != nil {
		t.Error(err)
	}
}

// get returns the value, empty if it is absent.
func get(t *testing.T, s *boltstore.Store, key string) string {
	t.Helper()
	v, err := s.Get(t.Context(), key)
	if err != nil && !errors.Is(err, wechatopen.ErrNotFound) {
		t.Fatal(err)
	}
	return string(v)
}

// tamper changes a file that no Store has open.
func tamper(t *testing.T, path string, change func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(change); err != nil {
		t.Fatal(err)
	}
}

// count returns the number of entries of each bucket.
func count(t *testing.T, path string) map[string]int {
	t.Helper()
	n := map[string]int{}
	tamper(t, path, func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			n[string(bytes.Clone(name))] = b.Stats().KeyN
			return nil
		})
	})
	return n
}
