package wechatopen_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

func TestRecoverRefillsTheStore(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	w.ready()
	var accounts []*wechattest.Account
	for i := range 620 { // more than WeChat lists at once
		a := w.sim.AddAccount(wechattest.AccountConfig{Name: fmt.Sprint("shop ", i)})
		if _, err := w.platform.QueryAuth(ctx, w.comp.NewAuthCode(a)); err != nil {
			t.Fatal(err)
		}
		accounts = append(accounts, a)
	}
	neverRedeemed := w.sim.AddAccount(wechattest.AccountConfig{Name: "never redeemed"})
	w.comp.NewAuthCode(neverRedeemed)

	// The Store is lost, and one account has authorized the platform again since.
	w.store = &faultyStore{Store: wechatopen.NewMemoryStore()}
	p := w.newPlatform()
	w.mux.Handle("/recovered", &wechatopen.TicketHandler{Platform: p})
	w.comp.SetEventURL(w.site.URL + "/recovered")
	if _, err := w.comp.PushTicket(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := w.comp.Authorize(ctx, accounts[7]); err != nil {
		t.Fatal(err)
	}

	// Cut short, it may be run again.
	short, cancel := context.WithCancel(ctx)
	w.sim.Inject(wechattest.Fault{Path: "/cgi-bin/component/api_get_authorizer_list", Times: 1, Edit: func(b []byte) []byte { cancel(); return b }})
	if _, err := p.Recover(short); !errors.Is(err, context.Canceled) {
		t.Errorf("cut short: %v, want context.Canceled", err)
	}
	for i, want := range []wechatopen.RecoverReport{{Recovered: 620, Skipped: 2}, {Skipped: 622}} {
		got, err := p.Recover(ctx)
		if err != nil || got.Failed != 0 || got.Recovered+got.Skipped != 622 || i == 1 && got != want || i == 0 && got.Skipped < want.Skipped {
			t.Errorf("run %d: %+v, %v; want %+v", i+1, got, err, want)
		}
	}
	for _, a := range []*wechattest.Account{accounts[0], accounts[7], accounts[619], w.shop} {
		w.sim.Advance(3 * time.Hour)
		if _, err := w.comp.PushTicket(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Account(a.AppID()).AccessToken().Token(ctx); err != nil {
			t.Errorf("%s: %v", a.AppID(), err)
		}
	}
}

func TestRecoverLeavesWhatItCannotRead(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	a := w.ready()
	key := "wechatopen:" + w.comp.AppID() + ":" + a.AppID() + ":grant"
	if err := w.store.Set(ctx, key, []byte(`{"v":2}`), 0); err != nil {
		t.Fatal(err)
	}
	w.log.reset()
	report, err := w.platform.Recover(ctx)
	if err != nil || report != (wechatopen.RecoverReport{Failed: 1}) {
		t.Errorf("%+v, %v; want one failed", report, err)
	}
	if got, _ := w.store.Get(ctx, key); string(got) != `{"v":2}` {
		t.Errorf("the value was overwritten: %s", got)
	}
	if !strings.Contains(w.log.String(), key) {
		t.Errorf("the log does not name the key:\n%s", w.log)
	}
}
