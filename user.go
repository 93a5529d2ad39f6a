package wechatopen

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Scopes of a login. Source: "Web page authorization" and "Website application login" of WeChat's documentation.
const (
	ScopeBase     = "snsapi_base"     // silent, tells the openid only
	ScopeUserInfo = "snsapi_userinfo" // asks the visitor, tells nickname, avatar and unionid too
	ScopeLogin    = "snsapi_login"    // QR code on a website, for browsers outside WeChat
)

// UserToken is what WeChat exchanges a login code for. It is the user's, and does not do for calls in the account's
// name. It prints and logs without its tokens.
type UserToken struct {
	AccessToken  string
	RefreshToken string    // lives 30 days and cannot be renewed
	Expiry       time.Time // of AccessToken, two hours
	OpenID       string
	UnionID      string // only with ScopeUserInfo or ScopeLogin, for an account bound to an Open Platform account
	Scope        string // what was granted; several are separated by commas
	// SnapshotUser is true for a visitor of a snapshot page, whose OpenID is made up.
	SnapshotUser bool
}

// String keeps the tokens out of logs.
func (t UserToken) String() string {
	return "{user " + t.OpenID + ", scope " + t.Scope + ", token …, valid until " + t.Expiry.Format(time.RFC3339) + "}"
}

// GoString keeps the tokens out of %#v.
func (t UserToken) GoString() string { return "wechatopen.UserToken" + t.String() }

// LogValue keeps the tokens out of [log/slog].
func (t UserToken) LogValue() slog.Value { return slog.StringValue(t.String()) }

// UserInfo is what a user's token opens with [ScopeUserInfo] or [ScopeLogin].
type UserInfo struct {
	OpenID    string   `json:"openid"`
	Nickname  string   `json:"nickname"`
	Sex       Int      `json:"sex"` // 1 male, 2 female; 0 unknown, as it is for everyone since 2021
	Province  string   `json:"province"`
	City      string   `json:"city"`
	Country   string   `json:"country"`
	AvatarURL string   `json:"headimgurl"`
	Privilege []string `json:"privilege"`
	UnionID   string   `json:"unionid"`
}

type userTokenAnswer struct {
	AccessToken  string `json:"access_token"`
	ExpiresIn    Int    `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	OpenID       string `json:"openid"`
	UnionID      string `json:"unionid"`
	Scope        string `json:"scope"`
	Snapshot     Int    `json:"is_snapshotuser"`
}

func (o *userTokenAnswer) token(op string, start time.Time) (*UserToken, error) {
	if o.OpenID == "" || o.AccessToken == "" {
		return nil, errorf("%s: the answer names no user", op)
	}
	return &UserToken{
		AccessToken: o.AccessToken, RefreshToken: o.RefreshToken,
		Expiry: start.Add(time.Duration(min(max(o.ExpiresIn, 0), Int(maxTokenLife/time.Second))) * time.Second),
		OpenID: o.OpenID, UnionID: o.UnionID, Scope: o.Scope, SnapshotUser: o.Snapshot == 1,
	}, nil
}

// AuthCodeURL is the address of WeChat's login page, which sends the browser on to redirectURI with code and state.
// [OAuth] does all of it. state: letters and digits, 128 at most, to be checked on return.
func (a *Account) AuthCodeURL(redirectURI, scope, state string) string {
	return a.authCodeURL(redirectURI, scope, state, true)
}

// authCodeURL keeps WeChat's order of parameters, which is checked. connectRedirect adds connect_redirect=1, which makes
// WeChat's client call the redirect URI once instead of, sometimes, twice; where it goes is not documented.
func (a *Account) authCodeURL(redirectURI, scope, state string, connectRedirect bool) string {
	page := "/connect/oauth2/authorize"
	if scope == ScopeLogin {
		page, connectRedirect = "/connect/qrconnect", false
	}
	var b strings.Builder
	b.WriteString(a.c.endpoints.Open)
	b.WriteString(page + "?appid=" + escape(a.appID) + "&redirect_uri=" + escape(redirectURI))
	b.WriteString("&response_type=code&scope=" + escape(scope) + "&state=" + escape(state))
	if connectRedirect {
		b.WriteString("&connect_redirect=1")
	}
	if a.platform != nil && scope != ScopeLogin {
		b.WriteString("&component_appid=" + a.platform.creds.AppID)
	}
	b.WriteString("#wechat_redirect")
	return b.String()
}

// escape is url.QueryEscape with %20 for a space, which every server reads alike.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// ExchangeCode exchanges a login code, once: WeChat refuses a second time with errcode 40163 or 40029. After an error of
// the network the code may be spent.
func (a *Account) ExchangeCode(ctx context.Context, code string) (*UserToken, error) {
	start := a.c.now()
	var out userTokenAnswer
	q := url.Values{"appid": {a.appID}, "code": {code}, "grant_type": {"authorization_code"}}
	op, err := a.userTokenCall(ctx, "access_token", q, &out)
	if err != nil {
		return nil, err
	}
	return out.token(op, start)
}

// RefreshUserToken renews a user's token with its refresh token.
func (a *Account) RefreshUserToken(ctx context.Context, refreshToken string) (*UserToken, error) {
	start := a.c.now()
	var out userTokenAnswer
	q := url.Values{"appid": {a.appID}, "grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}
	op, err := a.userTokenCall(ctx, "refresh_token", q, &out)
	if err != nil {
		return nil, err
	}
	return out.token(op, start)
}

// userTokenCall calls as the component for an authorizer, and with the secret for an account of one's own.
func (a *Account) userTokenCall(ctx context.Context, name string, q url.Values, out any) (op string, err error) {
	if a.platform == nil {
		op = "/sns/oauth2/" + name
		if name == "access_token" {
			q.Set("secret", a.creds.AppSecret)
		}
		return op, a.c.get(ctx, a.appID, op, q, out)
	}
	op = "/sns/oauth2/component/" + name
	q.Set("component_appid", a.platform.creds.AppID)
	return op, a.c.callAs(ctx, &a.platform.token, http.MethodGet, op, q, nil, out)
}

// CheckUserToken returns nil if a user's access token is valid.
func (a *Account) CheckUserToken(ctx context.Context, accessToken, openID string) error {
	return a.c.get(ctx, a.appID, "/sns/auth", url.Values{"access_token": {accessToken}, "openid": {openID}}, nil)
}

// UserInfo gets what a user's token opens. lang is "zh_CN", "zh_TW" or "en"; empty means zh_CN. With a token of
// [ScopeBase] WeChat refuses with errcode 48001.
func (a *Account) UserInfo(ctx context.Context, accessToken, openID, lang string) (*UserInfo, error) {
	if lang == "" {
		lang = "zh_CN"
	}
	var out UserInfo
	err := a.c.get(ctx, a.appID, "/sns/userinfo", url.Values{"access_token": {accessToken}, "openid": {openID}, "lang": {lang}}, &out)
	if err != nil {
		return nil, err
	}
	return &out, nil
}
