package wechattest

import (
	"context"
	"strconv"
)

// componentIn is the field of a body that names a component.
type componentIn struct {
	ComponentAppID string `json:"component_appid"`
}

// checkComponent compares component_appid in a body with the token of the call.
func (c *call) checkComponent(appID string) error {
	switch {
	case appID == "":
		return misuse(41018, "component_appid is missing")
	case appID != c.token.component.appID:
		return misuse(40013, "component_appid is not that of the token")
	}
	return nil
}

// findComponent checks appid and secret of a call without token.
func (c *call) findComponent(appID, secret, secretField string) (*Component, error) {
	comp := c.components[appID]
	switch {
	case appID == "":
		return nil, misuse(41018, "component_appid is missing")
	case comp == nil:
		return nil, refuse(40013)
	case secret == "":
		return nil, misuse(41004, secretField+" is missing")
	case secret != comp.secret:
		return nil, refuse(40125)
	}
	c.appID = appID
	return comp, nil
}

// findGrant finds the authorization of authorizer_appid to the component of the token.
func (c *call) findGrant(authorizer string) (*grant, error) {
	if authorizer == "" {
		return nil, misuse(41002, "authorizer_appid is missing")
	}
	if c.accounts[authorizer] == nil {
		return nil, refuse(40013)
	}
	c.appID = authorizer
	g := c.token.component.grants[authorizer]
	if g == nil {
		return nil, refuse(61003)
	}
	return g, nil
}

func (c *call) componentToken() (any, error) {
	var in struct {
		componentIn
		Secret string `json:"component_appsecret"`
		Ticket string `json:"component_verify_ticket"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	comp, err := c.findComponent(in.ComponentAppID, in.Secret, "component_appsecret")
	if err != nil {
		return nil, err
	}
	if err := c.spend(comp.appID); err != nil {
		return nil, err
	}
	if in.Ticket == "" {
		return nil, misuse(61006, "component_verify_ticket is missing")
	}
	if err := comp.checkTicket(in.Ticket); err != nil {
		return nil, err
	}
	t := c.issue(&comp.slot, apiToken{kind: componentToken, component: comp})
	return struct {
		Token     string `json:"component_access_token"`
		ExpiresIn int    `json:"expires_in"`
	}{t.value, int(tokenLife.Seconds())}, nil
}

func (c *call) startPushTicket() (any, error) {
	var in struct {
		componentIn
		Secret string `json:"component_secret"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	comp, err := c.findComponent(in.ComponentAppID, in.Secret, "component_secret (not component_appsecret)")
	if err != nil {
		return nil, err
	}
	if !comp.stopped {
		return errorBody{0, "in a normal state"}, nil
	}
	comp.stopped, comp.untaken = false, 0
	if comp.eventURL != "" {
		t := comp.newTicket()
		// Server.mu is held, so the goroutine that asks for it cannot be begun by this one.
		go c.background(func(ctx context.Context) { comp.Push(ctx, comp.TicketXML(t.value, t.created)) })
	}
	return okBody(), nil
}

func (c *call) createPreAuthCode() (any, error) {
	var in componentIn
	if err := c.in(&in); err != nil {
		return nil, err
	}
	if err := c.checkComponent(in.ComponentAppID); err != nil {
		return nil, err
	}
	code := newPreAuthCode()
	c.preAuthCodes.put(c.Now(), code, preAuthCode{c.token.component}, c.cfg.PreAuthCodeLife)
	return struct {
		Code      string `json:"pre_auth_code"`
		ExpiresIn int    `json:"expires_in"`
	}{code, int(c.cfg.PreAuthCodeLife.Seconds())}, nil
}

// funcScope is an entry of func_info.
type funcScope struct {
	Category idBody `json:"funcscope_category"`
}

type idBody struct {
	ID int `json:"id"`
}

func funcScopes(ids []int) []funcScope {
	out := make([]funcScope, len(ids))
	for i, id := range ids {
		out[i].Category.ID = id
	}
	return out
}

// authorizationInfo is part of the answers of api_query_auth and api_get_authorizer_info, which has no access token.
type authorizationInfo struct {
	AppID     string      `json:"authorizer_appid"`
	Token     string      `json:"authorizer_access_token,omitempty"`
	ExpiresIn int         `json:"expires_in,omitempty"`
	Refresh   string      `json:"authorizer_refresh_token,omitempty"`
	FuncInfo  []funcScope `json:"func_info"`
}

func (c *call) issueAuthorizer(g *grant) *apiToken {
	return c.issue(&g.slot, apiToken{kind: authorizerToken, component: c.token.component, account: g.account, grant: g})
}

func (c *call) queryAuth() (any, error) {
	var in struct {
		componentIn
		Code string `json:"authorization_code"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	if err := c.checkComponent(in.ComponentAppID); err != nil {
		return nil, err
	}
	if in.Code == "" {
		return nil, misuse(61009, "authorization_code is missing")
	}
	it := c.authCodes.get(in.Code)
	if it == nil || it.value.component != c.token.component {
		return nil, refuse(61009)
	}
	code := it.value
	c.appID = code.account.appID
	switch g := c.token.component.grants[c.appID]; {
	case it.used || g == nil:
		return nil, refuse(61009)
	case it.expired(c.Now()):
		return nil, refuse(61010)
	default:
		it.used = true
		out := authorizationInfo{AppID: c.appID, FuncInfo: funcScopes(code.funcInfo)}
		if !code.account.cfg.NoAPI {
			g.refresh = newRefreshToken()
			out.Token, out.ExpiresIn, out.Refresh = c.issueAuthorizer(g).value, int(tokenLife.Seconds()), g.refresh
		}
		return map[string]any{"authorization_info": out}, nil
	}
}

func (c *call) authorizerToken() (any, error) {
	var in struct {
		componentIn
		AppID   string `json:"authorizer_appid"`
		Refresh string `json:"authorizer_refresh_token"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	if err := c.checkComponent(in.ComponentAppID); err != nil {
		return nil, err
	}
	g, err := c.findGrant(in.AppID)
	if err != nil {
		return nil, err
	}
	if in.Refresh == "" {
		return nil, misuse(61023, "authorizer_refresh_token is missing")
	}
	if in.Refresh != g.refresh {
		return nil, refuse(61023)
	}
	if !c.cfg.KeepRefreshToken {
		g.refresh = newRefreshToken()
	}
	return struct {
		Token     string `json:"authorizer_access_token"`
		ExpiresIn int    `json:"expires_in"`
		Refresh   string `json:"authorizer_refresh_token"`
	}{c.issueAuthorizer(g).value, int(tokenLife.Seconds()), g.refresh}, nil
}

func (c *call) authorizerInfo() (any, error) {
	var in struct {
		componentIn
		AppID string `json:"authorizer_appid"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	if err := c.checkComponent(in.ComponentAppID); err != nil {
		return nil, err
	}
	g, err := c.findGrant(in.AppID)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"authorizer_info":    c.describe(g.account),
		"authorization_info": authorizationInfo{AppID: g.account.appID, Refresh: g.refresh, FuncInfo: funcScopes(g.funcInfo)},
	}, nil
}

// describe is authorizer_info. MiniProgramInfo is there for mini programs only: that is how they are told apart.
func (c *call) describe(a *Account) map[string]any {
	info := map[string]any{
		"nick_name":         a.cfg.Name,
		"head_img":          a.cfg.HeadImg,
		"service_type_info": map[string]any{"id": 2},
		"verify_type_info":  map[string]any{"id": 0},
		"user_name":         a.cfg.UserName,
		"alias":             a.cfg.Alias,
		"qrcode_url":        c.pictureURL(a.cfg.UserName),
		"business_info": map[string]int{"open_pay": 1, "open_shake": 0, "open_scan": 0, "open_card": 0,
			"open_store": 0},
		"idc":            1,
		"principal_name": a.cfg.Principal,
		"signature":      a.cfg.Name + " 的简介",
		"register_type":  0,
		"account_status": 1,
		"basic_config":   map[string]bool{"is_phone_configured": true, "is_email_configured": true},
		"channels_info":  idBody{},
	}
	if a.cfg.MiniProgram {
		info["service_type_info"] = map[string]any{"id": 0, "name": "普通小程序"}
		info["MiniProgramInfo"] = map[string]any{
			"network": map[string][]string{"RequestDomain": {}, "WsRequestDomain": {}, "UploadDomain": {},
				"DownloadDomain": {}, "BizDomain": {}, "UDPDomain": {}, "TCPDomain": {}},
			"categories":   []map[string]string{{"first": "工具", "second": "办公"}},
			"visit_status": 0,
		}
	}
	return info
}

func (c *call) authorizerList() (any, error) {
	var in struct {
		componentIn
		Offset int `json:"offset"`
		Count  int `json:"count"`
	}
	if err := c.in(&in); err != nil {
		return nil, err
	}
	if err := c.checkComponent(in.ComponentAppID); err != nil {
		return nil, err
	}
	switch {
	case in.Count > 500:
		return nil, misuse(40170, "count is "+strconv.Itoa(in.Count)+", 500 at most is allowed")
	case in.Count <= 0 || in.Offset < 0:
		return nil, misuse(40097, "count has to be positive, and offset not negative")
	}
	type entry struct {
		AppID    string `json:"authorizer_appid"`
		Refresh  string `json:"refresh_token"`
		AuthTime int64  `json:"auth_time"`
	}
	order := c.token.component.order
	from := min(in.Offset, len(order))
	page := order[from:min(from+in.Count, len(order))]
	list := make([]entry, len(page))
	for i, g := range page {
		list[i] = entry{g.account.appID, g.refresh, g.authTime.Unix()}
	}
	return struct {
		Total int     `json:"total_count"`
		List  []entry `json:"list"`
	}{len(order), list}, nil
}
