package e2e_test

import (
	"strings"
	"testing"

	"github.com/wechatopen/wechatopen/wechattest"
)

func TestTwoPlatformsShareNoKey(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	one := newWorld(t, setup{Redis: r.addr})
	two := *one // the same WeChat, and the same accounts
	two.comp = two.wx.AddComponent(wechattest.ComponentConfig{})
	two.setup.Credentials = two.comp.Credentials()
	account := one.wx.AddAccount(wechattest.AccountConfig{})
	app := account.AppID()

	touched := func(w *world, p *proc) map[string]bool {
		t.Helper()
		keys := make(map[string]bool)
		for _, key := range p.ask(command{Op: opTouched}).Keys {
			if !strings.HasPrefix(key, "wechatopen:"+w.comp.AppID()+":") {
				t.Errorf("the platform %s used the key %s", w.comp.AppID(), key)
			}
			keys[key] = true
		}
		return keys
	}
	live := func(w *world) *proc {
		t.Helper()
		p := w.start()
		w.pushTo(p)
		w.ticket()
		for range 2 { // authorized, then updateauthorized
			if _, err := w.comp.Authorize(t.Context(), account); err != nil {
				t.Fatal(err)
			}
		}
		if got := p.ask(command{Op: opRenew, Apps: []string{app}}); got.Failed > 0 {
			t.Fatalf("%s: %q", w.comp.AppID(), got.Errors)
		}
		return p
	}
	p, q := live(one), live(&two)
	before, err := r.client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}

	// What ends at one platform goes on at the other.
	if err := one.comp.Unauthorize(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	if n := len(one.grants(p, []string{app})); n != 0 {
		t.Errorf("the platform whose authorization was revoked still has the grant")
	}
	if got := q.ask(command{Op: opRenew, Apps: []string{app}}); got.Failed > 0 {
		t.Errorf("the other platform lost the account: %q", got.Errors)
	}
	if got := two.grants(q, []string{app})[app]; got == "" || got != two.comp.RefreshToken(account) {
		t.Error("the other platform's refresh token is not that of WeChat")
	}

	a, b := touched(one, p), touched(&two, q)
	for key := range a {
		if b[key] {
			t.Errorf("both platforms used the key %s", key)
		}
	}
	locks := func(keys map[string]bool) (n int) {
		for key := range keys {
			if strings.HasSuffix(key, "#lock") {
				n++
			}
		}
		return n
	}
	for _, key := range before {
		if !a[key] && !b[key] {
			t.Errorf("%s is in Redis, and neither platform is known to have used it", key)
		}
	}
	if locks(a) == 0 || locks(b) == 0 || len(before) == 0 {
		t.Errorf("%d and %d locks used, and %d values in Redis; want some of each", locks(a), locks(b), len(before))
	}
	t.Logf("two platforms of one account in one Redis: %d and %d keys used, %d and %d of them locks; none in common; %d values were in Redis",
		len(a), len(b), locks(a), locks(b), len(before))
}
