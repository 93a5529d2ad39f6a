package wechattest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// app is a tiny service of a platform: a launch page and callbacks that show what they were called with.
type app struct {
	*httptest.Server
	host   string
	link   string // what the launch page links to
	policy string // its Referrer-Policy
	calls  atomic.Int32
	meet   func() // called at each callback; nil nothing
}

func newApp(t *testing.T) *app {
	a := &app{}
	mux := http.NewServeMux()
	mux.HandleFunc("/launch", func(w http.ResponseWriter, r *http.Request) {
		if a.policy != "" {
			w.Header().Set("Referrer-Policy", a.policy)
		}
		fmt.Fprintf(w, `<a id="go" href="%s">go</a>`, strings.ReplaceAll(a.link, "&", "&amp;"))
	})
	mux.HandleFunc("/callback", func(w http.ResponseWriter, r *http.Request) {
		n := a.calls.Add(1)
		if a.meet != nil {
			a.meet()
		}
		http.SetCookie(w, &http.Cookie{Name: fmt.Sprint("call", n), Value: "1", Path: "/"})
		if _, err := r.Cookie(userCookie); err == nil {
			http.Error(w, "the server's cookie came to the app", 500)
			return
		}
		fmt.Fprintf(w, "<title>no</title><p>%s</p>", r.URL.RawQuery)
	})
	a.Server = httptest.NewServer(mux)
	a.host = strings.TrimPrefix(a.URL, "http://")
	t.Cleanup(a.Close)
	return a
}

// authorizeLink is a link to the page for PCs.
func (p *platform) authorizeLink(redirectURI, rest string) string {
	return p.s.URL() + "/cgi-bin/componentloginpage?component_appid=" + p.AppID() + "&pre_auth_code=" +
		url.QueryEscape(p.preAuthCode()) + "&redirect_uri=" + url.QueryEscape(redirectURI) + "&auth_type=3" + rest
}

// must fails the test on an error of the browser.
func must(t *testing.T, p *Page, err error) *Page {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// launch opens the app's page and clicks the link.
func (a *app) launch(t *testing.T, b *Browser) *Page {
	t.Helper()
	p, err := b.Open(t.Context(), a.URL+"/launch")
	p, err = must(t, p, err).Click(t.Context(), "go")
	return must(t, p, err)
}

func TestAuthorizationPage(t *testing.T) {
	ctx := testContext(t)
	s, ap := Start(t), newApp(t)
	p := newPlatform(t, s, ComponentConfig{Domain: ap.host})
	s.AddAccount(AccountConfig{})
	second := s.AddAccount(AccountConfig{Name: "第二 & 号"})
	s.AddUser(UserConfig{Name: "管理员"})
	ap.link = p.authorizeLink(ap.URL+"/callback?nonce=1#part", "")
	b := s.NewBrowser(nil)
	page := ap.launch(t, b)
	if !page.Has("authorize") || !strings.Contains(page.Text(), "第二 & 号") {
		t.Fatalf("page %s", page.Text())
	}
	page.Fill("account", second.AppID())
	done, err := page.Click(ctx, "authorize")
	must(t, done, err)
	u, _ := url.Parse(done.URL)
	q := u.Query()
	if q.Get("nonce") != "1" || q.Get("expires_in") != "3600" || u.Fragment != "part" || !strings.HasPrefix(u.RawQuery, "nonce=1&auth_code=") {
		t.Errorf("callback %s", done.URL)
	}
	info := p.redeem(q.Get("auth_code")).want(t, 0).obj("authorization_info")
	if info.str("authorizer_appid") != second.AppID() {
		t.Errorf("authorized %v", info)
	}
	again := ap.launch(t, b)
	if !strings.Contains(again.Text(), "used before") {
		t.Errorf("pre_auth_code a second time: %s", again.Text())
	}
	if len(done.Trail) != 2 || done.Trail[1] != done.URL {
		t.Errorf("trail %v", done.Trail)
	}
}

func TestAuthorizationCancelled(t *testing.T) {
	s, ap := Start(t), newApp(t)
	p := newPlatform(t, s, ComponentConfig{})
	a := s.AddAccount(AccountConfig{})
	ap.link = p.authorizeLink(ap.URL+"/callback", "")
	page, err := ap.launch(t, s.NewBrowser(nil)).Click(t.Context(), "cancel")
	if must(t, page, err); !page.Has("message") || ap.calls.Load() != 0 || len(a.grants) != 0 {
		t.Errorf("page %s, %d callbacks", page.Text(), ap.calls.Load())
	}
}

func TestAuthorizationPageRefusals(t *testing.T) {
	s, ap := Start(t), newApp(t)
	s.AllowMisuse()
	p := newPlatform(t, s, ComponentConfig{Domain: ap.host})
	mini := s.AddAccount(AccountConfig{MiniProgram: true})
	for name, tt := range map[string]struct {
		link, policy, want string
	}{
		"good":                 {p.authorizeLink(ap.URL+"/callback", ""), "", "Authorize a third-party"},
		"origin is enough":     {p.authorizeLink(ap.URL+"/callback", ""), "origin", "Authorize a third-party"},
		"no referrer":          {p.authorizeLink(ap.URL+"/callback", ""), "no-referrer", "授权入口页域名：空"},
		"same-origin":          {p.authorizeLink(ap.URL+"/callback", ""), "same-origin", "授权入口页域名：空"},
		"other domain":         {p.authorizeLink("http://evil.example/", ""), "", "not on the registered domain"},
		"no redirect":          {p.authorizeLink("", ""), "", "redirect_uri is not a URL"},
		"unknown code":         {strings.Replace(p.authorizeLink(ap.URL+"/callback", ""), "preauthcode", "x", 1), "", "pre_auth_code is invalid"},
		"official only":        {strings.Replace(p.authorizeLink(ap.URL+"/callback", ""), "auth_type=3", "auth_type=1", 1), "", "no account"},
		"no auth_type":         {strings.Replace(p.authorizeLink(ap.URL+"/callback", ""), "auth_type=3", "", 1), "", "auth_type is invalid"},
		"biz_appid":            {p.authorizeLink(ap.URL+"/callback", "&biz_appid="+mini.AppID()), "", mini.AppID()},
		"biz_appid goes first": {strings.Replace(p.authorizeLink(ap.URL+"/callback", "&biz_appid="+mini.AppID()), "auth_type=3", "auth_type=1", 1), "", mini.AppID()},
		"unknown biz_appid":    {p.authorizeLink(ap.URL+"/callback", "&biz_appid=wx0"), "", "no account"},
	} {
		ap.link, ap.policy = tt.link, tt.policy
		if got := ap.launch(t, s.NewBrowser(nil)).Text(); !strings.Contains(got, tt.want) {
			t.Errorf("%s: page %q, want %q", name, got, tt.want)
		}
	}
	link := p.authorizeLink(ap.URL+"/callback", "")
	typed, err := s.NewBrowser(nil).Open(t.Context(), link)
	if must(t, typed, err); typed.Has("authorize") {
		t.Error("a typed link, without Referer, was taken")
	}
	ap.link = link
	s.Advance(1800 * time.Second)
	if got := ap.launch(t, s.NewBrowser(nil)).Text(); !strings.Contains(got, "has expired") {
		t.Errorf("expired: %s", got)
	}
}

func TestCategoryListLimitsTheGrant(t *testing.T) {
	s := Start(t, Config{LooseReferer: true})
	s.AllowMisuse()
	ap := newApp(t)
	p := newPlatform(t, s, ComponentConfig{})
	s.AddAccount(AccountConfig{})
	page, err := s.NewBrowser(nil).Open(t.Context(), p.authorizeLink(ap.URL+"/callback", "&category_id_list=1%7C3"))
	done, err := must(t, page, err).Click(t.Context(), "authorize")
	u, _ := url.Parse(must(t, done, err).URL)
	info := p.redeem(u.Query().Get("auth_code")).want(t, 0).obj("authorization_info")
	if got := string(encodeJSON(info["func_info"])); got != `[{"funcscope_category":{"id":1}},{"funcscope_category":{"id":3}}]` {
		t.Errorf("func_info %s", got)
	}
	page, err = s.NewBrowser(nil).Open(t.Context(), p.authorizeLink(ap.URL+"/callback", "&category_id_list=x"))
	if must(t, page, err); !page.Has("error") {
		t.Error("a category that is no number was taken")
	}
}

func TestLooseReferer(t *testing.T) {
	s := Start(t, Config{LooseReferer: true})
	p := newPlatform(t, s, ComponentConfig{})
	s.AddAccount(AccountConfig{})
	page, err := s.NewBrowser(nil).Open(t.Context(), p.authorizeLink("http://app.example/", ""))
	if must(t, page, err); !page.Has("authorize") {
		t.Errorf("page %s", page.Text())
	}
}

func TestMobileLinkNeedsNoReferer(t *testing.T) {
	s := Start(t)
	p := newPlatform(t, s, ComponentConfig{})
	a := s.AddAccount(AccountConfig{})
	for _, path := range []string{"/wxaopen/safe/bindcomponent", "/safe/bindcomponent"} {
		link := strings.Replace(p.authorizeLink("http://app.example/", "&biz_appid="+a.AppID()), "/cgi-bin/componentloginpage?",
			path+"?action=bindcomponent&no_scan=1&", 1)
		page, err := s.NewBrowser(s.AddUser(UserConfig{})).Open(t.Context(), link+"#wechat_redirect")
		if must(t, page, err); !page.Has("authorize") {
			t.Errorf("%s: %s", path, page.Text())
		}
	}
}

func TestPushOrder(t *testing.T) {
	for _, order := range []PushOrder{PushFirst, RedirectFirst, AtOnce} {
		s, ap := Start(t), newApp(t)
		s.SetPushOrder(order)
		sv, c := startService(t, s, ComponentConfig{})
		p := newTokenOf(t, s, c)
		s.AddAccount(AccountConfig{})
		pushed := make(chan struct{}, 1)
		sv.answer = func(int, string) string { pushed <- struct{}{}; return "success" }
		ap.link = p.authorizeLink(ap.URL+"/callback", "")
		page, err := ap.launch(t, s.NewBrowser(nil)).Click(testContext(t), "authorize")
		must(t, page, err)
		switch n := len(pushed); {
		case order == PushFirst && n != 1:
			t.Errorf("PushFirst: %d pushes after the redirect", n)
		case order == RedirectFirst && n != 0:
			t.Errorf("RedirectFirst: %d pushes before FlushPushes", n)
		}
		if order == RedirectFirst {
			if err := c.FlushPushes(testContext(t)); err != nil {
				t.Error(err)
			}
		}
		<-pushed
		u, _ := url.Parse(page.URL)
		if got := sv.received(); len(got) != 1 || !strings.Contains(got[0], u.Query().Get("auth_code")) {
			t.Errorf("pushes %q", got)
		}
	}
}

// loginLink is a link to the login page, parameters in order.
func loginLink(s *Server, path, appID, redirectURI, scope, rest string) string {
	return s.URL() + path + "?appid=" + appID + "&redirect_uri=" + url.QueryEscape(redirectURI) +
		"&response_type=code&scope=" + scope + "&state=st1" + rest + "#wechat_redirect"
}

func TestSilentLogin(t *testing.T) {
	s, ap := Start(t), newApp(t)
	a := s.AddAccount(AccountConfig{Domain: ap.host})
	s.AddUser(UserConfig{})
	u := s.AddUser(UserConfig{})
	page, err := s.NewBrowser(u).Open(t.Context(), loginLink(s, "/connect/oauth2/authorize", a.AppID(), ap.URL+"/callback?k=v", "snsapi_base", ""))
	must(t, page, err)
	at, _ := url.Parse(page.URL)
	q := at.Query()
	if !strings.HasPrefix(at.RawQuery, "k=v&code=") || q.Get("state") != "st1" || q.Has("appid") || at.Fragment != "wechat_redirect" {
		t.Errorf("callback %s", page.URL)
	}
	if got := exchange(t, s, a, q.Get("code")).want(t, 0).str("openid"); got != a.OpenID(u) {
		t.Errorf("openid %q, want that of the browser's person", got)
	}
}

func TestConsentPage(t *testing.T) {
	s, ap := Start(t), newApp(t)
	p := newPlatform(t, s, ComponentConfig{Domain: ap.host})
	a := s.AddAccount(AccountConfig{Domain: "elsewhere.example"})
	p.authorized(a)
	u := s.AddUser(UserConfig{})
	link := loginLink(s, "/connect/oauth2/authorize", a.AppID(), ap.URL+"/callback", "snsapi_userinfo", "&component_appid="+p.AppID())
	open := func() *Page {
		page, err := s.NewBrowser(u).Open(t.Context(), link)
		return must(t, page, err)
	}
	done, err := open().Click(t.Context(), "allow")
	at, _ := url.Parse(must(t, done, err).URL)
	if q := at.Query(); q.Get("appid") != a.AppID() || q.Get("state") != "st1" {
		t.Errorf("callback %s", done.URL)
	}
	p.exchange(a, at.Query().Get("code")).want(t, 0)
	done, err = open().Click(t.Context(), "refuse")
	if must(t, done, err); !strings.HasSuffix(done.URL, "/callback?state=st1#wechat_redirect") && !strings.HasSuffix(done.URL, "/callback?state=st1") {
		t.Errorf("refused: %s", done.URL)
	}
	u.SetRefuses(true)
	if page := open(); !strings.Contains(page.URL, "/callback?state=st1") {
		t.Errorf("a person who refuses: %s", page.URL)
	}
}

func TestWebsiteLogin(t *testing.T) {
	s, ap := Start(t), newApp(t)
	a := s.AddAccount(AccountConfig{Domain: ap.host, Website: true})
	u := s.AddUser(UserConfig{})
	page, err := s.NewBrowser(nil).Open(t.Context(), loginLink(s, "/connect/qrconnect", a.AppID(), ap.URL+"/callback", "snsapi_login", ""))
	done, err := must(t, page, err).Click(t.Context(), "allow")
	at, _ := url.Parse(must(t, done, err).URL)
	s.Advance(9 * time.Minute)
	if got := exchange(t, s, a, at.Query().Get("code")).want(t, 0).str("unionid"); got != u.UnionID() {
		t.Errorf("unionid %q", got)
	}
}

func TestWebsiteLoginByPhone(t *testing.T) {
	s, ap := Start(t), newApp(t)
	a := s.AddAccount(AccountConfig{Domain: ap.host, Website: true})
	s.AddUser(UserConfig{})
	u := s.AddUser(UserConfig{})
	ctx := testContext(t)
	link := loginLink(s, "/connect/qrconnect", a.AppID(), ap.URL+"/callback", "snsapi_login", "")
	for _, choice := range []string{"allow", "refuse"} {
		computer, phone := s.NewBrowser(nil), s.NewBrowser(u)
		page, err := computer.Open(ctx, link)
		code := must(t, page, err).Attr("scan", "href")
		if status, svg, err := fetch(ctx, t, s, "/connect/qrcode?uuid=1"); err != nil || status != 200 || !strings.HasPrefix(svg, "<svg") {
			t.Errorf("picture: %d %.80s %v", status, svg, err)
		}
		if page = click(t, page, "continue"); page.Has("scanned") || !page.Has("allow") {
			t.Errorf("before the scan: %s", page.Text())
		}
		scanned, err := phone.Open(ctx, s.URL()+code)
		if must(t, scanned, err); !scanned.Has("allow") {
			t.Fatalf("phone: %s", scanned.Text())
		}
		if page = click(t, page, "continue"); !page.Has("scanned") {
			t.Errorf("after the scan: %s", page.Text())
		}
		if done := click(t, scanned, choice); !done.Has("message") {
			t.Errorf("phone: %s", done.Text())
		}
		done := click(t, page, "continue")
		at, _ := url.Parse(done.URL)
		if q := at.Query(); at.Host != ap.host || q.Get("state") != "st1" || q.Has("code") != (choice == "allow") {
			t.Errorf("%s: %s", choice, done.URL)
		}
		if choice == "allow" {
			if got := exchange(t, s, a, at.Query().Get("code")).want(t, 0).str("openid"); got != a.OpenID(u) {
				t.Errorf("openid %q is not that of the phone's owner", got)
			}
		}
		again, err := phone.Open(ctx, s.URL()+code)
		if must(t, again, err); !again.Has("error") {
			t.Errorf("the code was scanned twice: %s", again.Text())
		}
		if twice := click(t, scanned, "allow"); !twice.Has("error") {
			t.Errorf("confirmed twice: %s", twice.Text())
		}
	}
	page, err := s.NewBrowser(nil).Open(ctx, link)
	must(t, page, err)
	s.Advance(qrLoginLife)
	if late := click(t, page, "continue"); !late.Has("error") {
		t.Errorf("an old QR code: %s", late.Text())
	}
}

func TestWebsiteLoginIsCheckedStrictly(t *testing.T) {
	s := Start(t)
	s.AllowMisuse()
	a := s.AddAccount(AccountConfig{Domain: "site.example", Website: true})
	official, mini := s.AddAccount(AccountConfig{}), s.AddAccount(AccountConfig{MiniProgram: true})
	s.AddUser(UserConfig{})
	for _, tt := range []struct {
		page, appID, uri, scope, rest string
		code                          int // -1 a good page
	}{
		{"/connect/qrconnect", a.AppID(), "https://site.example/", "snsapi_login", "&lang=en", -1},
		{"/connect/qrconnect", a.AppID(), "https://evil.example/", "snsapi_login", "", 10003},
		{"/connect/qrconnect", a.AppID(), "https://site.example/", "snsapi_base", "", 10005},
		{"/connect/qrconnect", official.AppID(), "https://site.example/", "snsapi_login", "", 10005},
		{"/connect/qrconnect", mini.AppID(), "https://site.example/", "snsapi_login", "", 10005},
		{"/connect/qrconnect", a.AppID(), "https://site.example/", "snsapi_login", "&component_appid=wx0", 0},
		{"/connect/oauth2/authorize", a.AppID(), "https://site.example/", "snsapi_base", "", 10016},
		{"/connect/oauth2/authorize", official.AppID(), "https://site.example/", "snsapi_login", "", 10005},
	} {
		page, err := s.NewBrowser(nil).Open(t.Context(), loginLink(s, tt.page, tt.appID, tt.uri, tt.scope, tt.rest))
		must(t, page, err)
		calls := s.Calls(tt.page)
		if got := calls[len(calls)-1].ErrCode; page.Has("error") != (tt.code >= 0) || got != max(tt.code, 0) {
			t.Errorf("%+v: error %d: %s", tt, got, page.Text())
		}
	}
}

func TestLoginLinkIsCheckedStrictly(t *testing.T) {
	s := Start(t)
	s.AllowMisuse()
	c := s.AddComponent(ComponentConfig{Domain: "shop.example"})
	a := s.AddAccount(AccountConfig{Domain: "own.example"})
	mini := s.AddAccount(AccountConfig{MiniProgram: true})
	u := s.AddUser(UserConfig{})
	const good = "appid=A&redirect_uri=http%3A%2F%2Fown.example%2F&response_type=code&scope=snsapi_userinfo&state=s"
	comp := strings.Replace(good, "own.", "shop.", 1) + "&component_appid=" + c.AppID()
	replace := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for _, tt := range []struct {
		query string
		code  int // -1 a good page, 0 an error without number
	}{
		{good, -1},
		{good + "&connect_redirect=1&forcePopup=true&forceSnapShot=true", -1},
		{good + "&forceSnapShot=true&forcePopup=true&connect_redirect=1", -1},
		{replace("state=s", "state="), -1},
		{replace("state=s", "state="+strings.Repeat("a", 128)), -1},
		{replace("state=s", "state="+strings.Repeat("a", 129)), 0},
		{replace("state=s", "state=a-b"), 0},
		{replace("&state=s", ""), 10013},
		{replace("appid=A", "appid="), 10012},
		{replace("scope=snsapi_userinfo", "scope="), 10010},
		{replace("http%3A%2F%2Fown.example%2F", ""), 10011},
		{replace("own.example", "evil.example"), 10003},
		{replace("own.example", "own.example.evil.example"), 10003},
		{replace("http%3A%2F%2Fown.example%2F", "%2F%2Fown.example"), 10003},
		{replace("snsapi_userinfo", "snsapi_login"), 10005},
		{replace("snsapi_userinfo", "other"), 10005},
		{replace("appid=A", "appid="+mini.AppID()), 10005},
		{replace("appid=A", "appid="+c.AppID()), 10016},
		{replace("appid=A", "appid=wx0"), 40013},
		{replace("response_type=code", "response_type=token"), 0},
		{"redirect_uri=http%3A%2F%2Fown.example%2F&appid=A&response_type=code&scope=snsapi_userinfo&state=s", 0},
		{"forcePopup=true&" + good, 0},
		{good + "&other=1", 0},
		{good + "&state=s", 0},
		{good + "&connect_redirect=2", 0},
		{comp, 10015},
	} {
		query := strings.Replace(tt.query, "appid=A", "appid="+a.AppID(), 1)
		page, err := s.NewBrowser(u).Open(t.Context(), s.URL()+"/connect/oauth2/authorize?"+query)
		must(t, page, err)
		calls := s.Calls("/connect/oauth2/authorize")
		if got := calls[len(calls)-1].ErrCode; page.Has("error") != (tt.code >= 0) || got != max(tt.code, 0) {
			t.Errorf("%s: errcode %d, want %d: %s", tt.query, got, tt.code, page.Text())
		}
	}
	c.NewAuthCode(a)
	page, err := s.NewBrowser(u).Open(t.Context(), s.URL()+"/connect/oauth2/authorize?"+strings.Replace(comp, "appid=A", "appid="+a.AppID(), 1))
	if must(t, page, err); !page.Has("allow") {
		t.Errorf("authorized: %s", page.Text())
	}
}

func TestDoubleCallback(t *testing.T) {
	s, ap := Start(t, Config{DoubleCallback: true}), newApp(t)
	a, u := s.AddAccount(AccountConfig{}), s.AddUser(UserConfig{})
	both := make(chan struct{})
	met := sync.OnceFunc(func() { close(both) })
	ap.meet = func() { // neither call is answered before both have come
		if ap.calls.Load() == 2 { // which both calls may see
			met()
		}
		<-both
	}
	b := s.NewBrowser(u)
	page, err := b.Open(testContext(t), loginLink(s, "/connect/oauth2/authorize", a.AppID(), ap.URL+"/callback", "snsapi_base", ""))
	if must(t, page, err); page.Status != 200 {
		t.Fatalf("status %d: %s", page.Status, page.Body)
	}
	at, _ := url.Parse(ap.URL)
	if got := len(b.Client.Jar.Cookies(at)); ap.calls.Load() != 2 || got != 2 {
		t.Errorf("%d callbacks, %d cookies, want 2 and 2", ap.calls.Load(), got)
	}
}

func TestIndexPage(t *testing.T) {
	s := Start(t)
	sv, c := startService(t, s, ComponentConfig{})
	a := s.AddAccount(AccountConfig{Name: "店铺"})
	s.AddUser(UserConfig{Name: "小明"})
	second := s.AddUser(UserConfig{Name: "小红"})
	b := s.NewBrowser(nil)
	page, err := b.Open(t.Context(), s.URL()+"/")
	for _, want := range []string{c.AppID(), a.AppID(), "店铺", "小明"} {
		if must(t, page, err); !strings.Contains(page.Text(), want) {
			t.Errorf("index without %q: %s", want, page.Text())
		}
	}
	if strings.Contains(page.Body, c.Credentials().AppSecret) {
		t.Error("the index shows a secret")
	}
	pushed, err := page.Click(testContext(t), "push-"+c.AppID())
	if must(t, pushed, err); len(sv.received()) != 1 || !strings.Contains(pushed.Text(), "success") {
		t.Errorf("push: %s", pushed.Text())
	}
	page.Fill("user", second.ID())
	switched, err := page.Click(t.Context(), "become")
	must(t, switched, err)
	ap := newApp(t)
	done, err := b.Open(t.Context(), loginLink(s, "/connect/oauth2/authorize", a.AppID(), ap.URL+"/callback", "snsapi_base", ""))
	at, _ := url.Parse(must(t, done, err).URL)
	if got := exchange(t, s, a, at.Query().Get("code")).str("openid"); got != a.OpenID(second) {
		t.Error("the person was not switched")
	}
}

func TestBecomeUserGoesNowhereElse(t *testing.T) {
	s := Start(t)
	u := s.AddUser(UserConfig{})
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, back := range []string{"//evil.example", "http://evil.example", `/\evil.example`, ""} {
		resp, err := client.PostForm(s.URL()+"/wechatsim/user", url.Values{"user": {u.ID()}, "back": {back}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Location"); got != "/" {
			t.Errorf("%q: Location %q", back, got)
		}
	}
}

func TestAvatarIsServed(t *testing.T) {
	s := Start(t)
	status, body, err := fetch(context.Background(), t, s, strings.TrimPrefix(s.AddUser(UserConfig{Name: "<b>"}).AvatarURL(), s.URL()))
	if err != nil || status != 200 || !strings.Contains(body, "&lt;") {
		t.Errorf("%d %s %v", status, body, err)
	}
}
