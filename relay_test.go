package wechatopen_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

const (
	relayHost    = "login.example.com" // the one that WeChat knows
	relayAddress = "https://" + relayHost + "/wechat/relay"
	listedSite   = "https://shop.example.net"
	otherListed  = "https://books.example.org"
	unlistedSite = "https://third.example.com"
)

// relaySites are three sites on domains that WeChat does not know, of which a relay knows two. Each has secrets of its
// own. All of them are one TLS server, whom browsers of the test take for every host of the examples.
type relaySites struct {
	*loginSite
	relay     *wechatopen.RelayHandler
	transport *http.Transport
	hosts     map[string]http.Handler
}

// newRelaySites asks for scope with the account that the function returns; nil: the platform's.
func newRelaySites(t *testing.T, scope string, account func(s *loginSite) *wechatopen.Account) *relaySites {
	t.Helper()
	s := &relaySites{loginSite: newLoginSite(t, nil), hosts: map[string]http.Handler{}}
	s.comp.SetDomain(relayHost)
	a := s.account
	if account != nil {
		a = account(s.loginSite)
	}
	s.relay = &wechatopen.RelayHandler{Origins: []string{listedSite, otherListed}}
	s.hosts[relayHost] = s.relay
	for i, origin := range []string{listedSite, otherListed, unlistedSite} {
		o := s.newOAuth(a)
		o.BaseURL, o.RelayURL, o.Scope, o.Cookies = origin, relayAddress, scope, newLoginCookies(t, string(rune('a'+i)))
		s.hosts[strings.TrimPrefix(origin, "https://")] = o.Require(http.HandlerFunc(showLoginUser))
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.hosts[r.Host].ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	s.transport = &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.Contains(addr, ".example.") {
				addr = server.Listener.Addr().String()
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	}
	t.Cleanup(s.transport.CloseIdleConnections)
	return s
}

// newClient is a browser with a cookie jar that reaches the sites.
func (s *relaySites) newClient() *http.Client {
	c := s.newLoginClient()
	c.Transport = s.transport
	return c
}

// relayed goes from a page to WeChat and back to the relay, and returns where the relay sends the browser.
func (s *relaySites) relayed(c *http.Client, page string) string {
	s.t.Helper()
	callback := s.toCallback(c, page)
	if !strings.HasPrefix(callback, relayAddress+"?to="+url.QueryEscape(page)+"&") {
		s.t.Fatalf("WeChat sends the browser to %s", callback)
	}
	a := get(s.t, c, callback)
	if a.Status != http.StatusFound || a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Referrer-Policy") != "no-referrer" {
		s.t.Fatalf("relay: status %d, %v", a.Status, a.Header)
	}
	return a.Header.Get("Location")
}

// endsAt has a browser go where the relay sends it, and fails the test if it is not logged in at the page then.
func (s *relaySites) endsAt(c *http.Client, to, page string) {
	s.t.Helper()
	if a := get(s.t, c, to); a.Status != http.StatusFound || a.Header.Get("Location") != page {
		s.t.Errorf("%s: status %d, Location %q", page, a.Status, a.Header.Get("Location"))
	}
	if u := loginUser(s.t, get(s.t, c, page)); u == nil || u.OpenID != s.shop.OpenID(s.alice) {
		s.t.Errorf("%s: user %v", page, u)
	}
}

func TestSitesOnOtherDomainsLogInThroughTheRelay(t *testing.T) {
	own := func(s *loginSite) *wechatopen.Account {
		return s.ownAccount(s.sim.AddAccount(wechattest.AccountConfig{Domain: relayHost}))
	}
	website := func(s *loginSite) *wechatopen.Account {
		return s.ownAccount(s.sim.AddAccount(wechattest.AccountConfig{Domain: relayHost, Website: true}))
	}
	for name, tt := range map[string]struct {
		account     func(s *loginSite) *wechatopen.Account
		scope, path string
	}{
		"platform":                {nil, wechatopen.ScopeBase, exchangePath},
		"platform, with consent":  {nil, wechatopen.ScopeUserInfo, exchangePath},
		"own account":             {own, wechatopen.ScopeBase, ownExchangePath},
		"own account and consent": {own, wechatopen.ScopeUserInfo, ownExchangePath},
		"website":                 {website, wechatopen.ScopeLogin, ownExchangePath},
	} {
		t.Run(name, func(t *testing.T) {
			s := newRelaySites(t, tt.scope, tt.account)
			b := s.sim.NewBrowser(s.alice)
			b.Client.Transport = s.transport
			for i, page := range []string{listedSite + "/", otherListed + "/%E8%8C%B6/?a=%2Fb&&c#"} {
				page = strings.TrimSuffix(page, "#")
				p, err := b.Open(t.Context(), page)
				if err == nil && tt.scope != wechatopen.ScopeBase {
					p, err = p.Click(t.Context(), "allow")
				}
				if err != nil {
					t.Fatal(err)
				}
				u := loginUser(t, answer{p.Status, p.Header, p.Body})
				if u == nil || u.Scope != tt.scope || strings.TrimSuffix(p.URL, "#wechat_redirect") != page {
					t.Errorf("user %v at %s", u, p.URL)
				}
				if n := s.sim.Count(tt.path); n != i+1 || s.exchanges() != n {
					t.Errorf("%d exchanges of %d after %d logins", n, s.exchanges(), i+1)
				}
				if p, err = b.Open(t.Context(), page); err != nil || len(p.Trail) != 1 {
					t.Errorf("the session is not kept: %v %q", err, p.Trail)
				}
			}
			if got := b.Client.Jar.Cookies(mustParse(t, relayAddress)); len(got) != 0 {
				t.Errorf("the relay keeps cookies: %v", got)
			}
		})
	}
}

func TestRelaySendsNoCodeToASiteThatIsNotListed(t *testing.T) {
	s := newRelaySites(t, "", nil)
	defer captureDefaultLog(s.log)()
	c := s.newClient()
	callback := s.toCallback(c, unlistedSite+"/page")
	code := mustParse(t, callback).Query().Get("code")
	before := s.state()
	a := get(t, c, callback)
	s.unchanged(before, a)
	if a.Status != http.StatusForbidden || a.Header.Get("Location") != "" || !isStatusText(a) {
		t.Errorf("status %d, Location %q, body %q", a.Status, a.Header.Get("Location"), a.Body)
	}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("the code may be kept or leave: %v", a.Header)
	}
	if logged := s.log.String(); !strings.Contains(logged, `third.example.com`) || !strings.Contains(logged, "not one of Origins") || code == "" || strings.Contains(logged, code) {
		t.Errorf("log: %s", logged)
	}
}

func TestRefusalComesThroughTheRelay(t *testing.T) {
	for _, query := range []string{"", "?a=b", "?code=own", "?state=own", "?appid=own&to=own"} {
		s := newRelaySites(t, wechatopen.ScopeUserInfo, nil)
		s.alice.SetRefuses(true)
		c := s.newClient()
		page := listedSite + "/page" + query
		to := s.relayed(c, page)
		added, ok := strings.CutPrefix(to, page)
		if !ok || strings.Contains(added, "code=") || strings.Contains(added, "appid=") || strings.Count(added, "=") != 1 {
			t.Errorf("%q: the relay sends the browser to %s", query, to)
		}
		before := s.state()
		a := get(t, c, to)
		s.unchanged(before, a)
		if a.Status != http.StatusForbidden || a.Header.Get("Location") != "" || !strings.Contains(s.log.String(), "the visitor refused") {
			t.Errorf("%q: status %d, Location %q, log %s", query, a.Status, a.Header.Get("Location"), s.log)
		}
	}
}

func TestPageKeepsItsOwnParametersThroughTheRelay(t *testing.T) {
	s := newRelaySites(t, "", nil)
	for _, query := range []string{
		"code=own", "state=own", "appid=own", "to=https://evil.example/", "code=1&appid=2&to=3&code=4", "state=1&to=2&state=3",
		"a=b&", "q=%26code%3D1", "appid=" + s.shop.AppID(),
	} {
		page := listedSite + "/page?" + query
		c := s.newClient()
		to := s.relayed(c, page)
		added, ok := strings.CutPrefix(to, page+"&")
		if q, err := url.ParseQuery(added); !ok || err != nil || len(q) != 3 || q.Get("code") == "" || q.Get("state") == "" || q.Get("appid") != s.shop.AppID() ||
			!strings.HasPrefix(added, "code=") || strings.Index(added, "&state=") > strings.Index(added, "&appid=") {
			t.Errorf("%s: the relay sends the browser to %s", query, to)
		}
		s.endsAt(c, to, page)
	}
	// A backslash, which browsers leave in a query, is escaped on its way.
	c := s.newClient()
	to := get(t, c, s.toCallback(c, listedSite+`/page?q=a\b`)).Header.Get("Location")
	s.endsAt(c, to, listedSite+`/page?q=a%5Cb`)
}

func TestSameCallbackTwiceThroughTheRelayIsExchangedOnce(t *testing.T) {
	s := newRelaySites(t, "", nil)
	c := s.newClient()
	page := listedSite + "/page"
	callback := s.toCallback(c, page)
	for _, a := range s.atOnce(8, func(int) answer { return get(t, c, get(t, c, callback).Header.Get("Location")) }) {
		if a.Status != http.StatusFound || a.Header.Get("Location") != page {
			t.Errorf("status %d, Location %q", a.Status, a.Header.Get("Location"))
		}
	}
	if n := s.exchanges(); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

func TestRelayedLoginOfAnotherBrowserIsRefusedByTheSite(t *testing.T) {
	s := newRelaySites(t, "", nil)
	page := listedSite + "/page"
	to := s.relayed(s.newClient(), page) // Mallory's
	before := s.state()
	for name, c := range map[string]*http.Client{"no login of its own": s.newClient(), "a login of its own": s.newClient()} {
		if name == "a login of its own" {
			s.toWeChat(get(t, c, page))
		}
		a := get(t, c, to)
		s.unchanged(before, a)
		s.toWeChat(a)
	}
	// Nor is a login of one site any for another.
	elsewhere := strings.Replace(to, listedSite, otherListed, 1)
	c := s.newClient()
	s.toWeChat(get(t, c, otherListed+"/page"))
	a := get(t, c, elsewhere)
	s.unchanged(before, a)
	s.toWeChat(a)
}

// relayTo asks a relay to send a login on; query is what comes behind to.
func relayTo(h http.Handler, method, to string) answer {
	return fuzzCall(h, httptest.NewRequest(method, relayAddress+"?to="+url.QueryEscape(to)+"&code=061abc&state=ABC1", nil), "")
}

// attacks.md 22 and 44
func TestRelaySendsLoginsNowhereElse(t *testing.T) {
	defer captureDefaultLog(&logBuffer{})()
	relay := &wechatopen.RelayHandler{Origins: []string{
		"https://ours.example", "https://Port.example:8443/", "https://default.example:443", "http://localhost:8080", "http://127.0.0.2", "http://[::1]:80",
	}}
	const added = "code=061abc&state=ABC1"
	for to, want := range map[string]string{
		"https://ours.example":                               "https://ours.example/?" + added,
		"https://ours.example/":                              "https://ours.example/?" + added,
		"https://ours.example?a=b":                           "https://ours.example/?a=b&" + added,
		"https://ours.example/?":                             "https://ours.example/?" + added,
		"https://ours.example/a%2Fb/%E8%8C%B6?q=%zz&&":       "https://ours.example/a%2Fb/%E8%8C%B6?q=%zz&&&" + added,
		"https://ours.example//evil.example":                 "https://ours.example//evil.example?" + added,
		"https://ours.example/%5Cevil.example":               "https://ours.example/%5Cevil.example?" + added,
		"https://ours.example/%0d%0aSet-Cookie:a=b":          "https://ours.example/%0d%0aSet-Cookie:a=b?" + added,
		"https://ours.example/?next=https://evil.ex":         "https://ours.example/?next=https://evil.ex&" + added,
		"https://ours.example/@evil.example":                 "https://ours.example/@evil.example?" + added,
		"HTTPS://OURS.EXAMPLE:443/a":                         "https://ours.example/a?" + added,
		"https://ours.example:/a":                            "https://ours.example/a?" + added,
		"https://port.example:8443/a":                        "https://port.example:8443/a?" + added,
		"https://default.example/a":                          "https://default.example/a?" + added,
		"http://localhost:8080/a":                            "http://localhost:8080/a?" + added,
		"http://127.0.0.2/a":                                 "http://127.0.0.2/a?" + added,
		"http://[::1]/a":                                     "http://[::1]/a?" + added,
		"":                                                   "",
		"/":                                                  "",
		"/page":                                              "",
		"ours.example/page":                                  "",
		"//ours.example/page":                                "",
		"//ours.example":                                     "",
		`/\evil.example`:                                     "",
		`\\ours.example`:                                     "",
		"https:/ours.example/":                               "",
		"https:ours.example":                                 "",
		"https:///ours.example":                              "",
		"https://":                                           "",
		"javascript:alert(1)":                                "",
		"javascript://ours.example/%0aalert(1)":              "",
		"data:text/html,ours.example":                        "",
		"ftp://ours.example/":                                "",
		"http://ours.example/":                               "", // in the clear
		"https://ours.example.evil.example/":                 "",
		"https://evilours.example/":                          "",
		"https://sub.ours.example/":                          "",
		"https://ours.example@evil.example/":                 "",
		"https://ours.example:443@evil.example/":             "",
		"https://evil.example@ours.example/":                 "",
		"https://@ours.example/":                             "",
		"https://ours.example\\@evil.example/":               "",
		`https://evil.example\@ours.example/`:                "",
		`https://ours.example\.evil.example/`:                "",
		`https://ours.example/\evil.example`:                 "",
		`https:\\ours.example/`:                              "",
		"https://evil.example#@ours.example/":                "",
		"https://ours.example#":                              "",
		"https://ours.example/#a":                            "",
		"https://ours.example/?a=b#c":                        "",
		"https://evil.example?@ours.example/":                "",
		"https://ours.example:8443/":                         "",
		"https://ours.example:80/":                           "",
		"https://ours.example:0443/":                         "",
		"https://ours.example:443:443/":                      "",
		"https://ours.example:x/":                            "",
		"https://ours.example:-1/":                           "",
		"https://port.example/":                              "",
		"http://localhost/":                                  "",
		"http://127.0.0.3/":                                  "",
		"https://ours.example./":                             "",
		"https://ours%2eexample/":                            "",
		"https://ours.example%2f.evil.example/":              "",
		"https://ours.example%00.evil.example/":              "",
		"https://ours。example/":                              "",
		"https://ουrs.example/":                              "", // with a Greek ου
		"https://ours.example/茶":                             "",
		"https://ours.example/\u200b":                        "",
		"https://ours.example/\r\nSet-Cookie: a=b":           "",
		"https://ours.example\r\nX: y":                       "",
		"https://ours.example/?\r\nX: y":                     "",
		"https://ours\t.example/":                            "",
		"ht\ntps://ours.example/":                            "",
		" https://ours.example/":                             "",
		"https://ours.example/ ":                             "",
		"https://ours.example/\x00":                          "",
		"https://ours.example/\x7f":                          "",
		"https://ours.example/\xff":                          "",
		"https://ours.example/%zz":                           "",
		"https://[::1]@ours.example/":                        "",
		"https://[ours.example]/":                            "",
		"https://*/":                                         "",
		"https://*.example/":                                 "",
		"https://ours.example/" + strings.Repeat("a", 8<<10): "",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			a := relayTo(relay, method, to)
			got := a.Header.Get("Location")
			if want != "" && (a.Status != http.StatusFound || got != want) {
				t.Errorf("%s %.80q: status %d, Location %q, want %q", method, to, a.Status, got, want)
			}
			if want == "" && (a.Status/100 != 4 || a.Header["Location"] != nil) {
				t.Errorf("%s %.80q: status %d, Location %q", method, to, a.Status, got)
			}
		}
	}
}

func TestRelayTakesOnlyWhatWeChatSends(t *testing.T) {
	var got error
	relay := &wechatopen.RelayHandler{
		Origins: []string{"https://ours.example"},
		OnError: func(w http.ResponseWriter, r *http.Request, err error) {
			got = err
			w.WriteHeader(wechatopen.HTTPStatus(err))
		},
	}
	const to, evil = "to=https%3A%2F%2Fours.example%2Fa", "to=https%3A%2F%2Fevil.example%2Fa"
	for query, want := range map[string]string{
		to + "&code=c&state=s":                                 "code=c&state=s",
		to + "&code=c&state=s&appid=wx1":                       "code=c&state=s&appid=wx1",
		"appid=wx1&state=s&" + to + "&code=c":                  "appid=wx1&state=s&code=c",
		to + "&state=s":                                        "state=s",
		to + "&code=c%26a%23%0d%0a+%C3&state=s":                "code=c%26a%23%0D%0A%20%C3&state=s",
		to + "&code=c&state=s&from=x&from=y&%zz=z":             "code=c&state=s",
		"%74o=https%3A%2F%2Fours.example%2Fa&code=c&st%61te=s": "code=c&state=s",
		"":                                     "",
		to:                                     "",
		to + "&code=c":                         "",
		to + "&code=c&state=":                  "",
		to + "&code=c&code=d&state=s":          "",
		to + "&code=c&state=s&state=t":         "",
		to + "&code=c&state=s&st%61te=t":       "",
		to + "&code=c&state=s&appid=a&appid=b": "",
		to + "&code=%zz&state=s":               "",
		to + "&" + to + "&code=c&state=s":      "",
		to + "&" + evil + "&code=c&state=s":    "",
		evil + "&" + to + "&code=c&state=s":    "",
		to + "&%74o=https://evil.example/&code=c&state=s": "",
		"to=%zz&code=c&state=s":                           "",
		"code=c&state=s":                                  "",
		to + ";code=c;state=s":                            "",
	} {
		got = nil
		a := fuzzCall(relay, httptest.NewRequest(http.MethodGet, relayAddress+"?"+query, nil), "")
		if want != "" {
			if location := a.Header.Get("Location"); a.Status != http.StatusFound || location != "https://ours.example/a?"+want {
				t.Errorf("%s: status %d, Location %q", query, a.Status, location)
			}
			continue
		}
		if a.Status/100 != 4 || a.Header["Location"] != nil || got == nil || !strings.HasPrefix(got.Error(), "wechatopen: relay: ") {
			t.Errorf("%s: status %d, Location %q, error %v", query, a.Status, a.Header["Location"], got)
		}
		if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: OnError answers what may be kept, or let the code leave: %v", query, a.Header)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodOptions} {
		a := relayTo(relay, method, "https://ours.example/")
		if a.Status != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "GET, HEAD" || a.Header["Location"] != nil {
			t.Errorf("%s: status %d, Allow %q", method, a.Status, a.Header.Get("Allow"))
		}
	}
}

func TestRelayWithABadListIsToldToTheLogOnly(t *testing.T) {
	log := &logBuffer{}
	defer captureDefaultLog(log)()
	for _, tt := range []struct {
		origins []string
		cause   string
	}{
		{nil, "Origins is empty"},
		{[]string{""}, "each must be an origin"},
		{[]string{"https://ours.example", "*"}, "each must be an origin"},
		{[]string{"https://*"}, "each must be an origin"},
		{[]string{"https://*.example"}, "each must be an origin"},
		{[]string{"https://ours.example/path"}, "each must be an origin"},
		{[]string{"https://ours.example?a=b"}, "each must be an origin"},
		{[]string{"https://ours.example#a"}, "each must be an origin"},
		{[]string{"https://me@ours.example"}, "each must be an origin"},
		{[]string{"https://:443"}, "each must be an origin"},
		{[]string{"https://ours.example\\"}, "each must be an origin"},
		{[]string{"https://茶.example"}, "each must be an origin"},
		{[]string{"ours.example"}, "each must be an origin"},
		{[]string{"//ours.example"}, "each must begin with https://"},
		{[]string{"ftp://ours.example"}, "each must begin with https://"},
		{[]string{"http://ours.example"}, "each must begin with https://"},
		{[]string{"http://192.168.0.1"}, "each must begin with https://"},
		{[]string{"http://localhost.evil.example"}, "each must begin with https://"},
		{[]string{"http://127.0.0.1.evil.example"}, "each must begin with https://"},
	} {
		log.reset()
		a := relayTo(&wechatopen.RelayHandler{Origins: tt.origins}, http.MethodGet, "https://ours.example/")
		if a.Status != http.StatusInternalServerError || !isStatusText(a) || a.Header["Location"] != nil {
			t.Errorf("%q: status %d, body %q, Location %q", tt.origins, a.Status, a.Body, a.Header["Location"])
		}
		if logged := log.String(); !strings.Contains(logged, tt.cause) || !strings.Contains(logged, "level=ERROR") {
			t.Errorf("%q: log %s", tt.origins, logged)
		}
	}
}

func TestRelayURLIsCheckedLikeBaseURL(t *testing.T) {
	s := newLoginSite(t, nil)
	for _, tt := range []struct {
		relayURL, cause string // no cause: it is good
		secure          bool
	}{
		{"https://login.example.com", "", false},
		{"https://login.example.com/wechat/relay", "", true},
		{"http://127.0.0.1:8080/wechat/relay", "", false},
		{"http://login.example.com/wechat/relay", "must begin with https://", true},
		{"ftp://login.example.com/wechat/relay", "must begin with https://", false},
		{"//login.example.com/wechat/relay", "must begin with https://", false},
		{"login.example.com/wechat/relay", "must be the public address", false},
		{"https:///wechat/relay", "must be the public address", false},
		{"https://me@login.example.com/wechat/relay", "must be the public address", false},
		{"https://login.example.com/wechat/relay?a=b", "must be the public address", false},
		{"https://login.example.com/wechat/relay?", "must be the public address", false},
		{"https://login.example.com/wechat/relay#a", "must be the public address", false},
		{"https://login.example.com/\r\nX: y", "must be the public address", false},
	} {
		o := s.newOAuth(s.account)
		o.RelayURL = tt.relayURL
		if tt.secure {
			o.BaseURL, o.Cookies = "https://shop.example.net", newLoginCookies(t, "k")
		}
		s.log.reset()
		r := httptest.NewRequest(http.MethodGet, "/page", nil)
		a := fuzzCall(o.Require(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") })), r, "")
		if tt.cause == "" {
			want := tt.relayURL + "?to=" + url.QueryEscape(o.BaseURL+"/page")
			if got := mustParse(t, s.toWeChat(a)).Query().Get("redirect_uri"); got != want {
				t.Errorf("%q: redirect_uri %q", tt.relayURL, got)
			}
			continue
		}
		if logged := s.log.String(); a.Status != http.StatusInternalServerError || !isStatusText(a) || len(a.Header["Set-Cookie"]) != 0 || !strings.Contains(logged, tt.cause) {
			t.Errorf("%q: status %d, log %s", tt.relayURL, a.Status, logged)
		}
	}
}
