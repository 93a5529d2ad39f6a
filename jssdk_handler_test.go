package wechatopen_test

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// jsOrigin is where the pages to be signed live.
const jsOrigin = "https://shop.example.com"

// jsWorld is a world whose site signs pages of jsOrigin at /jssdk, for the shop.
func jsWorld(t *testing.T, h *wechatopen.JSSDKHandler) (*world, *wechatopen.Account) {
	t.Helper()
	w := newWorld(t)
	a := w.ready()
	w.comp.SetDomain("shop.example.com")
	if h.Account == nil {
		h.Account = wechatopen.FixedAccount(a)
	}
	if h.AllowedOrigins == nil {
		h.AllowedOrigins = []string{jsOrigin}
	}
	w.mux.Handle("/jssdk", h)
	w.log.reset()
	w.sim.ResetJournal()
	return w, a
}

// sign asks for a page as the script of the handler's doc comment does.
func (w *world) sign(page string) answer {
	w.t.Helper()
	return get(w.t, nil, w.site.URL+"/jssdk?url="+url.QueryEscape(page))
}

// jsSigned is the signature algorithm a third time, held against WeChat's vectors below.
func jsSigned(ticket, nonce string, timestamp int64, page string) string {
	sum := sha1.Sum(fmt.Appendf(nil, "jsapi_ticket=%s&noncestr=%s&timestamp=%d&url=%s", ticket, nonce, timestamp, page))
	return hex.EncodeToString(sum[:])
}

const jsTicketOfVectors = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg"

// protocol.md 6. Nonce and timestamp are the library's own, so its answers are recomputed with what passes the vectors.
func TestJSConfigSignsAsWeChatsVectorsDo(t *testing.T) {
	for page, want := range map[string]string{
		"http://mp.weixin.qq.com?params=value": "0f9de62fce790f9a083d5c99e95740ceb90c27ed",
		"http://mp.weixin.qq.com":              "f4d90daf4b3bca3078ab155816175ba34c443a7b",
	} {
		if got := jsSigned(jsTicketOfVectors, "Wm3WZYTPz0wzccnW", 1414587457, page); got != want {
			t.Fatalf("the test's own algorithm: %s, want %s", got, want)
		}
	}
	w := newWorld(t)
	a := w.ready()
	w.sim.Inject(wechattest.Fault{Path: opGetTicket, Body: []byte(`{"errcode":0,"errmsg":"ok","ticket":"` + jsTicketOfVectors + `","expires_in":7200}`)})
	for _, page := range []string{"http://mp.weixin.qq.com?params=value", "http://mp.weixin.qq.com"} {
		c, err := a.JSConfig(t.Context(), page)
		if err != nil {
			t.Fatal(err)
		}
		if want := jsSigned(jsTicketOfVectors, c.NonceStr, c.Timestamp, page); c.Signature != want {
			t.Errorf("%s: signature %s, want %s", page, c.Signature, want)
		}
		if age := w.sim.Now().Unix() - c.Timestamp; age < 0 || age > 60 {
			t.Errorf("timestamp %d is not that of the clock", c.Timestamp)
		}
		if c.AppID != w.shop.AppID() {
			t.Errorf("appId %s, want the authorizer's, %s", c.AppID, w.shop.AppID())
		}
		if len(c.NonceStr) < 16 || strings.ContainsFunc(c.NonceStr, func(r rune) bool {
			return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", r)
		}) {
			t.Errorf("nonceStr %q", c.NonceStr)
		}
	}
}

func TestEachPageIsSignedWithANonceOfItsOwn(t *testing.T) {
	w, a := jsWorld(t, &wechatopen.JSSDKHandler{})
	first, err := a.JSConfig(t.Context(), jsOrigin+"/")
	if err != nil {
		t.Fatal(err)
	}
	second, err := a.JSConfig(t.Context(), jsOrigin+"/")
	if err != nil {
		t.Fatal(err)
	}
	if first.NonceStr == second.NonceStr || first.Signature == second.Signature {
		t.Error("two pages with one nonce")
	}
	w.sim.Advance(time.Hour)
	third, err := a.JSConfig(t.Context(), jsOrigin+"/")
	if err != nil || third.Timestamp < first.Timestamp+3600 {
		t.Errorf("%v; timestamp does not follow the clock", err)
	}
}

// attacks.md 44
func TestJSSDKHandlerSignsNoPageOfAnotherOrigin(t *testing.T) {
	w, a := jsWorld(t, &wechatopen.JSSDKHandler{})
	tokenOf(t, a.JSAPITicket()) // so that nothing but the check stands between the page and a signature
	w.sim.ResetJournal()
	for _, tc := range []struct {
		page   string
		status int // 0: any 4xx
	}{
		{"https://evil.example/", 403},
		{"https://shop.example.com.evil.example/", 403},
		{"https://evil-shop.example.com/", 403},
		{"https://evil.shop.example.com/", 403},
		{"https://example.com/", 403},
		{"https://shop.example.comevil/", 403},
		{"https://shop.example.com./", 403},
		{"http://shop.example.com/", 403}, // the scheme is part of the origin
		{"https://shop.example.com:444/", 403},
		{"https://shop.example.com:80/", 403},
		{"https://shop.example.com@evil.example/", 400},
		{"https://shop.example.com:443@evil.example/", 400},
		{"https://evil.example@shop.example.com/", 400},
		{"https://@shop.example.com/", 400},
		{`https://evil.example\@shop.example.com/`, 400},
		{`https://evil.example\.shop.example.com/`, 400},
		{`https:\\shop.example.com\`, 400},
		{"https://evil.example/?https://shop.example.com/", 403},
		{"https://evil.example/#https://shop.example.com/", 403},
		{"https://evil.example#@shop.example.com/", 403},
		{"https://evil.example?@shop.example.com/", 403},
		{"//shop.example.com/", 400},
		{"/", 400},
		{"shop.example.com/", 400},
		{"shop.example.com:443/", 400},
		{"https:shop.example.com/", 400},
		{"https:/shop.example.com/", 400},
		{"https:///shop.example.com/", 400},
		{"https://", 400},
		{"https:///", 400},
		{"https://:443/", 0},
		{"javascript:alert(1)", 400},
		{"javascript://shop.example.com/%0aalert(1)", 400},
		{"data:text/html,x", 400},
		{"about:blank", 400},
		{"blob:https://shop.example.com/uuid", 400},
		{"file://shop.example.com/", 400},
		{"ftp://shop.example.com/", 400},
		{"wss://shop.example.com/", 400},
		{"null", 400},
		{"", 400},
		{"#", 400},
		{"#https://shop.example.com/", 400},
		{" https://shop.example.com/", 400},
		{"https://shop.example.com/ ", 400},
		{"https://shop.example.com/\nx", 400},
		{"https://shop.exam\tple.com/", 400},
		{"https://shop.example.com/\x00", 400},
		{"https://shop.example.com\x7f/", 400},
		{"https://shop%2eexample.com/", 400},
		{"https://shop.example.com%2f@evil.example/", 400},
		{"https://shop.example.com%00.evil.example/", 400},
		{"https://shop。example。com/", 403},
		{"https://ｓhop.example.com/", 403},
		{"https://shop.example.com:99999999/", 0},
		{"https://shop.example.com:44x/", 400},
		{"https://[::1]/", 403},
		{"https://shop.example.com/" + strings.Repeat("a", 9000), 400},
	} {
		w.log.reset()
		got := w.sign(tc.page)
		if got.Status != tc.status && (tc.status != 0 || got.Status/100 != 4) {
			t.Errorf("%q: status %d, want %d", tc.page, got.Status, tc.status)
		}
		if strings.Contains(got.Body, "signature") || strings.Contains(got.Body, "example") {
			t.Errorf("%q: answered %s", tc.page, got.Body)
		}
		if n := strings.Count(w.log.String(), "page not signed"); n != 1 {
			t.Errorf("%q: %d lines in the log, want 1:\n%s", tc.page, n, w.log)
		}
	}
	// Queries that are not ours.
	for _, query := range []string{"", "?", "?url", "?url=", "?URL=" + jsOrigin + "/", "?url=%zz", "?url=" + jsOrigin + "/&url=https://evil.example/", "?url=https://evil.example/&url=" + jsOrigin + "/", "?url=" + jsOrigin + "/&url=" + jsOrigin + "/"} {
		if got := get(t, nil, w.site.URL+"/jssdk"+query); got.Status != 400 || strings.Contains(got.Body, "signature") {
			t.Errorf("query %q: %d %s, want 400", query, got.Status, got.Body)
		}
	}
	if n := len(w.sim.Calls()); n != 0 {
		t.Errorf("%d calls of WeChat for pages that are not signed", n)
	}
}

// attacks.md 45
func TestJSSDKHandlerSignsThePageAsTheBrowserHasIt(t *testing.T) {
	w, _ := jsWorld(t, &wechatopen.JSSDKHandler{AllowedOrigins: []string{jsOrigin, "http://shop.example.com:8080", "https://SHOP.example.com:8443/"}})
	for _, page := range []string{
		jsOrigin + "/",
		jsOrigin,
		jsOrigin + "/?",
		jsOrigin + "?params=value",
		jsOrigin + "/#",
		jsOrigin + "/#/route?x=1#2",
		jsOrigin + "/?#wechat_redirect",
		jsOrigin + "/a?b=c#d",
		jsOrigin + "/%E5%95%86%E5%BA%97?q=%e5%95%86&plus=a%2Bb",
		jsOrigin + "/商店?q=微信", // a page that passes decodeURI(location.href)
		jsOrigin + "/%7Euser/~user/%2F/%2f//./../x",
		jsOrigin + "/a;b=c,d:e@f!$&'()*+=/?a=1;b=2&c[]=3&d={}|^`",
		jsOrigin + "/?next=https://evil.example/%23",
		jsOrigin + "/?a=b+c&a=b%20c",
		jsOrigin + "/?code=abc&state=def&from=singlemessage&isappinstalled=0",
		jsOrigin + "/?q=100%",            // browsers keep a % that escapes nothing, in a query
		jsOrigin + "/100%/%zz/50%-off",   // and in a path
		jsOrigin + `/?path=C:\Users`,     // and a backslash in a query
		jsOrigin + ":443/",               // no browser writes it, yet it is the same origin
		"http://shop.example.com:8080/p", // a port of its own
		"https://shop.example.com:8443/p",
		jsOrigin + "/?pad=" + strings.Repeat("a", 4000),
	} {
		got := w.sign(page)
		if got.Status != http.StatusOK {
			t.Errorf("%s: status %d", page, got.Status)
			continue
		}
		var c wechatopen.JSConfig
		if err := json.Unmarshal([]byte(got.Body), &c); err != nil {
			t.Errorf("%s: %v", page, err)
			continue
		}
		if err := w.sim.VerifyJSConfig(c.AppID, c.NonceStr, c.Timestamp, page, c.Signature); err != nil {
			t.Errorf("%s: %v", page, err)
		}
		// VerifyJSConfig cuts the fragment of the page itself; here it is cut by hand.
		bare, _, _ := strings.Cut(page, "#")
		if want := jsSigned(jsTicketOf(t, w), c.NonceStr, c.Timestamp, bare); c.Signature != want {
			t.Errorf("%s: signed as something else", page)
		}
	}
	if n := w.sim.Count(opGetTicket); n != 1 {
		t.Errorf("%d tickets fetched, want 1", n)
	}
}

// jsTicketOf is the shop's ticket, as the Store has it.
func jsTicketOf(t *testing.T, w *world) string {
	t.Helper()
	var rec struct{ Value string }
	if err := json.Unmarshal([]byte(w.store.snapshot()["wechatopen:"+w.comp.AppID()+":"+w.shop.AppID()+":ticket:jsapi"]), &rec); err != nil || rec.Value == "" {
		t.Fatalf("no ticket in the Store: %v", err)
	}
	return rec.Value
}

// attacks.md 46
func TestHundredPagesAtOnceFetchOneTicket(t *testing.T) {
	w, _ := jsWorld(t, &wechatopen.JSSDKHandler{})
	gate := make(chan struct{})
	w.sim.Inject(wechattest.Fault{Path: opGetTicket, Gate: gate})
	var sent int
	bodies := make([]string, 100)
	together(len(bodies), func() { close(gate) }, func(i int) {
		resp, err := http.Get(w.site.URL + "/jssdk?url=" + url.QueryEscape(fmt.Sprintf("%s/?page=%d", jsOrigin, i)))
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		var c wechatopen.JSConfig
		if err := json.NewDecoder(resp.Body).Decode(&c); err != nil {
			t.Error(err)
			return
		}
		if err := w.sim.VerifyJSConfig(c.AppID, c.NonceStr, c.Timestamp, fmt.Sprintf("%s/?page=%d", jsOrigin, i), c.Signature); err != nil {
			t.Error(err)
		}
		bodies[i] = c.Signature
	})
	for _, b := range bodies {
		if b != "" {
			sent++
		}
	}
	if n := w.sim.Count(opGetTicket); n != 1 || sent != len(bodies) {
		t.Errorf("%d tickets fetched for %d pages signed, want 1 for %d", n, sent, len(bodies))
	}
	if slices.Sort(bodies); len(slices.Compact(bodies)) != 100 {
		t.Error("two pages with one signature")
	}
}

func TestJSSDKHandlerAnswersWhatWXConfigTakes(t *testing.T) {
	for _, tc := range []struct {
		h    *wechatopen.JSSDKHandler
		keys string
		list string
		tags string
	}{
		{&wechatopen.JSSDKHandler{}, "appId jsApiList nonceStr signature timestamp", `[]`, ``},
		{&wechatopen.JSSDKHandler{JSAPIList: []string{}, OpenTagList: []string{}}, "appId jsApiList nonceStr signature timestamp", `[]`, ``},
		{&wechatopen.JSSDKHandler{JSAPIList: []string{"chooseImage", "scanQRCode"}, OpenTagList: []string{"wx-open-launch-weapp"}}, "appId jsApiList nonceStr openTagList signature timestamp", `["chooseImage","scanQRCode"]`, `["wx-open-launch-weapp"]`},
	} {
		w, _ := jsWorld(t, tc.h)
		got := w.sign(jsOrigin + "/")
		var raw map[string]json.RawMessage
		if err := json.Unmarshal([]byte(got.Body), &raw); err != nil || got.Status != 200 {
			t.Fatalf("%d %s: %v", got.Status, got.Body, err)
		}
		if keys := strings.Join(slices.Sorted(maps.Keys(raw)), " "); keys != tc.keys {
			t.Errorf("fields %s, want %s", keys, tc.keys)
		}
		if string(raw["jsApiList"]) != tc.list || string(raw["openTagList"]) != tc.tags {
			t.Errorf("lists %s %s, want %s %s", raw["jsApiList"], raw["openTagList"], tc.list, tc.tags)
		}
		if ts := string(raw["timestamp"]); strings.ContainsAny(ts, `".e`) {
			t.Errorf("timestamp %s is not an integer", ts)
		}
		for name, want := range map[string]string{
			"Content-Type": "application/json; charset=utf-8", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
			"Vary": "Origin", "Access-Control-Allow-Origin": "", "Access-Control-Allow-Credentials": "", "Set-Cookie": "",
		} {
			if v := got.Header.Get(name); v != want {
				t.Errorf("%s: %q, want %q", name, v, want)
			}
		}
		if s := w.log.String(); s != "" {
			t.Errorf("logged:\n%s", s)
		}
		if ticket := jsTicketOf(t, w); strings.Contains(got.Body, ticket) {
			t.Error("the ticket is in the answer")
		}
	}
}

func TestJSConfigOfAnAccountHasNoNullLists(t *testing.T) {
	_, a := jsWorld(t, &wechatopen.JSSDKHandler{})
	c, err := a.JSConfig(t.Context(), jsOrigin+"/#x")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(c)
	if err != nil || strings.Contains(string(b), "null") || !strings.Contains(string(b), `"jsApiList":[]`) || strings.Contains(string(b), "debug") {
		t.Errorf("%s, %v", b, err)
	}
	c.Debug = true
	if b, _ := json.Marshal(c); !strings.Contains(string(b), `"debug":true`) {
		t.Errorf("%s", b)
	}
	for _, page := range []string{"", "//x/", "javascript:x", "https://u@x/"} {
		if c, err := a.JSConfig(t.Context(), page); err == nil || c != nil || wechatopen.HTTPStatus(err) != 400 {
			t.Errorf("%q: %v, %v", page, c, err)
		}
	}
}

func TestScriptsOfAllowedOriginsAloneMayReadASignature(t *testing.T) {
	w, _ := jsWorld(t, &wechatopen.JSSDKHandler{AllowedOrigins: []string{"https://Shop.Example.com:443/", "http://shop.example.com:8080"}})
	for origin, want := range map[string]string{
		"":                               "",
		jsOrigin:                         jsOrigin,
		"http://shop.example.com:8080":   "http://shop.example.com:8080",
		"http://shop.example.com":        "",
		"https://evil.example":           "",
		"https://shop.example.com.evil":  "",
		"https://evil.shop.example.com":  "",
		"https://shop.example.com:443":   "", // no browser writes it
		"null":                           "",
		"*":                              "",
		"https://shop.example.com, null": "",
	} {
		for _, page := range []string{jsOrigin + "/", "https://evil.example/"} {
			r, err := http.NewRequestWithContext(t.Context(), "GET", w.site.URL+"/jssdk?url="+url.QueryEscape(page), nil)
			if err != nil {
				t.Fatal(err)
			}
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
			got := do(t, nil, r)
			if v := got.Header.Values("Access-Control-Allow-Origin"); strings.Join(v, "|") != want {
				t.Errorf("Origin %q: allowed %q, want %q", origin, v, want)
			}
			if got.Header.Get("Access-Control-Allow-Credentials") != "" || got.Header.Get("Vary") != "Origin" || got.Header.Get("Cache-Control") != "no-store" || got.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("Origin %q, page %s: headers %v", origin, page, got.Header)
			}
			// The origin of the request decides who reads; whose page is signed, the page alone.
			if (got.Status == 200) != (page == jsOrigin+"/") {
				t.Errorf("Origin %q, page %s: status %d", origin, page, got.Status)
			}
		}
	}
}

func TestJSSDKHandlerTakesGETAlone(t *testing.T) {
	w, _ := jsWorld(t, &wechatopen.JSSDKHandler{OnError: func(w http.ResponseWriter, _ *http.Request, err error) { w.WriteHeader(wechatopen.HTTPStatus(err)) }})
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"} {
		r, err := http.NewRequestWithContext(t.Context(), method, w.site.URL+"/jssdk?url="+url.QueryEscape(jsOrigin+"/"), strings.NewReader("url="+jsOrigin+"/"))
		if err != nil {
			t.Fatal(err)
		}
		got := do(t, nil, r)
		if got.Status != http.StatusMethodNotAllowed || !strings.Contains(got.Header.Get("Allow"), "GET") || strings.Contains(got.Body, "signature") {
			t.Errorf("%s: %d, Allow %q, %s", method, got.Status, got.Header.Get("Allow"), got.Body)
		}
	}
	if n := len(w.sim.Calls()); n != 0 {
		t.Errorf("%d calls of WeChat", n)
	}
}

func TestJSSDKHandlerSaysWhatIsMissing(t *testing.T) {
	good := func(*http.Request) (*wechatopen.Account, error) { return nil, errors.New("not asked for") }
	for _, tc := range []struct {
		name string
		h    *wechatopen.JSSDKHandler
		want string // in the error
	}{
		{"zero", &wechatopen.JSSDKHandler{}, "Account"},
		{"no account", &wechatopen.JSSDKHandler{AllowedOrigins: []string{jsOrigin}}, "Account"},
		{"no origins", &wechatopen.JSSDKHandler{Account: good}, "AllowedOrigins"},
		{"star", &wechatopen.JSSDKHandler{Account: good, AllowedOrigins: []string{"*"}}, "AllowedOrigins"},
		{"wildcard", &wechatopen.JSSDKHandler{Account: good, AllowedOrigins: []string{"https://*.example.com"}}, "AllowedOrigins"},
		{"one bad of two", &wechatopen.JSSDKHandler{Account: good, AllowedOrigins: []string{jsOrigin, "shop.example.com"}}, "AllowedOrigins"},
		{"path", &wechatopen.JSSDKHandler{Account: good, AllowedOrigins: []string{jsOrigin + "/shop"}}, "AllowedOrigins"},
		{"query", &wechatopen.JSSDKHandler{Account: good, AllowedOrigins: []string{jsOrigin + "?a=b"}}, "AllowedOrigins"},
		{"fragment", &wechatopen.JSSDKHandler{Account: good, AllowedOrigins: []string{jsOrigin + "#a"}}, "AllowedOrigins"},
		{"user", &wechatopen.JSSDKHandler{Account: good, AllowedOrigins: []string{"https://u@shop.example.com"}}, "AllowedOrigins"},
		{"scheme", &wechatopen.JSSDKHandler{Account: good, AllowedOrigins: []string{"ftp://shop.example.com"}}, "AllowedOrigins"},
		{"empty string", &wechatopen.JSSDKHandler{Account: good, AllowedOrigins: []string{""}}, "AllowedOrigins"},
		{"null", &wechatopen.JSSDKHandler{Account: good, AllowedOrigins: []string{"null"}}, "AllowedOrigins"},
		{"neither account nor error", &wechatopen.JSSDKHandler{Account: wechatopen.FixedAccount(nil), AllowedOrigins: []string{jsOrigin}}, "Account"},
		{"error of Account", &wechatopen.JSSDKHandler{Account: good, AllowedOrigins: []string{jsOrigin}}, "not asked for"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got error
			tc.h.OnError = func(w http.ResponseWriter, _ *http.Request, err error) {
				got = err
				http.Error(w, "ours", wechatopen.HTTPStatus(err))
			}
			for range 2 { // the second request learns the same
				rec := httptest.NewRecorder()
				tc.h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/jssdk?url="+url.QueryEscape(jsOrigin+"/"), nil))
				if rec.Code != 500 || rec.Body.String() != "ours\n" || rec.Header().Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("%d %v %s", rec.Code, rec.Header(), rec.Body)
				}
				if got == nil || !strings.Contains(got.Error(), tc.want) {
					t.Errorf("error %v, want one that says %q", got, tc.want)
				}
			}
		})
	}
}

func TestJSSDKHandlerTellsTheClientNoCause(t *testing.T) {
	w, a := jsWorld(t, &wechatopen.JSSDKHandler{})
	w.sim.Inject(wechattest.Fault{Path: opGetTicket, ErrCode: 48001})
	got := w.sign(jsOrigin + "/")
	if got.Status != 500 || strings.TrimSpace(got.Body) != http.StatusText(500) {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	if log := w.log.String(); !strings.Contains(log, "48001") || strings.Contains(log, tokenOf(t, a.AccessToken()).Value) {
		t.Errorf("log:\n%s", log)
	}
}

func TestJSSDKHandlerSignsForTheAccountOfTheRequest(t *testing.T) {
	w := newWorld(t)
	w.ready()
	second := w.sim.AddAccount(wechattest.AccountConfig{Name: "Second"})
	if _, err := w.comp.Authorize(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	w.comp.SetDomain("shop.example.com")
	w.mux.Handle("/{appid}/jssdk", &wechatopen.JSSDKHandler{
		Account: func(r *http.Request) (*wechatopen.Account, error) {
			return w.platform.Account(r.PathValue("appid")), nil
		},
		AllowedOrigins: []string{jsOrigin},
	})
	for _, appID := range []string{w.shop.AppID(), second.AppID()} {
		got := get(t, nil, w.site.URL+"/"+appID+"/jssdk?url="+url.QueryEscape(jsOrigin+"/"))
		var c wechatopen.JSConfig
		if err := json.Unmarshal([]byte(got.Body), &c); err != nil {
			t.Fatalf("%d %s", got.Status, got.Body)
		}
		if err := w.sim.VerifyJSConfig(appID, c.NonceStr, c.Timestamp, jsOrigin+"/", c.Signature); err != nil || c.AppID != appID {
			t.Errorf("%s: %v, signed for %s", appID, err, c.AppID)
		}
	}
	w.sim.ResetJournal()
	for _, appID := range []string{"wxffffffffffffffff", "a%3Ab"} {
		got := get(t, nil, w.site.URL+"/"+appID+"/jssdk?url="+url.QueryEscape(jsOrigin+"/"))
		if got.Status != http.StatusForbidden {
			t.Errorf("%s: status %d, want 403: it does not authorize the platform", appID, got.Status)
		}
	}
	if n := len(w.sim.Calls()); n != 0 {
		t.Errorf("%d calls of WeChat for accounts that nobody authorized", n)
	}
}
