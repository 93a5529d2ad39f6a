package wechatopen_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
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
	loginPagePath    = "/connect/oauth2/authorize"
	qrLoginPagePath  = "/connect/qrconnect"
	exchangePath     = "/sns/oauth2/component/access_token"
	ownExchangePath  = "/sns/oauth2/access_token"
	snsUserInfoPath  = "/sns/userinfo"
	loginSessionName = "wxsession-"
	loginFlowName    = "wxflow-"
)

// loginSite is a world whose site has pages behind an OAuth: everything behind Require, /profile behind
// RequireScope(ScopeUserInfo), /who behind Load, and /logout.
type loginSite struct {
	*world
	account *wechatopen.Account
	oauth   *wechatopen.OAuth

	mu     sync.Mutex
	users  []wechatopen.User      // what OnLogin was called with
	tokens []wechatopen.UserToken // likewise
	told   []error                // what Trace.Login was called with
}

func newLoginSite(t *testing.T, change func(s *loginSite), opts ...wechatopen.Option) *loginSite {
	t.Helper()
	s := &loginSite{}
	s.world = newWorld(t, append([]wechatopen.Option{wechatopen.WithTrace(s.trace())}, opts...)...)
	s.account = s.ready()
	s.oauth = s.newOAuth(s.account)
	if change != nil {
		change(s)
	}
	s.mount(s.mux, s.oauth)
	return s
}

func (s *loginSite) trace() *wechatopen.Trace {
	return &wechatopen.Trace{Login: func(_ context.Context, _ string, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told = append(s.told, err)
	}}
}

func (s *loginSite) newOAuth(a *wechatopen.Account) *wechatopen.OAuth {
	return &wechatopen.OAuth{
		Account: wechatopen.FixedAccount(a),
		BaseURL: s.site.URL,
		Cookies: s.cookies,
		OnLogin: func(_ context.Context, u *wechatopen.User, t *wechatopen.UserToken) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.users, s.tokens = append(s.users, *u), append(s.tokens, *t)
			return nil
		},
	}
}

func (s *loginSite) mount(mux *http.ServeMux, o *wechatopen.OAuth) {
	page := http.HandlerFunc(showLoginUser)
	mux.Handle("/", o.Require(page))
	mux.Handle("/profile", o.RequireScope(wechatopen.ScopeUserInfo)(page))
	mux.Handle("/who", o.Load(page))
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		o.Logout(w, r)
		io.WriteString(w, "bye")
	})
}

// showLoginUser is a page that says who is logged in.
func showLoginUser(w http.ResponseWriter, r *http.Request) {
	u, ok := wechatopen.UserFromContext(r.Context())
	if !ok {
		io.WriteString(w, "nobody")
		return
	}
	json.NewEncoder(w).Encode(u)
}

// loginUser is whom showLoginUser showed, nil for nobody.
func loginUser(t *testing.T, a answer) *wechatopen.User {
	t.Helper()
	if a.Status == http.StatusOK && a.Body == "nobody" {
		return nil
	}
	var u wechatopen.User
	if err := json.Unmarshal([]byte(a.Body), &u); a.Status != http.StatusOK || err != nil {
		t.Fatalf("not the page: status %d, Location %q, body %.200q", a.Status, a.Header.Get("Location"), a.Body)
	}
	return &u
}

// newLoginClient is a browser with a cookie jar and, on the site, some cookies to begin with.
func (s *loginSite) newLoginClient(cookies ...*http.Cookie) *http.Client {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	jar.SetCookies(mustParse(s.t, s.site.URL), cookies)
	return &http.Client{Jar: jar}
}

// cookiesOf are the cookies that a client would send to the site, name by name.
func (s *loginSite) cookiesOf(c *http.Client) []*http.Cookie {
	return c.Jar.Cookies(mustParse(s.t, s.site.URL))
}

// who is the user of a client's session, nil if there is none.
func (s *loginSite) who(c *http.Client) *wechatopen.User {
	s.t.Helper()
	return loginUser(s.t, get(s.t, c, s.site.URL+"/who"))
}

// toCallback goes to a page, and to WeChat, and returns the URL to which WeChat sends the browser back.
func (s *loginSite) toCallback(c *http.Client, page string) string {
	s.t.Helper()
	return s.throughWeChat(c, s.toWeChat(get(s.t, c, page)))
}

// toWeChat is where an answer sends the browser, which must be WeChat's login page.
func (s *loginSite) toWeChat(a answer) string {
	s.t.Helper()
	to := a.Header.Get("Location")
	if a.Status != http.StatusFound || !strings.HasPrefix(to, s.sim.URL()+"/connect/") {
		s.t.Fatalf("not sent to WeChat: status %d, Location %q, body %.200q", a.Status, to, a.Body)
	}
	return to
}

// throughWeChat follows a link to WeChat's login page, which asks nothing.
func (s *loginSite) throughWeChat(c *http.Client, link string) string {
	s.t.Helper()
	a := get(s.t, c, link)
	back := a.Header.Get("Location")
	if a.Status != http.StatusFound || back == "" {
		s.t.Fatalf("WeChat does not redirect from %s: status %d, body %.500q", link, a.Status, a.Body)
	}
	return back
}

// follow opens a page and follows redirects; trail is every URL on the way.
func (s *loginSite) follow(c *http.Client, page string) (a answer, trail []string) {
	s.t.Helper()
	for range 20 {
		trail = append(trail, page)
		a = get(s.t, c, page)
		if page = a.Header.Get("Location"); page == "" {
			return a, trail
		}
	}
	s.t.Fatalf("redirected in a circle: %q", trail)
	return
}

// login opens a page, logs in on the way and returns the user whom the page shows.
func (s *loginSite) login(c *http.Client, page string) *wechatopen.User {
	s.t.Helper()
	a, _ := s.follow(c, page)
	u := loginUser(s.t, a)
	if u == nil {
		s.t.Fatalf("nobody is logged in at %s", page)
	}
	return u
}

// exchanges counts the calls that spend a code.
func (s *loginSite) exchanges() int {
	return s.sim.Count(exchangePath) + s.sim.Count(ownExchangePath)
}

func (s *loginSite) loginCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.users)
}

func (s *loginSite) toldErrors() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.told)
}

// lastTold is the last error that the trace was told of.
func (s *loginSite) lastTold() error {
	told := s.toldErrors()
	if len(told) == 0 {
		return errors.New("the trace was told nothing")
	}
	return told[len(told)-1]
}

// loginState is everything that a refused login leaves as it is.
type loginState struct {
	exchanges, infos, logins int
	store                    map[string]string
}

func (s *loginSite) state() loginState {
	return loginState{s.exchanges(), s.sim.Count(snsUserInfoPath), s.loginCount(), s.store.snapshot()}
}

// unchanged fails the test if something was called or kept since before, or if an answer begins a session.
func (s *loginSite) unchanged(before loginState, answers ...answer) {
	s.t.Helper()
	now := s.state()
	if now.exchanges != before.exchanges || now.infos != before.infos {
		s.t.Errorf("WeChat was called: exchanges %d → %d, userinfo %d → %d", before.exchanges, now.exchanges, before.infos, now.infos)
	}
	if now.logins != before.logins {
		s.t.Errorf("OnLogin was called %d times", now.logins-before.logins)
	}
	if !maps.Equal(now.store, before.store) {
		s.t.Errorf("the Store changed:\n%v\n%v", before.store, now.store)
	}
	for _, a := range answers {
		noLoginSession(s.t, a)
	}
}

// noLoginSession fails the test if an answer begins a session.
func noLoginSession(t *testing.T, a answer) {
	t.Helper()
	if c := loginCookie(a, loginSessionName); c != nil && c.Value != "" {
		t.Errorf("the answer (status %d) begins a session: %s", a.Status, c)
	}
}

// loginCookie is the cookie of an answer whose name contains name, nil if there is none.
func loginCookie(a answer, name string) *http.Cookie {
	for _, c := range (&http.Response{Header: a.Header}).Cookies() {
		if strings.Contains(c.Name, name) {
			return c
		}
	}
	return nil
}

// isStatusText tells a body that quotes no cause.
func isStatusText(a answer) bool { return a.Body == http.StatusText(a.Status)+"\n" }

func TestBaseLoginIsSilentAndTellsTheOpenID(t *testing.T) {
	s := newLoginSite(t, nil)
	b := s.sim.NewBrowser(s.alice)
	before := s.sim.Now()
	p, err := b.Open(t.Context(), s.site.URL+"/shop?item=7")
	if err != nil {
		t.Fatal(err)
	}
	u := loginUser(t, answer{p.Status, p.Header, p.Body})
	want := wechatopen.User{AppID: s.shop.AppID(), OpenID: s.shop.OpenID(s.alice), Scope: wechatopen.ScopeBase}
	got := *u
	got.LoginTime, got.Expiry = time.Time{}, time.Time{}
	if got != want {
		t.Errorf("user %+v, want %+v", got, want)
	}
	if u.LoginTime.Before(before.Truncate(time.Second)) || u.LoginTime.After(s.sim.Now()) || u.Expiry.Sub(u.LoginTime) != 7*24*time.Hour {
		t.Errorf("login at %v until %v, the clock stood at %v", u.LoginTime, u.Expiry, before)
	}
	// page, WeChat, page with the code, page; the fragment is WeChat's, which browsers keep through redirects
	if len(p.Trail) != 4 || strings.TrimSuffix(p.URL, "#wechat_redirect") != s.site.URL+"/shop?item=7" {
		t.Errorf("the way was %q", p.Trail)
	}
	if n := s.exchanges(); n != 1 {
		t.Errorf("%d exchanges", n)
	}
	if n := s.sim.Count(snsUserInfoPath); n != 0 {
		t.Errorf("%d calls of userinfo for snsapi_base", n)
	}
	p, err = b.Open(t.Context(), s.site.URL+"/another")
	if err != nil || len(p.Trail) != 1 || loginUser(t, answer{p.Status, p.Header, p.Body}).OpenID != u.OpenID {
		t.Errorf("the session does not open the next page: %v %q", err, p.Trail)
	}
}

func TestUserInfoLoginAsksAndTellsNameAvatarUnionID(t *testing.T) {
	for _, own := range []bool{false, true} {
		t.Run(map[bool]string{false: "authorizer", true: "own account"}[own], func(t *testing.T) {
			s := newLoginSite(t, func(s *loginSite) {
				if own {
					s.oauth.Account = wechatopen.FixedAccount(s.ownAccount(s.shop))
				}
				s.oauth.Scope = wechatopen.ScopeUserInfo
			})
			p, err := s.sim.NewBrowser(s.alice).Open(t.Context(), s.site.URL+"/hello")
			if err != nil {
				t.Fatal(err)
			}
			if !p.Has("allow") {
				t.Fatalf("WeChat asks nothing: %s %q", p.URL, p.Text())
			}
			if p, err = p.Click(t.Context(), "allow"); err != nil {
				t.Fatal(err)
			}
			u := loginUser(t, answer{p.Status, p.Header, p.Body})
			want := wechatopen.User{
				AppID: s.shop.AppID(), OpenID: s.shop.OpenID(s.alice), UnionID: s.alice.UnionID(),
				Nickname: "Alice", AvatarURL: s.alice.AvatarURL(), Scope: wechatopen.ScopeUserInfo,
				LoginTime: u.LoginTime, Expiry: u.Expiry,
			}
			if *u != want {
				t.Errorf("user %+v, want %+v", *u, want)
			}
			if n, m := s.exchanges(), s.sim.Count(snsUserInfoPath); n != 1 || m != 1 {
				t.Errorf("%d exchanges, %d calls of userinfo", n, m)
			}
			path := map[bool]string{false: exchangePath, true: ownExchangePath}[own]
			if n := s.sim.Count(path); n != 1 {
				t.Errorf("%d calls of %s", n, path)
			}
		})
	}
}

func TestUnionIDIsTakenFromUserInfoToo(t *testing.T) {
	s := newLoginSite(t, nil)
	s.sim.Inject(wechattest.Fault{Path: exchangePath, Edit: func(b []byte) []byte {
		return bytes.Replace(b, []byte(`"unionid"`), []byte(`"no_unionid"`), 1)
	}})
	c := s.newLoginClient()
	a, err := s.openWith(c, s.toWeChat(get(t, c, s.site.URL+"/profile")))
	if err != nil {
		t.Fatal(err)
	}
	if u := loginUser(t, a); u == nil || u.UnionID != s.alice.UnionID() {
		t.Errorf("user %v", u)
	}
}

// ownAccount is an account of one's own, beside the platform.
func (s *loginSite) ownAccount(a *wechattest.Account, opts ...wechatopen.Option) *wechatopen.Account {
	s.t.Helper()
	all := append(s.sim.Options(), wechatopen.WithStore(s.store), wechatopen.WithLogger(s.log.logger()), wechatopen.WithTrace(s.trace()))
	own, err := wechatopen.NewAccount(a.Credentials(), append(all, opts...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return own
}

// website makes the shop a website application, which alone may show the QR code.
func (s *loginSite) website() *wechatopen.Account {
	s.t.Helper()
	s.shop = s.sim.AddAccount(wechattest.AccountConfig{Name: "Website", Website: true})
	return s.ownAccount(s.shop)
}

func TestWebsiteLoginShowsTheQRPage(t *testing.T) {
	s := newLoginSite(t, func(s *loginSite) {
		s.oauth.Account = wechatopen.FixedAccount(s.website())
		s.oauth.Scope = wechatopen.ScopeLogin
	})
	p, err := s.sim.NewBrowser(nil).Open(t.Context(), s.site.URL+"/desk")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(p.URL, s.sim.URL()+qrLoginPagePath+"?") || !p.Has("allow") {
		t.Fatalf("not the page with the QR code: %s", p.URL)
	}
	if p, err = p.Click(t.Context(), "allow"); err != nil {
		t.Fatal(err)
	}
	u := loginUser(t, answer{p.Status, p.Header, p.Body})
	if u.Nickname != "Alice" || u.UnionID != s.alice.UnionID() || u.Scope != wechatopen.ScopeLogin {
		t.Errorf("user %+v", *u)
	}
}

func TestRequireScopeTakesOneMoreTripThenNone(t *testing.T) {
	s := newLoginSite(t, nil)
	c := s.newLoginClient()
	if u := s.login(c, s.site.URL+"/"); u.Scope != wechatopen.ScopeBase || u.Nickname != "" {
		t.Fatalf("user %+v", *u)
	}
	trips := s.sim.Count(loginPagePath)

	link := s.toWeChat(get(t, c, s.site.URL+"/profile"))
	if got := mustParse(t, link).Query().Get("scope"); got != wechatopen.ScopeUserInfo {
		t.Fatalf("scope %q asked for", got)
	}
	p, err := s.openWith(c, link)
	if err != nil {
		t.Fatal(err)
	}
	if u := loginUser(t, p); u.Nickname != "Alice" || u.Scope != wechatopen.ScopeUserInfo {
		t.Fatalf("user %+v", *u)
	}
	if n := s.sim.Count(loginPagePath); n != trips+1 {
		t.Errorf("%d trips to WeChat for the upgrade", n-trips)
	}
	for _, path := range []string{"/profile", "/", "/profile?again"} {
		a := get(t, c, s.site.URL+path)
		if u := loginUser(t, a); u.Nickname != "Alice" {
			t.Errorf("%s: user %+v", path, *u)
		}
	}
	if n := s.sim.Count(loginPagePath); n != trips+1 {
		t.Errorf("%d trips to WeChat, want no more than one", n-trips)
	}
}

// openWith opens a consent page with a client's cookies, allows, and returns the page at the end.
func (s *loginSite) openWith(c *http.Client, link string) (answer, error) {
	b := s.sim.NewBrowser(s.alice)
	b.Client.Jar = c.Jar
	p, err := b.Open(s.t.Context(), link)
	if err == nil {
		p, err = p.Click(s.t.Context(), "allow")
	}
	if err != nil {
		return answer{}, err
	}
	return answer{p.Status, p.Header, p.Body}, nil
}

func TestRefusedUpgradeKeepsTheSession(t *testing.T) {
	s := newLoginSite(t, nil)
	c := s.newLoginClient()
	s.login(c, s.site.URL+"/")
	s.alice.SetRefuses(true)
	a, _ := s.follow(c, s.site.URL+"/profile")
	if a.Status != http.StatusForbidden || !errors.Is(s.lastTold(), wechatopen.ErrDenied) {
		t.Errorf("status %d, error %v", a.Status, s.lastTold())
	}
	if u := loginUser(t, get(t, c, s.site.URL+"/")); u == nil || u.Scope != wechatopen.ScopeBase {
		t.Errorf("the session of snsapi_base is lost: %v", u)
	}
}

func TestLoadNeverRedirects(t *testing.T) {
	s := newLoginSite(t, nil)
	c := s.newLoginClient()
	for _, query := range []string{"", "?code=x&state=y", "?state=ABCDEFGHIJKLMNOPQRSTUVWXYZ1", "?code=SUMMER"} {
		a := get(t, c, s.site.URL+"/who"+query)
		if a.Status != http.StatusOK || a.Body != "nobody" || len(a.Header.Values("Set-Cookie")) != 0 {
			t.Errorf("%q without a session: status %d, body %q, cookies %q", query, a.Status, a.Body, a.Header.Values("Set-Cookie"))
		}
	}
	s.login(c, s.site.URL+"/")
	for _, query := range []string{"", "?code=x&state=y"} {
		a := get(t, c, s.site.URL+"/who"+query)
		if u := loginUser(t, a); u == nil || u.OpenID != s.shop.OpenID(s.alice) {
			t.Errorf("%q with a session: %v", query, u)
		}
		if got := a.Header.Values("Vary"); !slices.Contains(got, "Cookie") {
			t.Errorf("Vary %q", got)
		}
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.site.URL+"/who", strings.NewReader("a=b"))
	if u := loginUser(t, do(t, c, r)); u == nil {
		t.Error("a POST behind Load finds no user")
	}
}

func TestLogoutEndsTheSession(t *testing.T) {
	s := newLoginSite(t, nil)
	c := s.newLoginClient()
	s.login(c, s.site.URL+"/")
	a := get(t, c, s.site.URL+"/logout")
	if a.Status != http.StatusOK || a.Body != "bye" {
		t.Errorf("Logout wrote the answer: status %d, body %q", a.Status, a.Body)
	}
	if u := s.who(c); u != nil {
		t.Errorf("still logged in: %+v", *u)
	}
	s.toWeChat(get(t, c, s.site.URL+"/"))
}

func TestContextWithUser(t *testing.T) {
	if u, ok := wechatopen.UserFromContext(t.Context()); ok || u != nil {
		t.Errorf("a user from nowhere: %v", u)
	}
	want := &wechatopen.User{OpenID: "o"}
	if u, ok := wechatopen.UserFromContext(wechatopen.ContextWithUser(t.Context(), want)); !ok || u != want {
		t.Errorf("got %v", u)
	}
	if u, ok := wechatopen.UserFromContext(wechatopen.ContextWithUser(t.Context(), nil)); ok || u != nil {
		t.Errorf("a nil user counts as one: %v", u)
	}
}

// attacks.md 19
func TestForeignCallbackRestartsWithoutExchange(t *testing.T) {
	// Each makes a browser and the URL with which it is lured. The code is always one that WeChat would exchange, so that
	// only the missing flow stands between it and a session.
	type lure struct {
		name string
		// restarts is how often a browser that never has the right cookie is sent to WeChat again before it is told. A
		// state of our own form could come from a browser without cookies, which has three tries in all (row 23).
		restarts int
		make     func(s *loginSite) (*http.Client, string)
	}
	code := func(s *loginSite) string {
		return s.comp.NewLoginCode(s.shop, s.alice, wechatopen.ScopeBase)
	}
	forged := func(state string) func(s *loginSite) (*http.Client, string) {
		return func(s *loginSite) (*http.Client, string) {
			return s.newLoginClient(), s.site.URL + "/page?code=" + code(s) + "&state=" + url.QueryEscape(state)
		}
	}
	const strange = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	withState := func(s *loginSite, callback string) string {
		return s.site.URL + "/page?code=" + code(s) + "&state=" + mustParse(s.t, callback).Query().Get("state")
	}
	for _, tc := range []lure{
		{"no flow cookie, a foreign state", 1, forged("y")},
		{"no flow cookie, an empty state", 1, forged("")},
		{"no flow cookie, a state of 10,000 letters", 1, forged(strings.Repeat("A", 10000))},
		{"no flow cookie, a state of 27 signs", 1, forged(strings.Repeat("=", 27))},
		{"no flow cookie, a state of our form", 2, forged(strange + "1")},
		{"no flow cookie, a state of try zero", 1, forged(strange + "0")},
		{"no flow cookie, a state of try nine", 1, forged(strange + "9")},
		{"state of another browser", 2, func(s *loginSite) (*http.Client, string) {
			attacker, victim := s.newLoginClient(), s.newLoginClient()
			s.toCallback(victim, s.site.URL+"/page") // has a flow, but not this one
			return victim, s.toCallback(attacker, s.site.URL+"/page")
		}},
		{"cookie of another flow under this one's name", 2, func(s *loginSite) (*http.Client, string) {
			one, two := s.newLoginClient(), s.newLoginClient()
			callback := s.toCallback(one, s.site.URL+"/page")
			s.toCallback(two, s.site.URL+"/page")
			return s.newLoginClient(&http.Cookie{Name: s.cookiesOf(one)[0].Name, Value: s.cookiesOf(two)[0].Value}), callback
		}},
		{"cookie of a login at another account", 2, func(s *loginSite) (*http.Client, string) {
			other := s.sim.AddAccount(wechattest.AccountConfig{Name: "Other"})
			if _, err := s.comp.Authorize(s.t.Context(), other); err != nil {
				s.t.Fatal(err)
			}
			s.mux.Handle("/other", s.newOAuth(s.platform.Account(other.AppID())).Require(http.HandlerFunc(showLoginUser)))
			c := s.newLoginClient()
			return c, withState(s, s.toCallback(c, s.site.URL+"/other"))
		}},
		{"cookie of a login with another scope", 2, func(s *loginSite) (*http.Client, string) {
			c := s.newLoginClient()
			link := s.toWeChat(get(s.t, c, s.site.URL+"/profile"))
			return c, withState(s, link)
		}},
		{"cookie of an authorization", 2, func(s *loginSite) (*http.Client, string) {
			s.mux.Handle("/authorize", &wechatopen.AuthorizeHandler{Platform: s.platform, BaseURL: s.site.URL, Cookies: s.cookies})
			c := s.newLoginClient()
			get(s.t, c, s.site.URL+"/authorize")
			id := strings.TrimPrefix(s.cookiesOf(c)[0].Name, loginFlowName)
			return c, s.site.URL + "/page?code=" + code(s) + "&state=" + id + "1"
		}},
		{"flow that is ten minutes old", 2, func(s *loginSite) (*http.Client, string) {
			c := s.newLoginClient()
			callback := s.toCallback(c, s.site.URL+"/page")
			s.sim.Advance(10*time.Minute + time.Second)
			return c, withState(s, callback)
		}},
		{"state used before, with another code", 2, func(s *loginSite) (*http.Client, string) {
			c := s.newLoginClient()
			callback := s.toCallback(c, s.site.URL+"/page")
			stolen := s.cookiesOf(c)
			s.login(c, callback)
			return s.newLoginClient(stolen...), withState(s, callback)
		}},
		{"state used before, with the same code, later", 2, func(s *loginSite) (*http.Client, string) {
			c := s.newLoginClient()
			callback := s.toCallback(c, s.site.URL+"/page")
			stolen := s.cookiesOf(c)
			s.login(c, callback)
			s.sim.Advance(2 * time.Minute)
			return s.newLoginClient(stolen...), callback
		}},
		{"state used before, by a login that failed", 2, func(s *loginSite) (*http.Client, string) {
			c := s.newLoginClient()
			callback := s.toCallback(c, s.site.URL+"/page")
			s.sim.Inject(wechattest.Fault{Path: exchangePath, ErrCode: -1, Times: 1})
			noLoginSession(s.t, get(s.t, c, callback))
			return c, withState(s, callback)
		}},
		{"state used before, its cookie gone", 2, func(s *loginSite) (*http.Client, string) {
			c := s.newLoginClient()
			callback := s.toCallback(c, s.site.URL+"/page")
			s.login(c, callback)
			get(s.t, c, s.site.URL+"/logout")
			return c, withState(s, callback)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newLoginSite(t, nil)
			// The component token is there already, so that nothing but the login could change the Store.
			if _, err := s.platform.ComponentToken().Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			c, lured := tc.make(s)
			before := s.state()
			s.log.reset()
			a := get(t, c, lured)
			s.unchanged(before, a)
			link := s.toWeChat(a)
			if got, old := mustParse(t, link).Query().Get("state"), mustParse(t, lured).Query().Get("state"); got == old {
				t.Errorf("the new login has the old state %q", got)
			}
			if got, want := mustParse(t, link).Query().Get("redirect_uri"), s.site.URL+"/page"; got != want {
				t.Errorf("the new login comes back to %q, want %q", got, want)
			}
			if logged := s.log.String(); strings.Contains(logged, "level=ERROR") {
				t.Errorf("a visitor's mistake is logged as ours: %s", logged)
			}

			// A browser that has lost its cookies by now is told in the end.
			next, restarts := a, 1
			for ; next.Status == http.StatusFound && restarts < 10; restarts++ {
				next = get(t, nil, s.throughWeChat(nil, s.toWeChat(next)))
			}
			restarts--
			if next.Status != http.StatusForbidden || !isStatusText(next) || !errors.Is(s.lastTold(), wechatopen.ErrLoginLoop) {
				t.Errorf("at the end status %d, body %q, error %v", next.Status, next.Body, s.lastTold())
			}
			if restarts != tc.restarts {
				t.Errorf("restarted %d times, want %d", restarts, tc.restarts)
			}
			s.unchanged(before, next)

			// One that keeps cookies logs in, by the restart.
			if u := s.login(c, link); u.OpenID != s.shop.OpenID(s.alice) {
				t.Errorf("user %+v", *u)
			}
			if n := s.exchanges() - before.exchanges; n != 1 {
				t.Errorf("%d exchanges after the restart", n)
			}
		})
	}
}

// attacks.md 19: the trace counts logins, and a restart is none.
func TestTraceIsNotToldOfASessionWhenALoginRestarts(t *testing.T) {
	s := newLoginSite(t, nil)
	s.toWeChat(get(t, s.newLoginClient(), s.site.URL+"/page?code=x&state=y"))
	for _, err := range s.toldErrors() {
		if err == nil {
			t.Error(`Trace.Login: "err is nil if it now has a session"; it was told nil, and there is none`)
		}
	}
	s.login(s.newLoginClient(), s.site.URL+"/page")
	if err := s.lastTold(); err != nil {
		t.Errorf("a login that worked was told as %v", err)
	}
}

// twins are two processes of one site behind one address: a request goes to the one that its X-Process header names.
// They share the Store and the secrets of the cookies.
func (s *loginSite) twins(account func(process int, a *wechatopen.Account) func(*http.Request) (*wechatopen.Account, error), opts func(process int) []wechatopen.Option) {
	s.t.Helper()
	proxies := map[string]http.Handler{}
	for i := 1; i <= 2; i++ {
		o := s.newOAuth(nil)
		o.Account = account(i, s.newPlatform(opts(i)...).Account(s.shop.AppID()))
		process := httptest.NewServer(o.Require(http.HandlerFunc(showLoginUser)))
		s.t.Cleanup(process.Close)
		proxies[fmt.Sprint(i)] = httputil.NewSingleHostReverseProxy(mustParse(s.t, process.URL))
	}
	s.mux.HandleFunc("/twins", func(w http.ResponseWriter, r *http.Request) {
		proxies[r.Header.Get("X-Process")].ServeHTTP(w, r)
	})
}

// callBack requests a callback URL at one of the twins with given cookies.
func (s *loginSite) callBack(callback, cookie string, process int) answer {
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, callback, nil)
	if err != nil {
		s.t.Error(err)
		return answer{}
	}
	r.Header.Set("Cookie", cookie)
	r.Header.Set("X-Process", fmt.Sprint(process))
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		s.t.Error(err)
		return answer{}
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func fixedLoginAccount(_ int, a *wechatopen.Account) func(*http.Request) (*wechatopen.Account, error) {
	return wechatopen.FixedAccount(a)
}

func noLoginOptions(int) []wechatopen.Option { return nil }

// loginCookieHeader is a Cookie header that outlives what the jar forgets.
func loginCookieHeader(cookies []*http.Cookie) string {
	var parts []string
	for _, c := range cookies {
		parts = append(parts, c.Name+"="+c.Value)
	}
	return strings.Join(parts, "; ")
}

// loggedIn fails the test unless an answer goes to the clean page and begins a session of alice.
func (s *loginSite) loggedIn(a answer, page string) {
	s.t.Helper()
	session := loginCookie(a, loginSessionName)
	if a.Status != http.StatusFound || a.Header.Get("Location") != page || session == nil {
		s.t.Errorf("no login: status %d, Location %q, cookies %q, body %q", a.Status, a.Header.Get("Location"), a.Header.Values("Set-Cookie"), a.Body)
		return
	}
	if u := s.who(s.newLoginClient(session)); u == nil || u.OpenID != s.shop.OpenID(s.alice) {
		s.t.Errorf("the session is of %v", u)
	}
}

// attacks.md 20
func TestSameCallbackOneAfterTheOtherIsExchangedOnce(t *testing.T) {
	s := newLoginSite(t, nil)
	s.twins(fixedLoginAccount, noLoginOptions)
	for _, tc := range []struct {
		name          string
		page          string
		first, second int
	}{
		{"in one process", "/page", 1, 1},
		{"in two processes", "/twins", 1, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.t = t
			page, callback, cookie := s.beginAt(tc.page)
			before := s.state()
			s.loggedIn(s.callBack(callback, cookie, tc.first), page)
			s.loggedIn(s.callBack(callback, cookie, tc.second), page)
			if n := s.exchanges() - before.exchanges; n != 1 {
				t.Errorf("%d exchanges", n)
			}
			if n := s.loginCount() - before.logins; n != 1 {
				t.Errorf("OnLogin was called %d times", n)
			}
		})
	}
}

// attacks.md 20
func TestSameCallbackTwentyTimesAtOnceIsExchangedOnce(t *testing.T) {
	const requests = 20
	s := newLoginSite(t, nil)
	var arrived atomic.Int32
	gate := make(chan struct{})
	counting := func(a *wechatopen.Account) func(*http.Request) (*wechatopen.Account, error) {
		return func(r *http.Request) (*wechatopen.Account, error) {
			if r.URL.Query().Has("code") && arrived.Add(1) == requests {
				close(gate) // only now does WeChat answer the first of them
			}
			return a, nil
		}
	}
	s.mux.Handle("/counted", func() http.Handler {
		o := s.newOAuth(nil)
		o.Account = counting(s.account)
		return o.Require(http.HandlerFunc(showLoginUser))
	}())
	page := s.site.URL + "/counted"
	c := s.newLoginClient()
	callback := s.toCallback(c, page)
	cookie := loginCookieHeader(s.cookiesOf(c))
	s.sim.Inject(wechattest.Fault{Path: exchangePath, Gate: gate})
	answers := s.atOnce(requests, func(int) answer { return s.callBack(callback, cookie, 1) })
	for _, a := range answers {
		s.loggedIn(a, page)
	}
	if n := s.exchanges(); n != 1 {
		t.Errorf("%d exchanges", n)
	}
	if n := s.loginCount(); n != 1 {
		t.Errorf("OnLogin was called %d times", n)
	}
}

func (s *loginSite) atOnce(n int, f func(i int) answer) []answer {
	answers := make([]answer, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { answers[i] = f(i) })
	}
	wg.Wait()
	return answers
}

// loginLocker is what Redis would be to two processes: one lock for both.
type loginLocker struct {
	mu    sync.Mutex
	locks map[string]chan struct{}
}

func (l *loginLocker) Lock(ctx context.Context, key string) (context.Context, func(), error) {
	l.mu.Lock()
	if l.locks == nil {
		l.locks = map[string]chan struct{}{}
	}
	if l.locks[key] == nil {
		l.locks[key] = make(chan struct{}, 1)
	}
	lock := l.locks[key]
	l.mu.Unlock()
	select {
	case lock <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	held, cancel := context.WithCancel(ctx)
	return held, sync.OnceFunc(func() { cancel(); <-lock }), nil
}

// attacks.md 20
func TestSameCallbackAtOnceInTwoProcessesWithALockerIsExchangedOnce(t *testing.T) {
	s := newLoginSite(t, nil)
	locker := &loginLocker{}
	gate := make(chan struct{})
	var arrived atomic.Int32
	s.twins(func(_ int, a *wechatopen.Account) func(*http.Request) (*wechatopen.Account, error) {
		return func(r *http.Request) (*wechatopen.Account, error) {
			if r.URL.Query().Has("code") && arrived.Add(1) == 2 {
				close(gate)
			}
			return a, nil
		}
	}, func(int) []wechatopen.Option { return []wechatopen.Option{wechatopen.WithLocker(locker)} })
	page, callback, cookie := s.beginAt("/twins")
	s.sim.Inject(wechattest.Fault{Path: exchangePath, Gate: gate})
	for _, a := range s.atOnce(2, func(i int) answer { return s.callBack(callback, cookie, i+1) }) {
		s.loggedIn(a, page)
	}
	if n := s.exchanges(); n != 1 {
		t.Errorf("%d exchanges", n)
	}
	if n := s.loginCount(); n != 1 {
		t.Errorf("OnLogin was called %d times", n)
	}
}

// beginAt begins a login, at the first of the twins if it is theirs.
func (s *loginSite) beginAt(path string) (page, callback, cookie string) {
	s.t.Helper()
	page = s.site.URL + path
	a := s.callBack(page, "", 1)
	link := s.toWeChat(a)
	return page, s.throughWeChat(nil, link), loginCookieHeader([]*http.Cookie{loginCookie(a, loginFlowName)})
}

// meetingStore makes two processes read the record of a flow at the same time, before either writes it.
type meetingStore struct {
	wechatopen.Store
	once sync.Once
	meet func()
}

func (m *meetingStore) Get(ctx context.Context, key string) ([]byte, error) {
	b, err := m.Store.Get(ctx, key)
	if strings.Contains(key, ":flow:") {
		m.once.Do(m.meet)
	}
	return b, err
}

// attacks.md 20: without a Locker nothing keeps two processes from asking WeChat both, but WeChat exchanges once, and
// the visitor, whose browser sees one of the two answers, is not to be sent around again.
func TestSameCallbackAtOnceInTwoProcessesWithoutALockerLogsInTwice(t *testing.T) {
	s := newLoginSite(t, nil)
	var arrived atomic.Int32
	both := make(chan struct{})
	meet := func() {
		if arrived.Add(1) == 2 {
			close(both)
		}
		<-both
	}
	s.twins(fixedLoginAccount, func(int) []wechatopen.Option {
		return []wechatopen.Option{wechatopen.WithStore(&meetingStore{Store: s.store, meet: meet})}
	})
	page, callback, cookie := s.beginAt("/twins")
	for _, a := range s.atOnce(2, func(i int) answer { return s.callBack(callback, cookie, i+1) }) {
		s.loggedIn(a, page)
	}
	done := 0
	for _, call := range s.sim.Calls(exchangePath) {
		if call.ErrCode == 0 {
			done++
		}
	}
	if done != 1 {
		t.Errorf("%d exchanges succeeded", done)
	}
}

// attacks.md 20: the second call finds the session of the first, and the address is cleaned.
func TestSecondCallbackWithTheSessionGoesToTheCleanURL(t *testing.T) {
	s := newLoginSite(t, nil)
	c := s.newLoginClient()
	page := s.site.URL + "/page?a=1&b=%20"
	callback := s.toCallback(c, page)
	s.login(c, callback)
	before := s.state()
	for _, again := range []string{callback, s.site.URL + "/page?a=1&b=%20&code=other&state=other&appid=" + s.shop.AppID()} {
		a := get(t, c, again)
		if a.Status != http.StatusFound || a.Header.Get("Location") != page {
			t.Errorf("%s: status %d, Location %q", again, a.Status, a.Header.Get("Location"))
		}
		s.unchanged(before, a)
	}
}

// attacks.md 21
func TestExchangeThatNamesNobodyIsNoLogin(t *testing.T) {
	for _, tc := range []struct {
		name, body string
	}{
		{"empty object", `{}`},
		{"errcode 0 alone", `{"errcode":0,"errmsg":"ok"}`},
		{"empty openid", `{"access_token":"A","expires_in":7200,"refresh_token":"R","openid":"","scope":"snsapi_base"}`},
		{"no token", `{"openid":"o123456789012345678901234567","scope":"snsapi_base"}`},
		{"null", `null`},
		{"list", `[]`},
		{"nothing", ``},
		{"HTML", `<html>busy</html>`},
		{"half a JSON", `{"access_token":"A","openid":"o12`},
		{"openid of another type", `{"access_token":"A","openid":["o1"]}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newLoginSite(t, nil)
			c := s.newLoginClient()
			callback := s.toCallback(c, s.site.URL+"/page")
			s.sim.Inject(wechattest.Fault{Path: exchangePath, Body: []byte(tc.body)})
			a := get(t, c, callback)
			noLoginSession(t, a)
			if a.Status < 500 || !isStatusText(a) {
				t.Errorf("status %d, Location %q, body %q", a.Status, a.Header.Get("Location"), a.Body)
			}
			if s.who(c) != nil || s.loginCount() != 0 {
				t.Error("somebody is logged in")
			}
			if tc.body != "" && strings.Contains(s.log.String(), tc.body) {
				t.Errorf("WeChat's answer is in the log: %s", s.log)
			}
		})
	}
}

// attacks.md 21
func TestBadCodeRestartsOnceThenErrState(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(s *loginSite, callback string) string // until the end of the test
	}{
		{"garbage", func(s *loginSite, callback string) string {
			u := mustParse(s.t, callback)
			return strings.Replace(callback, "code="+u.Query().Get("code"), "code=garbage", 1)
		}},
		{"of another account", func(s *loginSite, callback string) string {
			other := s.sim.AddAccount(wechattest.AccountConfig{})
			u := mustParse(s.t, callback)
			return strings.Replace(callback, "code="+u.Query().Get("code"), "code="+other.NewLoginCode(s.alice, wechatopen.ScopeBase), 1)
		}},
		{"expired", func(s *loginSite, callback string) string {
			s.sim.Advance(6 * time.Minute)
			return callback
		}},
		{"used, 40163", loginCodeFault(40163)},
		{"used, 40029", loginCodeFault(40029)},
		{"expired, 42003", loginCodeFault(42003)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// Without a Locker a refused code takes a second, for another process to tell what it made of it.
			s := newLoginSite(t, nil, wechatopen.WithLocker(&loginLocker{}))
			c := s.newLoginClient()
			callback := tc.spoil(s, s.toCallback(c, s.site.URL+"/page?x=1"))
			a := get(t, c, callback)
			noLoginSession(t, a)
			link := s.toWeChat(a)
			if got := mustParse(t, link).Query().Get("redirect_uri"); got != s.site.URL+"/page?x=1" {
				t.Errorf("redirect_uri %q", got)
			}
			// The second code is bad as well.
			second := s.throughWeChat(c, link)
			s.sim.ClearFaults()
			s.sim.Inject(wechattest.Fault{Path: exchangePath, ErrCode: 40029})
			a = get(t, c, second)
			noLoginSession(t, a)
			if a.Status != http.StatusForbidden || !isStatusText(a) || !errors.Is(s.lastTold(), wechatopen.ErrState) {
				t.Errorf("second bad code: status %d, Location %q, error %v", a.Status, a.Header.Get("Location"), s.lastTold())
			}
			if n := s.exchanges(); n != 2 {
				t.Errorf("%d exchanges", n)
			}
			if s.who(c) != nil || s.loginCount() != 0 {
				t.Error("somebody is logged in")
			}
		})
		t.Run(tc.name+", then a good one", func(t *testing.T) {
			s := newLoginSite(t, nil, wechatopen.WithLocker(&loginLocker{}))
			c := s.newLoginClient()
			callback := tc.spoil(s, s.toCallback(c, s.site.URL+"/page?x=1"))
			link := s.toWeChat(get(t, c, callback))
			s.sim.ClearFaults()
			a, trail := s.follow(c, link)
			if u := loginUser(t, a); u == nil || u.OpenID != s.shop.OpenID(s.alice) || trail[len(trail)-1] != s.site.URL+"/page?x=1" {
				t.Errorf("user %v at %q", u, trail)
			}
		})
	}
}

// attacks.md 21: without a Locker another process may be at it, but not for ever.
func TestGarbageCodeWithoutALockerRestartsOnceThenErrState(t *testing.T) {
	s := newLoginSite(t, nil)
	s.sim.Inject(wechattest.Fault{Path: exchangePath, ErrCode: 40029})
	a, trail := s.follow(s.newLoginClient(), s.site.URL+"/page")
	noLoginSession(t, a)
	if a.Status != http.StatusForbidden || len(trail) != 5 || !errors.Is(s.lastTold(), wechatopen.ErrState) {
		t.Errorf("status %d after %q, error %v", a.Status, trail, s.lastTold())
	}
	if n := s.exchanges(); n != 2 {
		t.Errorf("%d exchanges", n)
	}
}

func loginCodeFault(errcode int) func(s *loginSite, callback string) string {
	return func(s *loginSite, callback string) string {
		s.sim.Inject(wechattest.Fault{Path: exchangePath, ErrCode: errcode})
		return callback
	}
}

// rawLoginGet sends a request line as it is, which no client of net/http would, and returns the answer and its bytes.
func (s *loginSite) rawLoginGet(server *httptest.Server, target string, header ...string) (answer, string) {
	s.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(s.t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	lines := append([]string{"GET " + target + " HTTP/1.1"}, header...)
	if !slices.ContainsFunc(header, func(h string) bool { return strings.HasPrefix(h, "Host:") }) {
		lines = append(lines, "Host: "+server.Listener.Addr().String())
	}
	lines = append(lines, "Connection: close", "", "")
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")); err != nil {
		s.t.Fatal(err)
	}
	raw, err := io.ReadAll(conn)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	if err != nil {
		s.t.Fatalf("%q is answered with what is no response: %v\n%s", target, err, raw)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	head, _, _ := strings.Cut(string(raw), "\r\n\r\n")
	return answer{resp.StatusCode, resp.Header, string(body)}, head
}

// wellFormed fails the test if the head of an answer has a line that the library did not write, or a Location that is no
// URL of ASCII.
func wellFormed(t *testing.T, target string, a answer, head string) {
	t.Helper()
	known := []string{"Cache-Control", "Connection", "Content-Length", "Content-Type", "Date", "Location", "Referrer-Policy",
		"Set-Cookie", "Vary", "X-Content-Type-Options"}
	for _, line := range strings.Split(head, "\r\n")[1:] {
		name, _, _ := strings.Cut(line, ":")
		if !slices.Contains(known, name) {
			t.Errorf("%q: header line %q", target, line)
		}
	}
	if n := len(a.Header.Values("Location")); n > 1 {
		t.Errorf("%q: %d Locations", target, n)
	}
	location := a.Header.Get("Location")
	if strings.ContainsFunc(location, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		t.Errorf("%q: Location %q is no URL of ASCII", target, location)
	}
	if path, _, _ := strings.Cut(location, "?"); strings.Contains(path, `\`) {
		t.Errorf("%q: browsers read the backslash in Location %q as a slash", target, location)
	}
	if _, err := url.Parse(location); err != nil {
		t.Errorf("%q: Location: %v", target, err)
	}
}

// attacks.md 22
func TestRequestLineNeverLeadsOffTheSite(t *testing.T) {
	s := newLoginSite(t, nil)
	s.comp.SetDomain("") // whatever WeChat would let through: the library alone keeps the browser on its site
	// No mux: it would clean the path before the library sees it.
	var o *wechatopen.OAuth
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.Require(http.HandlerFunc(showLoginUser)).ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	o = s.newOAuth(s.account)
	o.BaseURL = server.URL

	c := s.newLoginClient()
	s.login(c, s.site.URL+"/")
	session := "Cookie: " + loginCookieHeader(s.cookiesOf(c))
	authorize := s.sim.URL() + loginPagePath + "?"

	onSite := func(t *testing.T, target, location string) {
		t.Helper()
		u := mustParse(t, location)
		if !strings.HasPrefix(location, server.URL+"/") || "http://"+u.Host != server.URL || u.User != nil {
			t.Errorf("%q leads to %q, off %s", target, location, server.URL)
		}
	}
	for _, target := range []string{
		"/",
		"//evil.example",
		"//evil.example/",
		"//evil.example/%2f..",
		"///evil.example",
		`/\evil.example`,
		`/\/evil.example`,
		`\\evil.example`,
		"/%5cevil.example",
		"/%2f%2fevil.example",
		"/%2Fevil.example",
		"/@evil.example",
		"/:80@evil.example",
		"/.evil.example",
		"/..//evil.example",
		"/%0d%0aX-Evil:%20yes",
		"/%0d%0a%0d%0a<script>",
		"/x?%0d%0aX-Evil:%20yes=1",
		"/x?a=%0d%0aSet-Cookie:%20a=b",
		"/x?a=\"<>\\^`{|}",
		"/x?a=#//evil.example",
		"/x#//evil.example",
		"/\u4f60\u597d?\u4f60=\u597d",
		"/x?next=https://evil.example/",
		"/x?redirect_uri=https://evil.example/&appid=evil",
		"http://evil.example/",
		"http://evil.example",
		"https://evil.example/x?y",
		"http://evil.example//other.example",
		"evil:opaque",
		"/x?;code=1;state=2",
		"/x?code=%zz&state=%zz",
		"/%zz",
	} {
		t.Run(target, func(t *testing.T) {
			s.t = t
			a, head := s.rawLoginGet(server, target)
			if a.Status == http.StatusBadRequest && loginCookie(a, loginFlowName) == nil {
				return // net/http took it for no request
			}
			wellFormed(t, target, a, head)
			link := a.Header.Get("Location")
			if a.Status != http.StatusFound || !strings.HasPrefix(link, authorize) {
				t.Fatalf("status %d, Location %q", a.Status, link)
			}
			onSite(t, target, mustParse(t, link).Query().Get("redirect_uri"))

			// With a session and something that looks like WeChat's.
			sep := "?"
			if strings.Contains(target, "?") {
				sep = "&"
			}
			a, head = s.rawLoginGet(server, target+sep+"code=a&state=b", session)
			wellFormed(t, target, a, head)
			if a.Status != http.StatusFound {
				t.Fatalf("with a session: status %d", a.Status)
			}
			onSite(t, target, a.Header.Get("Location"))

			// And the whole way.
			a, _ = s.rawLoginGet(server, target)
			flow := loginCookie(a, loginFlowName)
			back := s.throughWeChat(nil, a.Header.Get("Location"))
			a, head = s.rawLoginGet(server, strings.TrimPrefix(back, server.URL), "Cookie: "+flow.Name+"="+flow.Value)
			if strings.Contains(back, "#") {
				return // no browser sends a fragment, and WeChat puts the code before it
			}
			wellFormed(t, target, a, head)
			if a.Status != http.StatusFound || loginCookie(a, loginSessionName) == nil {
				t.Fatalf("back from WeChat at %q: status %d, Location %q", back, a.Status, a.Header.Get("Location"))
			}
			onSite(t, target, a.Header.Get("Location"))
		})
	}
}

// attacks.md 22
func TestHostHeadersAreNotBelieved(t *testing.T) {
	s := newLoginSite(t, nil)
	c := s.newLoginClient()
	s.login(c, s.site.URL+"/")
	session := "Cookie: " + loginCookieHeader(s.cookiesOf(c))
	for _, header := range [][]string{
		{"Host: evil.example"},
		{"Host: evil.example:80"},
		{"Host:"},
		{"X-Forwarded-Host: evil.example"},
		{"X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-Port: 444", "X-Forwarded-Prefix: //evil.example"},
		{"Forwarded: host=evil.example;proto=https"},
		{"X-Original-URL: https://evil.example/", "X-Rewrite-URL: //evil.example/"},
		{"X-Host: evil.example", "X-HTTP-Host-Override: evil.example", "Origin: https://evil.example", "Referer: https://evil.example/"},
	} {
		t.Run(strings.Join(header, " "), func(t *testing.T) {
			s.t = t
			a, head := s.rawLoginGet(s.site, "/page?a=1", header...)
			wellFormed(t, header[0], a, head)
			if strings.Contains(head, "evil") {
				t.Errorf("the answer names the header's host: %s", head)
			}
			if got := mustParse(t, s.toWeChat(a)).Query().Get("redirect_uri"); got != s.site.URL+"/page?a=1" {
				t.Errorf("redirect_uri %q", got)
			}
			a, head = s.rawLoginGet(s.site, "/page?a=1&code=x&state=y", append(header, session)...)
			wellFormed(t, header[0], a, head)
			if got := a.Header.Get("Location"); got != s.site.URL+"/page?a=1" {
				t.Errorf("Location %q", got)
			}
		})
	}
}

// attacks.md 22: sites of many accounts name the account in the path.
func TestAppIDOfTheRequestNeverReachesAHeader(t *testing.T) {
	s := newLoginSite(t, nil)
	o := s.newOAuth(nil)
	o.Account = func(r *http.Request) (*wechatopen.Account, error) {
		return s.platform.Account(r.PathValue("appid")), nil
	}
	s.mux.Handle("/of/{appid}", o.Require(http.HandlerFunc(showLoginUser)))
	for _, appID := range []string{
		"wx1%26redirect_uri=https:%2f%2fevil.example",
		"wx1%23",
		"wx1%0d%0aX-Evil:%20yes",
		"wx1%20x",
		"%3cscript%3e",
	} {
		a, head := s.rawLoginGet(s.site, "/of/"+appID)
		wellFormed(t, appID, a, head)
		if a.Status == http.StatusFound {
			t.Errorf("%s: what is no appid is sent to WeChat: %s", appID, a.Header.Get("Location"))
		}
	}
}

// attacks.md 23
func TestBrowserWithoutCookiesEndsInErrLoginLoop(t *testing.T) {
	s := newLoginSite(t, nil)
	before := s.state()
	b := s.sim.NewBrowser(s.alice)
	b.NoCookies = true
	p, err := b.Open(t.Context(), s.site.URL+"/page?a=1")
	if err != nil {
		t.Fatal(err)
	}
	// page, and three times WeChat and page
	if n := s.sim.Count(loginPagePath); n != 3 || len(p.Trail) != 7 {
		t.Errorf("%d times at WeChat; the way was %q", n, p.Trail)
	}
	if p.Status != http.StatusForbidden || p.Body != "Forbidden\n" || !errors.Is(s.lastTold(), wechatopen.ErrLoginLoop) {
		t.Errorf("status %d, body %q, error %v", p.Status, p.Body, s.lastTold())
	}
	s.unchanged(before, answer{p.Status, p.Header, p.Body})
}

// attacks.md 24
func TestOnlyNavigationsAreRedirected(t *testing.T) {
	s := newLoginSite(t, nil)
	const html = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, tc := range []struct {
		name     string
		method   string
		header   map[string]string
		navigate bool
	}{
		{"browser", "GET", map[string]string{"Accept": html, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, true},
		{"browser that is older than Sec-Fetch", "GET", map[string]string{"Accept": html}, true},
		{"HEAD", "HEAD", map[string]string{"Accept": html}, true},
		{"no headers at all", "GET", nil, true},
		{"Android WebView inside WeChat", "GET", map[string]string{"Accept": html, "X-Requested-With": "com.tencent.mm"}, true},
		{"Android WebView inside WeChat, with Sec-Fetch", "GET", map[string]string{"Accept": html, "X-Requested-With": "com.tencent.mm", "Sec-Fetch-Mode": "navigate"}, true},
		{"fetch in an Android WebView", "GET", map[string]string{"Accept": "*/*", "X-Requested-With": "com.tencent.mm"}, false},
		{"fetch in an Android WebView, with Sec-Fetch", "GET", map[string]string{"Accept": html, "X-Requested-With": "com.tencent.mm", "Sec-Fetch-Mode": "cors"}, false},

		{"jQuery", "GET", map[string]string{"Accept": html, "X-Requested-With": "XMLHttpRequest"}, false},
		{"jQuery with Sec-Fetch", "GET", map[string]string{"X-Requested-With": "XMLHttpRequest", "Sec-Fetch-Mode": "navigate"}, false},
		{"fetch, cors", "GET", map[string]string{"Accept": "*/*", "Sec-Fetch-Mode": "cors"}, false},
		{"fetch, cors, asking for HTML", "GET", map[string]string{"Accept": html, "Sec-Fetch-Mode": "cors"}, false},
		{"fetch, same-origin", "GET", map[string]string{"Accept": html, "Sec-Fetch-Mode": "same-origin"}, false},
		{"image", "GET", map[string]string{"Accept": html, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, false},
		{"websocket by Sec-Fetch", "GET", map[string]string{"Sec-Fetch-Mode": "websocket"}, false},
		{"websocket", "GET", map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}, false},
		{"Accept JSON", "GET", map[string]string{"Accept": "application/json"}, false},
		{"Accept an image", "GET", map[string]string{"Accept": "image/avif,image/webp,*/*;q=0.8"}, false},
		{"Accept an event stream", "GET", map[string]string{"Accept": "text/event-stream"}, false},
		{"Accept anything", "GET", map[string]string{"Accept": "*/*"}, false},

		{"form", "POST", map[string]string{"Accept": html, "Sec-Fetch-Mode": "navigate", "Content-Type": "application/x-www-form-urlencoded"}, false},
		{"JSON", "POST", map[string]string{"Accept": "application/json", "Content-Type": "application/json"}, false},
		{"PUT", "PUT", map[string]string{"Accept": html}, false},
		{"DELETE", "DELETE", map[string]string{"Accept": html}, false},
		{"preflight", "OPTIONS", map[string]string{"Origin": "https://other.example", "Access-Control-Request-Method": "GET"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.t = t
			for _, query := range []string{"", "?code=x&state=y"} {
				before := s.state()
				r, err := http.NewRequestWithContext(t.Context(), tc.method, s.site.URL+"/page"+query, nil)
				if err != nil {
					t.Fatal(err)
				}
				for k, v := range tc.header {
					r.Header.Set(k, v)
				}
				a := do(t, nil, r)
				s.unchanged(before, a)
				if tc.navigate {
					s.toWeChat(a)
					continue
				}
				if a.Status != http.StatusUnauthorized || a.Header.Get("Location") != "" || len(a.Header.Values("Set-Cookie")) != 0 {
					t.Errorf("status %d, Location %q, cookies %q", a.Status, a.Header.Get("Location"), a.Header.Values("Set-Cookie"))
				}
				var body struct{ Error, Message string }
				if err := json.Unmarshal([]byte(a.Body), &body); err != nil || body.Error == "" {
					t.Errorf("body %q: %v", a.Body, err)
				}
				if got := a.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
					t.Errorf("Content-Type %q", got)
				}
				if got := a.Header.Get("Cache-Control"); got != "no-store" {
					t.Errorf("Cache-Control %q", got)
				}
			}
		})
	}
}

// attacks.md 24: with a session they all pass, code and state or not.
func TestRequestsOfEveryKindPassWithASession(t *testing.T) {
	s := newLoginSite(t, nil)
	c := s.newLoginClient()
	s.login(c, s.site.URL+"/")
	for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
		for _, query := range []string{"", "?code=x&state=y"} {
			r, _ := http.NewRequestWithContext(t.Context(), method, s.site.URL+"/page"+query, nil)
			r.Header.Set("X-Requested-With", "XMLHttpRequest")
			if u := loginUser(t, do(t, c, r)); u == nil {
				t.Errorf("%s%s: nobody", method, query)
			}
		}
	}
}

// attacks.md 26
func TestSnapshotPageIsNoLogin(t *testing.T) {
	for _, path := range []string{"/page", "/profile"} {
		t.Run(path, func(t *testing.T) {
			s := newLoginSite(t, nil)
			s.alice.SetSnapshot(true)
			b := s.sim.NewBrowser(s.alice)
			p, err := b.Open(t.Context(), s.site.URL+path)
			if err == nil && p.Has("allow") {
				p, err = p.Click(t.Context(), "allow")
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.Status != http.StatusForbidden || p.Body != "Forbidden\n" || !errors.Is(s.lastTold(), wechatopen.ErrSnapshotUser) {
				t.Errorf("status %d, body %q, error %v", p.Status, p.Body, s.lastTold())
			}
			noLoginSession(t, answer{p.Status, p.Header, p.Body})
			if n := s.sim.Count(snsUserInfoPath); n != 0 {
				t.Errorf("%d calls of userinfo", n)
			}
			if n := s.loginCount(); n != 0 {
				t.Errorf("OnLogin was called %d times", n)
			}
			// "Use full service" opens the page again, for the real person.
			s.alice.SetSnapshot(false)
			p, err = b.Open(t.Context(), s.site.URL+path)
			if err == nil && p.Has("allow") {
				p, err = p.Click(t.Context(), "allow")
			}
			if err != nil {
				t.Fatal(err)
			}
			if u := loginUser(t, answer{p.Status, p.Header, p.Body}); u == nil || u.OpenID != s.shop.OpenID(s.alice) {
				t.Errorf("user %v", u)
			}
		})
	}
}

// percent encodes all but letters, digits and -_.~, as RFC 3986 has it.
func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_.~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

var loginStateForm = regexp.MustCompile(`^[a-zA-Z0-9]{22,128}$`)

// attacks.md 29
func TestLoginLinkIsWeChatsByteByByte(t *testing.T) {
	pages := []string{
		"/",
		"/a/b.html?x=1&y=2",
		"/%E5%95%86%E5%BA%97/a%2Fb?q=a%26b%23c%25d%3De&name=%E4%BD%A0%E5%A5%BD",
		"/plus?a=1+2&b=%2B&c=%20",
		"/?empty=&bare&x=%F0%9F%98%80",
		"/?url=https%3A%2F%2Fother.example%2F%3Fa%3D1%26b%3D2%23f",
		"/?code=SUMMER",
		"/?state=open",
		"/?appid=7",
		"/?code=SUMMER&appid=7",
		"/?appid=7&state=open&x=1",
		"/?a=1&a=2&&a=3",
		"/?a=~-_.!*'()",
	}
	type kind struct {
		name     string
		account  func(s *loginSite) *wechatopen.Account
		scope    string
		path     string
		tail     func(s *loginSite) string // behind state
		noReturn bool                      // NoConnectRedirect
	}
	platform := func(s *loginSite) *wechatopen.Account { return s.account }
	own := func(s *loginSite) *wechatopen.Account { return s.ownAccount(s.shop) }
	for _, k := range []kind{
		{"own account", own, wechatopen.ScopeBase, loginPagePath,
			func(*loginSite) string { return "&connect_redirect=1" }, false},
		{"own account without connect_redirect", own, wechatopen.ScopeUserInfo, loginPagePath,
			func(*loginSite) string { return "" }, true},
		{"authorizer", platform, wechatopen.ScopeBase, loginPagePath,
			func(s *loginSite) string { return "&connect_redirect=1&component_appid=" + s.comp.AppID() }, false},
		{"authorizer without connect_redirect", platform, wechatopen.ScopeUserInfo, loginPagePath,
			func(s *loginSite) string { return "&component_appid=" + s.comp.AppID() }, true},
		{"website", (*loginSite).website, wechatopen.ScopeLogin, qrLoginPagePath, func(*loginSite) string { return "" }, false},
		{"website without connect_redirect", (*loginSite).website, wechatopen.ScopeLogin, qrLoginPagePath, func(*loginSite) string { return "" }, true},
	} {
		t.Run(k.name, func(t *testing.T) {
			s := newLoginSite(t, func(s *loginSite) {
				s.oauth.Account = wechatopen.FixedAccount(k.account(s))
				s.oauth.Scope = k.scope
				s.oauth.NoConnectRedirect = k.noReturn
			})
			for _, page := range pages {
				full := s.site.URL + page
				c := s.newLoginClient()
				link := s.toWeChat(get(t, c, full))
				state := mustParse(t, link).Query().Get("state")
				if !loginStateForm.MatchString(state) {
					t.Errorf("state %q", state)
				}
				want := s.sim.URL() + k.path + "?appid=" + s.shop.AppID() + "&redirect_uri=" + percent(full) +
					"&response_type=code&scope=" + k.scope + "&state=" + state + k.tail(s) + "#wechat_redirect"
				if link != want {
					t.Errorf("%s:\n got %s\nwant %s", page, link, want)
				}
				// WeChat finds the link right, and the browser comes back to exactly where it was.
				var a answer
				if k.scope == wechatopen.ScopeBase {
					var trail []string
					a, trail = s.follow(c, link)
					if got := trail[len(trail)-1]; got != full {
						t.Errorf("back at %s, want %s", got, full)
					}
				} else {
					b := s.sim.NewBrowser(s.alice)
					b.Client.Jar = c.Jar
					p, err := b.Open(t.Context(), link)
					if err == nil {
						p, err = p.Click(t.Context(), "allow")
					}
					if err != nil {
						t.Errorf("%s: %v", page, err)
						continue
					}
					if got, _, _ := strings.Cut(p.URL, "#"); got != full {
						t.Errorf("back at %s, want %s", got, full)
					}
					a = answer{p.Status, p.Header, p.Body}
				}
				if u := loginUser(t, a); u == nil || u.OpenID != s.shop.OpenID(s.alice) {
					t.Errorf("%s: user %v", page, u)
				}
			}
		})
	}
}

// attacks.md 29: what a mux has stripped is part of the address.
func TestLoginComesBackToAStrippedPath(t *testing.T) {
	s := newLoginSite(t, func(s *loginSite) { s.oauth.BaseURL += "/" }) // with a slash, as many write it
	s.mux.Handle("/app/", http.StripPrefix("/app", s.oauth.Require(http.HandlerFunc(showLoginUser))))
	c := s.newLoginClient()
	page := s.site.URL + "/app/%E9%A1%B5?x=%26"
	a, trail := s.follow(c, page)
	if loginUser(t, a) == nil || trail[len(trail)-1] != page {
		t.Errorf("the way was %q", trail)
	}
}

// attacks.md 29: code and state together are WeChat's, one alone is the page's own.
func TestOwnCodeParameterIsLeftAlone(t *testing.T) {
	s := newLoginSite(t, nil)
	c := s.newLoginClient()
	s.login(c, s.site.URL+"/")
	for _, query := range []string{"?code=SUMMER", "?state=open", "?state=ABCDEFGHIJKLMNOPQRSTUVWXYZ1", "?appid=7", "?code=SUMMER&appid=7", "?code=&state=open"} {
		a := get(t, c, s.site.URL+"/sale"+query)
		if loginUser(t, a) == nil {
			t.Errorf("%s: nobody", query)
		}
	}
	for query, want := range map[string]string{
		"?code=SUMMER&appid=7&code=x&state=y&appid=" + s.shop.AppID(): "?code=SUMMER&appid=7",
		"?appid=7&code=x&state=y":                                     "?appid=7", // not WeChat's, which names the account
	} {
		a, trail := s.follow(c, s.site.URL+"/sale"+query)
		if loginUser(t, a) == nil || len(trail) != 2 || trail[1] != s.site.URL+"/sale"+want {
			t.Errorf("the way was %q", trail)
		}
	}
	// The page may even name the account, as WeChat does.
	page := s.site.URL + "/sale?appid=" + s.shop.AppID()
	a, trail := s.follow(s.newLoginClient(), page)
	if loginUser(t, a) == nil || trail[len(trail)-1] != page {
		t.Errorf("the way was %q", trail)
	}
}

// attacks.md 30
func TestCallbackThatNamesAnotherAccountIsRefused(t *testing.T) {
	other := "wx0123456789abcdef"
	for _, tc := range []struct {
		name   string
		change func(callback, appID string) string
	}{
		{"another", func(cb, id string) string { return strings.Replace(cb, "appid="+id, "appid="+other, 1) }},
		{"empty", func(cb, id string) string { return strings.Replace(cb, "appid="+id, "appid=", 1) }},
		{"in upper case", func(cb, id string) string {
			return strings.Replace(cb, "appid="+id, "appid="+strings.ToUpper(id), 1)
		}},
		{"ours, then another", func(cb, id string) string { return cb + "&appid=" + other }},
		{"another, escaped name", func(cb, id string) string { return strings.Replace(cb, "appid="+id, "%61ppid="+other, 1) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newLoginSite(t, nil)
			if _, err := s.platform.ComponentToken().Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			c := s.newLoginClient()
			callback := s.toCallback(c, s.site.URL+"/page")
			changed := tc.change(callback, s.shop.AppID())
			if changed == callback {
				t.Fatalf("WeChat's callback has no appid: %s", callback)
			}
			before := s.state()
			a := get(t, c, changed)
			s.unchanged(before, a)
			if a.Status != http.StatusForbidden || !isStatusText(a) || !errors.Is(s.lastTold(), wechatopen.ErrState) {
				t.Errorf("status %d, Location %q, error %v", a.Status, a.Header.Get("Location"), s.lastTold())
			}
			if s.who(c) != nil {
				t.Error("somebody is logged in")
			}
		})
	}
}

func TestOnLoginIsCalledOnceWithTheToken(t *testing.T) {
	s := newLoginSite(t, func(s *loginSite) { s.oauth.Scope = wechatopen.ScopeUserInfo })
	c := s.newLoginClient()
	a, err := s.openWith(c, s.toWeChat(get(t, c, s.site.URL+"/page")))
	if err != nil {
		t.Fatal(err)
	}
	u := loginUser(t, a)
	if len(s.users) != 1 || len(s.tokens) != 1 {
		t.Fatalf("OnLogin was called %d times", len(s.users))
	}
	if got := s.users[0]; got.OpenID != u.OpenID || got.Nickname != "Alice" || got.UnionID != u.UnionID || got.AppID != u.AppID {
		t.Errorf("OnLogin saw %+v, the page %+v", got, *u)
	}
	token := s.tokens[0]
	if token.OpenID != u.OpenID || token.UnionID != s.alice.UnionID() || token.Scope != wechatopen.ScopeUserInfo || token.RefreshToken == "" || token.SnapshotUser {
		t.Errorf("token %v", token)
	}
	if left := token.Expiry.Sub(s.sim.Now()); left <= time.Hour || left > 2*time.Hour {
		t.Errorf("the token lives %v", left)
	}
	if err := s.account.CheckUserToken(t.Context(), token.AccessToken, token.OpenID); err != nil {
		t.Errorf("WeChat does not know the token: %v", err)
	}
	for _, path := range []string{"/page", "/", "/who"} {
		get(t, c, s.site.URL+path)
	}
	if n := s.loginCount(); n != 1 {
		t.Errorf("OnLogin was called %d times", n)
	}
	for key, value := range s.store.snapshot() {
		if strings.Contains(value, token.AccessToken) || strings.Contains(value, token.RefreshToken) {
			t.Errorf("the user's token is in the Store at %s", key)
		}
	}
}

func TestOnLoginCanRefuse(t *testing.T) {
	for _, tc := range []struct {
		name   string
		err    error
		status int
		logged string
	}{
		{"its own error", errors.New("database down"), http.StatusInternalServerError, "database down"},
		{"ErrDenied", fmt.Errorf("blocked: %w", wechatopen.ErrDenied), http.StatusForbidden, "blocked"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newLoginSite(t, func(s *loginSite) {
				s.oauth.OnLogin = func(context.Context, *wechatopen.User, *wechatopen.UserToken) error { return tc.err }
			})
			c := s.newLoginClient()
			a, _ := s.follow(c, s.site.URL+"/page")
			noLoginSession(t, a)
			if a.Status != tc.status || !isStatusText(a) || !errors.Is(s.lastTold(), tc.err) {
				t.Errorf("status %d, body %q, error %v", a.Status, a.Body, s.lastTold())
			}
			if s.who(c) != nil {
				t.Error("somebody is logged in")
			}
			if !strings.Contains(s.log.String(), tc.logged) {
				t.Errorf("the cause is not in the log: %s", s.log)
			}
		})
	}
}

func TestVisitorWhoRefusesIsDenied(t *testing.T) {
	for _, tc := range []struct {
		name, page string
		own        bool
	}{
		{"authorizer", "/profile", false},
		{"own account", "/profile", true},
		{"authorizer, on a page with an appid of its own", "/profile?appid=7", false},
		{"authorizer, on a page with a state of its own", "/profile?state=open", false},
		{"own account, on a page with a code of its own", "/profile?code=SUMMER&appid=7", true},
		{"authorizer, on a page with a code of its own", "/profile?code=SUMMER", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newLoginSite(t, func(s *loginSite) {
				if tc.own {
					s.oauth.Account = wechatopen.FixedAccount(s.ownAccount(s.shop))
				}
			})
			if _, err := s.platform.ComponentToken().Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := s.state()
			b := s.sim.NewBrowser(s.alice)
			p, err := b.Open(t.Context(), s.site.URL+tc.page)
			if err != nil {
				t.Fatal(err)
			}
			if p, err = p.Click(t.Context(), "refuse"); err != nil {
				t.Fatal(err)
			}
			a := answer{p.Status, p.Header, p.Body}
			if a.Status != http.StatusForbidden || !isStatusText(a) || !errors.Is(s.lastTold(), wechatopen.ErrDenied) {
				t.Errorf("status %d at %s, error %v", a.Status, p.URL, s.lastTold())
			}
			s.unchanged(before, a)
			if c := loginCookie(a, loginFlowName); c == nil || c.MaxAge >= 0 {
				t.Errorf("the flow's cookie is not cleared: %v", c)
			}
			// Who thinks better of it can try again.
			if p, err = b.Open(t.Context(), s.site.URL+tc.page); err == nil {
				p, err = p.Click(t.Context(), "allow")
			}
			if err != nil {
				t.Fatal(err)
			}
			if u := loginUser(t, answer{p.Status, p.Header, p.Body}); u == nil || u.Nickname != "Alice" {
				t.Errorf("user %v", u)
			}
		})
	}
}

func TestGrantOfLessThanAskedForIsDenied(t *testing.T) {
	s := newLoginSite(t, nil)
	c := s.newLoginClient()
	s.sim.Inject(wechattest.Fault{Path: exchangePath, Edit: func(b []byte) []byte {
		return bytes.Replace(b, []byte(wechatopen.ScopeUserInfo), []byte(wechatopen.ScopeBase), 1)
	}})
	a, err := s.openWith(c, s.toWeChat(get(t, c, s.site.URL+"/profile")))
	if err != nil {
		t.Fatal(err)
	}
	noLoginSession(t, a)
	if a.Status != http.StatusForbidden || !errors.Is(s.lastTold(), wechatopen.ErrDenied) {
		t.Errorf("status %d, error %v", a.Status, s.lastTold())
	}
	if n := s.sim.Count(snsUserInfoPath); n != 0 {
		t.Errorf("%d calls of userinfo", n)
	}
}

func TestWeChatDownDuringTheExchangeIsNoSession(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault wechattest.Fault
	}{
		{"http 502", wechattest.Fault{Status: http.StatusBadGateway}},
		{"system busy", wechattest.Fault{ErrCode: -1}},
		{"connection cut before the code is spent", wechattest.Fault{Cut: true}},
		{"connection cut after the code is spent", wechattest.Fault{Cut: true, After: true}},
		{"http 500 after the code is spent", wechattest.Fault{Status: http.StatusInternalServerError, After: true}},
		{"redirect elsewhere", wechattest.Fault{Redirect: "http://127.0.0.1:1/"}},
	} {
		for _, path := range []string{exchangePath, snsUserInfoPath} {
			t.Run(tc.name+" "+path, func(t *testing.T) {
				s := newLoginSite(t, nil, wechatopen.WithLocker(&loginLocker{}))
				b := s.sim.NewBrowser(s.alice)
				tc.fault.Path = path
				s.sim.Inject(tc.fault)
				p, err := b.Open(t.Context(), s.site.URL+"/profile?a=1")
				if err == nil {
					p, err = p.Click(t.Context(), "allow")
				}
				if err != nil {
					t.Fatal(err)
				}
				a := answer{p.Status, p.Header, p.Body}
				noLoginSession(t, a)
				if a.Status < 500 || !isStatusText(a) || s.lastTold() == nil {
					t.Errorf("status %d, body %q, error %v", a.Status, a.Body, s.lastTold())
				}
				if s.loginCount() != 0 {
					t.Error("OnLogin was called")
				}
				if n := s.sim.Count(path); n != 1 {
					t.Errorf("%d calls of %s: a code is never sent twice by one request", n, path)
				}
				// When WeChat is back, reloading the page is enough.
				s.sim.ClearFaults()
				if p, err = b.Open(t.Context(), p.URL); err == nil && p.Has("allow") {
					p, err = p.Click(t.Context(), "allow")
				}
				if err != nil {
					t.Fatal(err)
				}
				if u := loginUser(t, answer{p.Status, p.Header, p.Body}); u == nil || u.Nickname != "Alice" || p.URL != s.site.URL+"/profile?a=1" && !strings.HasPrefix(p.URL, s.site.URL+"/profile?a=1#") {
					t.Errorf("after a reload %v at %s", u, p.URL)
				}
			})
		}
	}
}

func TestStoreDownDuringTheExchangeIsNoSession(t *testing.T) {
	s := newLoginSite(t, nil)
	c := s.newLoginClient()
	callback := s.toCallback(c, s.site.URL+"/page")
	s.store.setFail(errors.New("connection refused"))
	before := s.exchanges()
	a := get(t, c, callback)
	noLoginSession(t, a)
	if a.Status < 500 || !isStatusText(a) || !strings.Contains(s.log.String(), "connection refused") {
		t.Errorf("status %d, body %q, log %s", a.Status, a.Body, s.log)
	}
	if n := s.exchanges() - before; n != 0 {
		t.Errorf("%d exchanges although the code cannot be marked as used", n)
	}
	s.store.setFail(nil)
	if u := s.login(c, callback); u.OpenID != s.shop.OpenID(s.alice) {
		t.Errorf("user %+v", *u)
	}
}

// readOnlyStore cannot remember flows.
type readOnlyStore struct{ wechatopen.Store }

func (r readOnlyStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if strings.Contains(key, ":flow:") {
		return errors.New("read-only replica")
	}
	return r.Store.Set(ctx, key, value, ttl)
}

// attacks.md 20: what cannot be remembered as used is not used.
func TestCodeIsNotExchangedUnlessTheFlowIsMarkedFirst(t *testing.T) {
	s := newLoginSite(t, nil)
	p := s.newPlatform(wechatopen.WithStore(readOnlyStore{s.store}))
	s.mux.Handle("/replica", s.newOAuth(p.Account(s.shop.AppID())).Require(http.HandlerFunc(showLoginUser)))
	c := s.newLoginClient()
	callback := s.toCallback(c, s.site.URL+"/replica")
	before := s.state()
	a := get(t, c, callback)
	s.unchanged(before, a)
	if a.Status < 500 || !isStatusText(a) || !strings.Contains(s.log.String(), "read-only replica") {
		t.Errorf("status %d, body %q, log %s", a.Status, a.Body, s.log)
	}
}

// loginTransport says when the exchange is on its way.
type loginTransport struct {
	once      sync.Once
	exchanged chan struct{}
}

func (l *loginTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == exchangePath {
		l.once.Do(func() { close(l.exchanged) })
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestBrowserThatLeavesDuringTheExchangeCanComeBack(t *testing.T) {
	transport := &loginTransport{exchanged: make(chan struct{})}
	s := newLoginSite(t, nil, wechatopen.WithHTTPClient(&http.Client{Transport: transport}))
	c := s.newLoginClient()
	callback := s.toCallback(c, s.site.URL+"/page")
	ctx, leave := context.WithCancel(t.Context())
	gate := make(chan struct{})
	s.sim.Inject(wechattest.Fault{Path: exchangePath, Gate: gate, Times: 1})
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, callback, nil)
	r.Header.Set("Cookie", loginCookieHeader(s.cookiesOf(c)))
	done := make(chan error, 1)
	go func() {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	<-transport.exchanged
	leave()
	if err := <-done; err == nil {
		t.Fatal("the browser did not leave")
	}
	close(gate)
	if u := s.login(c, callback); u.OpenID != s.shop.OpenID(s.alice) {
		t.Errorf("user %+v", *u)
	}
	if n := s.exchanges(); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

func TestMisconfigurationIsToldToTheLogOnly(t *testing.T) {
	s := newLoginSite(t, nil)
	// An OAuth without an account has no log of its own.
	defer captureDefaultLog(s.log)()
	for i, tc := range []struct {
		name   string
		change func(o *wechatopen.OAuth)
		cause  string // in the log
	}{
		{"no Account", func(o *wechatopen.OAuth) { o.Account = nil }, "OAuth.Account is nil"},
		{"Account returns nothing", func(o *wechatopen.OAuth) { o.Account = wechatopen.FixedAccount(nil) }, "OAuth.Account returned"},
		{"Account fails", func(o *wechatopen.OAuth) {
			o.Account = func(*http.Request) (*wechatopen.Account, error) { return nil, errors.New("no shop of that name") }
		}, "no shop of that name"},
		{"no Cookies", func(o *wechatopen.OAuth) { o.Cookies = nil }, "Cookies is nil"},
		{"Cookies without a secret", func(o *wechatopen.OAuth) { o.Cookies = &wechatopen.Cookies{Insecure: true} }, "Cookies has no secret"},
		{"no BaseURL", func(o *wechatopen.OAuth) { o.BaseURL = "" }, "BaseURL"},
		{"http without Insecure", func(o *wechatopen.OAuth) { o.Cookies = newLoginCookies(t, "k") }, "https://"},
		{"BaseURL with a path", func(o *wechatopen.OAuth) { o.BaseURL += "/app" }, "BaseURL"},
		{"BaseURL with a query", func(o *wechatopen.OAuth) { o.BaseURL += "?a=b" }, "BaseURL"},
		{"BaseURL with a fragment", func(o *wechatopen.OAuth) { o.BaseURL += "#a" }, "BaseURL"},
		{"BaseURL with a user", func(o *wechatopen.OAuth) { o.BaseURL = "https://shop@evil.example" }, "BaseURL"},
		{"BaseURL without a scheme", func(o *wechatopen.OAuth) { o.BaseURL = "shop.example.com" }, "BaseURL"},
		{"BaseURL that is a path", func(o *wechatopen.OAuth) { o.BaseURL = "//shop.example.com" }, "BaseURL"},
		{"BaseURL of ftp", func(o *wechatopen.OAuth) { o.BaseURL = "ftp://shop.example.com" }, "BaseURL"},
		{"BaseURL with a line break", func(o *wechatopen.OAuth) { o.BaseURL = "https://shop.example.com\r\nX: y" }, "BaseURL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.t = t
			o := s.newOAuth(s.account)
			tc.change(o)
			page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("the page was reached") })
			path := fmt.Sprintf("/wrong%d", i)
			s.mux.Handle(path, o.Require(page))
			s.mux.Handle(path+"/load", o.Load(page))
			s.mux.HandleFunc(path+"/logout", func(w http.ResponseWriter, r *http.Request) { o.Logout(w, r) })
			for _, p := range []string{path, path + "?code=x&state=y", path + "/load"} {
				s.log.reset()
				before := s.state()
				a := get(t, s.newLoginClient(), s.site.URL+p)
				s.unchanged(before, a)
				if a.Status != http.StatusInternalServerError || !isStatusText(a) || len(a.Header.Values("Set-Cookie")) != 0 {
					t.Errorf("%s: status %d, body %q, cookies %q", p, a.Status, a.Body, a.Header.Values("Set-Cookie"))
				}
				if logged := s.log.String(); !strings.Contains(logged, tc.cause) || !strings.Contains(logged, "level=ERROR") {
					t.Errorf("%s: the log does not say %q: %s", p, tc.cause, logged)
				}
				if got := a.Header.Get("Cache-Control"); got != "no-store" {
					t.Errorf("%s: Cache-Control %q", p, got)
				}
			}
			get(t, nil, s.site.URL+path+"/logout") // does not panic
		})
	}
}

// captureDefaultLog sends slog's default to l, and returns what puts everything back.
func captureDefaultLog(l *logBuffer) func() {
	old, w, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(l.logger())
	return func() {
		slog.SetDefault(old)
		// SetDefault has led package log into slog; led back into itself it would hang.
		log.SetOutput(w)
		log.SetFlags(flags)
	}
}

func TestOnErrorAnswersInTheMiddlewaresPlace(t *testing.T) {
	var got error
	s := newLoginSite(t, func(s *loginSite) {
		s.oauth.OnError = func(w http.ResponseWriter, r *http.Request, err error) {
			got = err
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "ours")
		}
	})
	s.alice.SetRefuses(true)
	s.log.reset()
	a, _ := s.follow(s.newLoginClient(), s.site.URL+"/profile")
	if a.Status != http.StatusTeapot || a.Body != "ours" || !errors.Is(got, wechatopen.ErrDenied) || wechatopen.HTTPStatus(got) != http.StatusForbidden {
		t.Errorf("status %d, body %q, error %v", a.Status, a.Body, got)
	}
	if logged := s.log.String(); logged != "" {
		t.Errorf("logged although OnError has it: %s", logged)
	}
}

func TestAnswersAreNotCachedAcrossVisitors(t *testing.T) {
	s := newLoginSite(t, nil)
	c := s.newLoginClient()
	post, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.site.URL+"/page", nil)
	start := get(t, c, s.site.URL+"/page")
	callback := s.throughWeChat(c, s.toWeChat(start))
	finish := get(t, c, callback)
	s.loggedIn(finish, s.site.URL+"/page")
	clean := get(t, c, callback)
	for name, a := range map[string]answer{
		"to WeChat":       start,
		"with a session":  finish,
		"to the page":     clean,
		"login required":  do(t, nil, post),
		"restart":         get(t, nil, callback),
		"without cookies": get(t, nil, s.site.URL+"/page?code=x&state=ABCDEFGHIJKLMNOPQRSTUVWXYZ3"),
	} {
		if got := a.Header.Values("Vary"); !slices.Contains(got, "Cookie") {
			t.Errorf("%s (status %d): Vary %q", name, a.Status, got)
		}
		if got := a.Header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s (status %d): Cache-Control %q", name, a.Status, got)
		}
		if a.Status == http.StatusFound && a.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: Referrer-Policy %q lets the code leave", name, a.Header.Get("Referrer-Policy"))
		}
	}
	if a := get(t, c, s.site.URL+"/page"); a.Status != http.StatusOK || !slices.Contains(a.Header.Values("Vary"), "Cookie") {
		t.Errorf("the page: status %d, Vary %q", a.Status, a.Header.Values("Vary"))
	}
}

// brokenTransport reaches nobody while it is broken.
type brokenTransport struct {
	broken atomic.Pointer[func(*http.Request) error]
}

func (b *brokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if fail := b.broken.Load(); fail != nil {
		return nil, (*fail)(r)
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestNoSecretReachesTheLogOrAnError(t *testing.T) {
	for _, own := range []bool{false, true} {
		t.Run(map[bool]string{false: "authorizer", true: "own account"}[own], func(t *testing.T) {
			// A refused code is not waited for where there is a Locker.
			locker, transport := wechatopen.WithLocker(&loginLocker{}), &brokenTransport{}
			client := wechatopen.WithHTTPClient(&http.Client{Transport: transport})
			s := newLoginSite(t, func(s *loginSite) {
				if own {
					s.oauth.Account = wechatopen.FixedAccount(s.ownAccount(s.shop, locker, client))
				}
				s.oauth.OnLogin = func(ctx context.Context, u *wechatopen.User, tok *wechatopen.UserToken) error {
					s.mu.Lock()
					s.tokens = append(s.tokens, *tok)
					s.mu.Unlock()
					s.log.logger().Info("login", "user", u, "token", tok, "value", *tok)
					return nil
				}
			}, locker, client)
			path := map[bool]string{false: exchangePath, true: ownExchangePath}[own]
			var secrets []string
			login := func() {
				c := s.newLoginClient()
				link := s.toWeChat(get(t, c, s.site.URL+"/profile?a=1"))
				if _, err := s.openWith(c, link); err != nil {
					t.Fatal(err)
				}
				for _, k := range s.cookiesOf(c) {
					secrets = append(secrets, k.Value)
				}
			}
			login()
			for _, f := range []wechattest.Fault{
				{Path: path, Cut: true},
				{Path: path, Status: 500},
				{Path: path, ErrCode: 40029},
				{Path: path, ErrCode: 40125},
				{Path: path, ErrCode: -1},
				{Path: path, Redirect: s.sim.URL() + "/nowhere"},
				{Path: path, After: true, Edit: func(b []byte) []byte { return b[:len(b)/2] }},
				{Path: path, After: true, Edit: func(b []byte) []byte { return bytes.Replace(b, []byte(`"openid"`), []byte(`"openid":7,"o"`), 1) }},
				{Path: snsUserInfoPath, Cut: true},
				{Path: snsUserInfoPath, ErrCode: 40001},
			} {
				f.Times = 1
				s.sim.Inject(f)
				login()
			}
			// Connections that never come about: net/http's error holds the whole URL, and some transports quote it too.
			c := s.newLoginClient()
			callback := s.toCallback(c, s.site.URL+"/page")
			secrets = append(secrets, mustParse(t, callback).Query().Get("code"))
			if !own {
				token, err := s.platform.ComponentToken().Token(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				secrets = append(secrets, token.Value)
			}
			for _, fail := range []func(r *http.Request) error{
				func(*http.Request) error { return errors.New("connection refused") },
				func(r *http.Request) error { return fmt.Errorf("proxy: no route to %s", r.URL) },
			} {
				transport.broken.Store(&fail)
				if a := get(t, c, callback); a.Status < 500 {
					t.Errorf("status %d without a connection", a.Status)
				}
			}
			transport.broken.Store(nil)
			get(t, nil, callback)
			s.store.setFail(errors.New("down"))
			get(t, c, callback)
			s.store.setFail(nil)

			for _, call := range s.sim.Calls() {
				for _, name := range []string{"code", "access_token", "component_access_token", "refresh_token", "secret"} {
					if v := call.Query.Get(name); v != "" {
						secrets = append(secrets, v)
					}
				}
			}
			for _, tok := range s.tokens {
				secrets = append(secrets, tok.AccessToken, tok.RefreshToken)
			}
			creds, shop := s.comp.Credentials(), s.shop.Credentials()
			secrets = append(secrets, creds.AppSecret, creds.Token, creds.EncodingAESKey, shop.AppSecret, s.comp.Ticket(), strings.Repeat("k", 32))
			if len(secrets) < 30 || len(s.tokens) == 0 {
				t.Fatalf("only %d secrets to look for", len(secrets))
			}
			logged := s.log.String()
			if !strings.Contains(logged, "level=ERROR") || !strings.Contains(logged, "msg=login ") {
				t.Fatalf("the log misses what this test is about: %s", logged)
			}
			var errs strings.Builder
			for _, err := range s.toldErrors() {
				if err != nil {
					fmt.Fprintf(&errs, "%v\n%+v\n", err, err)
				}
			}
			for _, secret := range secrets {
				if secret == "" {
					continue
				}
				for _, form := range []string{secret, url.QueryEscape(secret)} {
					if strings.Contains(logged, form) {
						t.Errorf("%.8s… is in the log", secret)
					}
					if strings.Contains(errs.String(), form) {
						t.Errorf("%.8s… is in an error", secret)
					}
				}
			}
		})
	}
}

func TestUserTokenPrintsWithoutItsTokens(t *testing.T) {
	token := wechatopen.UserToken{
		AccessToken: "ACCESS-SECRET", RefreshToken: "REFRESH-SECRET", OpenID: "oOpen", Scope: wechatopen.ScopeUserInfo,
		Expiry: time.Unix(1700000000, 0),
	}
	user := wechatopen.User{AppID: "wx1", OpenID: "oOpen", Nickname: "Alice"}
	nested := struct {
		T *wechatopen.UserToken
		V wechatopen.UserToken
		U *wechatopen.User
	}{&token, token, &user}
	var out strings.Builder
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X"} {
		for _, v := range []any{token, &token, user, &user, []wechatopen.UserToken{token}, map[string]wechatopen.UserToken{"t": token}} {
			fmt.Fprintf(&out, format+"\n", v)
		}
	}
	for _, format := range []string{"%v", "%+v", "%#v"} {
		fmt.Fprintf(&out, format+"\n", nested.V)
		fmt.Fprintf(&out, format+"\n", struct{ T wechatopen.UserToken }{token})
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "token", token, "pointer", &token, "user", user, slog.Group("g", "token", token))
	}
	for _, secret := range []string{"ACCESS-SECRET", "REFRESH-SECRET", fmt.Sprintf("%x", "ACCESS-SECRET"), fmt.Sprintf("%X", "REFRESH-SECRET")} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%s is printed:\n%s", secret, out.String())
		}
	}
	for _, v := range []any{token, &token} {
		if s := fmt.Sprintf("%v", v); !strings.Contains(s, "oOpen") || !strings.Contains(s, wechatopen.ScopeUserInfo) {
			t.Errorf("the mark tells nothing: %s", s)
		}
	}
}

// newLoginCookies are Cookies under one secret, for HTTPS.
func newLoginCookies(t testing.TB, letters ...string) *wechatopen.Cookies {
	t.Helper()
	var secrets [][]byte
	for _, l := range letters {
		secrets = append(secrets, []byte(strings.Repeat(l, 32)))
	}
	c, err := wechatopen.NewCookies(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
