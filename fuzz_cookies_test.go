package wechatopen_test

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// fuzzSite is a site without a network of its own: handlers are called.
type fuzzSite struct {
	f       *testing.F
	sim     *wechattest.Server
	account *wechattest.Account
	oauth   *wechatopen.OAuth
	require http.Handler // shows the user
	load    http.Handler // likewise
	session string       // "name=value" of a real session
}

const fuzzOrigin = "https://shop.example.com"

func newFuzzSite(f *testing.F) *fuzzSite {
	f.Helper()
	s := &fuzzSite{f: f, sim: wechattest.Start(f)}
	s.sim.AddUser(wechattest.UserConfig{Name: "Alice"})
	s.account = s.sim.AddAccount(wechattest.AccountConfig{})
	s.oauth = s.newOAuth(s.account, "k")
	s.require = s.oauth.Require(http.HandlerFunc(showLoginUser))
	s.load = s.oauth.Load(http.HandlerFunc(showLoginUser))
	_, s.session = s.logIn(s.oauth)
	return s
}

func (s *fuzzSite) newOAuth(a *wechattest.Account, secret string) *wechatopen.OAuth {
	s.f.Helper()
	own, err := wechatopen.NewAccount(a.Credentials(), append(s.sim.Options(), wechatopen.WithLogger(slog.New(slog.DiscardHandler)))...)
	if err != nil {
		s.f.Fatal(err)
	}
	return &wechatopen.OAuth{Account: wechatopen.FixedAccount(own), BaseURL: fuzzOrigin, Cookies: newLoginCookies(s.f, secret)}
}

// logIn returns the flow's and the session's cookie, "name=value".
func (s *fuzzSite) logIn(o *wechatopen.OAuth) (flow, session string) {
	s.f.Helper()
	page := o.Require(http.HandlerFunc(showLoginUser))
	a := fuzzCall(page, httptest.NewRequest(http.MethodGet, fuzzOrigin+"/page", nil), "")
	k := loginCookie(a, loginFlowName)
	r, err := http.NewRequestWithContext(s.f.Context(), http.MethodGet, a.Header.Get("Location"), nil)
	if err != nil {
		s.f.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		s.f.Fatal(err)
	}
	resp.Body.Close()
	flow = k.Name + "=" + k.Value
	a = fuzzCall(page, httptest.NewRequest(http.MethodGet, resp.Header.Get("Location"), nil), flow)
	if k = loginCookie(a, loginSessionName); k == nil {
		s.f.Fatalf("no session: status %d, body %q", a.Status, a.Body)
	}
	return flow, k.Name + "=" + k.Value
}

func fuzzCall(h http.Handler, r *http.Request, cookie string) answer {
	if cookie != "" {
		r.Header["Cookie"] = []string{cookie}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// fuzzValues are cookie values that look right and are not.
func (s *fuzzSite) fuzzValues() []string {
	s.f.Helper()
	value := func(cookie string) string { _, v, _ := strings.Cut(cookie, "="); return v }
	flow, session := s.logIn(s.newOAuth(s.account, "x"))
	foreignFlow, foreignSession := value(flow), value(session)
	flow, session = s.logIn(s.newOAuth(s.sim.AddAccount(wechattest.AccountConfig{}), "k"))
	own := value(s.session)
	return []string{
		"", "x", "=", "==", "|", "%", `"quoted"`, strings.Repeat("A", 5000), "e30=", "bnVsbA==",
		foreignFlow, foreignSession, value(flow), value(session),
		own[:len(own)/2], own[len(own)/2:], own[:len(own)/2] + "A" + own[len(own)/2:],
		"MTcwMDAwMDAwMHx8", "fHx8", "OTk5OTk5OTk5OTk5OTk5OTk5OTl8YXxi",
	}
}

// attacks.md 25: whatever a session cookie holds, it is a session only if we sealed it.
func FuzzSessionCookie(f *testing.F) {
	s := newFuzzSite(f)
	name, _, _ := strings.Cut(s.session, "=")
	for _, v := range s.fuzzValues() {
		f.Add(v, false)
		f.Add(name+"="+v+"; "+name+"="+v, true)
	}
	f.Add("__Host-wxsession-="+strings.Repeat("A", 100)+";;;= ; "+name, true)
	request := func() *http.Request { return httptest.NewRequest(http.MethodGet, fuzzOrigin+"/page", nil) }
	if a := fuzzCall(s.load, request(), s.session); a.Body == "nobody" {
		f.Fatal("the real session opens nothing, so this test shows nothing")
	}
	exchanges := s.sim.Count(ownExchangePath)
	f.Fuzz(func(t *testing.T, v string, header bool) {
		cookie := v
		if !header {
			cookie = name + "=" + v
		}
		if a := fuzzCall(s.load, request(), cookie); a.Status != http.StatusOK || a.Body != "nobody" {
			t.Errorf("a session from %q: status %d, body %q", cookie, a.Status, a.Body)
		}
		a := fuzzCall(s.require, request(), cookie)
		if a.Status != http.StatusFound || !strings.HasPrefix(a.Header.Get("Location"), s.sim.URL()+loginPagePath+"?") {
			t.Errorf("%q: status %d, Location %q, body %q", cookie, a.Status, a.Header.Get("Location"), a.Body)
		}
		noLoginSession(t, a)
		if n := s.sim.Count(ownExchangePath); n != exchanges {
			t.Errorf("%q: %d exchanges", cookie, n-exchanges)
		}
	})
}

// A session is found in a Cookie header exactly where net/http finds it. V stands for the value of a real one, N for its
// name.
func FuzzCookieHeader(f *testing.F) {
	s := newFuzzSite(f)
	name, value, _ := strings.Cut(s.session, "=")
	for _, header := range []string{
		"N=V", " N=V ", "N =V", "N= V", "\tN\t=\tV\t", `N="V"`, `N="V`, "N=V;", ";;N=V", "a=b; N=V; c=d", "a=N=V; c=d", "aN=V", "Na=V",
		"N=V; N=x", "N=x; N=V", "N; N=V", "N=; N=V", `N=\; N=V`, "N=\x80; N=V", `N="; N=V`, "N=x y; N=V", "N=V=", "N=VV", "N==V", "n=V",
		"N=V,", "N=V, a=b", "a=b,N=V", "é=1; N=V", "a b=c; N=V", "=; N=V", "$Version=1; N=V",
	} {
		f.Add(header, "")
		f.Add("a=b", header)
		f.Add(header, "N=V")
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		if strings.ContainsFunc(first+second, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return // no server lets it through
		}
		real := strings.NewReplacer("N", name, "V", value)
		r := httptest.NewRequest(http.MethodGet, fuzzOrigin+"/page", nil)
		r.Header["Cookie"] = []string{real.Replace(first), real.Replace(second)}
		c, err := r.Cookie(name)
		want := err == nil && c.Value == value
		if a := fuzzCall(s.load, r, ""); a.Status != http.StatusOK || (a.Body != "nobody") != want {
			t.Errorf("%q and %q: status %d, body %q; net/http finds the session: %v", first, second, a.Status, a.Body, want)
		}
	})
}

// What a session is made of comes back as it was, and nothing else is a session.
func FuzzSessionContent(f *testing.F) {
	f.Add([]byte{}, "", "", "", "", "", "", int64(0), int64(0))
	f.Add([]byte(`{"a":"wx0","o":"openid","s":"snsapi_base","t":1,"e":2}`), "wx0123456789abcdef", "openid", "unionid", "爱丽丝\x00\xff", "https://a.example/132", "snsapi_userinfo", int64(1700000000), int64(1700604800))
	f.Add(append([]byte{1}, make([]byte, 28)...), strings.Repeat("a", 4096), strings.Repeat("b", 4097), strings.Repeat("c", 65536), "\x00", "", "", int64(-1), int64(-1<<63))
	f.Add(append([]byte{1}, make([]byte, 29)...), "", "", "", "", "", "", int64(1<<63-1), int64(-1))
	f.Add(bytes.Repeat([]byte{1}, 29), "", "", "", "", "", "", int64(0), int64(0))
	f.Add(bytes.Repeat([]byte{1}, 2048), "", "", "", "", "", "", int64(0), int64(0))
	f.Add(append([]byte{2}, make([]byte, 28)...), "", "", "", "", "", "", int64(0), int64(0))
	f.Fuzz(func(t *testing.T, content []byte, appID, openID, unionID, nickname, avatar, scope string, login, expiry int64) {
		var codec wechatopen.SessionContent
		u := &wechatopen.User{AppID: appID, OpenID: openID, UnionID: unionID, Nickname: nickname, AvatarURL: avatar, Scope: scope, LoginTime: time.Unix(login, 0), Expiry: time.Unix(expiry, 0)}
		b, err := codec.Serialize(u)
		if short := max(len(appID), len(openID), len(unionID), len(nickname), len(avatar), len(scope)) <= 4096; short != (err == nil) {
			t.Fatalf("%+v: %v", u, err)
		}
		if got := (&wechatopen.User{}); err == nil && (codec.Deserialize(b, got) != nil || *got != *u) {
			t.Errorf("%+v came back as %+v", u, got)
		}
		if err := codec.Deserialize(content, u); err != nil {
			return
		}
		if again, err := codec.Serialize(u); err != nil || !bytes.Equal(again, content) {
			t.Errorf("%q is %+v, which is %q: %v", content, u, again, err)
		}
	})
}

// attacks.md 19: whatever a flow cookie holds, a code is exchanged only for a flow that we sealed.
func FuzzFlowCookie(f *testing.F) {
	s := newFuzzSite(f)
	const id = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for _, v := range s.fuzzValues() {
		f.Add(id, "1", v, "code", true)
	}
	flow, _ := s.logIn(s.newOAuth(s.account, "k"))
	_, own, _ := strings.Cut(flow, "=") // under another id than its own
	f.Add(id, "1", own, "code", true)
	f.Add(id, "2", own, "code", true)
	f.Add(id, "3", own, "code", true)
	f.Add(id, "4", own, "code", true)
	f.Add(id, "", own, "", false)
	f.Add("", "", "", "", false)
	f.Add(strings.Repeat("é", 13), "1", own, "code", true)
	f.Add(strings.Repeat("=", 26), "1", own, "code", true)
	f.Add(id+"; a=b", "1", own, "code\r\n", true)
	foreignFlow, _ := s.logIn(s.newOAuth(s.account, "x"))
	name, v, _ := strings.Cut(foreignFlow, "=")
	f.Add(strings.TrimPrefix(name, "__Host-"+loginFlowName), "1", v, "code", true)
	exchanges := s.sim.Count(ownExchangePath)
	f.Fuzz(func(t *testing.T, id, digit, value, code string, coded bool) {
		query := "state=" + url.QueryEscape(id+digit)
		if coded {
			query = "code=" + url.QueryEscape(code) + "&" + query
		}
		r := httptest.NewRequest(http.MethodGet, fuzzOrigin+"/page?"+query, nil)
		a := fuzzCall(s.require, r, "__Host-"+loginFlowName+id+"="+value)
		noLoginSession(t, a)
		switch location := a.Header.Get("Location"); {
		case a.Status == http.StatusFound && strings.HasPrefix(location, s.sim.URL()+loginPagePath+"?"):
		case a.Status == http.StatusForbidden && location == "":
		default:
			t.Errorf("status %d, Location %q, body %q", a.Status, location, a.Body)
		}
		if n := s.sim.Count(ownExchangePath); n != exchanges {
			t.Errorf("%d exchanges", n-exchanges)
		}
	})
}

// attacks.md 22, 29: whatever the request line says, the browser goes to WeChat or stays on BaseURL, and comes to rest.
func FuzzRequestURI(f *testing.F) {
	s := newFuzzSite(f)
	for _, uri := range []string{
		"/", "/page?a=1&b=%20#x", "//evil.example", "///evil.example/", `/\evil.example`, `\evil.example`, "/%5cevil.example",
		"/%2f%2fevil.example", "/@evil.example", "/:80", "/.", "/..//evil.example", "/%0d%0aX-Evil:%20yes", "/?%0d%0aX-Evil:%20yes",
		"/?a=\"<>\\^`{|}", "/%zz", "/?%zz", "/?code=%zz&state=%zz", "/?code=a&state=b&code=c&state=d", "/?code=a", "/?state=b",
		"/?&&code=&&state=&", "/?code&state", "/?%63ode=1&st%61te=2", "/?;code=1;state=2", "/?a=+b", "/?", "/??", "/?code=a&state=b?",
		"http://evil.example/", "http://evil.example", "https://evil.example/x?y", "https://shop.example.com@evil.example/",
		"evil:opaque", "*", "/\u4f60\u597d?\u4f60=\u597d", "/\xff?\xff", "/%E4%BD%A0?%E4%BD%A0", "/a%2Fb", "/a;b=c",
		"/?state=ABCDEFGHIJKLMNOPQRSTUVWXYZ1", "/?code=x&state=ABCDEFGHIJKLMNOPQRSTUVWXYZ3", "/?appid=1&code=2&state=3&appid=4",
	} {
		f.Add(uri, false)
		f.Add(uri, true)
	}
	authorize := s.sim.URL() + loginPagePath + "?appid=" + s.account.AppID() + "&redirect_uri="
	exchanges := s.sim.Count(ownExchangePath)
	// read is what net/http's server makes of a request line; nil if it refuses it.
	read := func(uri string) *http.Request {
		if strings.ContainsAny(uri, " \r\n") {
			return nil // ends the line
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + uri + " HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\n\r\n")))
		if err != nil {
			return nil
		}
		return r
	}
	onSite := func(t *testing.T, uri, location string) {
		// A # that stood in the request line, where no browser puts one, begins a fragment now. It leads nowhere else.
		beforeFragment, _, _ := strings.Cut(location, "#")
		u, err := url.Parse(beforeFragment)
		if err != nil || !strings.HasPrefix(location, fuzzOrigin+"/") || u.Scheme+"://"+u.Host != fuzzOrigin || u.User != nil {
			t.Errorf("%q leads to %q: %v", uri, location, err)
		}
	}
	// check looks at one answer and returns where it leads on the site, "" if nowhere.
	check := func(t *testing.T, uri string, a answer) string {
		noLoginSession(t, a)
		for name, values := range a.Header {
			for _, v := range values {
				if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
					t.Errorf("%q: header %s: %q", uri, name, v)
				}
			}
		}
		location := a.Header.Get("Location")
		switch {
		case a.Status != http.StatusFound && location == "":
			return ""
		case strings.HasPrefix(location, authorize):
			rest := location[len(authorize):]
			escaped, rest, _ := strings.Cut(rest, "&")
			back, err := url.QueryUnescape(escaped)
			if err != nil || !strings.HasPrefix(rest, "response_type=code&scope=snsapi_base&state=") || !strings.HasSuffix(rest, "&connect_redirect=1#wechat_redirect") {
				t.Errorf("%q: link %q: %v", uri, location, err)
			}
			onSite(t, uri, back)
			return ""
		}
		onSite(t, uri, location)
		return location
	}
	f.Fuzz(func(t *testing.T, uri string, session bool) {
		r := read(uri)
		if r == nil {
			return
		}
		cookie := ""
		if session {
			cookie = s.session
		}
		// The redirects on the site end: each takes something of WeChat's away.
		at, hops := uri, 0
		for limit := strings.Count(uri, "&") + 2; ; hops++ {
			if hops > limit {
				t.Fatalf("%q: redirected in a circle, at last from %q", uri, at)
			}
			location := check(t, at, fuzzCall(s.require, r, cookie))
			if location == "" {
				break
			}
			at, _, _ = strings.Cut(strings.TrimPrefix(location, fuzzOrigin), "#")
			if r = read(at); r == nil {
				t.Fatalf("%q: redirected to %q, which is no request line", uri, location)
			}
		}
		if !session && hops > 0 {
			t.Errorf("%q: redirected on the site without a session", uri)
		}
		// What WeChat adds is taken away again, exactly.
		if session && strings.HasPrefix(uri, "/") && !strings.Contains(uri, "#") {
			sep := "?"
			if strings.Contains(uri, "?") {
				sep = "&"
			}
			if r = read(uri + sep + "code=C&state=S"); r == nil {
				return
			}
			location := check(t, uri, fuzzCall(s.require, r, cookie))
			path, query, hasQuery := strings.Cut(uri, "?")
			if u, err := url.ParseRequestURI(path); err == nil {
				path = u.EscapedPath()
			}
			want := fuzzOrigin + path
			if hasQuery && query != "" {
				want += "?" + query
			}
			if want = escapeNonASCII(want); location != want {
				t.Errorf("%q and WeChat's: sent to %q, want %q", uri, location, want)
			}
		}
		if n := s.sim.Count(ownExchangePath); n != exchanges {
			t.Errorf("%q: %d exchanges", uri, n-exchanges)
		}
	})
}

// escapeNonASCII is what a browser means by bytes that a URL cannot hold.
func escapeNonASCII(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if s[i] < 0x80 {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}
