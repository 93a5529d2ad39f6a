package wechattest

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

func fetchNative(t *testing.T, s *Server, a *Account) answered {
	t.Helper()
	return request(t, s, "/cgi-bin/token", url.Values{"grant_type": {"client_credential"}, "appid": {a.AppID()},
		"secret": {a.Credentials().AppSecret}}, nil)
}

func fetchStable(t *testing.T, s *Server, a *Account, force bool) answered {
	t.Helper()
	return request(t, s, "/cgi-bin/stable_token", nil, map[string]any{"grant_type": "client_credential", "appid": a.AppID(),
		"secret": a.Credentials().AppSecret, "force_refresh": force})
}

func TestNativeTokens(t *testing.T) {
	s := Start(t)
	s.AllowMisuse()
	a := s.AddAccount(AccountConfig{})
	c := s.AddComponent(ComponentConfig{})
	first := fetchNative(t, s, a).want(t, 0).str("access_token")
	stable := fetchStable(t, s, a, false).want(t, 0).str("access_token")
	second := fetchNative(t, s, a).want(t, 0).str("access_token")
	s.Advance(5 * time.Minute)
	p := &platform{t: t, s: s}
	p.echo(first).want(t, 40001)
	p.echo(second).want(t, 0)
	p.echo(stable).want(t, 0)
	request(t, s, "/cgi-bin/token", url.Values{"grant_type": {"client_credential"}, "appid": {c.AppID()},
		"secret": {c.Credentials().AppSecret}}, nil).want(t, 61024)
	request(t, s, "/cgi-bin/token", url.Values{"grant_type": {"client_credential"}, "appid": {a.AppID()},
		"secret": {"0"}}, nil).want(t, 40125)
}

func TestStableTokenStaysUntilFiveMinutesBeforeItsEnd(t *testing.T) {
	s := Start(t, Config{Now: atNoon})
	a := s.AddAccount(AccountConfig{})
	first := fetchStable(t, s, a, false).want(t, 0)
	s.Advance(6899 * time.Second)
	same := fetchStable(t, s, a, false).want(t, 0)
	if same.str("access_token") != first.str("access_token") || same["expires_in"] != 301.0 {
		t.Errorf("after 6899 s: %v, first %v", same, first)
	}
	s.Advance(time.Second)
	next := fetchStable(t, s, a, false).want(t, 0)
	if next.str("access_token") == first.str("access_token") || next["expires_in"] != 7200.0 {
		t.Errorf("after 6900 s: %v", next)
	}
	forced := fetchStable(t, s, a, true).want(t, 0)
	if forced.str("access_token") == next.str("access_token") {
		t.Error("force_refresh gave the same token")
	}
	fetchStable(t, s, a, true).want(t, 45011)
	for range 19 {
		s.Advance(30 * time.Second)
		fetchStable(t, s, a, true).want(t, 0)
	}
	s.Advance(30 * time.Second)
	fetchStable(t, s, a, true).want(t, 45009)
}

func TestVerifyJSConfig(t *testing.T) {
	s := Start(t)
	p := newPlatform(t, s, ComponentConfig{Domain: "shop.example"})
	a := s.AddAccount(AccountConfig{})
	access, _ := p.authorized(a)
	ticket := request(t, s, "/cgi-bin/ticket/getticket", url.Values{"access_token": {access}, "type": {"jsapi"}}, nil).
		want(t, 0).str("ticket")
	const page = "https://shop.example/商品?x=%41"
	good := jsSignature(ticket, "abc", 7, page)
	for _, tt := range []struct {
		appID, page, signature, want string
	}{
		{a.AppID(), page, good, ""},
		{a.AppID(), page + "#part", good, ""},
		{a.AppID(), page + "1", good, "invalid signature"},
		{a.AppID(), page, strings.ToUpper(good), "invalid signature"},
		{a.AppID(), "https://evil.example/", jsSignature(ticket, "abc", 7, "https://evil.example/"), "invalid url domain"},
		{p.AppID(), page, good, "invalid appid"},
	} {
		err := s.VerifyJSConfig(tt.appID, "abc", 7, tt.page, tt.signature)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.page, err, tt.want)
		}
	}
	s.Advance(tokenLife)
	if s.VerifyJSConfig(a.AppID(), "abc", 7, page, good) == nil {
		t.Error("an expired ticket still signs")
	}
}

func TestOpenIDsAreStableAndPerAccount(t *testing.T) {
	s := Start(t)
	a, b := s.AddAccount(AccountConfig{}), s.AddAccount(AccountConfig{})
	u, v := s.AddUser(UserConfig{}), s.AddUser(UserConfig{})
	id := a.OpenID(u)
	if len(id) != 28 || id[0] != 'o' || id != a.OpenID(u) {
		t.Errorf("openid %q, again %q", id, a.OpenID(u))
	}
	if id == a.OpenID(v) || id == b.OpenID(u) || u.UnionID() == v.UnionID() || len(u.UnionID()) != 28 {
		t.Error("ids are not distinct")
	}
	q := token("access_token", fetchNative(t, s, a).str("access_token"))
	q.Set("openid", id)
	if got := request(t, s, "/cgi-bin/user/info", q, nil).want(t, 0).str("unionid"); got != u.UnionID() {
		t.Errorf("user/info: unionid %q", got)
	}
	q.Set("openid", b.OpenID(u))
	request(t, s, "/cgi-bin/user/info", q, nil).want(t, 40003)
}

func TestEcho(t *testing.T) {
	s := Start(t)
	a := s.AddAccount(AccountConfig{})
	q := token("access_token", fetchNative(t, s, a).str("access_token"))
	q.Set("x", "1")
	got := request(t, s, "/cgi-bin/test/echo", q, `{"k":"你"}`).want(t, 0)
	if got.str("appid") != a.AppID() || got.obj("body").str("k") != "你" || got.obj("query")["access_token"] != nil {
		t.Errorf("echo %v", got)
	}
}

func TestAccountSettings(t *testing.T) {
	s := Start(t)
	a := s.AddAccount(AccountConfig{Domain: "old.example"})
	a.SetKeys("newtoken", "")
	a.SetKeys("", sampleKey)
	if c := a.Credentials(); c.AppID != a.AppID() || c.Token != "newtoken" || c.EncodingAESKey != sampleKey || len(c.AppSecret) != 32 {
		t.Errorf("credentials %#v", c)
	}
	a.SetDomain("new.example")
	if a.domain != "new.example" || s.Account(a.AppID()) != a || s.Account("wx0") != nil {
		t.Error("SetDomain or Account")
	}
	p := &platform{t: t, s: s}
	access := fetchNative(t, s, a).str("access_token")
	list := request(t, s, "/cgi-bin/getcallbackip", token("access_token", access), nil).want(t, 0)
	if ips, _ := list["ip_list"].([]any); len(ips) == 0 {
		t.Errorf("ip_list %v", list)
	}
	a.ExpireTokens()
	p.echo(access).want(t, 42001)
	defer func() {
		if recover() == nil {
			t.Error("an appid was registered twice")
		}
	}()
	s.AddComponent(ComponentConfig{AppID: a.AppID()})
}

func TestOptionsGiveEndpointsAndClock(t *testing.T) {
	s := Start(t, Config{Now: atNoon})
	e := s.Endpoints()
	if e.API != s.URL() || e.MP != s.URL() || e.Open != s.URL() || len(s.Options()) == 0 {
		t.Errorf("endpoints %+v", e)
	}
	s.Advance(time.Hour)
	s.Advance(time.Minute)
	if got := s.Now().Sub(atNoon()); got != 61*time.Minute {
		t.Errorf("advanced by %v", got)
	}
}

func TestJSTicketIsReplacedLikeATokenAndPerType(t *testing.T) {
	s := Start(t)
	s.AllowMisuse()
	a := s.AddAccount(AccountConfig{})
	get := func(kind string) string {
		q := token("access_token", fetchNative(t, s, a).str("access_token"))
		q.Set("type", kind)
		return request(t, s, "/cgi-bin/ticket/getticket", q, nil).str("ticket")
	}
	verify := func(ticket string) error {
		return s.VerifyJSConfig(a.AppID(), "n", 1, "http://x/", jsSignature(ticket, "n", 1, "http://x/"))
	}
	first, card := get("jsapi"), get("wx_card")
	second := get("jsapi")
	if get("other") != "" {
		t.Error("a ticket of an unknown type")
	}
	for ticket, good := range map[string]bool{first: true, second: true, card: false} {
		if err := verify(ticket); (err == nil) != good {
			t.Errorf("%v, want good %v", err, good)
		}
	}
	s.Advance(5 * time.Minute)
	if verify(first) == nil || verify(second) != nil {
		t.Error("after the overlap the newest ticket alone is good")
	}
}
