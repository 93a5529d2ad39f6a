package wechattest

import (
	"testing"
	"time"
)

// atNoon is a base clock at noon in Beijing, early in a month.
func atNoon() time.Time { return time.Date(2026, 3, 2, 12, 0, 0, 0, beijing()) }

func TestDailyQuotaEndsAtMidnightInBeijing(t *testing.T) {
	const path = "/cgi-bin/component/api_create_preauthcode"
	s := Start(t, Config{Now: atNoon})
	p, other := newPlatform(t, s, ComponentConfig{}), newPlatform(t, s, ComponentConfig{})
	s.SetQuota(path, 2)
	p.preAuthCode()
	p.preAuthCode()
	p.call("api_create_preauthcode", nil).want(t, 45009)
	other.preAuthCode()
	quota := request(t, s, "/cgi-bin/openapi/quota/get", token("access_token", p.access), map[string]string{"cgi_path": path}).
		want(t, 0).obj("quota")
	if quota["daily_limit"] != 2.0 || quota["used"] != 2.0 || quota["remain"] != 0.0 {
		t.Errorf("quota %v", quota)
	}
	s.Advance(12*time.Hour - time.Second)
	p.access = p.fetchToken(p.NewTicket()).str("component_access_token")
	p.call("api_create_preauthcode", nil).want(t, 45009)
	s.Advance(time.Second)
	p.preAuthCode()
	s.SetQuota(path, 0)
	p.call("api_create_preauthcode", nil).want(t, 45009)
	s.SetQuota(path, -1)
	p.preAuthCode()
}

func TestClearQuotaTenTimesAMonth(t *testing.T) {
	const path = "/cgi-bin/component/api_component_token"
	s := Start(t, Config{Now: atNoon})
	p := newPlatform(t, s, ComponentConfig{})
	s.SetQuota(path, 1)
	p.fetchToken(p.Ticket()).want(t, 45009)
	v2 := map[string]string{"component_appid": p.AppID(), "appsecret": p.Credentials().AppSecret}
	request(t, s, "/cgi-bin/component/clear_quota/v2", nil, v2).want(t, 0)
	p.fetchToken(p.Ticket()).want(t, 0)
	p.call("clear_quota", nil).want(t, 0)
	own := map[string]string{"appid": p.AppID()}
	for range 8 {
		p.access = newest(p)
		request(t, s, "/cgi-bin/clear_quota", token("access_token", p.access), own).want(t, 0)
	}
	request(t, s, "/cgi-bin/component/clear_quota/v2", nil, v2).want(t, 48006)
	s.Advance(31 * 24 * time.Hour)
	request(t, s, "/cgi-bin/component/clear_quota/v2", nil, v2).want(t, 0)
}

func newest(p *platform) string {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.slot.newest().value
}

func TestQuotaPaths(t *testing.T) {
	s := Start(t)
	s.AllowMisuse()
	p := newPlatform(t, s, ComponentConfig{})
	access, _ := p.authorized(s.AddAccount(AccountConfig{}))
	for _, tt := range []struct {
		token, path string
		code        int
	}{
		{access, "/cgi-bin/user/info", 0},
		{access, "/cgi-bin/component/api_query_auth", 76022},
		{p.access, "/cgi-bin/user/info", 76022},
		{p.access, "/sns/userinfo", 76022},
		{p.access, "/cgi-bin/nothing", 76021},
		{p.access, "https://api.weixin.qq.com/cgi-bin/user/info", 76003},
	} {
		got := request(t, s, "/cgi-bin/openapi/quota/get", token("access_token", tt.token), map[string]string{"cgi_path": tt.path})
		if got.code() != tt.code {
			t.Errorf("%s: errcode %d, want %d", tt.path, got.code(), tt.code)
		}
	}
}

func TestClearQuotaRefusals(t *testing.T) {
	const path = "/cgi-bin/user/info"
	s := Start(t, Config{Now: atNoon})
	s.AllowMisuse()
	p := newPlatform(t, s, ComponentConfig{})
	a, stranger := s.AddAccount(AccountConfig{}), s.AddAccount(AccountConfig{})
	access, _ := p.authorized(a)
	s.SetQuota(path, 0)
	request(t, s, path, token("access_token", access), nil).want(t, 45009)
	own := token("access_token", access)
	request(t, s, "/cgi-bin/clear_quota", own, map[string]string{"appid": stranger.AppID()}).want(t, 40013)
	request(t, s, "/cgi-bin/clear_quota", own, map[string]string{}).want(t, 41002)
	v2 := map[string]string{"component_appid": p.AppID(), "appsecret": p.Credentials().AppSecret, "appid": stranger.AppID()}
	request(t, s, "/cgi-bin/component/clear_quota/v2", nil, v2).want(t, 61003)
	v2["appid"] = a.AppID()
	request(t, s, "/cgi-bin/component/clear_quota/v2", nil, v2).want(t, 0)
	for range 50 {
		request(t, s, "/cgi-bin/openapi/quota/clear", own, map[string]string{"cgi_path": path}).want(t, 0)
	}
	request(t, s, "/cgi-bin/openapi/quota/clear", own, map[string]string{"cgi_path": path}).want(t, 48006)
	request(t, s, "/cgi-bin/clear_quota", own, map[string]string{"appid": a.AppID()}).want(t, 0)
}
