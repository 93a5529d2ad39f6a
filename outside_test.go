package wechatopen_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/internal/qr"
	"github.com/wechatopen/wechatopen/wechattest"
)

const (
	desktopAgent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
	wechatAgent  = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/WIFI Language/zh_CN"
)

// as makes a request of a browser of that User-Agent; header are names and values in turns.
func (s *loginSite) as(agent, method, address string, header ...string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, address, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("User-Agent", agent) // "" sends none
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// element finds the element of a page that has this id.
func element(t *testing.T, page, id string) *html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		for _, a := range n.Attr {
			if a.Key == "id" && a.Val == id {
				return n
			}
		}
	}
	return nil
}

// shownAddress is the address that the page for browsers outside WeChat shows; "" if it is not that page.
func shownAddress(t *testing.T, a answer) string {
	t.Helper()
	n := element(t, a.Body, "address")
	if a.Status != http.StatusForbidden || n == nil || n.FirstChild == nil {
		return ""
	}
	return n.FirstChild.Data
}

func TestOnlyBrowsersOutsideWeChatAreToldToOpenThePageThere(t *testing.T) {
	s := newLoginSite(t, nil)
	for name, tt := range map[string]struct {
		agent   string
		outside bool
	}{
		"Chrome":                {desktopAgent, true},
		"Safari on an iPhone":   {strings.Split(wechatAgent, " MicroMessenger")[0], true},
		"a crawler":             {"Mozilla/5.0 (compatible; Baiduspider/2.0)", true},
		"WeChat":                {wechatAgent, false},
		"WeChat, in lower case": {strings.ToLower(wechatAgent[:11]) + " Mozilla/5.0 micromessenger/8.0", false},
		"WeChat on Windows":     {desktopAgent + " NetType/WIFI MicroMessenger/7.0.20.1781(0x6700143B) WindowsWechat", false},
		"WeChat Work":           {desktopAgent + " wxwork/4.1 MicroMessenger/7.0.1", false},
		"a Go program":          {"Go-http-client/1.1", false},
		"curl":                  {"curl/8.5.0", false},
		"none":                  {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			before := s.state()
			a := do(t, nil, s.as(tt.agent, http.MethodGet, s.site.URL+"/page?a=b"))
			s.unchanged(before, a)
			if got := a.Header.Values("Vary"); !slices.Contains(got, "User-Agent") || !slices.Contains(got, "Cookie") {
				t.Errorf("Vary %q", got)
			}
			if !tt.outside {
				s.toWeChat(a)
				return
			}
			if got := shownAddress(t, a); got != s.site.URL+"/page?a=b" {
				t.Errorf("status %d, Location %q, address %q", a.Status, a.Header.Get("Location"), got)
			}
			if got := a.Header.Values("Set-Cookie"); len(got) != 0 {
				t.Errorf("cookies %q", got)
			}
		})
	}
}

func TestPageOutsideWeChatNeedsNothingAndIsNotKept(t *testing.T) {
	s := newLoginSite(t, nil)
	a := do(t, nil, s.as(desktopAgent, http.MethodGet, s.site.URL+"/page"))
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	nonce := regexp.MustCompile(`style-src 'nonce-([A-Z2-7]{26})'`).FindStringSubmatch(a.Header.Get("Content-Security-Policy"))
	if nonce == nil || !strings.Contains(a.Body, `<style nonce="`+nonce[1]+`">`) ||
		!strings.HasPrefix(a.Header.Get("Content-Security-Policy"), "default-src 'none'; ") || strings.Contains(a.Header.Get("Content-Security-Policy"), "unsafe") {
		t.Errorf("policy %q", a.Header.Get("Content-Security-Policy"))
	}
	if b := do(t, nil, s.as(desktopAgent, http.MethodGet, s.site.URL+"/page")); b.Header.Get("Content-Security-Policy") == a.Header.Get("Content-Security-Policy") {
		t.Error("the nonce is the same again")
	}
	for _, bad := range []string{"<script", "src=", "href=", "url(", " style="} {
		if strings.Contains(a.Body, bad) {
			t.Errorf("the page has %s:\n%s", bad, a.Body)
		}
	}
	for _, want := range []string{`<html lang="zh-CN">`, `lang="en"`, "请在微信中打开", "open this page in WeChat", `name="viewport"`} {
		if !strings.Contains(a.Body, want) {
			t.Errorf("the page has no %s:\n%s", want, a.Body)
		}
	}
	head := do(t, nil, s.as(desktopAgent, http.MethodHead, s.site.URL+"/page"))
	if head.Status != http.StatusForbidden || head.Body != "" || head.Header.Get("Content-Type") != a.Header.Get("Content-Type") || head.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("HEAD: %+v", head)
	}
}

func TestPageOutsideWeChatShowsThePublicAddress(t *testing.T) {
	s := newLoginSite(t, nil)
	bare := httptest.NewServer(s.oauth.Require(http.HandlerFunc(showLoginUser))) // without a mux, which cleans paths
	t.Cleanup(bare.Close)
	for name, tt := range map[string]struct{ target, want string }{
		"query":              {"/page?a=b&c", "/page?a=b&c"},
		"escapes":            {"/%E8%8C%B6?q=%22%26", "/%E8%8C%B6?q=%22%26"},
		"HTML":               {`/</textarea><script>?x="><script>alert(1)</script>&amp;`, `/%3C/textarea%3E%3Cscript%3E?x="><script>alert(1)</script>&amp;`},
		"a login of another": {"/page?a=b&code=061abc&state=ABCDEFGHIJKLMNOPQRSTUVWXYZ1", "/page?a=b"},
		"a state of its own": {"/page?state=open", "/page?state=open"},
		"two slashes":        {"//evil.example/page", "//evil.example/page"},
		"an absolute target": {"http://evil.example/page", "/page"},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			a, _ := s.rawLoginGet(bare, tt.target, "Host: evil.example", "X-Forwarded-Host: evil.example", "User-Agent: "+desktopAgent)
			if got, want := shownAddress(t, a), s.site.URL+tt.want; got != want {
				t.Errorf("status %d, Location %q, address %q, want %q", a.Status, a.Header.Get("Location"), got, want)
			}
			if strings.Contains(a.Body, "<script") {
				t.Errorf("the address got out of its field:\n%s", a.Body)
			}
		})
	}
}

func TestPageOutsideWeChatShowsTheAddressAsAQRCode(t *testing.T) {
	s := newLoginSite(t, nil)
	for _, n := range []int{0, 100, 500, 900} {
		address := s.site.URL + "/page?a" + strings.Repeat("a", n)
		code, err := qr.Encode([]byte(address))
		if err != nil {
			t.Fatal(err)
		}
		a := do(t, nil, s.as(desktopAgent, http.MethodGet, address))
		picture := element(t, a.Body, "qr")
		if picture == nil {
			t.Fatalf("no code for an address of %d bytes:\n%.200s", len(address), a.Body)
		}
		side := code.Size() + 8
		attrs := map[string]string{}
		for _, k := range picture.Attr {
			attrs[k.Key] = k.Val
		}
		width, _ := strconv.Atoi(attrs["width"])
		if attrs["viewBox"] != fmt.Sprintf("0 0 %d %d", side, side) || width < 4*side || width%side != 0 {
			t.Errorf("%d modules with the quiet zone: viewBox %q, width %d", side, attrs["viewBox"], width)
		}
		dark := map[[2]int]bool{}
		for _, m := range regexp.MustCompile(`M(\d+) (\d+)\.5h(\d+)`).FindAllStringSubmatch(a.Body, -1) {
			x, _ := strconv.Atoi(m[1])
			y, _ := strconv.Atoi(m[2])
			length, _ := strconv.Atoi(m[3])
			for i := range length {
				dark[[2]int{x + i, y}] = true
			}
		}
		for y := range side {
			for x := range side {
				want := x >= 4 && y >= 4 && x < side-4 && y < side-4 && code.Dark(x-4, y-4)
				if dark[[2]int{x, y}] != want {
					t.Fatalf("%d bytes: module %d, %d is not as encoded", len(address), x, y)
				}
			}
		}
	}
	for _, n := range []int{1001, 3000} { // what no phone reads from a screen, and what no code holds
		address := s.site.URL + "/page?"
		address += strings.Repeat("a", n-len(address))
		a := do(t, nil, s.as(desktopAgent, http.MethodGet, address))
		if shownAddress(t, a) != address || element(t, a.Body, "qr") != nil || strings.Contains(a.Body, "二维码") {
			t.Errorf("an address of %d bytes: status %d, %.300s", n, a.Status, a.Body)
		}
	}
}

func TestBrowserOutsideWeChatIsAnsweredAsBeforeWhereNoLoginStarts(t *testing.T) {
	s := newLoginSite(t, nil)
	page := s.site.URL + "/page"
	for name, r := range map[string]*http.Request{
		"form":      s.as(desktopAgent, http.MethodPost, page),
		"fetch":     s.as(desktopAgent, http.MethodGet, page, "Sec-Fetch-Mode", "cors"),
		"websocket": s.as(desktopAgent, http.MethodGet, page, "Connection", "Upgrade", "Upgrade", "websocket"),
	} {
		if a := do(t, nil, r); a.Status != http.StatusUnauthorized || !strings.Contains(a.Body, "login_required") {
			t.Errorf("%s: status %d, %q", name, a.Status, a.Body)
		}
	}
	if a := do(t, nil, s.as(desktopAgent, http.MethodGet, s.site.URL+"/who")); a.Body != "nobody" {
		t.Errorf("Load: status %d, %q", a.Status, a.Body)
	}
	// Its own login finishes, whatever the browser calls itself then.
	c := s.newLoginClient()
	callback := s.throughWeChat(c, s.toWeChat(do(t, c, s.as(wechatAgent, http.MethodGet, page))))
	s.loggedIn(do(t, c, s.as(desktopAgent, http.MethodGet, callback)), page)
	if u := loginUser(t, do(t, c, s.as(desktopAgent, http.MethodGet, page))); u == nil || u.OpenID != s.shop.OpenID(s.alice) {
		t.Errorf("with a session: %v", u)
	}
	// More than the session has is a login again.
	if a := do(t, c, s.as(desktopAgent, http.MethodGet, s.site.URL+"/profile")); shownAddress(t, a) != s.site.URL+"/profile" {
		t.Errorf("a page that needs more: status %d, %q", a.Status, a.Header.Get("Location"))
	}
}

func TestAnyBrowserAndScopeLoginSendEveryBrowserToWeChat(t *testing.T) {
	for name, change := range map[string]func(s *loginSite){
		"AnyBrowser": func(s *loginSite) { s.oauth.AnyBrowser = true },
		"ScopeLogin": func(s *loginSite) {
			s.oauth.Account, s.oauth.Scope = wechatopen.FixedAccount(s.ownAccount(s.shop)), wechatopen.ScopeLogin
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newLoginSite(t, func(s *loginSite) {
				change(s)
				s.oauth.OutsideWeChat = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("OutsideWeChat was asked") })
			})
			s.toWeChat(do(t, nil, s.as(desktopAgent, http.MethodGet, s.site.URL+"/page")))
		})
	}
}

func TestOutsideWeChatAnswersInTheMiddlewaresPlace(t *testing.T) {
	s := newLoginSite(t, func(s *loginSite) {
		s.oauth.OutsideWeChat = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "ours, "+r.Method+" "+r.URL.RequestURI())
		})
	})
	before := s.state()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		a := do(t, nil, s.as(desktopAgent, method, s.site.URL+"/page?code=x&state=y"))
		if a.Status != http.StatusTeapot || a.Body != "ours, "+method+" /page?code=x&state=y" || !slices.Contains(a.Header.Values("Vary"), "User-Agent") {
			t.Errorf("status %d, body %q, Vary %q", a.Status, a.Body, a.Header.Values("Vary"))
		}
		s.unchanged(before, a)
	}
	s.toWeChat(do(t, nil, s.as(wechatAgent, http.MethodGet, s.site.URL+"/page")))
	if a := do(t, nil, s.as(wechatAgent, http.MethodPost, s.site.URL+"/page")); a.Status != http.StatusUnauthorized {
		t.Errorf("a form in WeChat: status %d", a.Status)
	}
}

// One page, two doors: WeChat's browser logs in with the official account, others with a website application.
func newTwoDoorSite(t *testing.T) (s *loginSite, website *wechattest.Account) {
	s = newLoginSite(t, func(s *loginSite) {
		website = s.sim.AddAccount(wechattest.AccountConfig{Name: "Shop, on the web", Website: true})
		desk := s.newOAuth(s.ownAccount(website))
		desk.Scope = wechatopen.ScopeLogin
		s.oauth.OutsideWeChat = desk.Require(http.HandlerFunc(showLoginUser))
	})
	return s, website
}

func TestWebsiteLoginOutsideWeChatAroundTheSamePage(t *testing.T) {
	s, website := newTwoDoorSite(t)
	address := s.site.URL + "/page?a=b"

	phone := s.sim.NewBrowser(s.alice)
	p, err := phone.Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if u := loginUser(t, answer{p.Status, p.Header, p.Body}); u.AppID != s.shop.AppID() || u.Scope != wechatopen.ScopeBase || u.OpenID != s.shop.OpenID(s.alice) {
		t.Errorf("in WeChat: %+v", *u)
	}

	desk := s.sim.NewBrowser(nil)
	if p, err = desk.Open(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(p.URL, s.sim.URL()+qrLoginPagePath+"?appid="+website.AppID()+"&") {
		t.Fatalf("on a desktop: %s", p.URL)
	}
	refused, err := p.Click(t.Context(), "refuse")
	if err != nil || refused.Status != http.StatusForbidden || !strings.HasPrefix(refused.URL, address) {
		t.Errorf("refused: %v, status %d at %s", err, refused.Status, refused.URL)
	}
	if p, err = desk.Open(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	if p, err = p.Click(t.Context(), "allow"); err != nil {
		t.Fatal(err)
	}
	u := loginUser(t, answer{p.Status, p.Header, p.Body})
	if u.AppID != website.AppID() || u.Scope != wechatopen.ScopeLogin || u.OpenID != website.OpenID(s.alice) || u.UnionID != s.alice.UnionID() {
		t.Errorf("on a desktop: %+v", *u)
	}
	if strings.TrimSuffix(p.URL, "#wechat_redirect") != address {
		t.Errorf("ended at %s", p.URL)
	}
	if n := s.exchanges(); n != 2 {
		t.Errorf("%d exchanges for two logins", n)
	}

	// The session is kept, for scripts and forms too.
	before := s.state()
	if p, err = desk.Open(t.Context(), address); err != nil || len(p.Trail) != 1 || loginUser(t, answer{p.Status, p.Header, p.Body}).AppID != website.AppID() {
		t.Errorf("second visit: %v %q", err, p.Trail)
	}
	for _, r := range []*http.Request{
		s.as(desktopAgent, http.MethodPost, address),
		s.as(desktopAgent, http.MethodGet, address, "Sec-Fetch-Mode", "cors"),
	} {
		if u := loginUser(t, do(t, desk.Client, r)); u == nil || u.AppID != website.AppID() {
			t.Errorf("%s with the session: %v", r.Method, u)
		}
		if a := do(t, nil, s.as(desktopAgent, r.Method, address, "Sec-Fetch-Mode", "cors")); a.Status != http.StatusUnauthorized {
			t.Errorf("%s without one: status %d", r.Method, a.Status)
		}
	}
	s.unchanged(before)
}

func TestWebsiteLoginOutsideWeChatEndsInErrLoginLoopWithoutCookies(t *testing.T) {
	s, _ := newTwoDoorSite(t)
	b := s.sim.NewBrowser(nil)
	b.NoCookies = true
	p, err := b.Open(t.Context(), s.site.URL+"/page")
	for range 3 {
		if err != nil || !p.Has("allow") {
			t.Fatalf("not at WeChat: %v, %s", err, p.URL)
		}
		p, err = p.Click(t.Context(), "allow")
	}
	if err != nil || p.Status != http.StatusForbidden || !strings.Contains(s.log.String(), "keeps no cookies") {
		t.Errorf("%v, status %d, log %s", err, p.Status, s.log)
	}
	if n := s.exchanges(); n != 0 {
		t.Errorf("%d exchanges", n)
	}
}
