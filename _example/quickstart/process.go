package main

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync/atomic"

	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/boltstore"
)

// process is what a process of the shop platform has in memory. It is made of what outlives it: the config, and the file
// of the state.
type process struct {
	store    *boltstore.Store
	platform *wechatopen.Platform
	shop     http.Handler
}

// start makes a process. The caller closes its store.
func start(c *config, log *slog.Logger, opts ...wechatopen.Option) (_ *process, err error) {
	store, err := boltstore.Open(c.state, boltstore.WithClock(c.clock))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			store.Close()
		}
	}()
	platform, err := wechatopen.NewPlatform(c.creds, append(opts, wechatopen.WithStore(store), wechatopen.WithLogger(log))...)
	if err != nil {
		return nil, err
	}
	cookies, err := wechatopen.NewCookies(c.cookieSecret)
	if err != nil {
		return nil, err
	}
	cookies.Insecure = !c.real // beside the simulator plain http, which never leaves this machine; a real site has https
	shop, err := newShop(platform, store, c.baseURL, cookies, log)
	if err != nil {
		return nil, err
	}
	return &process{store, platform, shop}, nil
}

// site is the shop platform beside the simulator. It can be ended and started again at its address.
type site struct {
	wx  *wechat
	c   *config
	log *slog.Logger
	cur atomic.Pointer[process]
}

// newSite starts the shop platform for baseURL, with its state in dir.
func newSite(wx *wechat, baseURL, dir string, log *slog.Logger) (*site, error) {
	c := &config{
		baseURL:      baseURL,
		creds:        wx.component.Credentials(),
		cookieSecret: make([]byte, 32),
		state:        filepath.Join(dir, defaultState),
		clock:        wx.Now,
	}
	rand.Read(c.cookieSecret)
	s := &site{wx: wx, c: c, log: log}
	return s, s.start()
}

func (s *site) start() error {
	p, err := start(s.c, s.log, append(s.wx.Options(), wechatopen.WithTrace(&wechatopen.Trace{Push: s.wx.pushed}))...)
	if err == nil {
		s.cur.Store(p)
	}
	return err
}

// restart does what the end of a process and the start of the next one do: nothing is kept but the file.
func (s *site) restart() error {
	if err := s.Close(); err != nil {
		return err
	}
	return s.start()
}

func (s *site) Close() error { return s.cur.Load().store.Close() }

func (s *site) platform() *wechatopen.Platform { return s.cur.Load().platform }

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.cur.Load().shop.ServeHTTP(w, r) }
