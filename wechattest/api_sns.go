package wechattest

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	loginCodeLife    = 5 * time.Minute
	qrCodeLife       = 10 * time.Minute
	userRefreshLife  = 30 * 24 * time.Hour
	scopeBase        = "snsapi_base"
	scopeUserInfo    = "snsapi_userinfo"
	scopeWebsiteOnly = "snsapi_login"
)

// login is what a visitor agreed to.
type login struct {
	account   *Account
	component *Component // nil: the account's own
	user      *User
	scope     string
	snapshot  bool
}

// userToken is a visitor's access token with its refresh token.
type userToken struct {
	login
	access, refresh string
	openID          string
}

func (l login) hasScope(names ...string) bool {
	return slices.ContainsFunc(strings.Split(l.scope, ","), func(s string) bool { return slices.Contains(names, s) })
}

func (l login) tellsMore() bool { return l.hasScope(scopeUserInfo, scopeWebsiteOnly) }

// NewLoginCode makes a code of web login, as if u had agreed to scope, without a browser: of a component's login.
func (c *Component) NewLoginCode(a *Account, u *User, scope string) string {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.loginCode(login{a, c, u, scope, u.snapshot})
}

// NewLoginCode makes a code of web login, as if u had agreed to scope, without a browser: of the account's own login.
func (a *Account) NewLoginCode(u *User, scope string) string {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	return a.s.loginCode(login{a, nil, u, scope, u.snapshot})
}

func (s *Server) loginCode(l login) string {
	code, life := newLoginCode(), loginCodeLife
	if l.hasScope(scopeWebsiteOnly) {
		life = qrCodeLife
	}
	s.loginCodes.put(s.Now(), code, l, life)
	return code
}

// snsComponent checks component_appid and component_access_token.
func (c *call) snsComponent() (*Component, error) {
	appID, value := c.query.Get("component_appid"), c.query.Get("component_access_token")
	switch {
	case appID == "":
		return nil, misuse(41018, "component_appid is missing")
	case value == "":
		return nil, misuse(41021, "component_access_token is missing")
	}
	t, err := c.checkToken(value)
	if err != nil {
		if e := err.(*apiError); e.code == 42001 {
			return nil, refuse(42006)
		}
		return nil, err
	}
	c.journal.setOwner(c.entry, t.owner())
	c.appID = t.owner()
	switch {
	case t.kind != componentToken:
		return nil, misuse(61014, "an account's token on an API of the component")
	case t.component.appID != appID:
		return nil, misuse(40013, "component_appid is not that of the token")
	}
	return t.component, nil
}

// snsAuthorizer checks appid as one that is authorized to the component.
func (c *call) snsAuthorizer(comp *Component) (*Account, error) {
	appID := c.query.Get("appid")
	switch {
	case appID == "":
		return nil, misuse(41002, "appid is missing")
	case c.accounts[appID] == nil:
		return nil, refuse(40013)
	}
	c.appID = appID
	if comp.grants[appID] == nil {
		return nil, refuse(61003)
	}
	return c.accounts[appID], nil
}

func (c *call) exchangeNative() (any, error) {
	a, err := c.findAccount(c.query.Get("appid"), c.query.Get("secret"))
	if err != nil {
		return nil, err
	}
	return c.exchange(a, nil)
}

func (c *call) exchangeComponent() (any, error) {
	comp, err := c.snsComponent()
	if err != nil {
		return nil, err
	}
	a, err := c.snsAuthorizer(comp)
	if err != nil {
		return nil, err
	}
	return c.exchange(a, comp)
}

// userTokenBody is the answer to an exchange and to a refresh.
type userTokenBody struct {
	Token     string `json:"access_token"`
	ExpiresIn int    `json:"expires_in"`
	Refresh   string `json:"refresh_token"`
	OpenID    string `json:"openid"`
	Scope     string `json:"scope"`
	Snapshot  int    `json:"is_snapshotuser,omitempty"`
	UnionID   string `json:"unionid,omitempty"`
}

func (c *call) exchange(a *Account, comp *Component) (any, error) {
	if c.query.Get("grant_type") != "authorization_code" {
		return nil, misuse(40002, "grant_type is not authorization_code")
	}
	code := c.query.Get("code")
	if code == "" {
		return nil, misuse(41008, "code is missing")
	}
	it := c.loginCodes.get(code)
	switch {
	case it == nil || it.value.account != a || it.value.component != comp:
		return nil, refuse(40029)
	case it.used:
		return nil, refuse(40163)
	case it.expired(c.Now()):
		return nil, refuse(42003)
	}
	it.used = true
	t := &userToken{login: it.value, access: newUserToken(), refresh: newUserToken()}
	out := userTokenBody{Token: t.access, ExpiresIn: int(tokenLife.Seconds()), Refresh: t.refresh, Scope: t.scope}
	if t.snapshot {
		t.openID, out.Snapshot = "o"+randomURLSafe(27), 1
	} else {
		t.openID = a.openID(t.user)
	}
	out.OpenID = t.openID
	if t.tellsMore() {
		out.UnionID = t.unionID()
	}
	c.userTokens.put(c.Now(), t.access, t, tokenLife)
	c.refreshes.put(c.Now(), t.refresh, t, userRefreshLife)
	return out, nil
}

// unionID is a made-up one for a snapshot page.
func (t *userToken) unionID() string {
	if t.snapshot {
		return t.user.s.idFor("snapshot", t.openID)
	}
	return t.user.UnionID()
}

func (c *call) refreshNative() (any, error) {
	appID := c.query.Get("appid")
	if appID == "" {
		return nil, misuse(41002, "appid is missing")
	}
	a := c.accounts[appID]
	if a == nil {
		return nil, refuse(40013)
	}
	c.appID = appID
	return c.refresh(a, nil)
}

func (c *call) refreshComponent() (any, error) {
	comp, err := c.snsComponent()
	if err != nil {
		return nil, err
	}
	a, err := c.snsAuthorizer(comp)
	if err != nil {
		return nil, err
	}
	return c.refresh(a, comp)
}

// refresh extends a live access token, and replaces one that is over. The refresh token stays, and its time runs on.
func (c *call) refresh(a *Account, comp *Component) (any, error) {
	if c.query.Get("grant_type") != "refresh_token" {
		return nil, misuse(40002, "grant_type is not refresh_token")
	}
	value := c.query.Get("refresh_token")
	if value == "" {
		return nil, misuse(41003, "refresh_token is missing")
	}
	now, it := c.Now(), c.refreshes.get(value)
	switch {
	case it == nil || it.value.account != a || it.value.component != comp:
		return nil, refuse(40030)
	case it.expired(now):
		return nil, refuse(42002)
	}
	t := it.value
	if live := c.userTokens.get(t.access); live != nil && !live.expired(now) {
		live.expires = now.Add(tokenLife)
	} else {
		t.access = newUserToken()
		c.userTokens.put(now, t.access, t, tokenLife)
	}
	return userTokenBody{Token: t.access, ExpiresIn: int(tokenLife.Seconds()), Refresh: t.refresh, OpenID: t.openID,
		Scope: t.scope}, nil
}

// visitor finds the access token and compares the openid.
func (c *call) visitor() (*userToken, error) {
	value, openID := c.query.Get("access_token"), c.query.Get("openid")
	switch {
	case value == "":
		return nil, misuse(41001, "access_token is missing")
	case openID == "":
		return nil, misuse(41009, "openid is missing")
	}
	if c.tokens[value] != nil {
		return nil, misuse(40001, "a token for server calls in place of a visitor's")
	}
	it := c.userTokens.get(value)
	if it == nil {
		return nil, refuse(40001)
	}
	c.appID = it.value.account.appID
	switch {
	case it.expired(c.Now()):
		return nil, refuse(42001)
	case it.value.openID != openID:
		return nil, refuse(40003)
	}
	return it.value, nil
}

func (c *call) snsUserInfo() (any, error) {
	t, err := c.visitor()
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]string{"", "zh_CN", "zh_TW", "en"}, c.query.Get("lang")) {
		return nil, misuse(40097, "lang is none of zh_CN, zh_TW and en")
	}
	if !t.tellsMore() || t.snapshot {
		return nil, refuse(48001)
	}
	return struct {
		OpenID    string   `json:"openid"`
		Nickname  string   `json:"nickname"`
		Sex       int      `json:"sex"`
		Language  string   `json:"language"`
		City      string   `json:"city"`
		Province  string   `json:"province"`
		Country   string   `json:"country"`
		HeadImg   string   `json:"headimgurl"`
		Privilege []string `json:"privilege"`
		UnionID   string   `json:"unionid"`
	}{OpenID: t.openID, Nickname: t.user.name, HeadImg: t.user.avatar, Privilege: []string{}, UnionID: t.unionID()}, nil
}

func (c *call) snsAuth() (any, error) {
	if _, err := c.visitor(); err != nil {
		return nil, err
	}
	return okBody(), nil
}

// callbackQuery is what a login adds to redirect_uri. code "": the visitor refused.
func (l login) callbackQuery(code, state string) string {
	q := "state=" + url.QueryEscape(state)
	if code == "" {
		return q
	}
	q = "code=" + url.QueryEscape(code) + "&" + q
	if l.component != nil {
		q += "&appid=" + url.QueryEscape(l.account.appID)
	}
	return q
}
