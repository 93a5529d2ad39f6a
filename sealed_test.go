package wechatopen_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wechatopen/wechatopen"
)

func TestSealedStore(t *testing.T) {
	ctx := t.Context()
	oldKey, newKey := bytes.Repeat([]byte("o"), 32), bytes.Repeat([]byte("n"), 32)
	seal := func(s wechatopen.Store, keys ...[]byte) *wechatopen.SealedStore {
		t.Helper()
		sealed, err := wechatopen.NewSealedStore(s, keys...)
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	inner := wechatopen.NewMemoryStore()
	if err := seal(inner, oldKey).Set(ctx, "a", []byte("refresh-token"), 0); err != nil {
		t.Fatal(err)
	}
	raw, err := inner.Get(ctx, "a")
	if err != nil || bytes.Contains(raw, []byte("refresh-token")) {
		t.Fatalf("the inner Store holds %q, %v", raw, err)
	}

	both := seal(inner, newKey, oldKey)
	if v, err := both.Get(ctx, "a"); err != nil || string(v) != "refresh-token" {
		t.Errorf("with the old key second: %q, %v", v, err)
	}
	if _, err := both.Get(ctx, "absent"); !errors.Is(err, wechatopen.ErrNotFound) {
		t.Errorf("absent: %v, want ErrNotFound", err)
	}

	refused := func(name string, s wechatopen.Store, key string) {
		t.Helper()
		_, err := s.Get(ctx, key)
		if err == nil || errors.Is(err, wechatopen.ErrNotFound) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v; want an error that names %s and is no miss", name, err, key)
		}
	}
	refused("unknown key", seal(inner, newKey), "a")
	inner.Set(ctx, "moved", raw, 0)
	refused("a value in another's place", both, "moved")
	inner.Set(ctx, "plain", []byte(`{"v":1}`), 0)
	refused("not sealed", both, "plain")
	inner.Set(ctx, "short", []byte("s"), 0)
	refused("cut short", both, "short")
	damaged := bytes.Clone(raw)
	damaged[len(damaged)-1] ^= 1
	inner.Set(ctx, "a", damaged, 0)
	refused("damaged", both, "a")
}

// A platform moves what it uses to the newest key, so that the old one can be taken away.
func TestSealedStoreMovesToTheNewestKey(t *testing.T) {
	oldKey, newKey := bytes.Repeat([]byte("o"), 32), bytes.Repeat([]byte("n"), 32)
	inner := wechatopen.NewMemoryStore()
	with := func(keys ...[]byte) wechatopen.Option {
		s, err := wechatopen.NewSealedStore(inner, keys...)
		if err != nil {
			t.Fatal(err)
		}
		return wechatopen.WithStore(s)
	}
	w := newWorld(t, with(oldKey))
	w.ready()

	w.platform = w.newPlatform(with(newKey, oldKey))
	w.mux.Handle("/rotated", &wechatopen.TicketHandler{Platform: w.platform})
	w.comp.SetEventURL(w.site.URL + "/rotated")
	if _, err := w.comp.PushTicket(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.sim.Advance(3 * time.Hour)
	if _, err := w.platform.Account(w.shop.AppID()).AccessToken().Token(t.Context()); err != nil {
		t.Fatal(err)
	}

	w.platform = w.newPlatform(with(newKey))
	w.sim.Advance(3 * time.Hour)
	if _, err := w.platform.Account(w.shop.AppID()).AccessToken().Token(t.Context()); err != nil {
		t.Errorf("without the old key: %v", err)
	}
}

func TestNewSealedStoreChecksItsKeys(t *testing.T) {
	if _, err := wechatopen.NewSealedStore(wechatopen.NewMemoryStore()); err == nil {
		t.Error("no key: no error")
	}
	if _, err := wechatopen.NewSealedStore(wechatopen.NewMemoryStore(), []byte("short")); err == nil {
		t.Error("a short key: no error")
	}
}
