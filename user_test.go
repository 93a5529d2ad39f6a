package wechatopen_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

const (
	apiExchangeOwn       = "/sns/oauth2/access_token"
	apiExchangeComponent = "/sns/oauth2/component/access_token"
	apiRefreshOwn        = "/sns/oauth2/refresh_token"
	apiRefreshComponent  = "/sns/oauth2/component/refresh_token"
	apiUserInfo          = "/sns/userinfo"
	apiUserAuth          = "/sns/auth"
)

// loginAccount is an account whose users log in: one that authorizes the platform, or one of one's own.
type loginAccount struct {
	*wechatopen.Account
	own               bool
	exchange, refresh string // paths
	code              func(u *wechattest.User, scope string) string
}

// eachLoginAccount runs a test for both kinds.
func eachLoginAccount(t *testing.T, test func(t *testing.T, w *world, a loginAccount)) {
	t.Helper()
	t.Run("authorizer", func(t *testing.T) {
		w := newWorld(t)
		a := loginAccount{Account: w.ready(), exchange: apiExchangeComponent, refresh: apiRefreshComponent}
		a.code = func(u *wechattest.User, scope string) string { return w.comp.NewLoginCode(w.shop, u, scope) }
		test(t, w, a)
	})
	t.Run("own account", func(t *testing.T) {
		w := newWorld(t)
		a := loginAccount{Account: w.shopOfItsOwn(), own: true, exchange: apiExchangeOwn, refresh: apiRefreshOwn}
		a.code = func(u *wechattest.User, scope string) string { return w.shop.NewLoginCode(u, scope) }
		test(t, w, a)
	})
}

// query is what a call of path sends, besides tokens and secrets, which are checked here.
func (a loginAccount) query(w *world, path string) map[string]string {
	w.t.Helper()
	calls := w.sim.Calls(path)
	if len(calls) == 0 {
		w.t.Fatalf("no call of %s", path)
	}
	got := map[string]string{}
	for name, values := range calls[len(calls)-1].Query {
		if len(values) != 1 {
			w.t.Errorf("%s is sent %d times", name, len(values))
		}
		got[name] = values[0]
	}
	if a.own {
		if path == apiExchangeOwn && got["secret"] != w.shop.Credentials().AppSecret {
			w.t.Errorf("secret %q", got["secret"])
		}
		delete(got, "secret")
		return got
	}
	if got["component_appid"] != w.comp.AppID() || got["component_access_token"] != w.componentToken() {
		w.t.Errorf("query %v", got)
	}
	delete(got, "component_appid")
	delete(got, "component_access_token")
	return got
}

func TestUserExchangeCode(t *testing.T) {
	for _, scope := range []string{wechatopen.ScopeBase, wechatopen.ScopeUserInfo, wechatopen.ScopeLogin} {
		t.Run(scope, func(t *testing.T) {
			eachLoginAccount(t, func(t *testing.T, w *world, a loginAccount) {
				code := a.code(w.alice, scope)
				before := w.sim.Now()
				tok, err := a.ExchangeCode(t.Context(), code)
				if err != nil {
					t.Fatal(err)
				}
				union := ""
				if scope != wechatopen.ScopeBase {
					union = w.alice.UnionID()
				}
				if tok.OpenID != w.shop.OpenID(w.alice) || tok.UnionID != union || tok.Scope != scope || tok.SnapshotUser || tok.AccessToken == "" || tok.RefreshToken == "" {
					t.Errorf("%+v", *tok)
				}
				if tok.Expiry.Before(before.Add(2*time.Hour)) || tok.Expiry.After(w.sim.Now().Add(2*time.Hour)) {
					t.Errorf("until %v", tok.Expiry)
				}
				if want := map[string]string{"appid": w.shop.AppID(), "code": code, "grant_type": "authorization_code"}; !maps.Equal(a.query(w, a.exchange), want) {
					t.Errorf("query %v", a.query(w, a.exchange))
				}
				for _, s := range []string{fmt.Sprint(*tok), fmt.Sprintf("%v %+v %#v %s", tok, tok, tok, *tok), slog.AnyValue(*tok).Resolve().String()} {
					if strings.Contains(s, tok.AccessToken) || strings.Contains(s, tok.RefreshToken) {
						t.Errorf("a token prints: %s", s)
					}
				}

				// Once: WeChat refuses the second time, and it is not tried again by itself.
				calls := w.sim.Count(a.exchange)
				var refusal *wechatopen.APIError
				if _, err := a.ExchangeCode(t.Context(), code); !errors.As(err, &refusal) || refusal.Code != 40163 || strings.Contains(err.Error(), code) {
					t.Errorf("the second time: %v", err)
				}
				if n := w.sim.Count(a.exchange) - calls; n != 1 {
					t.Errorf("%d calls for one exchange", n)
				}
				if len(w.refreshTokens()) > 1 || strings.Contains(fmt.Sprint(w.store.snapshot()), tok.AccessToken) {
					t.Error("a user's token is in the Store")
				}
			})
		})
	}
}

func TestUserExchangeCodeRefused(t *testing.T) {
	eachLoginAccount(t, func(t *testing.T, w *world, a loginAccount) {
		other := w.sim.AddAccount(wechattest.AccountConfig{})
		w.comp.NewAuthCode(other)
		expired := a.code(w.alice, wechatopen.ScopeBase)
		w.sim.Advance(6 * time.Minute)
		for name, tt := range map[string]struct {
			code string
			want int
		}{
			"never one":                   {"garbage", 40029},
			"expired":                     {expired, 42003},
			"of another account":          {w.comp.NewLoginCode(other, w.alice, wechatopen.ScopeBase), 40029},
			"with what would be a query":  {"x&appid=" + other.AppID(), 40029},
			"of the other kind of login":  {map[bool]string{true: w.comp.NewLoginCode(w.shop, w.alice, wechatopen.ScopeBase), false: w.shop.NewLoginCode(w.alice, wechatopen.ScopeBase)}[a.own], 40029},
			"with characters of a header": {"x\r\ny", 40029},
		} {
			tok, err := a.ExchangeCode(t.Context(), tt.code)
			var refusal *wechatopen.APIError
			if tok != nil || !errors.As(err, &refusal) || refusal.Code != tt.want || refusal.Op != a.exchange {
				t.Errorf("%s: %v, %v", name, tok, err)
			}
		}
	})
}

// attacks.md 21: a user without an id is none.
func TestUserExchangeCodeOfAnAnswerWithoutUser(t *testing.T) {
	eachLoginAccount(t, func(t *testing.T, w *world, a loginAccount) {
		for _, body := range []string{
			`{}`, `{"errcode":0,"errmsg":"ok"}`, `null`, `[]`, ``, `<html>`, `{"access_token":"92_x","openid":""}`, `{"access_token":"92_x"}`, `{"openid":"oX"}`,
			`{"access_token":"92_x","openid":null}`, `{"access_token":"92_x","openid":7}`, `{"access_token":"92_x","open`,
		} {
			w.sim.Inject(wechattest.Fault{Path: a.exchange, Times: 1, Body: []byte(body)})
			if tok, err := a.ExchangeCode(t.Context(), "code"); err == nil || tok != nil || strings.Contains(err.Error(), "92_x") {
				t.Errorf("%s: %v, %v", body, tok, err)
			}
		}
	})
}

func TestUserExchangeCodeReadsWhatWeChatSends(t *testing.T) {
	eachLoginAccount(t, func(t *testing.T, w *world, a loginAccount) {
		for body, check := range map[string]func(*wechatopen.UserToken) bool{
			`{"access_token":"t","expires_in":"7200","refresh_token":"r","openid":"o1","scope":"snsapi_base","is_snapshotuser":"1"}`: func(u *wechatopen.UserToken) bool {
				return u.SnapshotUser && u.Expiry.After(w.sim.Now().Add(time.Hour))
			},
			`{"access_token":"t","expires_in":7200,"openid":"o1","is_snapshotuser":0}`: func(u *wechatopen.UserToken) bool { return !u.SnapshotUser },
			`{"access_token":"t","expires_in":-5,"openid":"o1"}`:                       func(u *wechatopen.UserToken) bool { return !u.Expiry.After(w.sim.Now()) },
			`{"access_token":"t","expires_in":9223372036854775807,"openid":"o1"}`: func(u *wechatopen.UserToken) bool {
				return u.Expiry.After(w.sim.Now()) && u.Expiry.Before(w.sim.Now().Add(25*time.Hour))
			},
		} {
			w.sim.Inject(wechattest.Fault{Path: a.exchange, Times: 1, Body: []byte(body)})
			if u, err := a.ExchangeCode(t.Context(), "code"); err != nil || u.OpenID != "o1" || !check(u) {
				t.Errorf("%s: %+v, %v", body, u, err)
			}
		}
		w.alice.SetSnapshot(true)
		u, err := a.ExchangeCode(t.Context(), a.code(w.alice, wechatopen.ScopeUserInfo))
		if err != nil || !u.SnapshotUser || u.OpenID == w.shop.OpenID(w.alice) {
			t.Errorf("a snapshot page: %+v, %v", u, err)
		}
	})
}

// A login goes on when the component's token has become stale meanwhile: the code is not spent by the refusal.
func TestUserExchangeCodeWithAStaleComponentToken(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	w.wantComponentToken()
	code := w.comp.NewLoginCode(w.shop, w.alice, wechatopen.ScopeBase)
	w.comp.ExpireTokens()
	tok, err := a.ExchangeCode(t.Context(), code)
	if err != nil || tok.OpenID != w.shop.OpenID(w.alice) {
		t.Fatalf("%+v, %v", tok, err)
	}
	if calls := w.sim.Calls(apiExchangeComponent); len(calls) != 2 || calls[0].ErrCode != 42006 || calls[1].ErrCode != 0 {
		t.Errorf("calls %+v", calls)
	}
	// Of an account that does not authorize the platform, WeChat says so.
	if err := w.comp.Unauthorize(t.Context(), w.shop); err != nil {
		t.Fatal(err)
	}
	var refusal *wechatopen.APIError
	if _, err := a.ExchangeCode(t.Context(), w.comp.NewLoginCode(w.shop, w.alice, wechatopen.ScopeBase)); !errors.As(err, &refusal) || refusal.Code != 61003 {
		t.Errorf("%v", err)
	}
}

func TestUserRefreshToken(t *testing.T) {
	eachLoginAccount(t, func(t *testing.T, w *world, a loginAccount) {
		first, err := a.ExchangeCode(t.Context(), a.code(w.alice, wechatopen.ScopeUserInfo))
		if err != nil {
			t.Fatal(err)
		}
		w.sim.Advance(time.Hour)
		before := w.sim.Now()
		again, err := a.RefreshUserToken(t.Context(), first.RefreshToken)
		if err != nil {
			t.Fatal(err)
		}
		if again.AccessToken != first.AccessToken || again.OpenID != first.OpenID || again.Scope != first.Scope || again.Expiry.Before(before.Add(2*time.Hour)) {
			t.Errorf("%+v", *again)
		}
		if want := map[string]string{"appid": w.shop.AppID(), "grant_type": "refresh_token", "refresh_token": first.RefreshToken}; !maps.Equal(a.query(w, a.refresh), want) {
			t.Errorf("query %v", a.query(w, a.refresh))
		}
		w.sim.Advance(3 * time.Hour)
		again, err = a.RefreshUserToken(t.Context(), first.RefreshToken)
		if err != nil || again.AccessToken == first.AccessToken {
			t.Errorf("after its end: %+v, %v", again, err)
		}
		w.sim.Advance(31 * 24 * time.Hour)
		w.pushTicket() // the last one is a month old
		var refusal *wechatopen.APIError
		for token, code := range map[string]int{first.RefreshToken: 42002, "never-one-of-weixin": 40030} {
			if u, err := a.RefreshUserToken(t.Context(), token); u != nil || !errors.As(err, &refusal) || refusal.Code != code || strings.Contains(err.Error(), token) {
				t.Errorf("%v, %v; want %d", u, err, code)
			}
		}
		w.sim.Inject(wechattest.Fault{Path: a.refresh, Body: []byte(`{"expires_in":7200}`)})
		if u, err := a.RefreshUserToken(t.Context(), first.RefreshToken); err == nil {
			t.Errorf("an answer without user: %+v", u)
		}
	})
}

func TestUserCheckToken(t *testing.T) {
	eachLoginAccount(t, func(t *testing.T, w *world, a loginAccount) {
		tok, err := a.ExchangeCode(t.Context(), a.code(w.alice, wechatopen.ScopeBase))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.CheckUserToken(t.Context(), tok.AccessToken, tok.OpenID); err != nil {
			t.Error(err)
		}
		if c := w.theCall(apiUserAuth); c.Method != "GET" || len(c.Query) != 2 || c.Query.Get("access_token") != tok.AccessToken || c.Query.Get("openid") != tok.OpenID {
			t.Errorf("%s %v", c.Method, c.Query)
		}
		var refusal *wechatopen.APIError
		if err := a.CheckUserToken(t.Context(), tok.AccessToken, "oSomebodyElse"); !errors.As(err, &refusal) || refusal.Code != 40003 {
			t.Errorf("another openid: %v", err)
		}
		// The user's token is not the account's: nothing is refreshed because of it.
		refreshes := w.sim.Count(apiComponentToken) + w.sim.Count(apiAuthorizerToken) + w.sim.Count("/cgi-bin/stable_token")
		if err := a.CheckUserToken(t.Context(), "never-one-of-weixin", tok.OpenID); !errors.As(err, &refusal) || refusal.Code != 40001 || strings.Contains(err.Error(), "never-one") {
			t.Errorf("a token that is none: %v", err)
		}
		w.sim.Advance(3 * time.Hour)
		if err := a.CheckUserToken(t.Context(), tok.AccessToken, tok.OpenID); !errors.As(err, &refusal) || refusal.Code != 42001 {
			t.Errorf("after its end: %v", err)
		}
		if n := w.sim.Count(apiComponentToken) + w.sim.Count(apiAuthorizerToken) + w.sim.Count("/cgi-bin/stable_token") - refreshes; n != 0 {
			t.Errorf("%d tokens were fetched", n)
		}
		if n := w.sim.Count(apiUserAuth); n != 4 {
			t.Errorf("%d calls for 4 checks", n)
		}
	})
}

func TestUserInfo(t *testing.T) {
	eachLoginAccount(t, func(t *testing.T, w *world, a loginAccount) {
		tok, err := a.ExchangeCode(t.Context(), a.code(w.alice, wechatopen.ScopeUserInfo))
		if err != nil {
			t.Fatal(err)
		}
		for lang, sent := range map[string]string{"": "zh_CN", "en": "en", "zh_TW": "zh_TW"} {
			w.sim.ResetJournal()
			u, err := a.UserInfo(t.Context(), tok.AccessToken, tok.OpenID, lang)
			if err != nil {
				t.Fatal(err)
			}
			if u.OpenID != w.shop.OpenID(w.alice) || u.Nickname != "Alice" || u.AvatarURL != w.alice.AvatarURL() || u.UnionID != w.alice.UnionID() || u.Sex != 0 {
				t.Errorf("%+v", u)
			}
			if c := w.theCall(apiUserInfo); c.Method != "GET" || len(c.Query) != 3 || c.Query.Get("lang") != sent || c.Query.Get("access_token") != tok.AccessToken || c.Query.Get("openid") != tok.OpenID {
				t.Errorf("%s %v", c.Method, c.Query)
			}
		}
		w.sim.Inject(wechattest.Fault{Path: apiUserInfo, Times: 1, Body: []byte(`{"openid":"o1","nickname":"😀 店","sex":"1","province":"广东","city":"深圳","country":"中国",
			"headimgurl":"https://thirdwx.qlogo.cn/x/0","privilege":["chinaunicom"],"unionid":"o6"}`)})
		u, err := a.UserInfo(t.Context(), tok.AccessToken, tok.OpenID, "")
		if err != nil || u.Sex != 1 || u.Nickname != "😀 店" || u.Province != "广东" || u.City != "深圳" || u.Country != "中国" || !slices.Equal(u.Privilege, []string{"chinaunicom"}) ||
			u.UnionID != "o6" || u.AvatarURL != "https://thirdwx.qlogo.cn/x/0" {
			t.Errorf("%+v, %v", u, err)
		}
		var refusal *wechatopen.APIError
		base, err := a.ExchangeCode(t.Context(), a.code(w.alice, wechatopen.ScopeBase))
		if err != nil {
			t.Fatal(err)
		}
		if u, err := a.UserInfo(t.Context(), base.AccessToken, base.OpenID, ""); u != nil || !errors.As(err, &refusal) || refusal.Code != 48001 || refusal.Op != apiUserInfo {
			t.Errorf("with snsapi_base: %+v, %v", u, err)
		}
		if u, err := a.UserInfo(t.Context(), "never-one-of-weixin", tok.OpenID, ""); u != nil || !errors.As(err, &refusal) || refusal.Code != 40001 {
			t.Errorf("with a token that is none: %+v, %v", u, err)
		}
	})
}

func TestUserAuthCodeURL(t *testing.T) {
	creds := wechatopen.Credentials{AppID: "wxc0", AppSecret: "s", Token: "t", EncodingAESKey: strings.Repeat("a", 43)}
	p, err := wechatopen.NewPlatform(creds, wechatopen.WithStore(wechatopen.NewMemoryStore()))
	if err != nil {
		t.Fatal(err)
	}
	own, err := wechatopen.NewAccount(wechatopen.Credentials{AppID: "wxown", AppSecret: "s"})
	if err != nil {
		t.Fatal(err)
	}
	shop := p.Account("wxshop")
	tests := []struct {
		a                      *wechatopen.Account
		redirect, scope, state string
		want                   string
	}{
		{shop, "https://s.example.com/p?a=1&b=店#f", wechatopen.ScopeBase, "abc123",
			"https://open.weixin.qq.com/connect/oauth2/authorize?appid=wxshop&redirect_uri=https%3A%2F%2Fs.example.com%2Fp%3Fa%3D1%26b%3D%E5%BA%97%23f&response_type=code&scope=snsapi_base&state=abc123&connect_redirect=1&component_appid=wxc0#wechat_redirect"},
		{own, "https://s.example.com/", wechatopen.ScopeUserInfo, "",
			"https://open.weixin.qq.com/connect/oauth2/authorize?appid=wxown&redirect_uri=https%3A%2F%2Fs.example.com%2F&response_type=code&scope=snsapi_userinfo&state=&connect_redirect=1#wechat_redirect"},
		{own, "https://s.example.com/a b+c%2F", wechatopen.ScopeLogin, "x",
			"https://open.weixin.qq.com/connect/qrconnect?appid=wxown&redirect_uri=https%3A%2F%2Fs.example.com%2Fa%20b%2Bc%252F&response_type=code&scope=snsapi_login&state=x#wechat_redirect"},
		// State and scope cannot break out of their parameter.
		{own, "https://s.example.com/", "snsapi_base&appid=evil", "x&appid=evil#y",
			"https://open.weixin.qq.com/connect/oauth2/authorize?appid=wxown&redirect_uri=https%3A%2F%2Fs.example.com%2F&response_type=code&scope=snsapi_base%26appid%3Devil&state=x%26appid%3Devil%23y&connect_redirect=1#wechat_redirect"},
	}
	for _, tt := range tests {
		if got := tt.a.AuthCodeURL(tt.redirect, tt.scope, tt.state); got != tt.want {
			t.Errorf("\n got %s\nwant %s", got, tt.want)
		}
	}
}

// WeChat's page accepts the address, order of parameters and all, and sends the browser back with a code that works.
func TestUserAuthCodeURLLeadsToACode(t *testing.T) {
	eachLoginAccount(t, func(t *testing.T, w *world, a loginAccount) {
		back := w.site.URL + "/landing?x=%26&y=1"
		for _, scope := range []string{wechatopen.ScopeBase, wechatopen.ScopeUserInfo} {
			page, err := w.sim.NewBrowser(w.alice).Open(t.Context(), a.AuthCodeURL(back, scope, "state"+scope[7:]))
			if err == nil && scope == wechatopen.ScopeUserInfo {
				page, err = page.Click(t.Context(), "allow")
			}
			if err != nil {
				t.Fatal(err)
			}
			u := mustParse(t, page.URL)
			q := u.Query()
			if !strings.HasPrefix(page.URL, back+"&") || q.Get("state") != "state"+scope[7:] || q.Get("x") != "&" {
				t.Fatalf("came back to %s: %s", page.URL, page.Text())
			}
			if tok, err := a.ExchangeCode(t.Context(), q.Get("code")); err != nil || tok.OpenID != w.shop.OpenID(w.alice) || tok.Scope != scope {
				t.Errorf("%+v, %v", tok, err)
			}
		}
	})
}
