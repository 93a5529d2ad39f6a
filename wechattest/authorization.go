package wechattest

import (
	"context"
	"slices"
	"sort"
	"time"
)

const authCodeLife = 3600 * time.Second

// preAuthCode belongs to the component that asked for it.
type preAuthCode struct{ component *Component }

// authCode is an authorization code on its way from the administrator to api_query_auth.
type authCode struct {
	component *Component
	account   *Account
	funcInfo  []int
}

// PushOrder says how the `authorized` push and the browser's redirect follow each other.
type PushOrder int

const (
	// AtOnce starts the push in the background and redirects: either may come first.
	AtOnce PushOrder = iota
	// PushFirst redirects after the push was answered, or failed.
	PushFirst
	// RedirectFirst redirects and leaves the push to FlushPushes.
	RedirectFirst
)

// SetPushOrder sets how authorizations confirmed on a page are pushed. AtOnce is the default.
func (s *Server) SetPushOrder(o PushOrder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushOrder = o
}

// FlushPushes pushes what RedirectFirst held back. It returns the first error and drops the pushes that failed.
func (c *Component) FlushPushes(ctx context.Context) error {
	c.s.mu.Lock()
	pending := c.pending
	c.pending = nil
	c.s.mu.Unlock()
	var first error
	for _, xml := range pending {
		if _, err := c.Push(ctx, xml); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Authorize has a's administrator authorize the component, without a browser. It returns an authorization code and, if
// there is an event URL, pushes `authorized`, or `updateauthorized` if a was authorized already. err is that of the
// push; the code is good in any case.
func (c *Component) Authorize(ctx context.Context, a *Account) (code string, err error) {
	code, xml := c.authorize(a, newPreAuthCode(), nil)
	c.s.mu.Lock()
	pushes := c.eventURL != ""
	c.s.mu.Unlock()
	if pushes {
		_, err = c.Push(ctx, xml)
	}
	return code, err
}

// NewAuthCode is Authorize without any push.
func (c *Component) NewAuthCode(a *Account) string {
	code, _ := c.authorize(a, newPreAuthCode(), nil)
	return code
}

// authorize grants and returns the code for the redirect and the event that tells of it. funcInfo nil: all that the
// account can grant.
func (c *Component) authorize(a *Account, preAuth string, funcInfo []int) (code, xml string) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if funcInfo == nil {
		funcInfo = a.funcInfo
	}
	now := c.s.Now()
	infoType := "updateauthorized"
	g := c.grants[a.appID]
	if g == nil {
		infoType = "authorized"
		c.seq++
		g = &grant{account: a, seq: c.seq}
		c.grants[a.appID] = g
		c.order = append(c.order, g)
		a.grants[c.appID] = c
	}
	g.authTime, g.funcInfo = now, slices.Clone(funcInfo)
	newCode := func() string {
		code := newQueryAuthCode()
		c.s.authCodes.put(now, code, authCode{c, a, g.funcInfo}, authCodeLife)
		return code
	}
	code = newCode()
	pushed := code
	if c.s.cfg.SeparateCodes {
		pushed = newCode()
	}
	return code, c.AuthorizedXML(infoType, a, pushed, preAuth, now)
}

// Unauthorize has a's administrator take the authorization back, and pushes `unauthorized` if there is an event URL.
// The error is that of the push; the authorization is gone in any case.
func (c *Component) Unauthorize(ctx context.Context, a *Account) error {
	c.s.mu.Lock()
	if g := c.grants[a.appID]; g != nil {
		g.revoked = true
		delete(c.grants, a.appID)
		delete(a.grants, c.appID)
		i := sort.Search(len(c.order), func(i int) bool { return c.order[i].seq >= g.seq })
		c.order = slices.Delete(c.order, i, i+1)
	}
	pushes := c.eventURL != ""
	xml := c.UnauthorizedXML(a, c.s.Now())
	c.s.mu.Unlock()
	if !pushes {
		return nil
	}
	_, err := c.Push(ctx, xml)
	return err
}

// RefreshToken is the refresh token that WeChat has for a now, for assertions; "" if a is not authorized, or its code
// was never redeemed.
func (c *Component) RefreshToken(a *Account) string {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if g := c.grants[a.appID]; g != nil {
		return g.refresh
	}
	return ""
}

// RotateRefreshToken replaces a's refresh token behind the platform's back and returns the new one; the old one answers
// 61023. It returns "" if a is not authorized.
func (c *Component) RotateRefreshToken(a *Account) string {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	g := c.grants[a.appID]
	if g == nil {
		return ""
	}
	g.refresh = newRefreshToken()
	return g.refresh
}
