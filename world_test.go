package wechatopen_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// world is WeChat, simulated, and a site of one platform beside it, both over real HTTP.
type world struct {
	t        *testing.T
	sim      *wechattest.Server
	comp     *wechattest.Component
	shop     *wechattest.Account // an official account, which does not authorize the platform yet
	alice    *wechattest.User
	store    *faultyStore
	log      *logBuffer
	platform *wechatopen.Platform
	cookies  *wechatopen.Cookies
	mux      *http.ServeMux // of the site; TicketHandler is at /wechat/events
	site     *httptest.Server
}

// newWorld starts both. opts come after the options that a platform in a test has: the simulator, a Store, a log.
func newWorld(t *testing.T, opts ...wechatopen.Option) *world {
	t.Helper()
	return newWorldWith(t, wechattest.Config{}, opts...)
}

// newWorldWith is newWorld with a WeChat of this Config.
func newWorldWith(t *testing.T, cfg wechattest.Config, opts ...wechatopen.Option) *world {
	t.Helper()
	w := &world{t: t, sim: wechattest.Start(t, cfg), mux: http.NewServeMux(), log: &logBuffer{}}
	w.store = &faultyStore{Store: wechatopen.NewMemoryStore()}
	w.site = httptest.NewServer(w.mux)
	t.Cleanup(w.site.Close)
	w.comp = w.sim.AddComponent(wechattest.ComponentConfig{EventURL: w.site.URL + "/wechat/events", Domain: strings.TrimPrefix(w.site.URL, "http://")})
	w.shop = w.sim.AddAccount(wechattest.AccountConfig{Name: "Shop"})
	w.alice = w.sim.AddUser(wechattest.UserConfig{Name: "Alice"})
	w.platform = w.newPlatform(opts...)
	var err error
	if w.cookies, err = wechatopen.NewCookies(bytes.Repeat([]byte("k"), 32)); err != nil {
		t.Fatal(err)
	}
	w.cookies.Insecure = true // the site is plain HTTP on loopback
	w.mux.Handle("/wechat/events", &wechatopen.TicketHandler{Platform: w.platform})
	return w
}

// atNoon is a clock that stands at noon in Beijing, where the day of a quota begins and ends at midnight.
func atNoon() time.Time { return time.Date(2026, 3, 2, 4, 0, 0, 0, time.UTC) }

// newPlatform is another process of the same platform: it shares nothing but the Store.
func (w *world) newPlatform(opts ...wechatopen.Option) *wechatopen.Platform {
	w.t.Helper()
	all := append(w.sim.Options(), wechatopen.WithStore(w.store), wechatopen.WithLogger(w.log.logger()))
	p, err := wechatopen.NewPlatform(w.comp.Credentials(), append(all, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// ready pushes a ticket and lets the shop authorize the platform.
func (w *world) ready() *wechatopen.Account {
	w.t.Helper()
	if _, err := w.comp.PushTicket(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.comp.Authorize(w.t.Context(), w.shop); err != nil {
		w.t.Fatal(err)
	}
	return w.platform.Account(w.shop.AppID())
}

// answer is what a client sees of a response.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// do sends a request without following redirects.
func do(t *testing.T, c *http.Client, r *http.Request) answer {
	t.Helper()
	if c == nil {
		c = &http.Client{}
	}
	once := *c
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := once.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// get is do for a GET of an address.
func get(t *testing.T, c *http.Client, address string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, c, r)
}

func mustParse(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// logBuffer is a log at level debug that a test can read.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBuffer) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Reset()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// faultyStore is a Store that counts, shows what it holds, and can be made to fail.
type faultyStore struct {
	wechatopen.Store
	mu     sync.Mutex
	fail   error // what Get, Set and Delete return, if not nil
	keys   map[string][]byte
	writes int
}

func (s *faultyStore) setFail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func (s *faultyStore) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fail
}

// snapshot is all that the Store holds.
func (s *faultyStore) snapshot() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]string, len(s.keys))
	for k, v := range s.keys {
		out[k] = string(v)
	}
	return out
}

func (s *faultyStore) Get(ctx context.Context, key string) ([]byte, error) {
	if err := s.failure(); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, key)
}

func (s *faultyStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := s.failure(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.keys == nil {
		s.keys = map[string][]byte{}
	}
	s.keys[key] = bytes.Clone(value)
	s.writes++
	s.mu.Unlock()
	return s.Store.Set(ctx, key, value, ttl)
}

func (s *faultyStore) Delete(ctx context.Context, key string) error {
	if err := s.failure(); err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.keys, key)
	s.mu.Unlock()
	return s.Store.Delete(ctx, key)
}
