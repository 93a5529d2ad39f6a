package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wechatopen/wechatopen"
)

// hooked is a MemoryStore some of whose methods are replaced.
type hooked struct {
	*wechatopen.MemoryStore
	get func(ctx context.Context, key string) ([]byte, error)
	set func(ctx context.Context, key string, value []byte, ttl time.Duration) error
	del func(ctx context.Context, key string) error
}

func (h *hooked) Get(ctx context.Context, key string) ([]byte, error) {
	if h.get != nil {
		return h.get(ctx, key)
	}
	return h.MemoryStore.Get(ctx, key)
}

func (h *hooked) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if h.set != nil {
		return h.set(ctx, key, value, ttl)
	}
	return h.MemoryStore.Set(ctx, key, value, ttl)
}

func (h *hooked) Delete(ctx context.Context, key string) error {
	if h.del != nil {
		return h.del(ctx, key)
	}
	return h.MemoryStore.Delete(ctx, key)
}

type brokenStore struct {
	name, check string
	hook        func(h *hooked, m *wechatopen.MemoryStore)
}

func (b brokenStore) open(*testing.T) wechatopen.Store {
	m := wechatopen.NewMemoryStore()
	h := &hooked{MemoryStore: m}
	b.hook(h, m)
	return h
}

var brokenStores = []brokenStore{
	{"a miss without an error", "an absent key is ErrNotFound", func(h *hooked, m *wechatopen.MemoryStore) {
		h.get = func(ctx context.Context, key string) ([]byte, error) {
			v, _ := m.Get(ctx, key)
			return v, nil
		}
	}},
	{"a miss with an error of its own", "an absent key is ErrNotFound", func(h *hooked, m *wechatopen.MemoryStore) {
		h.get = func(ctx context.Context, key string) ([]byte, error) {
			v, err := m.Get(ctx, key)
			if err != nil {
				err = errors.New("no rows")
			}
			return v, err
		}
	}},
	{"delete fails on an absent key", "an absent key is ErrNotFound", func(h *hooked, m *wechatopen.MemoryStore) {
		h.del = func(ctx context.Context, key string) error {
			if _, err := m.Get(ctx, key); err != nil {
				return err
			}
			return m.Delete(ctx, key)
		}
	}},
	{"delete does nothing", "a value is set, read, overwritten and deleted", func(h *hooked, _ *wechatopen.MemoryStore) {
		h.del = func(context.Context, string) error { return nil }
	}},
	{"the first value stays", "a value is set, read, overwritten and deleted", func(h *hooked, m *wechatopen.MemoryStore) {
		h.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			if _, err := m.Get(ctx, key); err == nil {
				return nil
			}
			return m.Set(ctx, key, value, ttl)
		}
	}},
	{"a value is read once", "a value is set, read, overwritten and deleted", func(h *hooked, m *wechatopen.MemoryStore) {
		h.get = func(ctx context.Context, key string) ([]byte, error) {
			defer m.Delete(ctx, key)
			return m.Get(ctx, key)
		}
	}},
	{"values are C strings", "values are any bytes", valuesBecome(func(v []byte) []byte {
		before, _, _ := bytes.Cut(v, []byte{0})
		return before
	})},
	{"values are trimmed", "values are any bytes", valuesBecome(bytes.TrimSpace)},
	{"values are UTF-8", "values are any bytes", valuesBecome(func(v []byte) []byte { return bytes.ToValidUTF8(v, []byte("?")) })},
	{"values end at 64 KiB", "values are any bytes", valuesBecome(func(v []byte) []byte { return v[:min(len(v), 1<<16)] })},
	{"an empty value is absent", "values are any bytes", func(h *hooked, m *wechatopen.MemoryStore) {
		h.get = func(ctx context.Context, key string) ([]byte, error) {
			v, err := m.Get(ctx, key)
			if err == nil && len(v) == 0 {
				err = wechatopen.ErrNotFound
			}
			return v, err
		}
	}},
	{"keys without case", "keys are told apart", keysBecome(strings.ToLower)},
	{"keys end at 191 bytes", "keys are told apart", keysBecome(func(k string) string { return k[:min(len(k), 191)] })},
	{"keys become file names", "keys are told apart", keysBecome(strings.NewReplacer(":", "-", "_", "-").Replace)},
	{"delete takes a pattern", "keys are told apart", func(h *hooked, m *wechatopen.MemoryStore) {
		var keys sync.Map
		h.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			keys.Store(key, true)
			return m.Set(ctx, key, value, ttl)
		}
		h.del = func(ctx context.Context, key string) error {
			for k := range keys.Range {
				if strings.HasPrefix(k.(string), strings.TrimRight(key, "*%")) {
					m.Delete(ctx, k.(string))
				}
			}
			return nil
		}
	}},
	{"the caller's slice is kept", "a value is not shared with the caller", slices(false, true)},
	{"the Store's slice is returned", "a value is not shared with the caller", slices(true, false)},
	{"a ttl never ends", "a ttl ends", ttlBecomes(func(_ context.Context, _ *wechatopen.MemoryStore, _ string, _ time.Duration) time.Duration { return 0 })},
	{"a ttl ends early", "a ttl ends", ttlBecomes(func(_ context.Context, _ *wechatopen.MemoryStore, _ string, ttl time.Duration) time.Duration {
		return max(ttl/2, min(ttl, 1))
	})},
	{"a ttl takes the rest with it", "a ttl ends", func(h *hooked, m *wechatopen.MemoryStore) {
		h.get = func(ctx context.Context, key string) ([]byte, error) {
			v, err := m.Get(ctx, key)
			if err != nil {
				m.Delete(ctx, "wechatopen:wx0123456789abcdef:wxfedcba9876543210:grant")
			}
			return v, err
		}
	}},
	{"a ttl in whole milliseconds", "a ttl below the resolution of the Store is not for ever", ttlBecomes(func(_ context.Context, _ *wechatopen.MemoryStore, _ string, ttl time.Duration) time.Duration {
		return ttl.Truncate(time.Millisecond)
	})},
	{"an old ttl stays", "ttl 0 after a ttl keeps the value", lingering},
	{"an old timer stays", "ttl 0 after a ttl keeps the value", timers},
	{"an old ttl 0 stays", "a ttl after ttl 0 ends", ttlBecomes(func(ctx context.Context, m *wechatopen.MemoryStore, key string, ttl time.Duration) time.Duration {
		if _, err := m.Get(ctx, key); err == nil {
			return 0
		}
		return ttl
	})},
	{"an old end stays", "a key set again after its end is a new one", lingering},
	{"the oldest values are evicted", "many values are kept", func(h *hooked, m *wechatopen.MemoryStore) {
		fifo := make(chan string, 200)
		h.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			for {
				select {
				case fifo <- key:
					return m.Set(ctx, key, value, ttl)
				case oldest := <-fifo:
					m.Delete(ctx, oldest)
				}
			}
		}
	}},
	{"a write is dropped when another one runs", "concurrent use", func(h *hooked, m *wechatopen.MemoryStore) {
		var mu sync.Mutex
		h.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			if !mu.TryLock() {
				return nil
			}
			defer mu.Unlock()
			time.Sleep(time.Millisecond)
			return m.Set(ctx, key, value, ttl)
		}
	}},
	{"a value is written in halves", "concurrent use", func(h *hooked, m *wechatopen.MemoryStore) {
		h.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			m.Set(ctx, key, value[:len(value)/2], ttl)
			time.Sleep(time.Millisecond)
			return m.Set(ctx, key, value, ttl)
		}
	}},
	{"an ended context is a miss", "an ended context is an error, not a miss", func(h *hooked, m *wechatopen.MemoryStore) {
		h.get = func(ctx context.Context, key string) ([]byte, error) {
			if ctx.Err() != nil {
				return nil, wechatopen.ErrNotFound
			}
			return m.Get(ctx, key)
		}
	}},
	{"an ended context is an empty value", "an ended context is an error, not a miss", func(h *hooked, m *wechatopen.MemoryStore) {
		h.get = func(ctx context.Context, key string) ([]byte, error) {
			if ctx.Err() != nil {
				return nil, nil
			}
			return m.Get(ctx, key)
		}
	}},
	{"an ended context is not reported", "an ended context is an error, not a miss", func(h *hooked, m *wechatopen.MemoryStore) {
		h.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			if ctx.Err() != nil {
				return nil
			}
			return m.Set(ctx, key, value, ttl)
		}
	}},
	{"an ended context is reported after the write", "an ended context is an error, not a miss", func(h *hooked, m *wechatopen.MemoryStore) {
		h.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			m.Set(ctx, key, value, ttl)
			return ctx.Err()
		}
	}},
	{"an ended context is reported after the deletion", "an ended context is an error, not a miss", func(h *hooked, m *wechatopen.MemoryStore) {
		h.del = func(ctx context.Context, key string) error {
			m.Delete(ctx, key)
			return ctx.Err()
		}
	}},
	{"an error holds the value", "an ended context is an error, not a miss", func(h *hooked, m *wechatopen.MemoryStore) {
		h.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			if ctx.Err() != nil {
				return fmt.Errorf("SET %s %s: %w", key, value, ctx.Err())
			}
			return m.Set(ctx, key, value, ttl)
		}
	}},
}

func valuesBecome(f func([]byte) []byte) func(*hooked, *wechatopen.MemoryStore) {
	return func(h *hooked, m *wechatopen.MemoryStore) {
		h.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			return m.Set(ctx, key, f(value), ttl)
		}
	}
}

func keysBecome(f func(string) string) func(*hooked, *wechatopen.MemoryStore) {
	return func(h *hooked, m *wechatopen.MemoryStore) {
		h.get = func(ctx context.Context, key string) ([]byte, error) { return m.Get(ctx, f(key)) }
		h.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			return m.Set(ctx, f(key), value, ttl)
		}
		h.del = func(ctx context.Context, key string) error { return m.Delete(ctx, f(key)) }
	}
}

func ttlBecomes(f func(ctx context.Context, m *wechatopen.MemoryStore, key string, ttl time.Duration) time.Duration) func(*hooked, *wechatopen.MemoryStore) {
	return func(h *hooked, m *wechatopen.MemoryStore) {
		h.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
			return m.Set(ctx, key, value, f(ctx, m, key, ttl))
		}
	}
}

// slices is a map that copies on one side only.
func slices(onSet, onGet bool) func(*hooked, *wechatopen.MemoryStore) {
	return func(h *hooked, _ *wechatopen.MemoryStore) {
		var values sync.Map
		h.set = func(_ context.Context, key string, value []byte, _ time.Duration) error {
			if onSet {
				value = bytes.Clone(value)
			}
			values.Store(key, value)
			return nil
		}
		h.get = func(_ context.Context, key string) ([]byte, error) {
			v, ok := values.Load(key)
			if !ok {
				return nil, wechatopen.ErrNotFound
			}
			if onGet {
				return bytes.Clone(v.([]byte)), nil
			}
			return v.([]byte), nil
		}
		h.del = func(_ context.Context, key string) error {
			values.Delete(key)
			return nil
		}
	}
}

// lingering keeps the first ttl that a key was given.
func lingering(h *hooked, m *wechatopen.MemoryStore) {
	var ends sync.Map
	h.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
		if ttl != 0 {
			ends.LoadOrStore(key, time.Now().Add(ttl))
		}
		return m.Set(ctx, key, value, 0)
	}
	h.get = func(ctx context.Context, key string) ([]byte, error) {
		if end, ok := ends.Load(key); ok && time.Now().After(end.(time.Time)) {
			return nil, wechatopen.ErrNotFound
		}
		return m.Get(ctx, key)
	}
}

// timers deletes by timers that nobody stops.
func timers(h *hooked, m *wechatopen.MemoryStore) {
	h.set = func(ctx context.Context, key string, value []byte, ttl time.Duration) error {
		if ttl != 0 {
			time.AfterFunc(ttl, func() { m.Delete(context.WithoutCancel(ctx), key) })
		}
		return m.Set(ctx, key, value, 0)
	}
}

// disk is a Store that outlives its process: reopening copies what was written.
type disk struct {
	mu     sync.Mutex
	values map[string]diskValue
	log    []string // keys in the order in which they were written
}

type diskValue struct {
	value []byte
	end   time.Time // zero: none
}

func (d *disk) Get(_ context.Context, key string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.values[key]
	if !ok || !v.end.IsZero() && time.Now().After(v.end) {
		return nil, wechatopen.ErrNotFound
	}
	return bytes.Clone(v.value), nil
}

func (d *disk) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := diskValue{value: bytes.Clone(value)}
	if ttl != 0 {
		v.end = time.Now().Add(ttl)
	}
	d.values[key] = v
	d.log = append(d.log, key)
	return nil
}

func (d *disk) Delete(_ context.Context, key string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.values, key)
	return nil
}

// openDurable opens a disk whose reopening does it harm.
func openDurable(crash func(*disk)) func(*testing.T) (wechatopen.Store, func() wechatopen.Store) {
	return func(*testing.T) (wechatopen.Store, func() wechatopen.Store) {
		d := &disk{values: map[string]diskValue{}}
		return d, func() wechatopen.Store {
			next := &disk{values: maps.Clone(d.values), log: d.log}
			crash(next)
			return next
		}
	}
}

var brokenDisks = []struct {
	name  string
	crash func(*disk)
}{
	{"everything is lost", func(d *disk) { clear(d.values) }},
	{"the last writes are lost", func(d *disk) {
		for _, key := range d.log[len(d.log)-2:] {
			delete(d.values, key)
		}
	}},
	{"overwriting is lost", func(d *disk) {
		const key = "wechatopen:wx0123456789abcdef:component_token:overwritten"
		d.values[key] = diskValue{value: []byte("old")}
	}},
	{"deleting is lost", func(d *disk) {
		for _, key := range d.log {
			if _, ok := d.values[key]; !ok {
				d.values[key] = diskValue{}
			}
		}
	}},
	{"the end of a ttl is lost", func(d *disk) {
		for key, v := range d.values {
			d.values[key] = diskValue{value: v.value}
		}
	}},
	{"an overwritten ttl comes back", func(d *disk) {
		const key = "wechatopen:wx0123456789abcdef:component_token:widened"
		d.values[key] = diskValue{value: d.values[key].value, end: time.Now().Add(50 * time.Millisecond)}
	}},
}
