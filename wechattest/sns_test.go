package wechattest

import (
	"net/http"
	"net/url"
	"testing"
	"time"
)

func exchange(t *testing.T, s *Server, a *Account, code string) answered {
	t.Helper()
	return request(t, s, "/sns/oauth2/access_token", url.Values{"appid": {a.AppID()}, "secret": {a.Credentials().AppSecret},
		"code": {code}, "grant_type": {"authorization_code"}}, nil)
}

func (p *platform) exchange(a *Account, code string) answered {
	p.t.Helper()
	return request(p.t, p.s, "/sns/oauth2/component/access_token", url.Values{"appid": {a.AppID()}, "code": {code},
		"grant_type": {"authorization_code"}, "component_appid": {p.AppID()}, "component_access_token": {p.access}}, nil)
}

func userInfo(t *testing.T, s *Server, access, openID string) answered {
	t.Helper()
	return request(t, s, "/sns/userinfo", url.Values{"access_token": {access}, "openid": {openID}, "lang": {"zh_CN"}}, nil)
}

func TestLoginCodeIsUsedOnceAndInTime(t *testing.T) {
	s := Start(t)
	a, b, u := s.AddAccount(AccountConfig{}), s.AddAccount(AccountConfig{}), s.AddUser(UserConfig{})
	code := a.NewLoginCode(u, "snsapi_base")
	exchange(t, s, b, code).want(t, 40029)
	exchange(t, s, a, "garbage").want(t, 40029)
	got := exchange(t, s, a, code).want(t, 0)
	if got.str("openid") != a.OpenID(u) || got["unionid"] != nil || got["is_snapshotuser"] != nil || got["expires_in"] != 7200.0 {
		t.Errorf("exchange %v", got)
	}
	exchange(t, s, a, code).want(t, 40163)
	base, login := a.NewLoginCode(u, "snsapi_userinfo"), a.NewLoginCode(u, "snsapi_login")
	s.Advance(5 * time.Minute)
	exchange(t, s, a, base).want(t, 42003)
	exchange(t, s, a, login).want(t, 0)
	login = a.NewLoginCode(u, "snsapi_login")
	s.Advance(10 * time.Minute)
	exchange(t, s, a, login).want(t, 42003)
}

func TestComponentLogin(t *testing.T) {
	s := Start(t)
	p, other := newPlatform(t, s, ComponentConfig{}), newPlatform(t, s, ComponentConfig{})
	a, u := s.AddAccount(AccountConfig{}), s.AddUser(UserConfig{Name: "小明"})
	code := p.NewLoginCode(a, u, "snsapi_userinfo")
	p.exchange(a, code).want(t, 61003)
	p.authorized(a)
	other.authorized(a)
	other.exchange(a, code).want(t, 40029)
	exchange(t, s, a, code).want(t, 40029)
	got := p.exchange(a, code).want(t, 0)
	if got.str("unionid") != u.UnionID() {
		t.Errorf("unionid %q", got.str("unionid"))
	}
	info := userInfo(t, s, got.str("access_token"), got.str("openid")).want(t, 0)
	if info.str("nickname") != "小明" || info.str("unionid") != u.UnionID() {
		t.Errorf("userinfo %v", info)
	}
	p.ExpireTokens()
	p.exchange(a, code).want(t, 42006)
	p.access = "55_unknown"
	p.exchange(a, code).want(t, 40001)
}

func TestUserInfoRefusals(t *testing.T) {
	s := Start(t)
	a, u := s.AddAccount(AccountConfig{}), s.AddUser(UserConfig{})
	base := exchange(t, s, a, a.NewLoginCode(u, "snsapi_base")).want(t, 0)
	userInfo(t, s, base.str("access_token"), base.str("openid")).want(t, 48001)
	userInfo(t, s, "56_unknown", base.str("openid")).want(t, 40001)
	full := exchange(t, s, a, a.NewLoginCode(u, "snsapi_base,snsapi_userinfo")).want(t, 0)
	userInfo(t, s, full.str("access_token"), "o0").want(t, 40003)
	q := url.Values{"access_token": {full.str("access_token")}, "openid": {full.str("openid")}}
	request(t, s, "/sns/auth", q, nil).want(t, 0)
	s.Advance(tokenLife)
	userInfo(t, s, full.str("access_token"), full.str("openid")).want(t, 42001)
	request(t, s, "/sns/auth", q, nil).want(t, 42001)
}

func TestSnapshotUserHasMadeUpOpenID(t *testing.T) {
	s := Start(t)
	a, u := s.AddAccount(AccountConfig{}), s.AddUser(UserConfig{Snapshot: true})
	got := exchange(t, s, a, a.NewLoginCode(u, "snsapi_userinfo")).want(t, 0)
	if got["is_snapshotuser"] != 1.0 || got.str("openid") == a.OpenID(u) || got.str("unionid") == u.UnionID() {
		t.Errorf("exchange %v", got)
	}
	userInfo(t, s, got.str("access_token"), got.str("openid")).want(t, 48001)
	u.SetSnapshot(false)
	if got := exchange(t, s, a, a.NewLoginCode(u, "snsapi_base")).want(t, 0); got["is_snapshotuser"] != nil || got.str("openid") != a.OpenID(u) {
		t.Errorf("exchange %v", got)
	}
}

func TestUserTokenRefresh(t *testing.T) {
	s := Start(t)
	a, u := s.AddAccount(AccountConfig{}), s.AddUser(UserConfig{})
	got := exchange(t, s, a, a.NewLoginCode(u, "snsapi_userinfo")).want(t, 0)
	refresh := func(value string) answered {
		return request(t, s, "/sns/oauth2/refresh_token", url.Values{"appid": {a.AppID()},
			"grant_type": {"refresh_token"}, "refresh_token": {value}}, nil)
	}
	s.Advance(time.Hour)
	same := refresh(got.str("refresh_token")).want(t, 0)
	if same.str("access_token") != got.str("access_token") || same["unionid"] != nil {
		t.Errorf("refresh of a live token: %v", same)
	}
	s.Advance(90 * time.Minute)
	userInfo(t, s, got.str("access_token"), got.str("openid")).want(t, 0)
	s.Advance(time.Hour)
	next := refresh(got.str("refresh_token")).want(t, 0)
	if next.str("access_token") == got.str("access_token") {
		t.Error("an expired token was extended")
	}
	refresh("none").want(t, 40030)
	s.Advance(30 * 24 * time.Hour)
	refresh(got.str("refresh_token")).want(t, 42002)
}

func TestSNSAnswersAsPlainText(t *testing.T) {
	s := Start(t)
	s.AllowMisuse()
	resp, err := http.Get(s.URL() + "/sns/userinfo")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); ct != "text/plain" {
		t.Errorf("Content-Type %q", ct)
	}
	if c := s.Calls("/sns/userinfo"); len(c) != 1 || c[0].ErrCode != 41001 || c[0].Misuse == "" {
		t.Errorf("journal %+v", c)
	}
}

func TestComponentUserTokenRefresh(t *testing.T) {
	s := Start(t)
	s.AllowMisuse()
	p := newPlatform(t, s, ComponentConfig{})
	a, u := s.AddAccount(AccountConfig{}), s.AddUser(UserConfig{})
	access, _ := p.authorized(a)
	got := p.exchange(a, p.NewLoginCode(a, u, "snsapi_base")).want(t, 0)
	good := url.Values{"appid": {a.AppID()}, "grant_type": {"refresh_token"}, "component_appid": {p.AppID()},
		"component_access_token": {p.access}, "refresh_token": {got.str("refresh_token")}}
	for _, tt := range []struct {
		name, value string
		code        int
	}{
		{"", "", 0},
		{"refresh_token", "", 41003},
		{"grant_type", "authorization_code", 40002},
		{"component_appid", "", 41018},
		{"component_appid", "wx0", 40013},
		{"component_access_token", "", 41021},
		{"component_access_token", access, 61014},
		{"appid", "", 41002},
		{"appid", "wx0", 40013},
	} {
		q := url.Values{}
		for k, v := range good {
			q[k] = v
		}
		if tt.name != "" {
			q.Set(tt.name, tt.value)
		}
		if got := request(t, s, "/sns/oauth2/component/refresh_token", q, nil); got.code() != tt.code {
			t.Errorf("%s=%q: errcode %d, want %d", tt.name, tt.value, got.code(), tt.code)
		}
	}
	native := url.Values{"appid": {a.AppID()}, "grant_type": {"refresh_token"}, "refresh_token": {got.str("refresh_token")}}
	request(t, s, "/sns/oauth2/refresh_token", native, nil).want(t, 40030)
}
