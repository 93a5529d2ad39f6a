package wechattest

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// authorizationRequest is a checked link to an authorization page.
type authorizationRequest struct {
	component   *Component
	preAuth     *pooled[preAuthCode]
	preAuthCode string
	redirectURI string
	authType    string
	bizAppID    string
	funcInfo    []int // that the platform asks for; nil all
}

// checkAuthorization checks what can be checked without knowing whether the page is on a phone. It is called with mu
// held.
func (c *call) checkAuthorization(q url.Values) (*authorizationRequest, *pageError) {
	r := &authorizationRequest{component: c.components[q.Get("component_appid")], preAuthCode: q.Get("pre_auth_code"),
		redirectURI: q.Get("redirect_uri"), authType: q.Get("auth_type"), bizAppID: q.Get("biz_appid")}
	if r.component == nil {
		return nil, &pageError{zh: "component_appid 无效", en: "component_appid is unknown",
			misuse: "component_appid is missing or unknown"}
	}
	c.appID = r.component.appID
	r.preAuth = c.preAuthCodes.get(r.preAuthCode)
	target, err := url.Parse(r.redirectURI)
	switch {
	case r.preAuth == nil || r.preAuth.value.component != r.component:
		return nil, &pageError{zh: "预授权码无效，请返回第三方平台重新发起授权", en: "pre_auth_code is invalid"}
	case r.preAuth.used:
		return nil, &pageError{zh: "预授权码已被使用，请返回第三方平台重新发起授权", en: "pre_auth_code was used before"}
	case r.preAuth.expired(c.Now()):
		return nil, &pageError{zh: "预授权码已过期，请返回第三方平台重新发起授权", en: "pre_auth_code has expired"}
	case err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "":
		return nil, &pageError{zh: "redirect_uri 无效", en: "redirect_uri is not a URL",
			misuse: "redirect_uri is missing or no URL"}
	case !hostMatches(r.component.domain, target.Host, target.Hostname()):
		return nil, &pageError{zh: "授权回调页域名与第三方平台登记的授权发起页域名不一致",
			en: "redirect_uri is not on the registered domain: " + target.Host + " is not " + r.component.domain}
	case !slices.Contains([]string{"1", "2", "3", "4", "5", "6", "8"}, r.authType) && r.bizAppID == "":
		return nil, &pageError{zh: "auth_type 无效", en: "auth_type is invalid", misuse: "auth_type is missing or unknown"}
	}
	if list := q.Get("category_id_list"); list != "" {
		for _, s := range strings.Split(list, "|") {
			id, err := strconv.Atoi(s)
			if err != nil {
				return nil, &pageError{zh: "category_id_list 无效", en: "category_id_list is invalid",
					misuse: "category_id_list is not numbers joined by |"}
			}
			r.funcInfo = append(r.funcInfo, id)
		}
	}
	return r, nil
}

// checkReferer applies the rule that the page with the link is on the registered domain, as redirect_uri is.
func (c *call) checkReferer(r *authorizationRequest) *pageError {
	if c.cfg.LooseReferer {
		return nil
	}
	shown := "空"
	ref, err := url.Parse(c.r.Referer())
	if err == nil && ref.Host != "" {
		shown = ref.Host
	}
	target, _ := url.Parse(r.redirectURI)
	if shown == target.Host && hostMatches(r.component.domain, ref.Host, ref.Hostname()) {
		return nil
	}
	return &pageError{
		zh: "请确认授权入口页所在域名，与授权后回调页所在域名相同，并且此域名必须跟登记的授权发起页域名一致。授权入口页域名：" + shown +
			"，授权回调页域名：" + target.Host,
		en: "The page with the link (Referer: " + shown + "), redirect_uri (" + target.Host +
			") and the registered domain have to be the same host",
	}
}

func (c *call) componentLoginPage() reply {
	c.mu.Lock()
	r, e := c.checkAuthorization(c.query)
	if e == nil {
		e = c.checkReferer(r)
	}
	c.mu.Unlock()
	if e != nil {
		return c.errorPage(e)
	}
	return c.chooseAccount(r)
}

func (c *call) bindComponentPage() reply {
	c.mu.Lock()
	r, e := c.checkAuthorization(c.query)
	if e == nil && (c.query.Get("action") != "bindcomponent" || c.query.Get("no_scan") != "1") {
		e = &pageError{zh: "链接无效", en: "action=bindcomponent and no_scan=1 are missing",
			misuse: "action=bindcomponent and no_scan=1 are missing"}
	}
	c.mu.Unlock()
	if e != nil {
		return c.errorPage(e)
	}
	return c.chooseAccount(r)
}

// allows reports whether the link lets this account be authorized. biz_appid goes before auth_type.
func (r *authorizationRequest) allows(a *Account) bool {
	if r.bizAppID != "" {
		return a.appID == r.bizAppID
	}
	switch r.authType {
	case "1":
		return !a.cfg.MiniProgram
	case "2":
		return a.cfg.MiniProgram
	case "3", "6":
		return true
	}
	return false
}

func (c *call) chooseAccount(r *authorizationRequest) reply {
	c.mu.Lock()
	var choices []*Account
	if r.bizAppID != "" {
		if a := c.accounts[r.bizAppID]; a != nil {
			choices = []*Account{a}
		}
	} else {
		for _, a := range c.accountOrder {
			if r.allows(a) && len(choices) < maxListed {
				choices = append(choices, a)
			}
		}
	}
	c.mu.Unlock()
	if len(choices) == 0 {
		return c.errorPage(&pageError{zh: "没有可授权的帐号", en: "there is no account that this link allows"})
	}
	return c.render("authorize.html", "公众号授权 Authorization", pageData{
		Hidden: []hidden{{"q", c.r.URL.RawQuery}},
		Data:   map[string]any{"Component": r.component.appID, "Accounts": choices},
	})
}

// confirmAuthorization is the button of the page: it uses the pre_auth_code up, grants, pushes and redirects.
func (c *call) confirmAuthorization() reply {
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return textReply(http.StatusBadRequest, "bad form")
	}
	if form.Get("choice") != "authorize" {
		return c.render("message.html", "已取消 Cancelled", pageData{
			Data: map[string]string{"ZH": "你没有授权，可以关闭此页", "EN": "Nothing was authorized. You can close this page."}})
	}
	q, _ := url.ParseQuery(form.Get("q"))
	c.mu.Lock()
	r, e := c.checkAuthorization(q)
	a := c.accounts[form.Get("account")]
	if e == nil && (a == nil || !r.allows(a)) {
		e = &pageError{zh: "此帐号不能授权", en: "this account cannot be authorized by this link"}
	}
	if e != nil {
		c.mu.Unlock()
		return c.errorPage(e)
	}
	r.preAuth.used = true
	order, pushes := c.pushOrder, r.component.eventURL != ""
	c.appID = a.appID
	c.mu.Unlock()

	code, event := r.component.authorize(a, r.preAuthCode, r.funcInfo)
	if pushes {
		switch order {
		case PushFirst:
			r.component.Push(c.ctx, event)
		case RedirectFirst:
			c.mu.Lock()
			r.component.pending = append(r.component.pending, event)
			c.mu.Unlock()
		default:
			c.background(func(ctx context.Context) { r.component.Push(ctx, event) })
		}
	}
	return redirectReply(addQuery(r.redirectURI, "auth_code="+url.QueryEscape(code)+"&expires_in="+
		strconv.Itoa(int(authCodeLife.Seconds()))))
}
