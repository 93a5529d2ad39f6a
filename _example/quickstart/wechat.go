package main

import (
	"context"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/wechatopen/wechatopen/wechattest"
)

// wechat is the simulator with our platform registered at it, and everyone who takes part.
type wechat struct {
	*wechattest.Server
	component          *wechattest.Component
	accounts           [2]*wechattest.Account
	customer, merchant *wechattest.User

	mu     sync.Mutex
	pushes map[string]int // that the platform answered "success", by InfoType
}

// startWeChat starts the simulator for a shop platform at shopURL.
func startWeChat(shopURL string) (*wechat, error) {
	shop, err := url.Parse(shopURL)
	if err != nil {
		return nil, err
	}
	s, err := wechattest.New(wechattest.Config{})
	if err != nil {
		return nil, err
	}
	return &wechat{
		Server: s,
		pushes: map[string]int{},
		component: s.AddComponent(wechattest.ComponentConfig{
			EventURL: shopURL + "/wechat/events",
			Domain:   shop.Host,
		}),
		accounts: [2]*wechattest.Account{
			s.AddAccount(wechattest.AccountConfig{Name: "山间茶铺 Mountain Tea"}),
			s.AddAccount(wechattest.AccountConfig{Name: "巷口书店 Corner Books"}),
		},
		// A browser opened by hand belongs to the first person, so that is the one whom the shops greet.
		customer: s.AddUser(wechattest.UserConfig{Name: "小林 Lin"}),
		merchant: s.AddUser(wechattest.UserConfig{Name: "陈掌柜 Chen"}),
	}, nil
}

// pushed is told by the platform how it answered a push.
func (w *wechat) pushed(_ context.Context, infoType string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.pushes[infoType]++
	}
}

func (w *wechat) pushCount(infoType string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pushes[infoType]
}

// pushTickets pushes a verify ticket at once and every ten minutes, as WeChat does, until ctx ends.
func (w *wechat) pushTickets(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	for {
		if _, err := w.component.PushTicket(ctx); err != nil && ctx.Err() == nil {
			log.Error("ticket not pushed", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
