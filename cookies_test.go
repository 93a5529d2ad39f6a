package wechatopen_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// at is what a request to a path of the site gets with a Cookie header as it is.
func (s *loginSite) at(path, cookie string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.site.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	return do(s.t, nil, r)
}

// logInByHand logs in at a path without a jar, whatever the BaseURL of the OAuth there, and returns the answers that set
// and clear cookies.
func (s *loginSite) logInByHand(o *wechatopen.OAuth, path string) (start, finish answer) {
	s.t.Helper()
	start = s.at(path, "")
	callback := s.throughWeChat(nil, s.toWeChat(start))
	target, ok := strings.CutPrefix(callback, o.BaseURL)
	if !ok {
		s.t.Fatalf("WeChat sends the browser to %s", callback)
	}
	finish = s.at(target, loginCookieHeader([]*http.Cookie{loginCookie(start, loginFlowName)}))
	if loginCookie(finish, loginSessionName) == nil {
		s.t.Fatalf("no session: status %d, body %q", finish.Status, finish.Body)
	}
	return start, finish
}

// attacks.md 25
func TestDamagedSessionIsNoSession(t *testing.T) {
	s := newLoginSite(t, nil)
	other := s.sim.AddAccount(wechattest.AccountConfig{Name: "Other"})
	if _, err := s.comp.Authorize(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	s.mount(muxAt(s.mux, "/b"), s.newOAuth(s.platform.Account(other.AppID())))

	c := s.newLoginClient()
	s.login(c, s.site.URL+"/")
	session := s.cookiesOf(c)[0]
	start, finish := s.logInByHand(s.oauth, "/page")
	flow := loginCookie(start, loginFlowName)
	fresh := loginCookie(finish, loginSessionName)

	foreign := s.newOAuth(s.account)
	foreign.Cookies = newLoginCookies(t, "x")
	foreign.Cookies.Insecure = true
	s.mount(muxAt(s.mux, "/foreign"), foreign)
	_, finish = s.logInByHand(foreign, "/foreign/page")
	sealedElsewhere := loginCookie(finish, loginSessionName)

	name, value := session.Name, session.Value
	otherName := loginSessionName + other.AppID()
	if name != loginSessionName+s.shop.AppID() {
		t.Fatalf("the session is in cookie %s", name)
	}
	type forgery struct{ name, path, cookie string }
	forgeries := []forgery{
		{"no cookie", "", ""},
		{"empty", "", name + "="},
		{"garbage", "", name + "=garbage"},
		{"5,000 letters", "", name + "=" + strings.Repeat("A", 5000)},
		{"doubled", "", name + "=" + value + value},
		{"of other secrets", "", name + "=" + sealedElsewhere.Value},
		{"name in upper case", "", strings.ToUpper(name) + "=" + value},
		{"name with a prefix", "", "__Host-" + name + "=" + value},
		{"under the name of a flow", "", strings.Replace(name, loginSessionName, loginFlowName, 1) + "=" + value},
		{"flow as session", "", name + "=" + flow.Value},
		{"of account A on a page of account B", "/b", name + "=" + value},
		{"of account A under the name of B", "/b", otherName + "=" + value},
		{"of account A under both names", "/b", name + "=" + value + "; " + otherName + "=" + value},
		{"of account A under the name of B, on a page of A", "", otherName + "=" + value},
		{"parts of two sessions", "", name + "=" + value[:len(value)/2] + fresh.Value[len(fresh.Value)/2:]},
	}
	for n := range len(value) {
		forgeries = append(forgeries, forgery{fmt.Sprintf("truncated to %d", n), "", name + "=" + value[:n]})
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range len(value) {
		// The highest of the six bits, which always counts.
		if at := strings.IndexByte(alphabet, value[i]); at >= 0 {
			changed := value[:i] + string(alphabet[(at+32)%64]) + value[i+1:]
			forgeries = append(forgeries, forgery{fmt.Sprintf("letter %d changed", i), "", name + "=" + changed})
		}
	}
	s.log.reset()
	for _, f := range forgeries {
		who := s.at(f.path+"/who", f.cookie)
		if u := loginUser(t, who); u != nil {
			t.Errorf("%s: session of %+v", f.name, *u)
		}
		if page := s.at(f.path+"/page", f.cookie); page.Status != http.StatusFound || !strings.HasPrefix(page.Header.Get("Location"), s.sim.URL()) {
			t.Errorf("%s: the page answers %d, Location %q, body %q", f.name, page.Status, page.Header.Get("Location"), page.Body)
		}
	}
	if logged := s.log.String(); strings.Contains(logged, "level=ERROR") || strings.Contains(logged, "level=WARN") {
		t.Errorf("what visitors send fills the log: %.500s", logged)
	}
	// The cookie as it is opens its page, and only that one.
	if u := loginUser(t, s.at("/page", name+"="+value)); u == nil || u.OpenID != s.shop.OpenID(s.alice) {
		t.Errorf("the session itself is that of %v", u)
	}
	// Attacks.md 25: flow cookie put in as session cookie, and the other way round.
	id := strings.TrimPrefix(flow.Name, loginFlowName)
	code := s.comp.NewLoginCode(s.shop, s.alice, wechatopen.ScopeBase)
	before := s.state()
	a := s.at("/page?code="+code+"&state="+id+"1", flow.Name+"="+value)
	s.toWeChat(a)
	s.unchanged(before, a)
}

// muxAt is a mux that is mounted at a prefix of another.
func muxAt(outer *http.ServeMux, prefix string) *http.ServeMux {
	inner := http.NewServeMux()
	outer.Handle(prefix+"/", http.StripPrefix(prefix, inner))
	return inner
}

// attacks.md 25
func TestTwoAccountsHaveTheirOwnSessions(t *testing.T) {
	s := newLoginSite(t, nil)
	other := s.sim.AddAccount(wechattest.AccountConfig{Name: "Other"})
	if _, err := s.comp.Authorize(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	s.mount(muxAt(s.mux, "/b"), s.newOAuth(s.platform.Account(other.AppID())))
	c := s.newLoginClient()
	a, b := s.login(c, s.site.URL+"/page"), s.login(c, s.site.URL+"/b/page")
	if a.AppID != s.shop.AppID() || b.AppID != other.AppID() || a.OpenID == b.OpenID {
		t.Errorf("%+v and %+v", *a, *b)
	}
	get(t, c, s.site.URL+"/b/logout")
	if u := loginUser(t, get(t, c, s.site.URL+"/b/who")); u != nil {
		t.Errorf("still logged in at B: %+v", *u)
	}
	if u := s.who(c); u == nil || u.OpenID != a.OpenID {
		t.Errorf("logging out of B changed A: %v", u)
	}
}

// attacks.md 25
func TestSessionEndsByTheClock(t *testing.T) {
	for _, tc := range []struct {
		name string
		age  time.Duration // Cookies.MaxAge
		life time.Duration
	}{
		{"seven days", 0, 7 * 24 * time.Hour},
		{"MaxAge of an hour", time.Hour, time.Hour},
		{"MaxAge of 60 days", 60 * 24 * time.Hour, 60 * 24 * time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newLoginSite(t, func(s *loginSite) { s.cookies.MaxAge = tc.age })
			_, finish := s.logInByHand(s.oauth, "/page")
			session := loginCookie(finish, loginSessionName)
			if session.MaxAge != int(tc.life/time.Second) {
				t.Errorf("the cookie has Max-Age %d, want %d", session.MaxAge, int(tc.life/time.Second))
			}
			cookie := loginCookieHeader([]*http.Cookie{session})
			u := loginUser(t, s.at("/who", cookie))
			if u == nil || u.Expiry.Sub(u.LoginTime) != tc.life {
				t.Fatalf("session %v", u)
			}
			s.sim.Advance(u.Expiry.Sub(s.sim.Now()) - 10*time.Second)
			if loginUser(t, s.at("/who", cookie)) == nil {
				t.Error("no session ten seconds before its end")
			}
			s.sim.Advance(20 * time.Second)
			if u := loginUser(t, s.at("/who", cookie)); u != nil {
				t.Errorf("a session ten seconds after its end: %+v", *u)
			}
			s.toWeChat(s.at("/page", cookie))
		})
	}
}

func TestShorterMaxAgeEndsOlderSessions(t *testing.T) {
	s := newLoginSite(t, nil)
	_, finish := s.logInByHand(s.oauth, "/page")
	cookie := loginCookieHeader([]*http.Cookie{loginCookie(finish, loginSessionName)})
	shorter := s.newOAuth(s.account)
	shorter.Cookies = newLoginCookies(t, "k")
	shorter.Cookies.Insecure, shorter.Cookies.MaxAge = true, time.Hour
	s.mount(muxAt(s.mux, "/shorter"), shorter)
	if u := loginUser(t, s.at("/shorter/who", cookie)); u == nil || u.Expiry.Sub(u.LoginTime) != time.Hour {
		t.Errorf("session %v", u)
	}
	s.sim.Advance(time.Hour + time.Second)
	if u := loginUser(t, s.at("/shorter/who", cookie)); u != nil {
		t.Errorf("a session older than MaxAge: %+v", *u)
	}
	if loginUser(t, s.at("/who", cookie)) == nil {
		t.Error("the other Cookies are not to be affected")
	}
}

func TestFlowEndsByTheClock(t *testing.T) {
	s := newLoginSite(t, nil)
	for _, tc := range []struct {
		age  time.Duration
		good bool
	}{
		{9*time.Minute + 50*time.Second, true},
		{10*time.Minute + time.Second, false},
	} {
		before := s.exchanges()
		start := s.at("/page", "")
		s.sim.Advance(tc.age)
		// The code is new: the visitor has read WeChat's page for so long.
		callback := s.throughWeChat(nil, s.toWeChat(start))
		a := s.at(strings.TrimPrefix(callback, s.site.URL), loginCookieHeader([]*http.Cookie{loginCookie(start, loginFlowName)}))
		if got := loginCookie(a, loginSessionName) != nil; got != tc.good || s.exchanges()-before != map[bool]int{true: 1}[tc.good] {
			t.Errorf("after %v: session %v, %d exchanges", tc.age, got, s.exchanges()-before)
		}
	}
}

func TestSecretsRotateNewestFirst(t *testing.T) {
	s := newLoginSite(t, nil)
	sites := map[string]*wechatopen.OAuth{}
	for path, letters := range map[string][]string{"/old": {"k"}, "/both": {"n", "k"}, "/new": {"n"}} {
		o := s.newOAuth(s.account)
		o.Cookies = newLoginCookies(t, letters...)
		o.Cookies.Insecure = true
		s.mount(muxAt(s.mux, path), o)
		sites[path] = o
	}
	loginAt := func(path string) string {
		_, finish := s.logInByHand(sites[path], path+"/page")
		return loginCookieHeader([]*http.Cookie{loginCookie(finish, loginSessionName)})
	}
	opens := func(path, cookie string) bool { return loginUser(t, s.at(path+"/who", cookie)) != nil }
	old := loginAt("/old")
	if !opens("/both", old) {
		t.Error("a session under the previous secret is lost")
	}
	if opens("/new", old) {
		t.Error("a session under a secret that is given up still opens")
	}
	rolled := loginAt("/both")
	if !opens("/new", rolled) || !opens("/both", rolled) {
		t.Error("the newest secret does not seal")
	}
	if opens("/old", rolled) {
		t.Error("the previous secret still seals")
	}

	// A login that began before the secrets rolled is finished after.
	start := s.at("/old/page", "")
	callback := s.throughWeChat(nil, s.toWeChat(start))
	target := strings.Replace(strings.TrimPrefix(callback, s.site.URL), "/old/", "/both/", 1)
	a := s.at(target, loginCookieHeader([]*http.Cookie{loginCookie(start, loginFlowName)}))
	if loginCookie(a, loginSessionName) == nil {
		t.Errorf("a flow under the previous secret is lost: status %d", a.Status)
	}
}

func TestNewCookiesRefusesWeakSecrets(t *testing.T) {
	long := make([]byte, 32)
	for _, secrets := range [][][]byte{nil, {}, {nil}, {{}}, {make([]byte, 31)}, {long, make([]byte, 31)}, {long, nil}} {
		if c, err := wechatopen.NewCookies(secrets...); err == nil || c != nil {
			t.Errorf("%d secrets: %v, %v", len(secrets), c, err)
		}
	}
	// What the caller does with its slice afterwards changes nothing.
	s := newLoginSite(t, nil)
	secret := []byte(strings.Repeat("k", 32))
	c, err := wechatopen.NewCookies(secret)
	if err != nil {
		t.Fatal(err)
	}
	clear(secret)
	c.Insecure = true
	o := s.newOAuth(s.account)
	o.Cookies = c
	s.mount(muxAt(s.mux, "/copied"), o)
	_, finish := s.logInByHand(s.oauth, "/page")
	if loginUser(t, s.at("/copied/who", loginCookieHeader([]*http.Cookie{loginCookie(finish, loginSessionName)}))) == nil {
		t.Error("the secret is not copied")
	}
}

func TestCookieAttributes(t *testing.T) {
	value := regexp.MustCompile(`=[A-Za-z0-9_=-]{40,};`)
	flowID := regexp.MustCompile(loginFlowName + `[a-zA-Z0-9]{26}=`)
	for _, tc := range []struct {
		name     string
		insecure bool
		domain   string
		prefix   string
		tail     string // behind Max-Age
		place    string // before Max-Age
	}{
		{"this host alone", false, "", "__Host-", "; HttpOnly; Secure; SameSite=Lax", "; Path=/"},
		{"a domain", false, "example.com", "__Secure-", "; HttpOnly; Secure; SameSite=Lax", "; Path=/; Domain=example.com"},
		{"insecure", true, "", "", "; HttpOnly; SameSite=Lax", "; Path=/"},
		{"insecure, a domain", true, "example.com", "", "; HttpOnly; SameSite=Lax", "; Path=/; Domain=example.com"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newLoginSite(t, func(s *loginSite) {
				s.comp.SetDomain("")
				s.oauth.BaseURL = "https://shop.example.com"
				if tc.insecure {
					s.oauth.BaseURL = "http://shop.example.com"
				}
				s.cookies.Insecure, s.cookies.Domain = tc.insecure, tc.domain
			})
			start, finish := s.logInByHand(s.oauth, "/page")
			var lines []string
			for _, a := range []answer{start, finish, s.at("/logout", "")} {
				for _, line := range a.Header.Values("Set-Cookie") {
					line = value.ReplaceAllString(line, "=V;")
					lines = append(lines, flowID.ReplaceAllString(line, loginFlowName+"ID="))
				}
			}
			flow, session := tc.prefix+loginFlowName+"ID", tc.prefix+loginSessionName+s.shop.AppID()
			want := []string{
				flow + "=V" + tc.place + "; Max-Age=600" + tc.tail,
				flow + "=" + tc.place + "; Max-Age=0" + tc.tail,
				session + "=V" + tc.place + "; Max-Age=604800" + tc.tail,
				session + "=" + tc.place + "; Max-Age=0" + tc.tail,
			}
			if !slices.Equal(lines, want) {
				t.Errorf("cookies\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

func TestCookiesDomainThatIsNoneIsAnError(t *testing.T) {
	for _, domain := range []string{"https://example.com", "example.com/", "exa mple.com", "example.com; SameSite=None", "example.com:443", "*.example.com"} {
		t.Run(domain, func(t *testing.T) {
			s := newLoginSite(t, func(s *loginSite) {
				s.oauth.BaseURL = "https://shop.example.com"
				s.cookies.Insecure, s.cookies.Domain = false, domain
			})
			defer captureDefaultLog(&logBuffer{})() // net/http complains to package log
			a := s.at("/page", "")
			if a.Status != http.StatusInternalServerError || !strings.Contains(s.log.String(), "Cookies.Domain") {
				t.Errorf("status %d, cookies %q, log %q: the sessions are silently not shared", a.Status, a.Header.Values("Set-Cookie"), s.log)
			}
		})
	}
}

// A browser keeps the rules of the prefixes, over TLS.
func TestLoginOverTLS(t *testing.T) {
	s := newLoginSite(t, nil)
	s.comp.SetDomain("")
	mux := http.NewServeMux()
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	o := s.newOAuth(s.account)
	o.BaseURL, o.Cookies = server.URL, newLoginCookies(t, "k")
	s.mount(mux, o)
	b := s.sim.NewBrowser(s.alice)
	b.Client.Transport = server.Client().Transport
	for _, path := range []string{"/page", "/who"} {
		p, err := b.Open(t.Context(), server.URL+path)
		if err != nil {
			t.Fatal(err)
		}
		if u := loginUser(t, answer{p.Status, p.Header, p.Body}); u == nil || u.OpenID != s.shop.OpenID(s.alice) {
			t.Errorf("%s: %v", path, u)
		}
	}
	for _, c := range b.Client.Jar.Cookies(mustParse(t, server.URL)) {
		if !strings.HasPrefix(c.Name, "__Host-") {
			t.Errorf("cookie %s", c.Name)
		}
	}
}

func TestDomainSharesTheSessionWithSubdomains(t *testing.T) {
	for _, domain := range []string{"", "example.com"} {
		t.Run("domain "+domain, func(t *testing.T) {
			s := newLoginSite(t, nil)
			s.comp.SetDomain("")
			mux := http.NewServeMux()
			server := httptest.NewTLSServer(mux)
			t.Cleanup(server.Close)
			o := s.newOAuth(s.account)
			o.BaseURL, o.Cookies = "https://shop.example.com", newLoginCookies(t, "k")
			o.Cookies.Domain = domain
			s.mount(mux, o)
			b := s.sim.NewBrowser(s.alice)
			b.Client.Transport = &http.Transport{
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // every name of example.com is this server
				DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					if strings.Contains(addr, "example.com") {
						addr = server.Listener.Addr().String()
					}
					return (&net.Dialer{}).DialContext(ctx, network, addr)
				},
			}
			for _, page := range []string{"https://shop.example.com/page", "https://www.example.com/who"} {
				p, err := b.Open(t.Context(), page)
				if err != nil {
					t.Fatal(err)
				}
				u := loginUser(t, answer{p.Status, p.Header, p.Body})
				want := domain != "" || strings.Contains(page, "shop")
				if (u != nil) != want {
					t.Errorf("%s: %v", page, u)
				}
			}
		})
	}
}

// attacks.md 27
func TestLongNicknameIsASessionOrAnError(t *testing.T) {
	s := newLoginSite(t, nil)
	// loginAs says whether the login ends in a session. It fails the test if it ends in neither that nor an error.
	loginAs := func(nickname string) bool {
		t.Helper()
		b := s.sim.NewBrowser(s.sim.AddUser(wechattest.UserConfig{Name: nickname, Avatar: "https://thirdwx.qlogo.cn/mmopen/vi_32/abc/132"}))
		p, err := b.Open(t.Context(), s.site.URL+"/profile")
		if err == nil {
			p, err = p.Click(t.Context(), "allow")
		}
		if err != nil {
			t.Fatalf("nickname of %d bytes: %v", len(nickname), err)
		}
		a := answer{p.Status, p.Header, p.Body}
		for _, line := range a.Header.Values("Set-Cookie") {
			if len(line) > 4096 {
				t.Errorf("nickname of %d bytes: a cookie of %d bytes", len(nickname), len(line))
			}
		}
		if a.Status != http.StatusOK {
			noLoginSession(t, a)
			if a.Status != http.StatusInternalServerError || !isStatusText(a) || s.lastTold() == nil {
				t.Errorf("nickname of %d bytes: status %d, body %q, error %v", len(nickname), a.Status, a.Body, s.lastTold())
			}
			return false
		}
		for _, path := range []string{"/profile", "/who"} {
			p, err := b.Open(t.Context(), s.site.URL+path)
			if err != nil {
				t.Fatal(err)
			}
			if u := loginUser(t, answer{p.Status, p.Header, p.Body}); u == nil || u.Nickname != nickname || len(p.Trail) != 1 {
				t.Errorf("nickname of %d bytes: the next page has %v after %q", len(nickname), u, p.Trail)
			}
		}
		return true
	}
	for _, nickname := range []string{
		strings.Repeat("😀", 32), // WeChat allows 16 Chinese characters
		"微信用户",
		`<a href="&quot;">&amp;; Secure=no, "` + "`\u2028\u2029",
		"=; \t\r\n\x00",
		strings.Repeat("<", 64), // six bytes each in JSON
	} {
		if !loginAs(nickname) {
			t.Errorf("%q cannot log in", nickname)
		}
	}
	loginAs(strings.Repeat("😀", 4000))

	// Where sessions end and errors begin there is nothing between.
	good, bad := 32, 4000
	for bad-good > 1 {
		if mid := (good + bad) / 2; loginAs(strings.Repeat("a", mid)) {
			good = mid
		} else {
			bad = mid
		}
	}
	for n := good - 6; n < good+6; n++ {
		loginAs(strings.Repeat("a", n))
	}
	if good < 1000 {
		t.Errorf("nicknames of more than %d letters cannot log in", good)
	}
}

// attacks.md 28
func TestTwentyTabsAtOnceAllFinish(t *testing.T) {
	const tabs = 20
	s := newLoginSite(t, nil)
	c := s.newLoginClient()
	page := func(i int) string { return fmt.Sprintf("%s/tab%d", s.site.URL, i) }
	// All are opened before any has a cookie, and all are sent to WeChat before any comes back.
	answers := s.atOnce(tabs, func(i int) answer { return get(t, c, page(i)) })
	callbacks := make([]string, tabs)
	s.atOnce(tabs, func(i int) answer {
		callbacks[i] = s.throughWeChat(c, s.toWeChat(answers[i]))
		return answer{}
	})
	cookies := s.cookiesOf(c)
	if len(cookies) != tabs {
		t.Fatalf("%d cookies for %d tabs", len(cookies), tabs)
	}
	// Each comes back with the cookies of all and no session yet.
	answers = s.atOnce(tabs, func(i int) answer { return s.callBack(callbacks[i], loginCookieHeader(cookies), 1) })
	for i, a := range answers {
		s.loggedIn(a, page(i))
	}
	if n := s.exchanges(); n != tabs {
		t.Errorf("%d exchanges", n)
	}
}

// attacks.md 28: and in one browser, where the tab that is first gives the others its session.
func TestTwentyTabsOfOneBrowserAllFinish(t *testing.T) {
	const tabs = 20
	s := newLoginSite(t, nil)
	c := s.newLoginClient()
	page := func(i int) string { return fmt.Sprintf("%s/tab%d?a=%d", s.site.URL, i, i) }
	s.atOnce(tabs, func(i int) answer {
		a, trail := s.follow(c, page(i))
		if u := loginUser(t, a); u == nil || trail[len(trail)-1] != page(i) {
			t.Errorf("tab %d ends at %q with %v", i, trail, u)
		}
		return a
	})
	for i := range tabs {
		if u := loginUser(t, get(t, c, page(i))); u == nil {
			t.Errorf("tab %d has no session", i)
		}
	}
}

// attacks.md 28: common servers accept a header of 8 KiB, and browsers keep 50 cookies of a site.
func TestThirtiethFlowDropsTheOldest(t *testing.T) {
	const tabs = 30
	const https = "https://shop.example.com"
	s := newLoginSite(t, func(s *loginSite) {
		s.comp.SetDomain("")
		s.oauth.BaseURL, s.oauth.Scope = https, wechatopen.ScopeUserInfo
		s.cookies.Insecure = false // the longest names
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	site := mustParse(t, https)
	open := func(path string) answer {
		a := s.at(path, loginCookieHeader(jar.Cookies(site)))
		jar.SetCookies(site, (&http.Response{Header: a.Header}).Cookies())
		return a
	}
	var states []string
	flows := func() (ids []string) {
		for _, c := range jar.Cookies(site) {
			ids = append(ids, strings.TrimPrefix(c.Name, "__Host-"+loginFlowName))
		}
		return ids
	}
	has := func(i int) bool { return slices.Contains(flows(), states[i][:26]) }
	for i := range tabs {
		oldest := slices.IndexFunc(states, func(state string) bool { return slices.Contains(flows(), state[:26]) })
		n := len(flows())
		a := open(fmt.Sprintf("/tab%d", i))
		states = append(states, mustParse(t, s.toWeChat(a)).Query().Get("state"))
		s.sim.Advance(time.Second) // flows know their age to the second
		if !has(i) {
			t.Fatalf("flow %d is not in the jar", i)
		}
		switch now := len(flows()); {
		case now == n+1: // there was room
		case now != n || has(oldest):
			t.Errorf("flow %d made %d cookies of %d; the oldest, %d, is there: %v", i, now, n, oldest, has(oldest))
		}
		cookies := jar.Cookies(site)
		if size := len(loginCookieHeader(cookies)); size > 8000 || len(cookies) > 50 {
			t.Errorf("with flow %d the Cookie header has %d bytes in %d cookies", i, size, len(cookies))
		}
	}
	// Twenty tabs are promised; the first of thirty may be gone.
	for i := range tabs {
		if got := has(i); i >= tabs-20 && !got {
			t.Errorf("flow %d of %d is dropped", i, tabs)
		}
	}
	if has(0) || len(flows()) >= tabs {
		t.Errorf("%d flows, the oldest among them: %v", len(flows()), has(0))
	}
	// The oldest tab starts again, the newest finishes.
	back := func(i int) answer {
		code := s.comp.NewLoginCode(s.shop, s.alice, wechatopen.ScopeUserInfo)
		return open(fmt.Sprintf("/tab%d?code=%s&state=%s&appid=%s", i, code, states[i], s.shop.AppID()))
	}
	before := s.state()
	a := back(0)
	s.toWeChat(a)
	s.unchanged(before, a)
	if a = back(tabs - 1); loginCookie(a, loginSessionName) == nil || a.Header.Get("Location") != fmt.Sprintf("%s/tab%d", https, tabs-1) {
		t.Errorf("the newest flow ends with status %d, Location %q", a.Status, a.Header.Get("Location"))
	}
	cookies := jar.Cookies(site)
	if size := len(loginCookieHeader(cookies)); size > 8192 {
		t.Errorf("with a session the Cookie header has %d bytes", size)
	}
}

// attacks.md 28: what cannot be read is the first to go, and never keeps a login from starting.
func TestForeignFlowCookiesDoNotCrowdOutLogins(t *testing.T) {
	s := newLoginSite(t, nil)
	var cookies []*http.Cookie
	for i := range 40 {
		cookies = append(cookies, &http.Cookie{Name: fmt.Sprintf("%sGARBAGE%019d", loginFlowName, i), Value: "x"})
	}
	// A login under way, and then another tab.
	under := loginCookie(s.at("/page", ""), loginFlowName)
	c := s.newLoginClient(append(cookies, under)...)
	a := get(t, c, s.site.URL+"/page")
	s.toWeChat(a)
	var left []string
	for _, k := range s.cookiesOf(c) {
		left = append(left, k.Name)
	}
	if len(left) > 24 {
		t.Errorf("%d cookies are left", len(left))
	}
	var begun string // the answer clears other flows too
	for _, k := range (&http.Response{Header: a.Header}).Cookies() {
		if k.Value != "" {
			begun = k.Name
		}
	}
	if !slices.Contains(left, under.Name) || !slices.Contains(left, begun) {
		t.Errorf("a flow was dropped before the garbage: %q", left)
	}
}

// attacks.md 19: a login uses its flow up.
func TestFlowCookieIsClearedBySuccess(t *testing.T) {
	s := newLoginSite(t, nil)
	c := s.newLoginClient()
	s.login(c, s.site.URL+"/page")
	for _, k := range s.cookiesOf(c) {
		if strings.Contains(k.Name, loginFlowName) {
			t.Errorf("%s is left", k.Name)
		}
	}
}

// A failed Set of a session must not leave a browser in a circle.
func TestSessionTooLongForACookieIsToldOnce(t *testing.T) {
	s := newLoginSite(t, nil)
	long := s.sim.AddUser(wechattest.UserConfig{Name: strings.Repeat("😀", 4000), Avatar: "https://a.example/"})
	b := s.sim.NewBrowser(long)
	p, err := b.Open(t.Context(), s.site.URL+"/profile")
	if err == nil {
		p, err = p.Click(t.Context(), "allow")
	}
	if err != nil {
		t.Fatal(err)
	}
	if p.Status != http.StatusInternalServerError || s.exchanges() != 1 || !strings.Contains(s.log.String(), "4096") {
		t.Errorf("status %d, %d exchanges, log %.300s", p.Status, s.exchanges(), s.log)
	}
	if errors.Is(s.lastTold(), wechatopen.ErrState) || s.lastTold() == nil {
		t.Errorf("error %v", s.lastTold())
	}
}

// attacks.md 23: a session that is over when it begins sends the browser round for ever, each time with a new code.
func TestMaxAgeThatIsNoneIsAnError(t *testing.T) {
	for _, age := range []time.Duration{-time.Hour, -time.Nanosecond, time.Nanosecond, 500 * time.Millisecond} {
		t.Run(age.String(), func(t *testing.T) {
			s := newLoginSite(t, func(s *loginSite) { s.cookies.MaxAge = age })
			s.log.reset()
			a := s.at("/page", "")
			if a.Status != http.StatusInternalServerError || !isStatusText(a) || !strings.Contains(s.log.String(), "MaxAge") {
				t.Errorf("status %d, Location %.40q, log %q", a.Status, a.Header.Get("Location"), s.log)
			}
		})
	}
}
