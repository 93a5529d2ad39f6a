package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wechatopen/wechatopen"
)

const (
	// key and other look as the keys of package wechatopen do.
	key   = "wechatopen:wx0123456789abcdef:component_token"
	other = "wechatopen:wx0123456789abcdef:wxfedcba9876543210:grant"

	// shortTTL is waited for; longTTL outlasts the test.
	shortTTL = 100 * time.Millisecond
	longTTL  = time.Hour
)

// Store checks what a [wechatopen.Store] promises. open returns an empty Store that is of no other use while the test t
// lasts; close it in t.Cleanup.
//
// The interface asks both sides not to change a value after handing it over. Store asks for a little more: the caller
// may.
func Store(t *testing.T, open func(t *testing.T) wechatopen.Store) {
	for _, c := range []struct {
		name  string
		check func(t *testing.T, s wechatopen.Store)
	}{
		{"an absent key is ErrNotFound", absentKey},
		{"a value is set, read, overwritten and deleted", roundTrip},
		{"values are any bytes", anyValue},
		{"keys are told apart", anyKey},
		{"a value is not shared with the caller", copies},
		{"a ttl ends", ttlEnds},
		{"a ttl below the resolution of the Store is not for ever", tinyTTL},
		{"ttl 0 after a ttl keeps the value", ttlThenZero},
		{"a ttl after ttl 0 ends", zeroThenTTL},
		{"a key set again after its end is a new one", setAfterEnd},
		{"many values are kept", many},
		{"concurrent use", concurrent},
		{"an ended context is an error, not a miss", endedContext},
	} {
		t.Run(c.name, func(t *testing.T) { c.check(t, open(t)) })
	}
}

func absentKey(t *testing.T, s wechatopen.Store) {
	absent(t, s, key)
	del(t, s, key)
	absent(t, s, key)
}

func roundTrip(t *testing.T, s wechatopen.Store) {
	for _, ttl := range []time.Duration{0, longTTL} {
		set(t, s, key, "first", ttl)
		get(t, s, key, "first")
		get(t, s, key, "first")
		set(t, s, key, "2", ttl)
		get(t, s, key, "2")
		absent(t, s, other)
		del(t, s, key)
		absent(t, s, key)
		del(t, s, key)
		set(t, s, key, "third", ttl)
		get(t, s, key, "third")
	}
}

func anyValue(t *testing.T, s wechatopen.Store) {
	binary := make([]byte, 256)
	for i := range binary {
		binary[i] = byte(i)
	}
	for name, value := range map[string]string{
		"empty":  "",
		"binary": string(binary),
		"zeros":  "\x00\x00",
		"spaces": " a value \r\n",
		"MiB":    strings.Repeat(string(binary), 1<<20/len(binary)),
	} {
		set(t, s, key+name, value, 0)
		get(t, s, key+name, value)
	}
	if err := s.Set(t.Context(), key, nil, 0); err != nil {
		t.Fatalf("Set of a nil value: %v", err)
	}
	get(t, s, key, "")
}

func anyKey(t *testing.T, s wechatopen.Store) {
	keys := []string{
		"wechatopen:wx0123456789abcdef:component_token",
		"wechatopen:wx0123456789abcdef:component-token",
		"wechatopen:wx0123456789abcdef:component_tokens",
		"wechatopen:wx0123456789abcdef:component_token:",
		"wechatopen:wx0123456789abcdef:wxfedcba9876543210:access_token",
		"wechatopen:wx0123456789abcdef:code:q9-_AbCdEfGhIjKlMnOpQrSt",
		"wechatopen:wx0123456789abcdef:code:Q9-_aBcDeFgHiJkLmNoPqRsT", // the same but for case
		"wechatopen:wx0123456789abcdef:" + strings.Repeat("k", 170),   // 200 bytes
		"wechatopen:wx0123456789abcdef:" + strings.Repeat("k", 169) + "l",
		"wechatopen:*",
		"wechatopen:%",
	}
	for _, k := range keys {
		set(t, s, k, "value of "+k, 0)
	}
	for len(keys) > 0 {
		for _, k := range keys {
			get(t, s, k, "value of "+k)
		}
		last := len(keys) - 1
		del(t, s, keys[last])
		absent(t, s, keys[last])
		keys = keys[:last]
	}
}

func copies(t *testing.T, s wechatopen.Store) {
	const want = "abcdef"
	mine := []byte(want)
	if err := s.Set(t.Context(), key, mine, 0); err != nil {
		t.Fatalf("Set: %v", err)
	}
	if string(mine) != want {
		t.Fatalf("Set changed the caller's value to %s", brief(string(mine)))
	}
	clear(mine)
	get(t, s, key, want)

	got, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	set(t, s, key, "ghijkl", 0)
	set(t, s, other, "mnopqr", 0)
	del(t, s, key)
	if string(got) != want {
		t.Fatalf("a value that Get returned became %s when the key was set again", brief(string(got)))
	}
	got, err = s.Get(t.Context(), other)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	clear(got)
	get(t, s, other, "mnopqr")
}

func ttlEnds(t *testing.T, s wechatopen.Store) {
	set(t, s, other, "for ever", 0)
	start := time.Now()
	set(t, s, key, "value", shortTTL)
	awaitAbsent(t, s, key)
	// A tenth is for a Store that has a clock of its own.
	if lived := time.Since(start); lived < shortTTL*9/10 {
		t.Errorf("a value set with ttl %v ended after %v", shortTTL, lived)
	}
	get(t, s, other, "for ever")
	del(t, s, key)
}

func tinyTTL(t *testing.T, s wechatopen.Store) {
	set(t, s, key, "value", time.Nanosecond)
	awaitAbsent(t, s, key)
}

func ttlThenZero(t *testing.T, s wechatopen.Store) {
	set(t, s, key, "short", shortTTL)
	set(t, s, key, "for ever", 0)
	set(t, s, other, "a little longer", shortTTL*5/4)
	awaitAbsent(t, s, other) // so the first ttl is over, too, and whatever it set off
	set(t, s, other, "a write, in which a Store may sweep", 0)
	get(t, s, key, "for ever")
}

func zeroThenTTL(t *testing.T, s wechatopen.Store) {
	set(t, s, key, "for ever", 0)
	set(t, s, key, "long", longTTL)
	get(t, s, key, "long")
	set(t, s, key, "short", shortTTL)
	awaitAbsent(t, s, key)
}

func setAfterEnd(t *testing.T, s wechatopen.Store) {
	set(t, s, key, "short", shortTTL)
	awaitAbsent(t, s, key)
	set(t, s, key, "for ever", 0)
	set(t, s, other, "a write, in which a Store may sweep", 0)
	get(t, s, key, "for ever")
}

func many(t *testing.T, s wechatopen.Store) {
	const n, writers = 256, 32
	name := func(i int) string { return fmt.Sprintf("wechatopen:wx0123456789abcdef:wx%016x:grant", i) }
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < n; i += writers {
				if err := s.Set(t.Context(), name(i), []byte(name(i)), 0); err != nil {
					t.Errorf("Set(%q): %v", name(i), err)
				}
			}
		})
	}
	wg.Wait()
	for i := range n {
		get(t, s, name(i), name(i))
	}
}

func concurrent(t *testing.T, s wechatopen.Store) {
	const workers, rounds, size = 8, 8, 1000
	// What several of them write to one key is never seen in halves.
	shared := []struct {
		key string
		ttl time.Duration
	}{{key, longTTL}, {other, 0}}
	value := func(w int) []byte { return bytes.Repeat([]byte{byte('a' + w)}, size) }
	whole := func(key string) {
		got, err := s.Get(t.Context(), key)
		if err != nil || len(got) != size || len(bytes.Trim(got, string(got[:1]))) != 0 {
			t.Errorf("Get while others write: %s, %v; want a value as one of them wrote it", brief(string(got)), err)
		}
	}
	for _, k := range shared {
		set(t, s, k.key, string(value(0)), k.ttl)
	}
	var writers, reader sync.WaitGroup
	for w := range workers {
		writers.Go(func() {
			k := shared[w%len(shared)]
			for i := range rounds {
				if err := s.Set(t.Context(), k.key, value(w), k.ttl); err != nil {
					t.Errorf("Set: %v", err)
				}
				whole(k.key)
				ownKey(t, s, fmt.Sprintf("%s:%d", key, w), fmt.Sprint(i))
			}
		})
	}
	done := make(chan struct{})
	reader.Go(func() {
		for !t.Failed() {
			for _, k := range shared {
				whole(k.key)
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	writers.Wait()
	close(done)
	reader.Wait()
}

// ownKey uses a key that only one goroutine uses.
func ownKey(t *testing.T, s wechatopen.Store, key, value string) {
	if err := s.Set(t.Context(), key, []byte(value), 0); err != nil {
		t.Errorf("Set: %v", err)
	}
	if got, err := s.Get(t.Context(), key); err != nil || string(got) != value {
		t.Errorf("Get of a key that nobody else writes: %s, %v; want %q", brief(string(got)), err, value)
	}
	if err := s.Delete(t.Context(), key); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if _, err := s.Get(t.Context(), key); !errors.Is(err, wechatopen.ErrNotFound) {
		t.Errorf("Get of a deleted key: %v, want ErrNotFound", err)
	}
}

// endedContext: a Store may work on in spite of the context; then it does what it says. If it returns an error, nothing
// has changed.
func endedContext(t *testing.T, s wechatopen.Store) {
	const before, after = "the value before", "the value after"
	ctx := cancelled(t)
	set(t, s, key, before, 0)
	got, err := s.Get(ctx, key)
	if errors.Is(err, wechatopen.ErrNotFound) {
		t.Errorf("Get with an ended context: %v; it is taken for an absent key", err)
	}
	if err == nil && string(got) != before {
		t.Errorf("Get with an ended context returned %s and no error, want %q", brief(string(got)), before)
	}
	for _, c := range []struct {
		key, old string // old is empty if the key is absent
	}{{key, before}, {other, ""}} {
		switch err := s.Set(ctx, c.key, []byte(after), 0); {
		case err == nil:
			get(t, s, c.key, after)
		case strings.Contains(err.Error(), after):
			t.Errorf("the error of Set holds the value, which is a secret: %v", err)
		case c.old != "":
			get(t, s, c.key, c.old)
		default:
			absent(t, s, c.key)
		}
	}
	set(t, s, key, before, 0)
	if err := s.Delete(ctx, key); err == nil {
		absent(t, s, key)
	} else {
		get(t, s, key, before)
	}
}

// brief is a value for a message.
func brief(v string) string {
	if len(v) <= 64 {
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprintf("%q… (%d bytes)", v[:32], len(v))
}
