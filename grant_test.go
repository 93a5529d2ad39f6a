package wechatopen_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

const (
	apiQueryAuth       = "/cgi-bin/component/api_query_auth"
	apiAuthorizerToken = "/cgi-bin/component/api_authorizer_token"
	apiAuthorizerInfo  = "/cgi-bin/component/api_get_authorizer_info"
	apiComponentToken  = "/cgi-bin/component/api_component_token"
	apiGetTicket       = "/cgi-bin/ticket/getticket"
)

// clusterLocker is a Locker that platforms share as processes share one on the network. asked is told of each call of
// Lock, before it waits, and unlocking of each unlock; what that returns is called when the lock has been given back.
type clusterLocker struct {
	mu        sync.Mutex
	locks     map[string]chan struct{}
	asked     func(key string)
	unlocking func(key string) (unlocked func())
}

func (l *clusterLocker) Lock(ctx context.Context, key string) (context.Context, func(), error) {
	l.mu.Lock()
	if l.locks == nil {
		l.locks = map[string]chan struct{}{}
	}
	if l.locks[key] == nil {
		l.locks[key] = make(chan struct{}, 1)
	}
	lock, asked := l.locks[key], l.asked
	l.mu.Unlock()
	if asked != nil {
		asked(key)
	}
	select {
	case lock <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	held, cancel := context.WithCancel(ctx)
	return held, sync.OnceFunc(func() {
		cancel()
		l.mu.Lock()
		unlocked := func() {}
		if l.unlocking != nil {
			unlocked = l.unlocking(key)
		}
		l.mu.Unlock()
		<-lock
		unlocked()
	}), nil
}

// onAsk tells of every call of Lock for a key with one of these parts.
func (l *clusterLocker) onAsk(parts ...string) <-chan struct{} {
	ch := make(chan struct{}, 1024)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = func(key string) {
		if slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(key, p) }) {
			ch <- struct{}{}
		}
	}
	return ch
}

// grantNet is the network between a platform and WeChat. It can stop a call before it is sent, and an answer before it
// arrives: then WeChat has carried the call out, and the platform does not know.
type grantNet struct {
	mu            sync.Mutex
	before, after func(path string)
}

func (n *grantNet) hooks() (before, after func(string)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.before, n.after
}

func (n *grantNet) RoundTrip(r *http.Request) (*http.Response, error) {
	before, after := n.hooks()
	if before != nil {
		before(r.URL.Path)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if after != nil {
		after(r.URL.Path)
	}
	return resp, err
}

func (n *grantNet) option() wechatopen.Option {
	return wechatopen.WithHTTPClient(&http.Client{Transport: n, Timeout: 10 * time.Second})
}

// holdAnswer keeps back the next answer of path. arrived is closed when it is there.
func (n *grantNet) holdAnswer(t *testing.T, path string) (arrived <-chan struct{}, release func()) {
	hook, arrived, release := holdOneOf(t, path)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.after = hook
	return arrived, release
}

// holdCall keeps back the next call of path. arrived is closed when it is there.
func (n *grantNet) holdCall(t *testing.T, path string) (arrived <-chan struct{}, release func()) {
	hook, arrived, release := holdOneOf(t, path)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.before = hook
	return arrived, release
}

func holdOneOf(t *testing.T, path string) (hook func(string), arrived <-chan struct{}, release func()) {
	there, gate := make(chan struct{}), make(chan struct{})
	var taken atomic.Bool // no sync.Once: the second to come would wait with the first
	release = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)
	return func(p string) {
		if p == path && taken.CompareAndSwap(false, true) {
			close(there)
			<-gate
		}
	}, there, release
}

// grantStore is a Store whose Set can be watched and refused by key.
type grantStore struct {
	wechatopen.Store
	mu    sync.Mutex
	onSet func(key string) error
}

func (s *grantStore) setOnSet(f func(key string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onSet = f
}

func (s *grantStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	s.mu.Lock()
	onSet := s.onSet
	s.mu.Unlock()
	if onSet != nil {
		if err := onSet(key); err != nil {
			return err
		}
	}
	return s.Store.Set(ctx, key, value, ttl)
}

// receive fails the test if what it waits for does not come.
func receive[T any](t *testing.T, ch <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(20 * time.Second):
		t.Fatalf("waited in vain: %s", what)
	}
	return v
}

// grantStatusWriter remembers the status of an answer.
type grantStatusWriter struct {
	http.ResponseWriter
	status int
}

func (w *grantStatusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
func (w *grantStatusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// pushAnswer is a push that the site has answered.
type pushAnswer struct {
	status int
	ctx    context.Context // of the request
}

// watchPushes makes WeChat push to another address of the site, where h answers, and tells of each answer.
func (w *world) watchPushes(h http.Handler) <-chan pushAnswer {
	done := make(chan pushAnswer, 64)
	w.mux.HandleFunc("/watched/events", func(rw http.ResponseWriter, r *http.Request) {
		sw := &grantStatusWriter{ResponseWriter: rw}
		h.ServeHTTP(sw, r)
		done <- pushAnswer{sw.status, r.Context()}
	})
	w.comp.SetEventURL(w.site.URL + "/watched/events")
	return done
}

// refreshTokens are the refresh tokens that the Store holds, by key.
func (w *world) refreshTokens() map[string]string {
	out := map[string]string{}
	for k, v := range w.store.snapshot() {
		var rec struct {
			RefreshToken string `json:"refresh_token"`
		}
		if json.Unmarshal([]byte(v), &rec) == nil && rec.RefreshToken != "" {
			out[k] = rec.RefreshToken
		}
	}
	return out
}

// wantGrant checks that the Store holds one grant, with the refresh token that WeChat has.
func (w *world) wantGrant() {
	w.t.Helper()
	current := w.comp.RefreshToken(w.shop)
	stored := slices.Collect(maps.Values(w.refreshTokens()))
	if current == "" || !slices.Equal(stored, []string{current}) {
		w.t.Errorf("the Store holds %d refresh tokens, %q; WeChat's is %q", len(stored), stored, current)
	}
}

// accountKeys are the keys of the Store that belong to the shop, and those whose value holds one of its secrets.
func (w *world) accountKeys(secrets ...string) (keys []string) {
	for k, v := range w.store.snapshot() {
		holds := func(secret string) bool { return secret != "" && strings.Contains(v, secret) }
		if strings.Contains(k, w.shop.AppID()) || slices.ContainsFunc(secrets, holds) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// answered counts the calls of path that WeChat answered with this errcode.
func (w *world) answered(path string, errcode int) (n int) {
	for _, c := range w.sim.Calls(path) {
		if c.Status == http.StatusOK && c.ErrCode == errcode {
			n++
		}
	}
	return n
}

// apiCalls is how many calls of the API were made, without those for a component token, which may be renewed ahead of its
// time at any moment.
func (w *world) apiCalls() (n int) {
	for _, c := range w.sim.Calls() {
		if c.Path == apiComponentToken {
			continue
		}
		if strings.HasPrefix(c.Path, "/cgi-bin/component/api_") || strings.HasPrefix(c.Path, "/cgi-bin/ticket") || strings.HasPrefix(c.Path, "/sns/") {
			n++
		}
	}
	return n
}

func (w *world) pushTicket() {
	w.t.Helper()
	if _, err := w.comp.PushTicket(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) push(xml string) *wechattest.PushResult {
	w.t.Helper()
	r, err := w.comp.Push(w.t.Context(), xml)
	if err != nil {
		w.t.Errorf("push: %v", err)
	}
	return r
}

func (w *world) wantToken(a *wechatopen.Account) *wechatopen.Token {
	w.t.Helper()
	tok, err := a.AccessToken().Token(w.t.Context())
	if err != nil {
		w.t.Fatalf("Token: %v", err)
	}
	return tok
}

// wantNotAuthorized checks that the account has no token, and that WeChat is not asked for one.
func (w *world) wantNotAuthorized(a *wechatopen.Account) {
	w.t.Helper()
	before := w.apiCalls()
	if tok, err := a.AccessToken().Token(w.t.Context()); !errors.Is(err, wechatopen.ErrNotAuthorized) {
		w.t.Errorf("Token = %v, %v; want ErrNotAuthorized", tok, err)
	}
	if n := w.apiCalls() - before; n != 0 {
		w.t.Errorf("%d calls of WeChat were made to find that out", n)
	}
}

// merchantPage is the authorization page of a platform on the world's site.
type merchantPage struct {
	*wechatopen.AuthorizeHandler
	url string

	mu   sync.Mutex
	got  []wechatopen.Authorization
	shop []string // the page's own parameter, as OnAuthorized sees it
}

func (w *world) merchantPage(p *wechatopen.Platform) *merchantPage {
	m := &merchantPage{url: w.site.URL + "/wechat/authorize"}
	m.AuthorizeHandler = &wechatopen.AuthorizeHandler{Platform: p, BaseURL: w.site.URL, Cookies: w.cookies,
		OnAuthorized: func(rw http.ResponseWriter, r *http.Request, a *wechatopen.Authorization) {
			m.mu.Lock()
			m.got, m.shop = append(m.got, *a), append(m.shop, r.URL.Query().Get("shop"))
			m.mu.Unlock()
			io.WriteString(rw, `<p id="attached">attached</p>`)
		}}
	w.mux.Handle("/wechat/authorize", m.AuthorizeHandler)
	return m
}

func (m *merchantPage) authorizations() []wechatopen.Authorization {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got)
}

// throughWeChat lets the administrator of account go the whole way, from the start page to the page at the end of it.
func throughWeChat(ctx context.Context, b *wechattest.Browser, start, account string) (*wechattest.Page, error) {
	page, err := b.Open(ctx, start)
	if err != nil {
		return nil, err
	}
	if page, err = page.Click(ctx, "authorize"); err != nil {
		return nil, err
	}
	page.Fill("account", account)
	return page.Click(ctx, "authorize")
}

// attacks.md 32
func TestGrantOfPushAndRedirectInTwoProcesses(t *testing.T) {
	orders := map[string]wechattest.PushOrder{
		"push first": wechattest.PushFirst, "redirect first": wechattest.RedirectFirst, "at once": wechattest.AtOnce,
	}
	for name, order := range orders {
		for _, shared := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, shared locker %t", name, shared), func(t *testing.T) {
				w := newWorld(t)
				locker, net := &clusterLocker{}, &grantNet{}
				opts := []wechatopen.Option{net.option()}
				var arrivals <-chan struct{}
				if shared {
					opts = append(opts, wechatopen.WithLocker(locker))
				}
				pushed, visited := w.newPlatform(opts...), w.newPlatform(opts...)
				pushes := w.watchPushes(&wechatopen.TicketHandler{Platform: pushed})
				m := w.merchantPage(visited)
				w.pushTicket()
				receive(t, pushes, "the ticket")

				gate := make(chan struct{})
				letGo := sync.OnceFunc(func() { close(gate) })
				t.Cleanup(letGo)
				w.sim.SetPushOrder(order)
				if order == wechattest.AtOnce {
					// Both are let go only when both are there: at WeChat, or before the lock of the code.
					w.sim.Inject(wechattest.Fault{Path: apiQueryAuth, Gate: gate})
					if shared {
						arrivals = locker.onAsk(":code:", ":redemption")
					} else {
						sent := make(chan struct{}, 64)
						net.before = func(path string) {
							if path == apiQueryAuth {
								sent <- struct{}{}
							}
						}
						arrivals = sent
					}
				}
				type result struct {
					page *wechattest.Page
					err  error
				}
				back := make(chan result, 1)
				go func() {
					page, err := throughWeChat(t.Context(), w.sim.NewBrowser(w.alice), m.url+"?shop=7", w.shop.AppID())
					back <- result{page, err}
				}()
				if order == wechattest.AtOnce {
					receive(t, arrivals, "the first of push and redirect")
					receive(t, arrivals, "the second of push and redirect")
					letGo()
				}
				r := receive(t, back, "the browser")
				if r.err != nil {
					t.Fatal(r.err)
				}
				if order == wechattest.RedirectFirst {
					if n := len(w.refreshTokens()); n != 1 {
						t.Errorf("after the redirect the Store holds %d grants", n)
					}
					if err := w.comp.FlushPushes(t.Context()); err != nil {
						t.Errorf("the push was not answered success: %v", err)
					}
				}
				if p := receive(t, pushes, "the push"); p.status != http.StatusOK {
					t.Errorf("the push was answered %d", p.status)
				}
				if r.page.Status != http.StatusOK || !r.page.Has("attached") {
					t.Errorf("the browser ends at %d: %s", r.page.Status, r.page.Text())
				}
				if n := w.answered(apiQueryAuth, 0); n != 1 {
					t.Errorf("%d calls of api_query_auth succeeded", n)
				}
				if n := w.sim.Count(apiQueryAuth); shared && n != 1 {
					t.Errorf("%d calls of api_query_auth under a shared lock", n)
				}
				w.wantGrant()
				got := m.authorizations()
				if len(got) != 1 || got[0].AppID != w.shop.AppID() || !got[0].HasToken || !slices.Contains(got[0].FuncInfo, 15) {
					t.Errorf("OnAuthorized was told %+v", got)
				}
				for _, p := range []*wechatopen.Platform{pushed, visited, w.newPlatform()} {
					w.wantToken(p.Account(w.shop.AppID()))
				}
				if n := w.sim.Count(apiAuthorizerToken); n != 0 {
					t.Errorf("%d refreshes, though a token came with the code", n)
				}
			})
		}
	}
}

// attacks.md 32: the one that comes second is refused by WeChat before the first has stored anything.
func TestGrantOfTheSecondWhileTheFirstIsNotStored(t *testing.T) {
	for _, loser := range []string{"push", "redirect"} {
		t.Run(loser+" comes second", func(t *testing.T) {
			w := newWorld(t)
			pushNet, visitNet := &grantNet{}, &grantNet{}
			pushed, visited := w.newPlatform(pushNet.option()), w.newPlatform(visitNet.option())
			pushes := w.watchPushes(&wechatopen.TicketHandler{Platform: pushed})
			m := w.merchantPage(visited)
			w.pushTicket()
			receive(t, pushes, "the ticket")
			w.sim.SetPushOrder(wechattest.AtOnce)

			winner, second := visitNet, pushNet
			if loser == "redirect" {
				winner, second = pushNet, visitNet
			}
			redeemed, store := winner.holdAnswer(t, apiQueryAuth)
			secondThere, secondGo := second.holdCall(t, apiQueryAuth)
			refused := make(chan struct{}, 8)
			second.mu.Lock()
			second.after = func(path string) {
				if path == apiQueryAuth {
					refused <- struct{}{}
				}
			}
			second.mu.Unlock()

			pages := make(chan *wechattest.Page, 1)
			go func() {
				page, err := throughWeChat(t.Context(), w.sim.NewBrowser(nil), m.url, w.shop.AppID())
				if err != nil {
					t.Error(err)
				}
				pages <- page
			}()
			receive(t, redeemed, "the first to redeem the code")
			receive(t, secondThere, "the second")
			secondGo()
			receive(t, refused, "WeChat's answer to the second")
			if loser == "push" {
				// The push names the account, so it need not wait for the other.
				if p := receive(t, pushes, "the push"); p.status != http.StatusOK {
					t.Errorf("the push was answered %d", p.status)
				}
				w.wantGrant()
			}
			store()
			if page := receive(t, pages, "the browser"); page == nil || page.Status != http.StatusOK || !page.Has("attached") {
				t.Errorf("the browser ends at %+v", page)
			}
			if loser == "redirect" {
				if p := receive(t, pushes, "the push"); p.status != http.StatusOK {
					t.Errorf("the push was answered %d", p.status)
				}
			}
			if ok, all := w.answered(apiQueryAuth, 0), w.sim.Count(apiQueryAuth); ok != 1 || all != 2 {
				t.Errorf("%d of %d calls of api_query_auth succeeded, want 1 of 2", ok, all)
			}
			w.wantGrant()
			w.wantToken(pushed.Account(w.shop.AppID()))
		})
	}
}

// The code is spent at WeChat, and nobody knows what for: the push, which names the account, still finds the grant.
func TestGrantIsFoundAfterALostAnswer(t *testing.T) {
	t.Run("to the redirect", func(t *testing.T) {
		w := newWorld(t)
		m := w.merchantPage(w.platform)
		w.pushTicket()
		w.sim.SetPushOrder(wechattest.RedirectFirst)
		w.sim.Inject(wechattest.Fault{Path: apiQueryAuth, Times: 1, After: true, Cut: true})
		browser := w.sim.NewBrowser(w.alice)
		page, err := throughWeChat(t.Context(), browser, m.url, w.shop.AppID())
		if err != nil {
			t.Fatal(err)
		}
		if page.Status != http.StatusInternalServerError || len(m.authorizations()) != 0 || len(w.refreshTokens()) != 0 {
			t.Fatalf("status %d, %d authorizations, %d grants after a lost answer", page.Status, len(m.authorizations()), len(w.refreshTokens()))
		}
		if err := w.comp.FlushPushes(t.Context()); err != nil {
			t.Errorf("push: %v", err)
		}
		w.wantGrant()
		// The merchant reloads: the code has a result by now.
		if again, err := browser.Open(t.Context(), page.URL); err != nil || again.Status != http.StatusOK || len(m.authorizations()) != 1 {
			t.Errorf("reload: %+v, %v", again, err)
		}
		w.wantToken(w.platform.Account(w.shop.AppID()))
	})
	t.Run("to the push", func(t *testing.T) {
		w := newWorld(t)
		w.pushTicket()
		w.sim.Inject(wechattest.Fault{Path: apiQueryAuth, Times: 1, After: true, Cut: true})
		code, err := w.comp.Authorize(t.Context(), w.shop) // sends it again, as WeChat does
		if err != nil {
			t.Fatalf("the push sent again was not answered success: %v", err)
		}
		w.wantGrant()
		calls := w.sim.Count(apiQueryAuth)
		if a, err := w.platform.QueryAuth(t.Context(), code); err != nil || a.AppID != w.shop.AppID() || !a.HasToken {
			t.Errorf("the redirect that follows: %+v, %v", a, err)
		}
		if n := w.sim.Count(apiQueryAuth) - calls; n != 0 {
			t.Errorf("%d more calls of api_query_auth for a code whose result is known", n)
		}
	})
}

// WeChat does not say whether the push and the redirect carry one code or two. With two the second replaces the refresh
// token of the first.
func TestGrantOfTwoCodesIsTheLaterOne(t *testing.T) {
	for _, order := range []wechattest.PushOrder{wechattest.PushFirst, wechattest.RedirectFirst} {
		w := newWorldWith(t, wechattest.Config{SeparateCodes: true})
		m := w.merchantPage(w.platform)
		w.pushTicket()
		w.sim.SetPushOrder(order)
		page, err := throughWeChat(t.Context(), w.sim.NewBrowser(w.alice), m.url, w.shop.AppID())
		if err != nil || page.Status != http.StatusOK {
			t.Fatalf("%+v, %v", page, err)
		}
		if err := w.comp.FlushPushes(t.Context()); err != nil {
			t.Error(err)
		}
		if n := w.answered(apiQueryAuth, 0); n != 2 {
			t.Errorf("%d of 2 codes were redeemed", n)
		}
		w.wantGrant()
	}
}

// Two codes at once, and the answer to the first comes last: it must not stand.
func TestGrantOfTwoCodesAtOnceIsTheLaterOne(t *testing.T) {
	net := &grantNet{}
	w := newWorld(t, net.option())
	w.pushTicket()
	first, second := w.comp.NewAuthCode(w.shop), w.comp.NewAuthCode(w.shop)
	redeemed, release := net.holdAnswer(t, apiQueryAuth)
	done := make(chan error, 1)
	go func() {
		_, err := w.platform.QueryAuth(t.Context(), first)
		done <- err
	}()
	receive(t, redeemed, "the first code")
	later := make(chan error, 1)
	go func() {
		_, err := w.platform.QueryAuth(t.Context(), second)
		later <- err
	}()
	select {
	case err := <-later:
		later <- err
	case <-time.After(300 * time.Millisecond): // it waits for the first, which is as good
	}
	release()
	if err := errors.Join(receive(t, done, "the first code"), receive(t, later, "the second code")); err != nil {
		t.Fatal(err)
	}
	w.wantGrant()
	// Whatever is stored, it leads to a token that WeChat accepts.
	w.sim.Advance(3 * time.Hour)
	if err := w.platform.Account(w.shop.AppID()).Get(t.Context(), "/cgi-bin/test/echo", nil, nil); err != nil {
		t.Errorf("a call two hours later: %v", err)
	}
	w.wantGrant()
}

// attacks.md 33
func TestGrantOfAnAccountThatGrantsNoAPI(t *testing.T) {
	for _, way := range []string{"push", "redirect"} {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t)
			w.shop = w.sim.AddAccount(wechattest.AccountConfig{Name: "No API", NoAPI: true, FuncInfo: []int{7, 9}})
			w.pushTicket()
			var got *wechatopen.Authorization
			if way == "push" {
				code, err := w.comp.Authorize(t.Context(), w.shop)
				if err != nil {
					t.Fatalf("the push was not answered success: %v", err)
				}
				if got, err = w.platform.QueryAuth(t.Context(), code); err != nil {
					t.Fatal(err)
				}
			} else {
				m := w.merchantPage(w.platform)
				page, err := throughWeChat(t.Context(), w.sim.NewBrowser(w.alice), m.url, w.shop.AppID())
				if err != nil || page.Status != http.StatusOK || len(m.authorizations()) != 1 {
					t.Fatalf("%+v, %v", page, err)
				}
				got = &m.authorizations()[0]
			}
			if got.AppID != w.shop.AppID() || got.HasToken || !slices.Equal(got.FuncInfo, []int{7, 9}) {
				t.Errorf("authorization %+v", got)
			}
			if n := len(w.refreshTokens()); n != 0 {
				t.Errorf("%d refresh tokens stored", n)
			}
			a := w.platform.Account(w.shop.AppID())
			for range 3 {
				w.wantNotAuthorized(a)
			}
			if _, err := a.JSAPITicket().Token(t.Context()); !errors.Is(err, wechatopen.ErrNotAuthorized) {
				t.Errorf("JSAPITicket: %v", err)
			}
			if n := w.sim.Count(apiGetTicket) + w.sim.Count(apiAuthorizerToken); n != 0 {
				t.Errorf("%d calls of WeChat for an account without token", n)
			}
		})
	}
}

// attacks.md 33, 34: an account that is authorized again without API keeps the refresh token that is there.
func TestGrantKeepsTheRefreshTokenWhenAnAnswerHasNone(t *testing.T) {
	w := newWorld(t)
	w.ready()
	before := w.refreshTokens()
	w.sim.Inject(wechattest.Fault{Path: apiQueryAuth, Times: 1,
		Body: []byte(`{"authorization_info":{"authorizer_appid":"` + w.shop.AppID() + `","func_info":[{"funcscope_category":{"id":"7"}}]}}`)})
	a, err := w.platform.QueryAuth(t.Context(), w.comp.NewAuthCode(w.shop))
	if err != nil || a.HasToken || !slices.Equal(a.FuncInfo, []int{7}) {
		t.Fatalf("%+v, %v", a, err)
	}
	if after := w.refreshTokens(); !maps.Equal(before, after) {
		t.Errorf("refresh tokens were %q and are %q", before, after)
	}
}

// attacks.md 34
func TestGrantOutlivesEveryBadAnswerToARefresh(t *testing.T) {
	tests := map[string]wechattest.Fault{
		"empty object":      {Body: []byte(`{}`)},
		"errcode 0 alone":   {Body: []byte(`{"errcode":0,"errmsg":"ok"}`)},
		"HTML":              {Body: []byte("<!DOCTYPE html><html><body>502 Bad Gateway</body></html>")},
		"half a JSON":       {Body: []byte(`{"authorizer_access_token":"92_half","expires_in":7200,"authorizer_refr`)},
		"nothing":           {Body: []byte{}},
		"null":              {Body: []byte("null")},
		"an array":          {Body: []byte(`[{"authorizer_access_token":"92_array","expires_in":7200}]`)},
		"empty strings":     {Body: []byte(`{"authorizer_access_token":"","expires_in":7200,"authorizer_refresh_token":""}`)},
		"nulls":             {Body: []byte(`{"authorizer_access_token":null,"expires_in":null,"authorizer_refresh_token":null}`)},
		"numbers":           {Body: []byte(`{"authorizer_access_token":1,"expires_in":7200,"authorizer_refresh_token":2}`)},
		"token, no life":    {Body: []byte(`{"authorizer_access_token":"92_nolife"}`)},
		"system error":      {ErrCode: -1},
		"quota":             {ErrCode: 45009},
		"HTTP 502":          {Status: http.StatusBadGateway},
		"HTTP 500 and JSON": {Status: 500, Body: []byte(`{"authorizer_access_token":"92_500","expires_in":7200,"authorizer_refresh_token":"refreshtoken@@@500"}`)},
		"redirect":          {Redirect: "http://127.0.0.1:1/"},
		"cut off":           {Cut: true},
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.ready()
			before := w.refreshTokens()
			w.sim.Advance(3 * time.Hour)
			fault.Path, fault.Times = apiAuthorizerToken, 1
			w.sim.Inject(fault)
			if tok, err := a.AccessToken().Token(t.Context()); err == nil {
				t.Errorf("Token = %q, no error", tok.Value)
			} else if errors.Is(err, wechatopen.ErrNotAuthorized) {
				t.Errorf("the account is called unauthorized: %v", err)
			} else if strings.Contains(err.Error(), "92_") || strings.Contains(err.Error(), "refreshtoken@@@") {
				t.Errorf("the error quotes the answer: %v", err)
			}
			if after := w.refreshTokens(); len(before) != 1 || !maps.Equal(before, after) {
				t.Errorf("refresh tokens were %q and are %q", before, after)
			}
			w.sim.Advance(15 * time.Minute) // past every backoff
			w.wantToken(a)
			w.wantGrant()
		})
	}
}

// attacks.md 34: what is read of an answer is bounded.
func TestGrantOutlivesAnEndlessAnswerToARefresh(t *testing.T) {
	w := newWorld(t)
	var read atomic.Int64
	big := grantTransport(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path != apiAuthorizerToken {
			return http.DefaultTransport.RoundTrip(r)
		}
		const size = 200 << 20
		body := io.MultiReader(strings.NewReader(`{"authorizer_refresh_token":"`), io.LimitReader(endlessLetters{}, size))
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(countingReader{body, &read}), Request: r}, nil
	})
	p := w.newPlatform(wechatopen.WithHTTPClient(&http.Client{Transport: big}))
	w.ready()
	before := w.refreshTokens()
	w.sim.Advance(3 * time.Hour)
	if tok, err := p.Account(w.shop.AppID()).AccessToken().Token(t.Context()); err == nil {
		t.Errorf("Token = %v", tok)
	} else if len(err.Error()) > 500 {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
	if n := read.Load(); n > 20<<20 {
		t.Errorf("%d bytes of the answer were read", n)
	}
	if after := w.refreshTokens(); !maps.Equal(before, after) {
		t.Errorf("refresh tokens were %q and are %q", before, after)
	}
}

// attacks.md 34: an answer without a refresh token leaves the one that is there.
func TestGrantKeepsTheRefreshTokenWhenARefreshBringsNone(t *testing.T) {
	w := newWorldWith(t, wechattest.Config{KeepRefreshToken: true})
	a := w.ready()
	w.sim.Advance(3 * time.Hour)
	w.sim.Inject(wechattest.Fault{Path: apiAuthorizerToken, Times: 1, Edit: func(b []byte) []byte {
		var m map[string]any
		json.Unmarshal(b, &m)
		delete(m, "authorizer_refresh_token")
		b, _ = json.Marshal(m)
		return b
	}})
	w.wantToken(a)
	w.wantGrant()
	w.sim.Advance(3 * time.Hour)
	w.wantToken(a)
	w.wantGrant()
}

// attacks.md 34: WeChat replaces the refresh token with each refresh.
func TestGrantStoresARotatedRefreshToken(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	seen := map[string]bool{}
	for range 4 {
		w.wantGrant()
		seen[w.comp.RefreshToken(w.shop)] = true
		w.sim.Advance(130 * time.Minute)
		w.wantToken(a)
	}
	if len(seen) != 4 {
		t.Errorf("WeChat had %d refresh tokens, so nothing was shown", len(seen))
	}
	if n := w.sim.Count(apiAuthorizerInfo); n != 0 {
		t.Errorf("%d times the refresh token had to be looked up", n)
	}
}

// attacks.md 34: a token is not handed out before the refresh token that came with it is stored.
func TestGrantStoresARotatedRefreshTokenBeforeTheTokenIsUsed(t *testing.T) {
	w := newWorld(t)
	store := &grantStore{Store: w.store}
	p := w.newPlatform(wechatopen.WithStore(store))
	w.ready()
	grantKey := slices.Collect(maps.Keys(w.refreshTokens()))[0]
	w.sim.Advance(3 * time.Hour)
	var mu sync.Mutex
	var order []string
	down := errors.New("the disk is full")
	store.setOnSet(func(key string) error {
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(key, w.shop.AppID()) {
			order = append(order, key)
			return down
		}
		return nil
	})
	a := p.Account(w.shop.AppID())
	if tok, err := a.AccessToken().Token(t.Context()); !errors.Is(err, down) {
		t.Errorf("Token = %v, %v; want the Store's error", tok, err)
	}
	if !slices.Equal(order, []string{grantKey}) {
		t.Errorf("written, or tried: %q; want the grant first and no token after it", order)
	}
	// WeChat has replaced the refresh token, and the answer is gone: it is looked up.
	order = nil
	store.setOnSet(func(key string) error {
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(key, w.shop.AppID()) {
			order = append(order, key)
		}
		return nil
	})
	w.sim.Advance(2 * time.Minute)
	w.wantToken(a)
	w.wantGrant()
	if len(order) < 2 || order[0] != grantKey || order[len(order)-1] == grantKey {
		t.Errorf("written: %q; want the grant before the token", order)
	}
}

// attacks.md 34: the answer with the new refresh token is lost on the way.
func TestGrantSurvivesALostAnswerToARefresh(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	old := w.comp.RefreshToken(w.shop)
	w.sim.Advance(3 * time.Hour)
	w.sim.Inject(wechattest.Fault{Path: apiAuthorizerToken, Times: 1, After: true, Cut: true})
	if _, err := a.AccessToken().Token(t.Context()); err == nil {
		t.Error("no error for an answer that was cut off")
	}
	if w.comp.RefreshToken(w.shop) == old {
		t.Fatal("WeChat did not carry the call out")
	}
	w.sim.Advance(2 * time.Minute)
	w.wantToken(a)
	w.wantGrant()
	if n := w.sim.Count(apiAuthorizerInfo); n != 1 {
		t.Errorf("%d looks at api_get_authorizer_info", n)
	}
}

// attacks.md 17
func TestUnauthorizedDuringARefreshLeavesNothing(t *testing.T) {
	tests := map[string]struct {
		call    string // whose answer is on the way when the push comes
		advance time.Duration
		lock    string // what the push waits for
		ask     func(ctx context.Context, a *wechatopen.Account) error
		ahead   bool // the caller is served the present token
		process int  // 1: refresh and push in the same process
	}{
		"access token": {call: apiAuthorizerToken, advance: 3 * time.Hour, lock: "access_token", process: 1,
			ask: func(ctx context.Context, a *wechatopen.Account) error {
				_, err := a.AccessToken().Token(ctx)
				return err
			}},
		"access token ahead of time": {call: apiAuthorizerToken, advance: 115 * time.Minute, lock: "access_token", ahead: true, process: 1,
			ask: func(ctx context.Context, a *wechatopen.Account) error {
				_, err := a.AccessToken().Token(ctx)
				return err
			}},
		"ticket": {call: apiGetTicket, lock: "jsapi", process: 1,
			ask: func(ctx context.Context, a *wechatopen.Account) error {
				_, err := a.JSAPITicket().Token(ctx)
				return err
			}},
		"access token in another process": {call: apiAuthorizerToken, advance: 3 * time.Hour, lock: "access_token", process: 2,
			ask: func(ctx context.Context, a *wechatopen.Account) error {
				_, err := a.AccessToken().Token(ctx)
				return err
			}},
		"ticket in another process": {call: apiGetTicket, lock: "jsapi", process: 2,
			ask: func(ctx context.Context, a *wechatopen.Account) error {
				_, err := a.JSAPITicket().Token(ctx)
				return err
			}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			net, locker := &grantNet{}, &clusterLocker{}
			w := newWorld(t, net.option(), wechatopen.WithLocker(locker))
			a := w.ready()
			w.wantToken(a)
			if tt.process == 2 {
				a = w.newPlatform(net.option(), wechatopen.WithLocker(locker)).Account(w.shop.AppID())
			}
			// WeChat has revoked nothing yet when it carries the call out; its answer arrives after that.
			w.sim.Advance(tt.advance)
			arrived, release := net.holdAnswer(t, tt.call)
			asked := make(chan error, 1)
			go func() { asked <- tt.ask(t.Context(), a) }()
			receive(t, arrived, "the refresh")
			secrets := []string{w.comp.RefreshToken(w.shop)}
			if tt.ahead {
				receive(t, asked, "the present token")
			}

			waits := locker.onAsk(tt.lock)
			pushed := make(chan error, 1)
			go func() { pushed <- w.comp.Unauthorize(t.Context(), w.shop) }()
			receive(t, waits, "the push to reach the lock")
			release()
			if err := receive(t, pushed, "the push"); err != nil {
				t.Errorf("the push was not answered success: %v", err)
			}
			if !tt.ahead {
				// The token that it waited for is the answer, or that there is none.
				if err := receive(t, asked, "the token"); err != nil && !errors.Is(err, wechatopen.ErrNotAuthorized) {
					t.Errorf("who waited: %v", err)
				}
			}
			if keys := w.accountKeys(secrets...); len(keys) != 0 {
				t.Errorf("left in the Store: %q", keys)
			}
			if tt.process == 1 {
				w.wantNotAuthorized(a)
			}
			w.wantNotAuthorized(w.platform.Account(w.shop.AppID()))
			w.wantNotAuthorized(w.newPlatform().Account(w.shop.AppID()))
			if _, err := w.platform.Account(w.shop.AppID()).JSAPITicket().Token(t.Context()); !errors.Is(err, wechatopen.ErrNotAuthorized) {
				t.Errorf("JSAPITicket: %v", err)
			}
		})
	}
}

// attacks.md 17: the simulator holds the answer instead of the network.
func TestUnauthorizedDuringARefreshThatWeChatIsSlowToAnswer(t *testing.T) {
	locker := &clusterLocker{}
	w := newWorld(t, wechatopen.WithLocker(locker))
	a := w.ready()
	w.sim.Advance(3 * time.Hour)
	gate := make(chan struct{})
	w.sim.Inject(wechattest.Fault{Path: apiAuthorizerToken, Times: 1, After: true, Gate: gate})
	locks := locker.onAsk("access_token")
	asked := make(chan error, 1)
	go func() {
		_, err := a.AccessToken().Token(t.Context())
		asked <- err
	}()
	receive(t, locks, "the refresh to reach the lock")
	pushed := make(chan error, 1)
	go func() { pushed <- w.comp.Unauthorize(t.Context(), w.shop) }()
	receive(t, locks, "the push to reach the lock")
	close(gate)
	if err := receive(t, pushed, "the push"); err != nil {
		t.Errorf("the push was not answered success: %v", err)
	}
	receive(t, asked, "the token")
	if keys := w.accountKeys(); len(keys) != 0 {
		t.Errorf("left in the Store: %q", keys)
	}
	w.wantNotAuthorized(a)
}

// attacks.md 17: the refresh has written and given the lock back, the push removes everything, and only then does the
// refresh come to its end in memory. Who asks after the push does not get what it brings.
func TestUnauthorizedIsNotOutrunByARefreshThatLandsLate(t *testing.T) {
	net, locker := &grantNet{}, &clusterLocker{}
	w := newWorld(t, net.option(), wechatopen.WithLocker(locker))
	a := w.ready()
	w.sim.Advance(3 * time.Hour)
	arrived, answer := net.holdAnswer(t, apiAuthorizerToken)
	first := make(chan error, 1)
	go func() {
		_, err := a.AccessToken().Token(t.Context())
		first <- err
	}()
	receive(t, arrived, "the refresh")
	waits := locker.onAsk("access_token")
	pushed := make(chan error, 1)
	go func() { pushed <- w.comp.Unauthorize(t.Context(), w.shop) }()
	receive(t, waits, "the push to reach the lock")
	written, mayLand, taken := make(chan struct{}), make(chan struct{}), false
	land := sync.OnceFunc(func() { close(mayLand) })
	t.Cleanup(land)
	locker.mu.Lock()
	locker.unlocking = func(key string) func() {
		if taken || !strings.HasSuffix(key, w.shop.AppID()+":access_token") {
			return func() {}
		}
		taken = true
		return func() { close(written); <-mayLand }
	}
	locker.mu.Unlock()
	answer()
	receive(t, written, "the refresh to give the lock back")
	if err := receive(t, pushed, "the push"); err != nil {
		t.Errorf("the push was not answered success: %v", err)
	}
	type result struct {
		tok *wechatopen.Token
		err error
	}
	late := make(chan result, 1)
	go func() {
		tok, err := a.AccessToken().Token(t.Context())
		late <- result{tok, err}
	}()
	var r result
	select {
	case r = <-late:
		land()
	case <-time.After(300 * time.Millisecond): // it waits for the first refresh, which it should not
		land()
		r = receive(t, late, "the second caller")
	}
	if !errors.Is(r.err, wechatopen.ErrNotAuthorized) {
		t.Errorf("who asked after the push got %v, %v", r.tok, r.err)
	}
	receive(t, first, "the first caller")
	w.wantNotAuthorized(a)
	if keys := w.accountKeys(); len(keys) != 0 {
		t.Errorf("left in the Store: %q", keys)
	}
}

// attacks.md 17
func TestUnauthorizedRemovesEverythingOfTheAccountAndNothingElse(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	other := w.sim.AddAccount(wechattest.AccountConfig{Name: "Other"})
	if _, err := w.comp.Authorize(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	var secrets []string
	for _, acc := range []*wechatopen.Account{a, w.platform.Account(other.AppID())} {
		for _, s := range []*wechatopen.CachedTokenSource{acc.AccessToken(), acc.JSAPITicket(), acc.CardTicket()} {
			tok, err := s.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if acc == a {
				secrets = append(secrets, tok.Value)
			}
		}
	}
	secrets = append(secrets, w.comp.RefreshToken(w.shop))
	if n := len(w.accountKeys(secrets...)); n < 4 {
		t.Fatalf("only %d keys of the account in the Store", n)
	}
	before := w.store.snapshot()
	if err := w.comp.Unauthorize(t.Context(), w.shop); err != nil {
		t.Fatal(err)
	}
	if keys := w.accountKeys(secrets...); len(keys) != 0 {
		t.Errorf("left in the Store: %q", keys)
	}
	after := w.store.snapshot()
	for k, v := range before {
		if !strings.Contains(k+v, w.shop.AppID()) && after[k] != v {
			t.Errorf("%s changed", k)
		}
	}
	w.wantNotAuthorized(a)
	for _, s := range []*wechatopen.CachedTokenSource{a.JSAPITicket(), a.CardTicket()} {
		if tok, err := s.Token(t.Context()); !errors.Is(err, wechatopen.ErrNotAuthorized) {
			t.Errorf("a ticket: %v, %v", tok, err)
		}
	}
	w.wantToken(w.platform.Account(other.AppID()))
}

// attacks.md 17: the result of its code is remembered for who comes second with it, not beyond the authorization.
func TestUnauthorizedRemovesTheRememberedResultOfTheCode(t *testing.T) {
	w := newWorld(t)
	w.pushTicket()
	code, err := w.comp.Authorize(t.Context(), w.shop)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.comp.Unauthorize(t.Context(), w.shop); err != nil {
		t.Fatal(err)
	}
	for k, v := range w.store.snapshot() {
		if strings.Contains(v, w.shop.AppID()) {
			t.Errorf("%s still names the account", k)
		}
	}
	if a, err := w.platform.QueryAuth(t.Context(), code); err == nil {
		t.Errorf("the code of an authorization that is over still says %+v", a)
	}
}

// attacks.md 17: the push overtakes the answer to the code's redemption.
func TestUnauthorizedDuringARedemptionLeavesNothing(t *testing.T) {
	net := &grantNet{}
	w := newWorld(t, net.option())
	w.pushTicket()
	code := w.comp.NewAuthCode(w.shop)
	arrived, release := net.holdAnswer(t, apiQueryAuth)
	redeemed := make(chan error, 1)
	go func() {
		_, err := w.platform.QueryAuth(t.Context(), code)
		redeemed <- err
	}()
	receive(t, arrived, "the redemption")
	w.sim.Advance(time.Second)
	pushed := make(chan error, 1)
	go func() { pushed <- w.comp.Unauthorize(t.Context(), w.shop) }()
	select {
	case err := <-pushed:
		pushed <- err
	case <-time.After(300 * time.Millisecond): // it waits for the redemption, which is as good
	}
	release()
	receive(t, redeemed, "the redemption")
	if err := receive(t, pushed, "the push"); err != nil {
		t.Errorf("the push was not answered success: %v", err)
	}
	if keys := w.accountKeys(); len(keys) != 0 {
		t.Errorf("left in the Store: %q", keys)
	}
}

// An *Account is held for as long as the program runs: what happens to the account reaches it.
func TestUnauthorizedReachesAnAccountThatIsHeld(t *testing.T) {
	w := newWorld(t)
	held := w.ready()
	w.wantToken(held)
	for round := range 2 {
		if err := w.comp.Unauthorize(t.Context(), w.shop); err != nil {
			t.Fatal(err)
		}
		w.wantNotAuthorized(held)
		w.sim.Advance(time.Second)
		if _, err := w.comp.Authorize(t.Context(), w.shop); err != nil {
			t.Fatal(err)
		}
		if err := held.Get(t.Context(), "/cgi-bin/test/echo", nil, nil); err != nil {
			t.Errorf("round %d: authorized again: %v", round, err)
		}
		w.sim.Advance(time.Second)
	}
	// WeChat refuses the refresh token that is held, and then grants again: the refusal is over at once.
	w.sim.Advance(3 * time.Hour)
	w.sim.Inject(wechattest.Fault{Path: apiAuthorizerToken, Times: 1, ErrCode: 61003})
	w.sim.Inject(wechattest.Fault{Path: apiAuthorizerInfo, Times: 1, ErrCode: 61003})
	if _, err := held.AccessToken().Token(t.Context()); !errors.Is(err, wechatopen.ErrNotAuthorized) {
		t.Errorf("Token: %v", err)
	}
	if _, err := w.comp.Authorize(t.Context(), w.shop); err != nil {
		t.Fatal(err)
	}
	if err := held.Get(t.Context(), "/cgi-bin/test/echo", nil, nil); err != nil {
		t.Errorf("authorized again after a refusal that is remembered: %v", err)
	}
}

// An unauthorized push older than the grant: WeChat is asked, and decides.
func TestLateUnauthorizedIsDecidedByWeChat(t *testing.T) {
	tests := map[string]struct {
		gone  bool // WeChat says that the account does not authorize the platform
		error int  // or cannot say
		age   time.Duration
		keeps bool
		asks  int
		fails bool
	}{
		"older, authorized again":       {age: time.Minute, keeps: true, asks: 1},
		"older, but gone":               {age: time.Minute, gone: true, asks: 1},
		"the same second, authorized":   {age: 0, keeps: true, asks: 1},
		"newer":                         {age: -time.Second, gone: true, asks: 0},
		"older, WeChat cannot say":      {age: time.Minute, error: -1, keeps: true, asks: 1, fails: true},
		"older, quota of looks used up": {age: time.Minute, error: 45009, keeps: true, asks: 1, fails: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorldWith(t, wechattest.Config{PushAttempts: 1})
			a := w.ready()
			w.wantToken(a)
			told := 0
			w.watchPushes(&wechatopen.TicketHandler{Platform: w.platform, OnEvent: func(context.Context, *wechatopen.Event) error {
				told++
				return nil
			}})
			before := w.accountKeys()
			grants := w.refreshTokens()
			late := w.comp.UnauthorizedXML(w.shop, w.sim.Now().Add(-tt.age))
			if tt.gone {
				w.comp.SetEventURL("")
				if err := w.comp.Unauthorize(t.Context(), w.shop); err != nil {
					t.Fatal(err)
				}
				w.comp.SetEventURL(w.site.URL + "/watched/events")
			}
			if tt.error != 0 {
				w.sim.Inject(wechattest.Fault{Path: apiAuthorizerInfo, Times: 1, ErrCode: tt.error})
			}
			w.log.reset()
			r, err := w.comp.Push(t.Context(), late)
			if failed := err != nil; failed != tt.fails {
				t.Errorf("push: %+v, %v", r, err)
			} else if failed && r.Status != http.StatusInternalServerError {
				t.Errorf("answered %d, so that WeChat does not send it again", r.Status)
			}
			if n := w.sim.Count(apiAuthorizerInfo); n != tt.asks {
				t.Errorf("WeChat was asked %d times, want %d", n, tt.asks)
			}
			if tt.keeps {
				if after := w.accountKeys(); !slices.Equal(before, after) || !maps.Equal(grants, w.refreshTokens()) {
					t.Errorf("kept %q of %q", after, before)
				}
				w.wantToken(a)
				if told != 0 || !tt.fails && !strings.Contains(w.log.String(), "late") {
					t.Errorf("OnEvent was told %d times, the log %q", told, w.log)
				}
			} else {
				if told != 1 {
					t.Errorf("OnEvent was told %d times", told)
				}
				if keys := w.accountKeys(); len(keys) != 0 {
					t.Errorf("left in the Store: %q", keys)
				}
				w.wantNotAuthorized(a)
			}
			if tt.fails { // and then WeChat sends it again
				w.push(late)
				w.wantToken(a)
			}
		})
	}
}

// An authorized push that arrives after the account has revoked its authorization is answered, or WeChat sends it again
// and again; and it changes nothing.
func TestLateAuthorizedIsNoErrorForEver(t *testing.T) {
	tests := map[string]func(w *world, code string){
		"never redeemed": func(*world, string) {},
		"redeemed by the redirect": func(w *world, code string) {
			if _, err := w.platform.QueryAuth(w.t.Context(), code); err != nil {
				w.t.Fatal(err)
			}
		},
	}
	for name, before := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorldWith(t, wechattest.Config{PushAttempts: 1})
			events := make(chan string, 8)
			pushes := w.watchPushes(&wechatopen.TicketHandler{Platform: w.platform, OnEvent: func(_ context.Context, e *wechatopen.Event) error {
				events <- e.InfoType
				return nil
			}})
			w.pushTicket()
			receive(t, events, "the ticket")
			at := w.sim.Now()
			code := w.comp.NewAuthCode(w.shop)
			authorized := w.comp.AuthorizedXML("authorized", w.shop, code, "preauthcode@@@x", at)
			before(w, code)
			w.sim.Advance(10 * time.Second)
			if err := w.comp.Unauthorize(t.Context(), w.shop); err != nil {
				t.Fatal(err)
			}
			receive(t, events, "unauthorized")
			w.push(authorized)
			select {
			case e := <-events: // it is no news, and would undo in the application what unauthorized did
				t.Errorf("OnEvent was told of %q after unauthorized", e)
			default:
			}
			if keys := w.accountKeys(); len(keys) != 0 {
				t.Errorf("the account is back in the Store: %q", keys)
			}
			w.wantNotAuthorized(w.platform.Account(w.shop.AppID()))
			for range 3 {
				if p := receive(t, pushes, "an answer"); p.status != http.StatusOK {
					t.Errorf("answered %d", p.status)
				}
			}
		})
	}
}

// The push is so late that its code is over; the account authorizes the platform still.
func TestLateAuthorizedWithADeadCodeStillFindsTheGrant(t *testing.T) {
	w := newWorld(t)
	w.pushTicket()
	at := w.sim.Now()
	code := w.comp.NewAuthCode(w.shop)
	w.comp.RotateRefreshToken(w.shop) // as if somebody had redeemed it
	w.sim.Advance(2 * time.Hour)
	w.push(w.comp.AuthorizedXML("authorized", w.shop, code, "preauthcode@@@x", at))
	w.wantGrant()
	w.wantToken(w.platform.Account(w.shop.AppID()))
	w.wantGrant()
}

// Authorized, revoked, authorized again; then the first two pushes arrive late, in order. The grant is as old as the
// newest authorization, so the late revocation is not taken for the last word.
func TestLatePushesDoNotAgeTheGrant(t *testing.T) {
	w := newWorld(t)
	w.pushTicket()
	w.comp.SetEventURL("")
	first := w.comp.AuthorizedXML("authorized", w.shop, w.comp.NewAuthCode(w.shop), "preauthcode@@@1", w.sim.Now())
	w.sim.Advance(10 * time.Second)
	revoked := w.comp.UnauthorizedXML(w.shop, w.sim.Now())
	if err := w.comp.Unauthorize(t.Context(), w.shop); err != nil {
		t.Fatal(err)
	}
	w.sim.Advance(10 * time.Second)
	if _, err := w.platform.QueryAuth(t.Context(), w.comp.NewAuthCode(w.shop)); err != nil {
		t.Fatal(err)
	}
	w.comp.SetEventURL(w.site.URL + "/wechat/events")
	w.push(first)
	w.push(revoked)
	w.wantGrant()
	w.wantToken(w.platform.Account(w.shop.AppID()))
	if n := w.sim.Count(apiAuthorizerInfo); n == 0 {
		t.Error("WeChat was not asked about a revocation older than the grant")
	}
}

func TestGrantOfACodeSpentElsewhereIsLookedUpByThePush(t *testing.T) {
	w := newWorld(t)
	w.pushTicket()
	// Another system of the same component was faster: the code is spent, and our Store knows nothing of it.
	other := w.newPlatform(wechatopen.WithStore(wechatopen.NewMemoryStore()))
	pushes := w.watchPushes(&wechatopen.TicketHandler{Platform: other})
	w.pushTicket()
	receive(t, pushes, "the ticket")
	w.comp.SetEventURL(w.site.URL + "/wechat/events")
	at := w.sim.Now()
	code := w.comp.NewAuthCode(w.shop)
	if _, err := other.QueryAuth(t.Context(), code); err != nil {
		t.Fatal(err)
	}
	w.push(w.comp.AuthorizedXML("authorized", w.shop, code, "preauthcode@@@x", at))
	w.wantGrant()
	w.wantToken(w.platform.Account(w.shop.AppID()))
}

// A refresh token that is dead (61023) is looked up once, and the newer one used and stored.
func TestGrantDeadRefreshTokenIsLookedUpOnce(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	newer := w.comp.RotateRefreshToken(w.shop)
	w.sim.Advance(3 * time.Hour)
	w.sim.ResetJournal()
	w.wantToken(a)
	w.wantGrant()
	if w.comp.RefreshToken(w.shop) == newer {
		t.Error("the newer refresh token was not used: WeChat would have replaced it")
	}
	if looks, refreshes := w.sim.Count(apiAuthorizerInfo), w.sim.Count(apiAuthorizerToken); looks != 1 || refreshes != 2 {
		t.Errorf("%d looks and %d refreshes, want 1 and 2", looks, refreshes)
	}
	w.sim.Advance(3 * time.Hour)
	w.wantToken(a)
	if n := w.sim.Count(apiAuthorizerInfo); n != 1 {
		t.Errorf("the next refresh needed %d looks", n-1)
	}
}

// Every way in which WeChat says that an account does not authorize the platform ends in ErrNotAuthorized, is remembered,
// and is over with the next authorization.
func TestGrantRefusalIsRemembered(t *testing.T) {
	refuse := func(path string, times, code int) wechattest.Fault {
		return wechattest.Fault{Path: path, Times: times, ErrCode: code}
	}
	tests := map[string]struct {
		prepare          func(w *world)
		faults           []wechattest.Fault
		refreshes, looks int
	}{
		"revoked without a push": {refreshes: 1, looks: 1, prepare: func(w *world) {
			w.comp.SetEventURL("")
			w.comp.Unauthorize(w.t.Context(), w.shop)
			w.comp.SetEventURL(w.site.URL + "/wechat/events")
		}},
		"61003 twice":                    {refreshes: 1, looks: 1, faults: []wechattest.Fault{refuse(apiAuthorizerToken, 0, 61003), refuse(apiAuthorizerInfo, 0, 61003)}},
		"61023, and the same is current": {refreshes: 1, looks: 1, faults: []wechattest.Fault{refuse(apiAuthorizerToken, 0, 61023)}},
		"61023, and the newer one is dead too": {refreshes: 2, looks: 1, faults: []wechattest.Fault{refuse(apiAuthorizerToken, 0, 61023)},
			prepare: func(w *world) { w.comp.RotateRefreshToken(w.shop) }},
		"61023, and WeChat knows none": {refreshes: 1, looks: 1, faults: []wechattest.Fault{refuse(apiAuthorizerToken, 0, 61023),
			{Path: apiAuthorizerInfo, Body: []byte(`{"authorizer_info":{},"authorization_info":{"func_info":[]}}`)}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.ready()
			stored := w.refreshTokens()
			w.sim.Advance(3 * time.Hour)
			if tt.prepare != nil {
				tt.prepare(w)
			}
			for _, f := range tt.faults {
				w.sim.Inject(f)
			}
			w.sim.ResetJournal()
			for i := range 100 {
				if tok, err := a.AccessToken().Token(t.Context()); !errors.Is(err, wechatopen.ErrNotAuthorized) {
					t.Fatalf("call %d: %v, %v; want ErrNotAuthorized", i, tok, err)
				}
				if i%25 == 0 {
					w.sim.Advance(time.Second)
				}
			}
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					if err := a.Post(t.Context(), "/cgi-bin/test/echo", nil, nil); !errors.Is(err, wechatopen.ErrNotAuthorized) {
						t.Errorf("a call: %v", err)
					}
				})
			}
			all.Wait()
			if r, l := w.sim.Count(apiAuthorizerToken), w.sim.Count(apiAuthorizerInfo); r != tt.refreshes || l != tt.looks {
				t.Errorf("200 calls: %d refreshes and %d looks, want %d and %d", r, l, tt.refreshes, tt.looks)
			}
			if len(w.refreshTokens()) < len(stored) {
				t.Error("a refresh token is gone from the Store without an unauthorized push")
			}
			w.sim.ClearFaults()
			if _, err := w.comp.Authorize(t.Context(), w.shop); err != nil {
				t.Fatal(err)
			}
			w.wantToken(a)
			w.wantGrant()
		})
	}
}

// What WeChat does not say is not taken for a refusal.
func TestGrantThatCannotBeLookedUpIsNotRefused(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	w.comp.RotateRefreshToken(w.shop)
	before := w.refreshTokens()
	w.sim.Advance(3 * time.Hour)
	w.sim.Inject(wechattest.Fault{Path: apiAuthorizerInfo, Times: 1, ErrCode: -1})
	_, err := a.AccessToken().Token(t.Context())
	var refusal *wechatopen.APIError
	if err == nil || errors.Is(err, wechatopen.ErrNotAuthorized) || !errors.As(err, &refusal) || refusal.Code != 61023 {
		t.Errorf("Token: %v", err)
	}
	if !maps.Equal(before, w.refreshTokens()) {
		t.Errorf("refresh tokens were %q and are %q", before, w.refreshTokens())
	}
	w.sim.Advance(2 * time.Minute)
	w.wantToken(a)
	w.wantGrant()
}

// WeChat gives up after five seconds and sends the push again; the code of the first is spent by then.
func TestGrantIsStoredThoughThePushHasLeft(t *testing.T) {
	net := &grantNet{}
	w := newWorld(t, net.option())
	contexts := make(chan context.Context, 1)
	events := &wechatopen.TicketHandler{Platform: w.platform}
	pushes := w.watchPushes(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		select {
		case contexts <- r.Context():
		default:
		}
		events.ServeHTTP(rw, r)
	}))
	w.pushTicket()
	receive(t, pushes, "the ticket")
	receive(t, contexts, "the ticket")

	code := w.comp.NewAuthCode(w.shop)
	xml := w.comp.AuthorizedXML("authorized", w.shop, code, "preauthcode@@@x", w.sim.Now())
	arrived, release := net.holdAnswer(t, apiQueryAuth)
	ctx, leave := context.WithCancel(t.Context())
	req, err := w.comp.NewPush(ctx, wechattest.PushSpec{XML: xml})
	if err != nil {
		t.Fatal(err)
	}
	left := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		left <- err
	}()
	receive(t, arrived, "the redemption")
	leave()
	if err := receive(t, left, "the client"); err == nil {
		t.Fatal("the push was answered before it left")
	}
	receive(t, receive(t, contexts, "the request").Done(), "the server to notice")
	release()
	receive(t, pushes, "the handler")
	w.wantGrant()

	w.push(xml)
	if n := w.sim.Count(apiQueryAuth); n != 1 {
		t.Errorf("%d calls of api_query_auth", n)
	}
	w.wantGrant()
	w.wantToken(w.platform.Account(w.shop.AppID()))
}

// The Store is down when the code has been redeemed: 5xx, and when WeChat sends the push again the grant is found.
func TestGrantThatCouldNotBeStoredIsFoundWhenThePushComesAgain(t *testing.T) {
	w := newWorld(t)
	store := &grantStore{Store: w.store}
	p := w.newPlatform(wechatopen.WithStore(store))
	pushes := w.watchPushes(&wechatopen.TicketHandler{Platform: p})
	w.pushTicket()
	receive(t, pushes, "the ticket")
	failures := 0
	store.setOnSet(func(key string) error {
		if strings.HasSuffix(key, ":grant") && failures == 0 {
			failures++
			return errors.New("the disk is full")
		}
		return nil
	})
	if _, err := w.comp.Authorize(t.Context(), w.shop); err != nil {
		t.Errorf("the push sent again: %v", err)
	}
	if first, second := receive(t, pushes, "the push").status, receive(t, pushes, "the push again").status; first != 500 || second != 200 {
		t.Errorf("answered %d and %d, want 500 and 200", first, second)
	}
	w.wantGrant()
	w.wantToken(p.Account(w.shop.AppID()))
}

// What api_query_auth answers becomes a store key: it has to be an appid.
func TestGrantOfAnAnswerThatNamesNoAccount(t *testing.T) {
	for _, body := range []string{
		`{}`,
		`{"authorization_info":{"authorizer_appid":"","authorizer_refresh_token":"refreshtoken@@@x"}}`,
		`{"authorization_info":{"authorizer_appid":"wx:1:grant","authorizer_refresh_token":"refreshtoken@@@x"}}`,
		`{"authorization_info":{"authorizer_appid":"../../x","authorizer_refresh_token":"refreshtoken@@@x"}}`,
		`{"authorization_info":null}`,
		`<html>`,
	} {
		w := newWorld(t)
		w.pushTicket()
		before := w.store.snapshot()
		w.wantComponentToken()
		w.sim.Inject(wechattest.Fault{Path: apiQueryAuth, Times: 1, Body: []byte(body)})
		code := w.comp.NewAuthCode(w.shop)
		if a, err := w.platform.QueryAuth(t.Context(), code); err == nil {
			t.Errorf("%s: %+v", body, a)
		}
		after := w.store.snapshot()
		for k := range after {
			if _, ok := before[k]; !ok && !strings.HasSuffix(k, ":component_token") {
				t.Errorf("%s: %s was stored", body, k)
			}
		}
		// Nothing was remembered of the bad answer.
		if a, err := w.platform.QueryAuth(t.Context(), code); err != nil || a.AppID != w.shop.AppID() {
			t.Errorf("%s: then %+v, %v", body, a, err)
		}
	}
}

func (w *world) wantComponentToken() {
	w.t.Helper()
	if _, err := w.platform.ComponentToken().Token(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

type grantTransport func(*http.Request) (*http.Response, error)

func (f grantTransport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// endlessLetters never ends.
type endlessLetters struct{}

func (endlessLetters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

// countingReader counts what is read.
type countingReader struct {
	io.Reader
	n *atomic.Int64
}

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}
