package wechatopen_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

const apiPreAuthCode = "/cgi-bin/component/api_create_preauthcode"

const (
	agentDesktop = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
	agentIPhone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49"
	agentAndroid = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36 MicroMessenger/8.0.49"
)

// jarClient is a browser as far as cookies go.
func jarClient(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

// linkParams splits an address into what is before the query, the parameters in their order, and the fragment.
func linkParams(t *testing.T, link string) (base string, names []string, values map[string]string, fragment string) {
	t.Helper()
	link, fragment, _ = strings.Cut(link, "#")
	base, query, _ := strings.Cut(link, "?")
	values = map[string]string{}
	for _, pair := range strings.Split(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		v, err := url.QueryUnescape(value)
		if err != nil {
			t.Fatalf("%s: %v", link, err)
		}
		names = append(names, name)
		values[name] = v
	}
	return base, names, values, fragment
}

var hrefOf = regexp.MustCompile(`id="authorize" href="([^"]*)"`)

// begin opens the start page and returns its answer, the link to WeChat, and where that sends the browser back to.
func (m *merchantPage) begin(t *testing.T, c *http.Client, address string) (a answer, link, back string) {
	t.Helper()
	a = get(t, c, address)
	found := hrefOf.FindStringSubmatch(a.Body)
	if a.Status != http.StatusOK || found == nil {
		t.Fatalf("start page: %d: %s", a.Status, a.Body)
	}
	link = html.UnescapeString(found[1])
	_, _, values, _ := linkParams(t, link)
	return a, link, values["redirect_uri"]
}

// withCode is the address to which WeChat sends the browser back.
func withCode(back, code string) string {
	return back + "&auth_code=" + url.QueryEscape(code) + "&expires_in=3600"
}

// flowCookies are the cookies that bind flows to a browser.
func flowCookies(cookies []*http.Cookie) (flows []*http.Cookie) {
	for _, c := range cookies {
		if strings.Contains(c.Name, "wxflow-") {
			flows = append(flows, c)
		}
	}
	return flows
}

func setCookies(h http.Header) []*http.Cookie { return (&http.Response{Header: h}).Cookies() }

func flowID(c *http.Cookie) string { return c.Name[strings.Index(c.Name, "wxflow-")+len("wxflow-"):] }

// wantRefused sends a callback and checks that it is refused and that nothing changed: no call of WeChat, nothing in the
// Store, nobody told.
func (w *world) wantRefused(m *merchantPage, c *http.Client, r *http.Request) {
	w.t.Helper()
	before, calls, told := w.store.snapshot(), w.apiCalls(), len(m.authorizations())
	a := do(w.t, c, r)
	if a.Status != http.StatusForbidden || a.Body != "Forbidden\n" {
		w.t.Errorf("answered %d %q, want 403", a.Status, a.Body)
	}
	if ct, ref := a.Header.Get("Content-Type"), a.Header.Get("Referrer-Policy"); ct != "text/plain; charset=utf-8" || ref != "no-referrer" {
		w.t.Errorf("Content-Type %q, Referrer-Policy %q", ct, ref)
	}
	if cc := a.Header.Get("Cache-Control"); cc != "no-store" {
		w.t.Errorf("Cache-Control %q", cc)
	}
	if got := setCookies(a.Header); len(got) != 0 {
		w.t.Errorf("cookies set: %v", got)
	}
	if n := w.apiCalls() - calls; n != 0 {
		w.t.Errorf("%d calls of WeChat", n)
	}
	if after := w.store.snapshot(); !maps.Equal(before, after) {
		w.t.Errorf("the Store changed: %v", after)
	}
	if n := len(m.authorizations()) - told; n != 0 {
		w.t.Error("OnAuthorized was called")
	}
}

func request(t *testing.T, method, address string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAuthorizePage(t *testing.T) {
	both := []string{"component_appid", "pre_auth_code", "redirect_uri", "auth_type"}
	phone := append([]string{"action", "no_scan"}, both...)
	const phonePath, desktopPath = "/wxaopen/safe/bindcomponent", "/cgi-bin/componentloginpage"
	tests := map[string]struct {
		agent        string
		set          func(h *wechatopen.AuthorizeHandler)
		path         string
		names        []string
		authType     string
		rest         map[string]string // further parameters
		rawIn        string            // of the link as it is sent
		fragment     string
		otherPath    string
		otherFragmnt string
	}{
		"desktop": {agent: agentDesktop, path: desktopPath, names: both, authType: "3", otherPath: phonePath, otherFragmnt: "wechat_redirect"},
		"no User-Agent at all": {agent: "", path: desktopPath, names: both, authType: "3", otherPath: phonePath,
			otherFragmnt: "wechat_redirect"},
		"iPhone": {agent: agentIPhone, path: phonePath, names: phone, authType: "3", fragment: "wechat_redirect", otherPath: desktopPath,
			rawIn: "?action=bindcomponent&no_scan=1&component_appid="},
		"Android": {agent: agentAndroid, path: phonePath, names: phone, authType: "3", fragment: "wechat_redirect", otherPath: desktopPath},
		"official accounts only": {agent: agentDesktop, path: desktopPath, names: both, authType: "1", otherPath: phonePath, otherFragmnt: "wechat_redirect",
			set: func(h *wechatopen.AuthorizeHandler) { h.AuthType = 1 }},
		"one account": {agent: agentDesktop, path: desktopPath, names: append(slices.Clone(both), "biz_appid"), authType: "2", otherPath: phonePath,
			otherFragmnt: "wechat_redirect", rest: map[string]string{"biz_appid": "wx0123456789abcdef"},
			set: func(h *wechatopen.AuthorizeHandler) { h.AuthType, h.BizAppID = 2, "wx0123456789abcdef" }},
		"permission sets": {agent: agentDesktop, path: desktopPath, names: append(slices.Clone(both), "category_id_list"), authType: "3", otherPath: phonePath,
			otherFragmnt: "wechat_redirect", rest: map[string]string{"category_id_list": "1|7|13"}, rawIn: "&category_id_list=1%7C7%7C13",
			set: func(h *wechatopen.AuthorizeHandler) { h.CategoryIDs = []int{1, 7, 13} }},
		"everything on a phone": {agent: agentIPhone, path: phonePath, names: append(slices.Clone(phone), "biz_appid", "category_id_list"), authType: "6",
			fragment: "wechat_redirect", otherPath: desktopPath, rest: map[string]string{"biz_appid": "wx0123456789abcdef", "category_id_list": "15"},
			set: func(h *wechatopen.AuthorizeHandler) {
				h.AuthType, h.BizAppID, h.CategoryIDs = 6, "wx0123456789abcdef", []int{15}
			}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.merchantPage(w.platform)
			if tt.set != nil {
				tt.set(m.AuthorizeHandler)
			}
			w.pushTicket()
			var code string
			w.sim.Inject(wechattest.Fault{Path: apiPreAuthCode, Edit: func(b []byte) []byte {
				code = regexp.MustCompile(`preauthcode@@@[^"]*`).FindString(string(b))
				return b
			}})
			b := w.sim.NewBrowser(nil)
			b.UserAgent = tt.agent
			page, err := b.Open(t.Context(), m.url+"?shop=7")
			if err != nil {
				t.Fatal(err)
			}
			if page.Status != http.StatusOK {
				t.Fatalf("status %d: %s", page.Status, page.Body)
			}
			for name, want := range map[string]string{
				"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
				"Referrer-Policy": "strict-origin-when-cross-origin", // WeChat looks at the Referer
			} {
				if got := page.Header.Values(name); !slices.Equal(got, []string{want}) {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			cookies := flowCookies(setCookies(page.Header))
			if len(cookies) != 1 || len(setCookies(page.Header)) != 1 {
				t.Fatalf("cookies %v", page.Header["Set-Cookie"])
			}
			if k := cookies[0]; !k.HttpOnly || k.SameSite != http.SameSiteLaxMode || k.Path != "/" || k.MaxAge != 3600 || k.Domain != "" {
				t.Errorf("cookie %s", k)
			}

			link := page.Attr("authorize", "href")
			base, names, values, fragment := linkParams(t, link)
			if base != w.sim.URL()+tt.path || fragment != tt.fragment || !slices.Equal(names, tt.names) {
				t.Errorf("link %s\nhas path %s, parameters %q, fragment %q", link, base, names, fragment)
			}
			want := map[string]string{
				"component_appid": w.comp.AppID(), "pre_auth_code": code, "auth_type": tt.authType,
				"redirect_uri": w.site.URL + "/wechat/authorize?shop=7&wxflow=" + flowID(cookies[0]),
			}
			if tt.path == phonePath {
				want["action"], want["no_scan"] = "bindcomponent", "1"
			}
			maps.Copy(want, tt.rest)
			if !maps.Equal(values, want) {
				t.Errorf("the link says %q\nwant %q", values, want)
			}
			if code == "" || !strings.Contains(link, tt.rawIn) {
				t.Errorf("link %s", link)
			}
			if rel := page.Attr("authorize", "rel"); rel != "" {
				t.Errorf("rel=%q on the link", rel)
			}

			// The other link is there for who is on the wrong page, with the same code.
			other := page.Attr("authorize-other", "href")
			otherBase, _, otherValues, otherFragment := linkParams(t, other)
			delete(want, "action")
			delete(want, "no_scan")
			delete(otherValues, "action")
			delete(otherValues, "no_scan")
			if otherBase != w.sim.URL()+tt.otherPath || otherFragment != tt.otherFragmnt || !maps.Equal(otherValues, want) {
				t.Errorf("the other link is %s", other)
			}

			if n := w.sim.Count(apiPreAuthCode); n != 1 {
				t.Errorf("%d pre-auth codes for one view", n)
			}
		})
	}
}

func TestAuthorizePageLoadsNothingAndIsFramedByNobody(t *testing.T) {
	w := newWorld(t)
	m := w.merchantPage(w.platform)
	w.pushTicket()
	scripts := regexp.MustCompile(`(?s)<script\b([^>]*)>(.*?)</script>`)
	nonces := map[string]bool{}
	for range 3 {
		a, _, _ := m.begin(t, nil, m.url)
		policies := a.Header.Values("Content-Security-Policy")
		if len(policies) != 1 {
			t.Fatalf("policies %q", policies)
		}
		directives := map[string]string{}
		for _, d := range strings.Split(policies[0], ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(d), " ")
			directives[name] = value
		}
		for name, want := range map[string]string{"default-src": "'none'", "frame-ancestors": "'none'", "base-uri": "'none'", "form-action": "'none'"} {
			if directives[name] != want {
				t.Errorf("%s is %q in %s", name, directives[name], policies[0])
			}
		}
		found := scripts.FindAllStringSubmatch(a.Body, -1)
		if len(found) != 1 || !strings.Contains(found[0][2], "location") {
			t.Fatalf("scripts %q", found)
		}
		nonce, ok := strings.CutPrefix(strings.TrimSpace(found[0][1]), `nonce="`)
		nonce = strings.TrimSuffix(nonce, `"`)
		if !ok || len(nonce) < 22 || directives["script-src"] != "'nonce-"+nonce+"'" {
			t.Errorf("script has %q, the policy %q", found[0][1], directives["script-src"])
		}
		nonces[nonce] = true
		if strings.Contains(a.Body, " src=") || strings.Contains(a.Body, "@import") || strings.Contains(a.Body, `rel="`) {
			t.Errorf("the page loads something: %s", a.Body)
		}
	}
	if len(nonces) != 3 {
		t.Errorf("%d nonces for 3 views", len(nonces))
	}
}

func TestAuthorizePageKeepsItsOwnAddress(t *testing.T) {
	tests := map[string]struct {
		path  string
		alter func(r *http.Request)
		want  string // redirect_uri without the flow
	}{
		"no query":          {path: "/wechat/authorize", want: "/wechat/authorize?"},
		"a query":           {path: "/wechat/authorize?shop=7", want: "/wechat/authorize?shop=7&"},
		"escapes and order": {path: "/wechat/authorize?z=%E5%BA%97&a=1%262&a=%20+&e", want: "/wechat/authorize?z=%E5%BA%97&a=1%262&a=%20+&e&"},
		"a link inside":     {path: "/wechat/authorize?next=https%3A%2F%2Fevil.example%2F%3Fx%3D1%23y", want: "/wechat/authorize?next=https%3A%2F%2Fevil.example%2F%3Fx%3D1%23y&"},
		"a flow that is over": {path: "/wechat/authorize?shop=7&wxflow=ABCDEFGHIJKLMNOPQRSTUVWXYZ&expires_in=3600",
			want: "/wechat/authorize?shop=7&"},
		"Host of somebody else": {path: "/wechat/authorize?shop=7", alter: func(r *http.Request) { r.Host = "evil.example" },
			want: "/wechat/authorize?shop=7&"},
		"X-Forwarded-Host": {path: "/wechat/authorize", alter: func(r *http.Request) {
			r.Header.Set("X-Forwarded-Host", "evil.example")
			r.Header.Set("X-Forwarded-Proto", "gopher")
			r.Header.Set("Forwarded", "host=evil.example")
		}, want: "/wechat/authorize?"},
		"HTML":       {path: `/wechat/authorize?x="><script>alert(1)</script>`, want: `/wechat/authorize?x="><script>alert(1)</script>&`},
		"line break": {path: "/wechat/authorize?x=%0d%0aSet-Cookie:%20a=b", want: "/wechat/authorize?x=%0d%0aSet-Cookie:%20a=b&"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.merchantPage(w.platform)
			w.pushTicket()
			r := request(t, http.MethodGet, w.site.URL+"/wechat/authorize")
			u, raw, _ := strings.Cut(tt.path, "?")
			r.URL.Path, r.URL.RawQuery = u, raw
			if tt.alter != nil {
				tt.alter(r)
			}
			a := do(t, nil, r)
			found := hrefOf.FindStringSubmatch(a.Body)
			if a.Status != http.StatusOK || found == nil {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
			_, _, values, _ := linkParams(t, html.UnescapeString(found[1]))
			flows := flowCookies(setCookies(a.Header))
			if len(flows) != 1 {
				t.Fatalf("cookies %v", a.Header["Set-Cookie"])
			}
			if want := m.BaseURL + tt.want + "wxflow=" + flowID(flows[0]); values["redirect_uri"] != want {
				t.Errorf("redirect_uri is %q\nwant            %q", values["redirect_uri"], want)
			}
			if strings.Count(a.Body, "<script") != 1 {
				t.Errorf("the query is in the page: %s", a.Body)
			}
		})
	}
}

func TestAuthorizePageAtAnHTTPSOriginHasAHostCookie(t *testing.T) {
	w := newWorld(t)
	cookies, err := wechatopen.NewCookies(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	m := w.merchantPage(w.platform)
	m.BaseURL, m.Cookies = "https://saas.example.com/", cookies
	w.pushTicket()
	a, _, back := m.begin(t, nil, m.url+"?shop=7")
	flows := flowCookies(setCookies(a.Header))
	if len(flows) != 1 || !strings.HasPrefix(flows[0].Name, "__Host-") || !flows[0].Secure || !flows[0].HttpOnly {
		t.Fatalf("cookies %v", a.Header["Set-Cookie"])
	}
	if want := "https://saas.example.com/wechat/authorize?shop=7&wxflow=" + flowID(flows[0]); back != want {
		t.Errorf("redirect_uri is %q, want %q", back, want)
	}
}

func TestAuthorizePageRefusesOtherMethods(t *testing.T) {
	w := newWorld(t)
	m := w.merchantPage(w.platform)
	w.pushTicket()
	c := jarClient(t)
	_, _, back := m.begin(t, c, m.url)
	callback := withCode(back, w.comp.NewAuthCode(w.shop))
	w.sim.ResetJournal()
	before := w.store.snapshot()
	for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		for _, address := range []string{m.url, callback} {
			a := do(t, c, request(t, method, address))
			if a.Status != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "GET" {
				t.Errorf("%s: %d, Allow %q", method, a.Status, a.Header.Get("Allow"))
			}
			if len(a.Header["Set-Cookie"]) != 0 {
				t.Errorf("%s sets %q", method, a.Header["Set-Cookie"])
			}
		}
	}
	if n := w.apiCalls(); n != 0 {
		t.Errorf("%d calls of WeChat", n)
	}
	if !maps.Equal(before, w.store.snapshot()) || len(m.authorizations()) != 0 {
		t.Error("something changed")
	}
	// The flow goes on.
	if a := get(t, c, callback); a.Status != http.StatusOK {
		t.Errorf("then GET: %d", a.Status)
	}
}

func TestAuthorizeTheWholeWay(t *testing.T) {
	tests := map[string]struct {
		phone bool
		set   func(w *world, m *merchantPage)
		order wechattest.PushOrder
	}{
		"desktop": {},
		"phone":   {phone: true},
		"mini program": {set: func(w *world, m *merchantPage) {
			w.shop = w.sim.AddAccount(wechattest.AccountConfig{Name: "Mini", MiniProgram: true})
			m.AuthType = 2
		}},
		"one account":          {set: func(w *world, m *merchantPage) { m.BizAppID = w.shop.AppID() }},
		"some permission sets": {set: func(w *world, m *merchantPage) { m.CategoryIDs = []int{1, 15} }},
		"push first":           {order: wechattest.PushFirst},
		"push later":           {order: wechattest.RedirectFirst},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.comp.SetEventURL(w.site.URL + "/watched/events")
			pushes := w.watchPushes(&wechatopen.TicketHandler{Platform: w.platform})
			m := w.merchantPage(w.platform)
			if tt.set != nil {
				tt.set(w, m)
			}
			w.pushTicket()
			receive(t, pushes, "the ticket")
			w.sim.SetPushOrder(tt.order)
			var user *wechattest.User
			if tt.phone {
				user = w.alice
			}
			b := w.sim.NewBrowser(user)
			page, err := throughWeChat(t.Context(), b, m.url+"?shop=7", w.shop.AppID())
			if err != nil {
				t.Fatal(err)
			}
			if page.Status != http.StatusOK || !page.Has("attached") {
				t.Fatalf("ends at %d: %s", page.Status, page.Text())
			}
			if err := w.comp.FlushPushes(t.Context()); err != nil {
				t.Errorf("push: %v", err)
			}
			if p := receive(t, pushes, "the push"); p.status != http.StatusOK {
				t.Errorf("the push was answered %d", p.status)
			}
			got := m.authorizations()
			if len(got) != 1 || got[0].AppID != w.shop.AppID() || !got[0].HasToken || len(got[0].FuncInfo) == 0 {
				t.Errorf("OnAuthorized was told %+v", got)
			}
			if m.CategoryIDs != nil && !slices.Equal(got[0].FuncInfo, m.CategoryIDs) {
				t.Errorf("granted are %v of %v", got[0].FuncInfo, m.CategoryIDs)
			}
			if !slices.Equal(m.shop, []string{"7"}) {
				t.Errorf("OnAuthorized sees shop=%q", m.shop)
			}
			if ref, cc := page.Header.Get("Referrer-Policy"), page.Header.Get("Cache-Control"); ref != "no-referrer" || cc != "no-store" {
				t.Errorf("Referrer-Policy %q, Cache-Control %q on a page whose address holds the code", ref, cc)
			}
			if left := flowCookies(b.Client.Jar.Cookies(mustParse(t, m.url))); len(left) != 0 {
				t.Errorf("the flow goes on: %v", left)
			}
			if n, ok := w.sim.Count(apiPreAuthCode), w.answered(apiQueryAuth, 0); n != 1 || ok != 1 {
				t.Errorf("%d pre-auth codes, %d redemptions", n, ok)
			}
			w.wantGrant()
			if err := w.platform.Account(w.shop.AppID()).Get(t.Context(), "/cgi-bin/test/echo", nil, nil); err != nil {
				t.Errorf("a call in the account's name: %v", err)
			}
			for what, secret := range map[string]string{"refresh token": w.comp.RefreshToken(w.shop), "code": "queryauthcode@@@", "token": w.wantToken(w.platform.Account(w.shop.AppID())).Value} {
				if strings.Contains(w.log.String(), secret) || strings.Contains(fmt.Sprintf("%+v", got), secret) || strings.Contains(page.Body, secret) {
					t.Errorf("a %s is in the log, the page or the Authorization", what)
				}
			}
		})
	}
}

func TestAuthorizeWithoutOnAuthorizedShowsAPage(t *testing.T) {
	w := newWorld(t)
	m := w.merchantPage(w.platform)
	m.OnAuthorized = nil
	w.pushTicket()
	page, err := throughWeChat(t.Context(), w.sim.NewBrowser(w.alice), m.url, w.shop.AppID())
	if err != nil {
		t.Fatal(err)
	}
	if page.Status != http.StatusOK || !page.Has("authorized") || !strings.Contains(page.Text(), "授权成功") || !strings.Contains(page.Text(), "Authorized") {
		t.Errorf("%d: %s", page.Status, page.Text())
	}
	h := page.Header
	csp := h.Get("Content-Security-Policy")
	if h.Get("Content-Type") != "text/html; charset=utf-8" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" ||
		!strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "script-src") {
		t.Errorf("headers %v", h)
	}
	if strings.Contains(page.Body, "queryauthcode") || strings.Contains(page.Body, w.shop.AppID()) {
		t.Errorf("page %s", page.Body)
	}
	w.wantGrant()
}

// attacks.md 31
func TestAuthorizeRefusesACallbackThatThisBrowserDidNotStart(t *testing.T) {
	tests := map[string]func(w *world, m *merchantPage, code string) (*http.Client, *http.Request){
		"no cookie": func(w *world, m *merchantPage, code string) (*http.Client, *http.Request) {
			_, _, back := m.begin(w.t, jarClient(w.t), m.url)
			return nil, request(w.t, http.MethodGet, withCode(back, code))
		},
		"no cookie, no flow": func(w *world, m *merchantPage, code string) (*http.Client, *http.Request) {
			return nil, request(w.t, http.MethodGet, m.url+"?auth_code="+url.QueryEscape(code))
		},
		"another browser's flow": func(w *world, m *merchantPage, code string) (*http.Client, *http.Request) {
			mine := jarClient(w.t)
			m.begin(w.t, mine, m.url)
			_, _, theirs := m.begin(w.t, jarClient(w.t), m.url)
			return mine, request(w.t, http.MethodGet, withCode(theirs, code))
		},
		"a flow under way, not named": func(w *world, m *merchantPage, code string) (*http.Client, *http.Request) {
			c := jarClient(w.t)
			m.begin(w.t, c, m.url)
			return c, request(w.t, http.MethodGet, m.url+"?auth_code="+url.QueryEscape(code))
		},
		"a flow that is no id": func(w *world, m *merchantPage, code string) (*http.Client, *http.Request) {
			c := jarClient(w.t)
			m.begin(w.t, c, m.url)
			return c, request(w.t, http.MethodGet, m.url+"?wxflow=..%2F..%2Fx%3A&auth_code="+url.QueryEscape(code))
		},
		"the right flow first, another last": func(w *world, m *merchantPage, code string) (*http.Client, *http.Request) {
			c := jarClient(w.t)
			_, _, back := m.begin(w.t, c, m.url)
			return c, request(w.t, http.MethodGet, withCode(back, code)+"&wxflow=ABCDEFGHIJKLMNOPQRSTUVWXYZ")
		},
		"the cookie under the name of another flow": func(w *world, m *merchantPage, code string) (*http.Client, *http.Request) {
			mine, _, _ := m.begin(w.t, nil, m.url)
			theirs, _, back := m.begin(w.t, nil, m.url)
			r := request(w.t, http.MethodGet, withCode(back, code))
			r.AddCookie(&http.Cookie{Name: flowCookies(setCookies(theirs.Header))[0].Name, Value: flowCookies(setCookies(mine.Header))[0].Value})
			return nil, r
		},
		"a cookie changed in one letter": func(w *world, m *merchantPage, code string) (*http.Client, *http.Request) {
			a, _, back := m.begin(w.t, nil, m.url)
			cookie := flowCookies(setCookies(a.Header))[0]
			value := []byte(cookie.Value)
			if value[20]++; value[20] > 'z' {
				value[20] = 'a'
			}
			r := request(w.t, http.MethodGet, withCode(back, code))
			r.AddCookie(&http.Cookie{Name: cookie.Name, Value: string(value)})
			return nil, r
		},
		"a cookie cut off": func(w *world, m *merchantPage, code string) (*http.Client, *http.Request) {
			a, _, back := m.begin(w.t, nil, m.url)
			cookie := flowCookies(setCookies(a.Header))[0]
			r := request(w.t, http.MethodGet, withCode(back, code))
			r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value[:len(cookie.Value)/2]})
			return nil, r
		},
		"a cookie of other secrets": func(w *world, m *merchantPage, code string) (*http.Client, *http.Request) {
			forged, err := wechatopen.NewCookies(bytes.Repeat([]byte("f"), 32))
			if err != nil {
				w.t.Fatal(err)
			}
			forged.Insecure = true
			w.mux.Handle("/forged", &wechatopen.AuthorizeHandler{Platform: w.platform, BaseURL: w.site.URL, Cookies: forged})
			c := jarClient(w.t)
			_, _, back := m.begin(w.t, c, w.site.URL+"/forged")
			return c, request(w.t, http.MethodGet, strings.Replace(withCode(back, code), "/forged", "/wechat/authorize", 1))
		},
		"a login's flow": func(w *world, m *merchantPage, code string) (*http.Client, *http.Request) {
			// An account of the component's own appid, so that only the kind of flow differs.
			own, err := wechatopen.NewAccount(wechatopen.Credentials{AppID: w.comp.AppID(), AppSecret: "secret"}, w.sim.Options()...)
			if err != nil {
				w.t.Fatal(err)
			}
			oauth := &wechatopen.OAuth{Account: wechatopen.FixedAccount(own), BaseURL: w.site.URL, Cookies: w.cookies}
			w.mux.Handle("/page", oauth.Require(http.NotFoundHandler()))
			c := jarClient(w.t)
			r := request(w.t, http.MethodGet, w.site.URL+"/page")
			r.Header.Set("Accept", "text/html")
			a := do(w.t, c, r)
			flows := flowCookies(setCookies(a.Header))
			if a.Status != http.StatusFound || len(flows) != 1 {
				w.t.Fatalf("login: %d %v", a.Status, a.Header)
			}
			return c, request(w.t, http.MethodGet, withCode(m.url+"?wxflow="+flowID(flows[0]), code))
		},
		"the flow of another platform of the site": func(w *world, m *merchantPage, code string) (*http.Client, *http.Request) {
			second := w.sim.AddComponent(wechattest.ComponentConfig{EventURL: w.site.URL + "/second/events"})
			p, err := wechatopen.NewPlatform(second.Credentials(), append(w.sim.Options(), wechatopen.WithStore(w.store), wechatopen.WithLogger(w.log.logger()))...)
			if err != nil {
				w.t.Fatal(err)
			}
			w.mux.Handle("/second/events", &wechatopen.TicketHandler{Platform: p})
			w.mux.Handle("/second", &wechatopen.AuthorizeHandler{Platform: p, BaseURL: w.site.URL, Cookies: w.cookies})
			if _, err := second.PushTicket(w.t.Context()); err != nil {
				w.t.Fatal(err)
			}
			c := jarClient(w.t)
			_, _, back := m.begin(w.t, c, w.site.URL+"/second")
			return c, request(w.t, http.MethodGet, strings.Replace(withCode(back, code), "/second", "/wechat/authorize", 1))
		},
		"a flow that is an hour old": func(w *world, m *merchantPage, code string) (*http.Client, *http.Request) {
			c := jarClient(w.t)
			_, _, back := m.begin(w.t, c, m.url)
			w.sim.Advance(time.Hour)
			return c, request(w.t, http.MethodGet, withCode(back, code))
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.merchantPage(w.platform)
			w.pushTicket()
			code := w.comp.NewAuthCode(w.shop) // of an account whose owner wants to attach it to somebody else's shop
			c, r := prepare(w, m, code)
			w.log.reset()
			w.wantRefused(m, c, r)
			if strings.Contains(w.log.String(), code) || strings.Contains(w.log.String(), "wxflow-") || !strings.Contains(w.log.String(), "status=403") {
				t.Errorf("log: %s", w.log)
			}
			// OnError learns the kind of it.
			var got error
			m.OnError = func(rw http.ResponseWriter, r *http.Request, err error) {
				got = err
				rw.WriteHeader(wechatopen.HTTPStatus(err))
			}
			if a := do(t, c, r.Clone(t.Context())); a.Status != http.StatusForbidden || !errors.Is(got, wechatopen.ErrState) {
				t.Errorf("OnError: %v, answered %d", got, a.Status)
			}
			if n := w.sim.Count(apiQueryAuth); n != 0 {
				t.Errorf("%d calls of api_query_auth", n)
			}
		})
	}
}

func TestAuthorizeFlowIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	m := w.merchantPage(w.platform)
	w.pushTicket()
	c := jarClient(t)
	_, _, back := m.begin(t, c, m.url+"?shop=7")
	before := flowCookies(c.Jar.Cookies(mustParse(t, m.url)))
	code := w.comp.NewAuthCode(w.shop)
	if a := get(t, c, withCode(back, code)); a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	w.wantRefused(m, c, request(t, http.MethodGet, withCode(back, code)))
	w.wantRefused(m, c, request(t, http.MethodGet, withCode(back, w.comp.NewAuthCode(w.shop))))

	// Somebody who kept the cookie gets no further with another code.
	other := w.sim.AddAccount(wechattest.AccountConfig{Name: "Other"})
	r := request(t, http.MethodGet, withCode(back, w.comp.NewAuthCode(other)))
	r.AddCookie(before[0])
	w.wantRefused(m, nil, r)
	// With the same code there is the same result, and no call: the answer may have been lost.
	calls := w.apiCalls()
	r = request(t, http.MethodGet, withCode(back, code))
	r.AddCookie(before[0])
	if a := do(t, nil, r); a.Status != http.StatusOK || w.apiCalls() != calls {
		t.Errorf("the same code with the kept cookie: %d, %d calls", a.Status, w.apiCalls()-calls)
	}
	for _, a := range m.authorizations() {
		if a.AppID != w.shop.AppID() {
			t.Errorf("%s was attached", a.AppID)
		}
	}
}

func TestAuthorizeAnswersTwoCallbacksAtOnceWithOneRedemption(t *testing.T) {
	for _, processes := range []int{1, 2} {
		t.Run(fmt.Sprintf("in %d processes", processes), func(t *testing.T) {
			w := newWorld(t)
			locker, firstNet, secondNet := &clusterLocker{}, &grantNet{}, &grantNet{}
			opts := []wechatopen.Option{firstNet.option()}
			if processes == 1 {
				opts = append(opts, wechatopen.WithLocker(locker))
			}
			first := w.newPlatform(opts...)
			second := first
			if processes == 2 {
				second = w.newPlatform(secondNet.option())
			}
			m := w.merchantPage(first)
			w.mux.HandleFunc("/second/", func(rw http.ResponseWriter, r *http.Request) {
				r.URL.Path = strings.TrimPrefix(r.URL.Path, "/second")
				h := &wechatopen.AuthorizeHandler{Platform: second, BaseURL: w.site.URL, Cookies: w.cookies, OnAuthorized: m.OnAuthorized}
				h.ServeHTTP(rw, r)
			})
			w.pushTicket()
			c := jarClient(t)
			_, _, back := m.begin(t, c, m.url)
			callback := withCode(back, w.comp.NewAuthCode(w.shop))

			arrived, release := firstNet.holdAnswer(t, apiQueryAuth)
			answers := make(chan answer, 2)
			go func() { answers <- get(t, c, callback) }()
			receive(t, arrived, "the first callback")
			waits := locker.onAsk(":flow:")
			refused := make(chan struct{}, 8)
			secondNet.after = func(path string) {
				if path == apiQueryAuth {
					refused <- struct{}{}
				}
			}
			go func() { answers <- get(t, c, strings.Replace(callback, "/wechat/", "/second/wechat/", 1)) }()
			if processes == 1 {
				receive(t, waits, "the second callback")
			} else {
				receive(t, refused, "the second callback")
			}
			release()
			for range 2 {
				if a := receive(t, answers, "an answer"); a.Status != http.StatusOK || !strings.Contains(a.Body, "attached") {
					t.Errorf("answered %d %q", a.Status, a.Body)
				}
			}
			if ok, all := w.answered(apiQueryAuth, 0), w.sim.Count(apiQueryAuth); ok != 1 || all != processes {
				t.Errorf("%d of %d calls of api_query_auth succeeded", ok, all)
			}
			w.wantGrant()
		})
	}
}

func TestAuthorizeRefusesACodeThatIsNoneAnyMore(t *testing.T) {
	tests := map[string]struct {
		code func(w *world) string
		wait time.Duration // between the start page and the callback
	}{
		"never one": {code: func(w *world) string { return "queryauthcode@@@never" }},
		"used elsewhere": {code: func(w *world) string {
			other := w.newPlatform(wechatopen.WithStore(wechatopen.NewMemoryStore()))
			pushes := w.watchPushes(&wechatopen.TicketHandler{Platform: other})
			w.pushTicket()
			receive(w.t, pushes, "the ticket")
			code := w.comp.NewAuthCode(w.shop)
			if _, err := other.QueryAuth(w.t.Context(), code); err != nil {
				w.t.Fatal(err)
			}
			return code
		}},
		"expired": {wait: 40 * time.Minute, code: func(w *world) string {
			code := w.comp.NewAuthCode(w.shop)
			w.sim.Advance(30 * time.Minute)
			return code
		}},
		"of another platform": {code: func(w *world) string {
			return w.sim.AddComponent(wechattest.ComponentConfig{}).NewAuthCode(w.shop)
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each waits a second for another process
			w := newWorld(t)
			m := w.merchantPage(w.platform)
			w.pushTicket()
			code := tt.code(w)
			c := jarClient(t)
			_, _, back := m.begin(t, c, m.url)
			w.sim.Advance(tt.wait)
			w.log.reset()
			a := get(t, c, withCode(back, code))
			if a.Status != http.StatusForbidden || a.Body != "Forbidden\n" {
				t.Errorf("answered %d %q", a.Status, a.Body)
			}
			if len(w.refreshTokens()) != 0 || len(m.authorizations()) != 0 {
				t.Errorf("stored %v, told %v", w.refreshTokens(), m.authorizations())
			}
			if strings.Contains(w.log.String(), code) {
				t.Errorf("the code is in the log: %s", w.log)
			}
			var got error
			m.OnError = func(rw http.ResponseWriter, r *http.Request, err error) { got = err }
			get(t, c, withCode(back, code))
			var refusal *wechatopen.APIError
			if !errors.Is(got, wechatopen.ErrState) || !errors.As(got, &refusal) || refusal.Code != 61009 && refusal.Code != 61010 {
				t.Errorf("OnError was told %v", got)
			}
		})
	}
}

// Anybody can start authorizations and come back with codes that are none. The merchants and WeChat's pushes do not
// queue behind them.
func TestAuthorizeGarbageDoesNotHoldUpOthers(t *testing.T) {
	w := newWorldWith(t, wechattest.Config{PushAttempts: 1})
	m := w.merchantPage(w.platform)
	const visitors = 20
	entered := make(chan struct{}, visitors)
	w.mux.HandleFunc("/wechat/garbage", func(rw http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		m.AuthorizeHandler.ServeHTTP(rw, r)
	})
	w.pushTicket()
	var visits sync.WaitGroup
	for i := range visitors {
		c := jarClient(t)
		_, _, back := m.begin(t, c, m.url)
		back = strings.Replace(back, "/wechat/authorize", "/wechat/garbage", 1)
		visits.Go(func() {
			if a := get(t, c, withCode(back, fmt.Sprintf("queryauthcode@@@garbage%d", i))); a.Status != http.StatusForbidden {
				t.Errorf("garbage was answered %d", a.Status)
			}
		})
	}
	for range visitors {
		receive(t, entered, "a visitor with garbage")
	}
	if err := w.sim.WaitCount(t.Context(), apiQueryAuth, 1); err != nil {
		t.Fatal(err)
	}
	// WeChat waits five seconds for each answer.
	if _, err := w.comp.Authorize(t.Context(), w.shop); err != nil {
		t.Errorf("a merchant's push: %v", err)
	}
	if err := w.comp.Unauthorize(t.Context(), w.shop); err != nil {
		t.Errorf("the push that ends it: %v", err)
	}
	visits.Wait()
	if len(m.authorizations()) != 0 {
		t.Error("garbage was taken for an authorization")
	}
}

func TestAuthorizeRefusesAnEmptyCode(t *testing.T) {
	w := newWorld(t)
	m := w.merchantPage(w.platform)
	w.pushTicket()
	c := jarClient(t)
	_, _, back := m.begin(t, c, m.url)
	if a := get(t, c, withCode(back, "")); a.Status < 400 || a.Status > 499 {
		t.Errorf("answered %d: the request is at fault", a.Status)
	}
	if n := w.sim.Count(apiQueryAuth); n != 0 || len(m.authorizations()) != 0 {
		t.Errorf("%d calls of api_query_auth", n)
	}
	// It was no callback of WeChat's, which is still to come.
	if a := get(t, c, withCode(back, w.comp.NewAuthCode(w.shop))); a.Status != http.StatusOK {
		t.Errorf("then the callback: %d", a.Status)
	}
}

// A redemption that failed on the way can be tried again with the same flow and code, by reloading.
func TestAuthorizeCanBeReloadedAfterAFailure(t *testing.T) {
	tests := map[string]wechattest.Fault{
		"system error": {ErrCode: -1}, "HTTP 502": {Status: 502}, "cut off": {Cut: true}, "garbage": {Body: []byte("<html>")},
	}
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.merchantPage(w.platform)
			w.pushTicket()
			c := jarClient(t)
			_, _, back := m.begin(t, c, m.url)
			callback := withCode(back, w.comp.NewAuthCode(w.shop))
			fault.Path, fault.Times = apiQueryAuth, 1
			w.sim.Inject(fault)
			a := get(t, c, callback)
			if a.Status != http.StatusInternalServerError || a.Body != "Internal Server Error\n" || len(m.authorizations()) != 0 || len(w.refreshTokens()) != 0 {
				t.Errorf("answered %d %q", a.Status, a.Body)
			}
			if a := get(t, c, callback); a.Status != http.StatusOK || len(m.authorizations()) != 1 {
				t.Errorf("reloaded: %d %q", a.Status, a.Body)
			}
			w.wantGrant()
		})
	}
}

// The Store is down: no redemption, whose result could not be kept.
func TestAuthorizeRedeemsNothingWhileTheStoreIsDown(t *testing.T) {
	w := newWorld(t)
	m := w.merchantPage(w.platform)
	w.pushTicket()
	c := jarClient(t)
	_, _, back := m.begin(t, c, m.url)
	callback := withCode(back, w.comp.NewAuthCode(w.shop))
	w.store.setFail(errors.New("connection refused"))
	if a := get(t, c, callback); a.Status != http.StatusInternalServerError {
		t.Errorf("answered %d", a.Status)
	}
	if n := w.sim.Count(apiQueryAuth); n != 0 {
		t.Errorf("%d calls of api_query_auth", n)
	}
	w.store.setFail(nil)
	if a := get(t, c, callback); a.Status != http.StatusOK {
		t.Errorf("reloaded: %d", a.Status)
	}
	w.wantGrant()
}

// The merchant closes the page while the code is redeemed: it is spent, so the grant is kept.
func TestAuthorizeKeepsTheGrantThoughTheBrowserHasLeft(t *testing.T) {
	net := &grantNet{}
	w := newWorld(t, net.option())
	m := w.merchantPage(w.platform)
	contexts, ended := make(chan context.Context, 1), make(chan struct{}, 1)
	w.mux.HandleFunc("/wechat/leave", func(rw http.ResponseWriter, r *http.Request) {
		contexts <- r.Context()
		m.AuthorizeHandler.ServeHTTP(rw, r)
		ended <- struct{}{}
	})
	w.pushTicket()
	c := jarClient(t)
	_, _, back := m.begin(t, c, m.url)
	arrived, release := net.holdAnswer(t, apiQueryAuth)
	ctx, leave := context.WithCancel(t.Context())
	r := request(t, http.MethodGet, strings.Replace(withCode(back, w.comp.NewAuthCode(w.shop)), "/wechat/authorize", "/wechat/leave", 1)).WithContext(ctx)
	left := make(chan error, 1)
	go func() {
		resp, err := c.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		left <- err
	}()
	receive(t, arrived, "the redemption")
	leave()
	if err := receive(t, left, "the browser"); err == nil {
		t.Fatal("answered before it left")
	}
	receive(t, receive(t, contexts, "the request").Done(), "the server to notice")
	release()
	receive(t, ended, "the handler")
	w.wantGrant()
}

func TestAuthorizeCancelledByTheMerchantChangesNothing(t *testing.T) {
	w := newWorld(t)
	m := w.merchantPage(w.platform)
	w.pushTicket()
	b := w.sim.NewBrowser(w.alice)
	page, err := b.Open(t.Context(), m.url+"?shop=7")
	if err == nil {
		page, err = page.Click(t.Context(), "authorize")
	}
	if err != nil {
		t.Fatal(err)
	}
	before := w.store.snapshot()
	if page, err = page.Click(t.Context(), "cancel"); err != nil || page.Status != http.StatusOK {
		t.Fatalf("%+v, %v", page, err)
	}
	if !maps.Equal(before, w.store.snapshot()) || len(m.authorizations()) != 0 || w.sim.Count(apiQueryAuth) != 0 {
		t.Error("something changed")
	}
	// And then the merchant changes their mind.
	if page, err = throughWeChat(t.Context(), b, m.url+"?shop=7", w.shop.AppID()); err != nil || page.Status != http.StatusOK {
		t.Fatalf("%+v, %v", page, err)
	}
	w.wantGrant()
}

func TestAuthorizeUnderStripPrefix(t *testing.T) {
	w := newWorld(t)
	m := w.merchantPage(w.platform)
	inner := http.NewServeMux()
	inner.Handle("/join", m.AuthorizeHandler)
	w.mux.Handle("/saas/v%2F1/", http.StripPrefix("/saas/v/1", inner))
	w.mux.Handle("/saas/", http.StripPrefix("/saas", inner))
	w.pushTicket()
	_, _, back := m.begin(t, nil, w.site.URL+"/saas/join?shop=7")
	if !strings.HasPrefix(back, w.site.URL+"/saas/join?shop=7&wxflow=") {
		t.Errorf("redirect_uri %s", back)
	}
	page, err := throughWeChat(t.Context(), w.sim.NewBrowser(nil), w.site.URL+"/saas/join?shop=7", w.shop.AppID())
	if err != nil || page.Status != http.StatusOK || !page.Has("attached") {
		t.Fatalf("%+v, %v", page, err)
	}
	w.wantGrant()
}

func TestAuthorizeTwoTabsEachFinish(t *testing.T) {
	w := newWorld(t)
	m := w.merchantPage(w.platform)
	w.pushTicket()
	other := w.sim.AddAccount(wechattest.AccountConfig{Name: "Other"})
	c := jarClient(t)
	_, _, first := m.begin(t, c, m.url+"?shop=1")
	_, _, second := m.begin(t, c, m.url+"?shop=2")
	if a := get(t, c, withCode(second, w.comp.NewAuthCode(other))); a.Status != http.StatusOK {
		t.Errorf("the second tab: %d", a.Status)
	}
	if a := get(t, c, withCode(first, w.comp.NewAuthCode(w.shop))); a.Status != http.StatusOK {
		t.Errorf("the first tab: %d", a.Status)
	}
	if !slices.Equal(m.shop, []string{"2", "1"}) {
		t.Errorf("OnAuthorized saw shops %q", m.shop)
	}
	if n := len(w.refreshTokens()); n != 2 {
		t.Errorf("%d grants", n)
	}
}

func TestAuthorizePageWhenWeChatGivesNoCode(t *testing.T) {
	tests := map[string]struct {
		ticket bool
		fault  wechattest.Fault
		status int
	}{
		"no ticket yet": {status: http.StatusServiceUnavailable},
		"system error":  {ticket: true, fault: wechattest.Fault{ErrCode: -1}, status: http.StatusInternalServerError},
		"quota":         {ticket: true, fault: wechattest.Fault{ErrCode: 45009}, status: http.StatusInternalServerError},
		"no code":       {ticket: true, fault: wechattest.Fault{Body: []byte(`{"expires_in":600}`)}, status: http.StatusInternalServerError},
		"HTML":          {ticket: true, fault: wechattest.Fault{Body: []byte(`<html>`)}, status: http.StatusInternalServerError},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.merchantPage(w.platform)
			if tt.ticket {
				w.pushTicket()
				tt.fault.Path = apiPreAuthCode
				w.sim.Inject(tt.fault)
			}
			a := get(t, nil, m.url)
			if a.Status != tt.status || a.Body != http.StatusText(tt.status)+"\n" || a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("answered %d %q %v", a.Status, a.Body, a.Header)
			}
			if len(a.Header["Set-Cookie"]) != 0 {
				t.Errorf("cookies %q", a.Header["Set-Cookie"])
			}
			if !strings.Contains(w.log.String(), "level=ERROR") {
				t.Errorf("log: %s", w.log)
			}
		})
	}
}

func TestAuthorizeOnErrorAnswers(t *testing.T) {
	w := newWorld(t)
	m := w.merchantPage(w.platform)
	var mu sync.Mutex
	var got []error
	m.OnError = func(rw http.ResponseWriter, r *http.Request, err error) {
		mu.Lock()
		got = append(got, err)
		mu.Unlock()
		rw.WriteHeader(http.StatusTeapot)
		io.WriteString(rw, "mine")
	}
	for what, a := range map[string]answer{"no ticket": get(t, nil, m.url), "no flow": get(t, nil, m.url+"?auth_code=x"), "POST": do(t, nil, request(t, http.MethodPost, m.url))} {
		if a.Status != http.StatusTeapot || a.Body != "mine" {
			t.Errorf("%s: %d %q", what, a.Status, a.Body)
		}
	}
	var statuses []int
	for _, err := range got {
		statuses = append(statuses, wechatopen.HTTPStatus(err))
	}
	slices.Sort(statuses)
	if !slices.Equal(statuses, []int{403, 405, 503}) {
		t.Errorf("statuses %v of %v", statuses, got)
	}
	if w.log.String() != "" {
		t.Errorf("logged as well: %s", w.log)
	}
}

func TestAuthorizeMisconfigured(t *testing.T) {
	w := newWorld(t)
	w.pushTicket()
	noSecret := &wechatopen.Cookies{Insecure: true}
	https, err := wechatopen.NewCookies(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		h    *wechatopen.AuthorizeHandler
		says string
	}{
		"no Platform":         {&wechatopen.AuthorizeHandler{BaseURL: w.site.URL, Cookies: w.cookies}, "Platform"},
		"no Cookies":          {&wechatopen.AuthorizeHandler{Platform: w.platform, BaseURL: w.site.URL}, "Cookies"},
		"Cookies of nothing":  {&wechatopen.AuthorizeHandler{Platform: w.platform, BaseURL: w.site.URL, Cookies: noSecret}, "Cookies"},
		"no BaseURL":          {&wechatopen.AuthorizeHandler{Platform: w.platform, Cookies: w.cookies}, "BaseURL"},
		"BaseURL is a host":   {&wechatopen.AuthorizeHandler{Platform: w.platform, Cookies: w.cookies, BaseURL: "saas.example.com"}, "BaseURL"},
		"BaseURL with path":   {&wechatopen.AuthorizeHandler{Platform: w.platform, Cookies: w.cookies, BaseURL: "https://saas.example.com/app"}, "BaseURL"},
		"BaseURL with query":  {&wechatopen.AuthorizeHandler{Platform: w.platform, Cookies: w.cookies, BaseURL: "https://saas.example.com?a=b"}, "BaseURL"},
		"BaseURL with user":   {&wechatopen.AuthorizeHandler{Platform: w.platform, Cookies: w.cookies, BaseURL: "https://a:b@saas.example.com"}, "BaseURL"},
		"BaseURL of a scheme": {&wechatopen.AuthorizeHandler{Platform: w.platform, Cookies: w.cookies, BaseURL: "ftp://saas.example.com"}, "BaseURL"},
		"http without saying": {&wechatopen.AuthorizeHandler{Platform: w.platform, Cookies: https, BaseURL: "http://saas.example.com"}, "Insecure"},
	}
	calls := w.apiCalls()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got error
			tt.h.OnError = func(rw http.ResponseWriter, r *http.Request, err error) {
				got = err
				rw.WriteHeader(wechatopen.HTTPStatus(err))
			}
			pattern := "/misconfigured/" + strings.ReplaceAll(name, " ", "-")
			w.mux.Handle(pattern, tt.h)
			for _, query := range []string{"", "?auth_code=x&wxflow=ABCDEFGHIJKLMNOPQRSTUVWXYZ"} {
				got = nil
				a := get(t, nil, w.site.URL+pattern+query)
				if query == "" && a.Status != http.StatusInternalServerError || a.Status == http.StatusOK {
					t.Errorf("%q answered %d", query, a.Status)
				}
				if query == "" && (got == nil || !strings.Contains(got.Error(), tt.says) || !strings.HasPrefix(got.Error(), "wechatopen: ")) {
					t.Errorf("error %v does not name %s", got, tt.says)
				}
				if len(a.Header["Set-Cookie"]) != 0 {
					t.Errorf("cookies %q", a.Header["Set-Cookie"])
				}
			}
			// Without OnError the cause is for the log alone.
			bare := &wechatopen.AuthorizeHandler{Platform: tt.h.Platform, BaseURL: tt.h.BaseURL, Cookies: tt.h.Cookies}
			w.mux.Handle(pattern+"/bare", bare)
			if a := get(t, nil, w.site.URL+pattern+"/bare"); a.Status != 500 || a.Body != "Internal Server Error\n" {
				t.Errorf("answered %d %q", a.Status, a.Body)
			}
		})
	}
	if n := w.apiCalls() - calls; n != 0 {
		t.Errorf("%d calls of WeChat by handlers that cannot work", n)
	}
}
