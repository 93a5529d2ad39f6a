package wechattest

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// loginRequest is a checked link to a login page.
type loginRequest struct {
	login
	redirectURI, state string
	forcePopup         bool
}

var stateForm = regexp.MustCompile(`^[a-zA-Z0-9]{0,128}$`)

// checkLogin checks a link as WeChat does, the order of its parameters included. qr: it is one for websites. It is
// called with mu held.
func (c *call) checkLogin(rawQuery string, qr bool) (*loginRequest, *pageError) {
	names, q, err := orderedQuery(rawQuery)
	if err != nil {
		return nil, brokenLink("the query cannot be parsed")
	}
	c.appID = q["appid"]
	missing := func(number int, name string) *pageError {
		return &pageError{number, name + " 参数为空", name + " is empty", name + " is empty"}
	}
	switch {
	case q["appid"] == "":
		return nil, missing(10012, "appid")
	case q["redirect_uri"] == "":
		return nil, missing(10011, "redirect_uri")
	case q["scope"] == "":
		return nil, missing(10010, "scope")
	case !slices.Contains(names, "state"):
		return nil, missing(10013, "state")
	case q["response_type"] != "code":
		return nil, brokenLink("response_type is not code")
	case !stateForm.MatchString(q["state"]):
		return nil, brokenLink("state is not at most 128 letters and digits")
	}
	if why := wrongOrder(names, q, qr); why != "" {
		return nil, brokenLink(why)
	}
	if c.components[q["appid"]] != nil {
		return nil, &pageError{10016, "不能使用开放平台的 appid", "an appid of the Open Platform cannot be used here",
			"appid is that of a component"}
	}
	a := c.accounts[q["appid"]]
	switch {
	case a == nil:
		return nil, &pageError{40013, "appid 参数错误", "appid is unknown", ""}
	case a.cfg.Website && !qr:
		return nil, &pageError{10016, "不能使用网站应用的 appid", "a website application cannot be used here",
			"appid is that of a website application"}
	}
	l := &loginRequest{login: login{account: a, user: c.me(), scope: q["scope"]}, redirectURI: q["redirect_uri"],
		state: q["state"], forcePopup: q["forcePopup"] == "true"}
	if e := l.checkScope(qr); e != nil {
		return nil, e
	}
	domain := a.domain
	if id, ok := q["component_appid"]; ok {
		l.component = c.components[id]
		if l.component == nil || l.component.grants[a.appID] == nil {
			return nil, &pageError{10015, "公众号未授权第三方平台，请检查授权状态", "the account does not authorize the component", ""}
		}
		domain = l.component.domain
	}
	target, err := url.Parse(l.redirectURI)
	if err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "" ||
		!hostMatches(domain, target.Host, target.Hostname()) {
		return nil, &pageError{10003, "redirect_uri 域名与后台配置不一致", "redirect_uri is not on the registered domain " + domain, ""}
	}
	if l.user == nil {
		return nil, &pageError{0, "模拟器里还没有用户", "nobody has WeChat yet: call AddUser", ""}
	}
	l.snapshot = l.user.snapshot || q["forceSnapShot"] == "true"
	return l, nil
}

func brokenLink(why string) *pageError {
	return &pageError{0, "链接无法访问", "this link cannot be opened: " + why, why}
}

func (l *loginRequest) checkScope(qr bool) *pageError {
	for _, s := range strings.Split(l.scope, ",") {
		if qr != (s == scopeWebsiteOnly) || !qr && s != scopeBase && s != scopeUserInfo || l.account.cfg.MiniProgram ||
			qr && !l.account.cfg.Website {
			return &pageError{10005, "scope 参数错误或没有 scope 权限", "scope is unknown, or not granted to this account", ""}
		}
	}
	return nil
}

// orderedQuery parses a query and keeps the order of the names.
func orderedQuery(rawQuery string) (names []string, values map[string]string, err error) {
	values = map[string]string{}
	for _, part := range strings.Split(rawQuery, "&") {
		name, value, _ := strings.Cut(part, "=")
		v, err := url.QueryUnescape(value)
		if err != nil {
			return nil, nil, err
		}
		names = append(names, name)
		values[name] = v
	}
	return names, values, nil
}

// wrongOrder says what breaks the order in which WeChat wants the parameters; "" nothing does. Those behind state may
// come in any order.
func wrongOrder(names []string, values map[string]string, qr bool) string {
	if len(names) != len(values) {
		return "a parameter is given twice"
	}
	want := []string{"appid", "redirect_uri", "response_type", "scope", "state"}
	if len(names) < len(want) || !slices.Equal(names[:len(want)], want) {
		return "parameters are not in the order " + strings.Join(want, ", ")
	}
	extra := []string{"connect_redirect", "forcePopup", "forceSnapShot", "component_appid"}
	if qr {
		extra = []string{"lang", "style", "href", "self_redirect", "stylelite", "fast_login", "color_scheme"}
	}
	for _, name := range names[len(want):] {
		if !slices.Contains(extra, name) {
			return "parameter " + name + " is unknown"
		}
	}
	if v, ok := values["connect_redirect"]; ok && v != "1" {
		return "connect_redirect is not 1"
	}
	return ""
}

// back ends the login at the server and sends the browser back.
func (l *loginRequest) back(code string) reply { return redirectReply(l.target(code)) }

// target is where the login goes on.
func (l *loginRequest) target(code string) string {
	return addQuery(l.redirectURI, l.callbackQuery(code, l.state))
}

func (c *call) oauthPage() reply {
	c.mu.Lock()
	l, e := c.checkLogin(c.r.URL.RawQuery, false)
	if e != nil {
		c.mu.Unlock()
		return c.errorPage(e)
	}
	silent := !l.tellsMore() && !l.forcePopup
	refuses := l.user.refuses && !silent
	code := ""
	if silent {
		code = c.loginCode(l.login)
	}
	c.mu.Unlock()
	if silent || refuses {
		return l.back(code)
	}
	data := map[string]any{"Account": l.account, "QR": false}
	if l.component != nil {
		data["Component"] = l.component.appID
	}
	return c.render("consent.html", "微信登录 WeChat Login", pageData{
		Hidden: []hidden{{"q", c.r.URL.RawQuery}, {"page", c.r.URL.Path}}, Data: data})
}

// confirmLogin is the buttons of the consent page, and those of the page with the QR code.
func (c *call) confirmLogin() reply {
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return textReply(http.StatusBadRequest, "bad form")
	}
	if form.Has("uuid") {
		return c.qrConfirmed(form)
	}
	c.mu.Lock()
	l, e := c.checkLogin(form.Get("q"), form.Get("page") == "/connect/qrconnect")
	code := ""
	if e == nil && form.Get("choice") == "allow" {
		code = c.loginCode(l.login)
	}
	c.mu.Unlock()
	if e != nil {
		return c.errorPage(e)
	}
	return l.back(code)
}
