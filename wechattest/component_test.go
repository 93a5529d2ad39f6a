package wechattest

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestTicketLife(t *testing.T) {
	s := Start(t)
	c := s.AddComponent(ComponentConfig{})
	p := &platform{t: t, s: s, Component: c}
	p.fetchToken("ticket@@@none").want(t, 61006)
	first := c.NewTicket()
	s.Advance(11 * time.Hour)
	second := c.NewTicket()
	p.fetchToken(first).want(t, 0)
	p.fetchToken(second).want(t, 0)
	s.Advance(time.Hour)
	p.fetchToken(first).want(t, 61005)
	p.fetchToken(second).want(t, 0)
	if c.Ticket() != second {
		t.Error("Ticket is not the newest")
	}
}

func TestComponentTokenRefusals(t *testing.T) {
	s := Start(t)
	s.AllowMisuse()
	c := s.AddComponent(ComponentConfig{})
	ticket := c.NewTicket()
	in := func(appID, secret, ticket string) map[string]string {
		return map[string]string{"component_appid": appID, "component_appsecret": secret, "component_verify_ticket": ticket}
	}
	secret := c.Credentials().AppSecret
	for name, tt := range map[string]struct {
		body any
		code int
	}{
		"unknown appid":     {in("wx0000000000000000", secret, ticket), 40013},
		"wrong secret":      {in(c.AppID(), "0", ticket), 40125},
		"no secret":         {in(c.AppID(), "", ticket), 41004},
		"no appid":          {in("", secret, ticket), 41018},
		"no ticket":         {in(c.AppID(), secret, ""), 61006},
		"empty body":        {" ", 44002},
		"no JSON":           {"component_appid=x", 47001},
		"not the object":    {`{"component_appid":1}`, 47001},
		"escaped Chinese":   {`{"component_appid":"\u4e2d"}`, 47001},
		"escaped < is fine": {`{"component_appid":"\u003c \\u4e2d"}`, 40013},
	} {
		if got := request(t, s, "/cgi-bin/component/api_component_token", nil, tt.body); got.code() != tt.code {
			t.Errorf("%s: errcode %d, want %d", name, got.code(), tt.code)
		}
	}
	request(t, s, "/cgi-bin/component/api_component_token", nil, nil).want(t, 43002)
	request(t, s, "/cgi-bin/token", nil, "{}").want(t, 43001)
}

func TestErrorAnswersCarryRequestID(t *testing.T) {
	s := Start(t)
	p := newPlatform(t, s, ComponentConfig{})
	msg := p.redeem("queryauthcode@@@none").want(t, 61009).str("errmsg")
	if !regexp.MustCompile(`^code is invalid rid: [0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`).MatchString(msg) {
		t.Errorf("errmsg %q", msg)
	}
	_, rid, _ := strings.Cut(msg, "rid: ")
	got := request(t, s, "/cgi-bin/openapi/rid/get", token("access_token", p.access), map[string]string{"rid": rid}).want(t, 0)
	if body := got.obj("request").str("request_body"); !strings.Contains(body, "queryauthcode@@@none") {
		t.Errorf("request_body %q", body)
	}
	other := newPlatform(t, s, ComponentConfig{})
	for rid, code := range map[string]int{rid: 76003, "0": 76002, "00000000-00000000-00000000": 76001} {
		q := token("access_token", other.access)
		request(t, s, "/cgi-bin/openapi/rid/get", q, map[string]string{"rid": rid}).want(t, code)
	}
}

func TestTokenOverlap(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg   Config
		after time.Duration
	}{
		"five minutes": {Config{}, 5 * time.Minute},
		"set":          {Config{TokenOverlap: time.Minute}, time.Minute},
		"none":         {Config{TokenOverlap: -1}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := Start(t, tt.cfg)
			p := newPlatform(t, s, ComponentConfig{})
			a := s.AddAccount(AccountConfig{})
			old, refresh := p.authorized(a)
			oldComponent := p.access
			p.access = p.fetchToken(p.Ticket()).str("component_access_token")
			newest := p.refresh(a, refresh).want(t, 0).str("authorizer_access_token")
			if tt.after > 0 {
				s.Advance(tt.after - time.Second)
				p.echo(old).want(t, 0)
				p.echo(oldComponent).want(t, 0)
				s.Advance(time.Second)
			}
			p.echo(old).want(t, 40001)
			p.echo(oldComponent).want(t, 40001)
			p.echo(newest).want(t, 0)
			p.echo(p.access).want(t, 0)
		})
	}
}

func TestTokensExpire(t *testing.T) {
	s := Start(t)
	p := newPlatform(t, s, ComponentConfig{})
	access, _ := p.authorized(s.AddAccount(AccountConfig{}))
	s.Advance(7199 * time.Second)
	p.echo(access).want(t, 0)
	s.Advance(time.Second)
	p.echo(access).want(t, 42001)
	p.echo(p.access).want(t, 42001)
	p.echo("55_unknown").want(t, 40001)
}

func TestExpireTokens(t *testing.T) {
	s := Start(t)
	p := newPlatform(t, s, ComponentConfig{})
	access, _ := p.authorized(s.AddAccount(AccountConfig{}))
	p.ExpireTokens()
	p.echo(access).want(t, 42001)
	p.echo(p.access).want(t, 42001)
}

func TestWrongKindOfToken(t *testing.T) {
	s := Start(t)
	s.AllowMisuse()
	p := newPlatform(t, s, ComponentConfig{})
	other := s.AddComponent(ComponentConfig{})
	access, _ := p.authorized(s.AddAccount(AccountConfig{}))
	in := map[string]string{"component_appid": p.AppID()}
	const api = "/cgi-bin/component/api_create_preauthcode"
	request(t, s, api, token("access_token", access), in).want(t, 61014)
	request(t, s, api, token("access_token", p.access), in).want(t, 0)
	request(t, s, api, token("component_access_token", p.access), in).want(t, 0)
	request(t, s, api, nil, in).want(t, 41001)
	p.call("api_create_preauthcode", map[string]any{"component_appid": other.AppID()}).want(t, 40013)
	ticket := token("access_token", p.access)
	ticket.Set("type", "jsapi")
	request(t, s, "/cgi-bin/ticket/getticket", ticket, nil).want(t, 61015)
	request(t, s, "/cgi-bin/test/echo", token("component_access_token", p.access), nil).want(t, 41001)
	for _, c := range s.Calls() {
		bug := c.ErrCode != 0
		if bug != (c.Misuse != "") {
			t.Errorf("%s: errcode %d, misuse %q", c.Path, c.ErrCode, c.Misuse)
		}
	}
}

func TestAuthorizationCodeIsUsedOnceAndInTime(t *testing.T) {
	s := Start(t)
	p := newPlatform(t, s, ComponentConfig{})
	other := newPlatform(t, s, ComponentConfig{})
	a := s.AddAccount(AccountConfig{})
	code := p.NewAuthCode(a)
	other.redeem(code).want(t, 61009)
	info := p.redeem(code).want(t, 0).obj("authorization_info")
	if info.str("authorizer_appid") != a.AppID() || info.str("authorizer_refresh_token") != p.RefreshToken(a) {
		t.Errorf("authorization_info %v", info)
	}
	p.redeem(code).want(t, 61009)
	late := p.NewAuthCode(a)
	s.Advance(3600 * time.Second)
	p.access = p.fetchToken(p.Ticket()).str("component_access_token")
	p.redeem(late).want(t, 61010)
}

func TestNoAPIAnswersWithoutTokens(t *testing.T) {
	s := Start(t)
	p := newPlatform(t, s, ComponentConfig{})
	info := p.redeem(p.NewAuthCode(s.AddAccount(AccountConfig{NoAPI: true}))).want(t, 0).obj("authorization_info")
	for _, key := range []string{"authorizer_access_token", "expires_in", "authorizer_refresh_token"} {
		if v, ok := info[key]; ok {
			t.Errorf("%s = %v, want none", key, v)
		}
	}
}

func TestRefreshTokenRotates(t *testing.T) {
	s := Start(t)
	p := newPlatform(t, s, ComponentConfig{})
	a := s.AddAccount(AccountConfig{})
	p.refresh(a, "refreshtoken@@@none").want(t, 61003)
	_, first := p.authorized(a)
	second := p.refresh(a, first).want(t, 0).str("authorizer_refresh_token")
	p.refresh(a, first).want(t, 61023)
	p.refresh(a, second).want(t, 0)
	third := p.RefreshToken(a)
	fourth := p.RotateRefreshToken(a)
	p.refresh(a, third).want(t, 61023)
	_, fifth := p.authorized(a)
	p.refresh(a, fourth).want(t, 61023)
	p.refresh(a, fifth).want(t, 0)
}

func TestKeepRefreshToken(t *testing.T) {
	s := Start(t, Config{KeepRefreshToken: true})
	p := newPlatform(t, s, ComponentConfig{})
	a := s.AddAccount(AccountConfig{})
	_, first := p.authorized(a)
	if second := p.refresh(a, first).want(t, 0).str("authorizer_refresh_token"); second != first {
		t.Errorf("refresh token changed from %q to %q", first, second)
	}
	p.refresh(a, first).want(t, 0)
}

func TestUnauthorizedAccountIsRefused(t *testing.T) {
	s := Start(t)
	p := newPlatform(t, s, ComponentConfig{})
	a := s.AddAccount(AccountConfig{})
	access, refresh := p.authorized(a)
	if err := p.Unauthorize(testContext(t), a); err != nil {
		t.Fatal(err)
	}
	p.echo(access).want(t, 61003)
	p.refresh(a, refresh).want(t, 61003)
	p.call("api_get_authorizer_info", map[string]any{"authorizer_appid": a.AppID()}).want(t, 61003)
	again, _ := p.authorized(a)
	p.echo(again).want(t, 0)
	p.echo(access).want(t, 61003)
}

func TestAuthorizerList(t *testing.T) {
	s := Start(t)
	s.AllowMisuse("/cgi-bin/component/api_get_authorizer_list")
	p := newPlatform(t, s, ComponentConfig{})
	var accounts []*Account
	for range 5 {
		a := s.AddAccount(AccountConfig{})
		p.NewAuthCode(a)
		accounts = append(accounts, a)
	}
	p.authorized(accounts[3])
	if err := p.Unauthorize(testContext(t), accounts[1]); err != nil {
		t.Fatal(err)
	}
	list := func(offset, count int) answered {
		return p.call("api_get_authorizer_list", map[string]any{"offset": offset, "count": count})
	}
	got := list(1, 2).want(t, 0)
	if got["total_count"] != 4.0 {
		t.Errorf("total_count %v", got["total_count"])
	}
	var ids, tokens []string
	for _, e := range got["list"].([]any) {
		ids = append(ids, answered(e.(map[string]any)).str("authorizer_appid"))
		tokens = append(tokens, answered(e.(map[string]any)).str("refresh_token"))
	}
	if strings.Join(ids, " ") != accounts[2].AppID()+" "+accounts[3].AppID() {
		t.Errorf("list %v", ids)
	}
	if tokens[0] != "" || tokens[1] != p.RefreshToken(accounts[3]) {
		t.Errorf("refresh tokens %q: that of an unredeemed code is empty", tokens)
	}
	if l := list(10, 500).want(t, 0)["list"].([]any); len(l) != 0 {
		t.Errorf("list behind the end: %v", l)
	}
	list(0, 501).want(t, 40170)
}

func TestAuthorizerInfo(t *testing.T) {
	s := Start(t)
	p := newPlatform(t, s, ComponentConfig{})
	for _, mini := range []bool{false, true} {
		a := s.AddAccount(AccountConfig{MiniProgram: mini, Name: "名称"})
		_, refresh := p.authorized(a)
		got := p.call("api_get_authorizer_info", map[string]any{"authorizer_appid": a.AppID()}).want(t, 0)
		info := got.obj("authorizer_info")
		if _, ok := info["MiniProgramInfo"]; ok != mini || info.str("nick_name") != "名称" || info.str("user_name") != a.UserName() {
			t.Errorf("mini %v: %v", mini, info)
		}
		if auth := got.obj("authorization_info"); auth.str("authorizer_refresh_token") != refresh || auth["authorizer_access_token"] != nil {
			t.Errorf("authorization_info %v", auth)
		}
	}
}

func TestAuthorizerOptions(t *testing.T) {
	s := Start(t)
	s.AllowMisuse()
	p := newPlatform(t, s, ComponentConfig{})
	a := s.AddAccount(AccountConfig{})
	access, _ := p.authorized(a)
	in := func(name, value string) map[string]any {
		return map[string]any{"authorizer_appid": a.AppID(), "option_name": name, "option_value": value}
	}
	p.call("api_set_authorizer_option", in("location_report", "2")).want(t, 0)
	if v := p.call("get_authorizer_option", in("location_report", "")).want(t, 0).str("option_value"); v != "2" {
		t.Errorf("location_report = %q", v)
	}
	short := map[string]string{"option_name": "voice_recognize", "option_value": "1"}
	request(t, s, "/cgi-bin/component/set_authorizer_option", token("access_token", access), short).want(t, 0)
	if v := p.call("api_get_authorizer_option", in("voice_recognize", "")).want(t, 0).str("option_value"); v != "1" {
		t.Errorf("voice_recognize = %q", v)
	}
	p.call("api_set_authorizer_option", in("colour", "1")).want(t, 61012)
	p.call("api_set_authorizer_option", in("customer_service", "2")).want(t, 61013)
	request(t, s, "/cgi-bin/component/api_set_authorizer_option", token("access_token", access), short).want(t, 61014)
}
