package wechatopen_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

const (
	apiStartPush      = "/cgi-bin/component/api_start_push_ticket"
	apiList           = "/cgi-bin/component/api_get_authorizer_list"
	apiReadOption     = "/cgi-bin/component/get_authorizer_option"
	apiWriteOption    = "/cgi-bin/component/set_authorizer_option"
	apiClearComponent = "/cgi-bin/component/clear_quota/v2"
	apiClearAccount   = "/cgi-bin/clear_quota"
	apiEcho           = "/cgi-bin/test/echo"
)

// theCall is the only call of path in the journal.
func (w *world) theCall(path string) wechattest.Call {
	w.t.Helper()
	calls := w.sim.Calls(path)
	if len(calls) != 1 {
		w.t.Fatalf("%d calls of %s, want 1", len(calls), path)
	}
	return calls[0]
}

// jsonBody decodes what a call sent.
func jsonBody(t *testing.T, c wechattest.Call) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(c.Body, &m); err != nil {
		t.Fatalf("%s: body %q: %v", c.Path, c.Body, err)
	}
	return m
}

func TestComponentStartPushTicket(t *testing.T) {
	w := newWorld(t)
	pushes := w.watchPushes(&wechatopen.TicketHandler{Platform: w.platform})
	w.comp.StopPushes()
	if _, err := w.comp.PushTicket(t.Context()); err == nil {
		t.Fatal("pushes are not stopped")
	}
	if err := w.platform.StartPushTicket(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := receive(t, pushes, "the ticket"); p.status != http.StatusOK {
		t.Errorf("the ticket was answered %d", p.status)
	}
	w.wantComponentToken()
	if err := w.platform.StartPushTicket(t.Context()); err != nil {
		t.Errorf("in a normal state: %v", err)
	}
	c := w.sim.Calls(apiStartPush)[0]
	if want := map[string]any{"component_appid": w.comp.AppID(), "component_secret": w.comp.Credentials().AppSecret}; c.Method != http.MethodPost ||
		!maps.Equal(jsonBody(t, c), want) || len(c.Query) != 0 {
		t.Errorf("%s %v %s", c.Method, c.Query, c.Body)
	}
	// It tells at once whether the credentials are right.
	creds := w.comp.Credentials()
	creds.AppSecret = "wrong"
	p, err := wechatopen.NewPlatform(creds, append(w.sim.Options(), wechatopen.WithStore(w.store))...)
	if err != nil {
		t.Fatal(err)
	}
	err = p.StartPushTicket(t.Context())
	var refusal *wechatopen.APIError
	if !errors.As(err, &refusal) || refusal.Code != 40125 || refusal.Op != apiStartPush || refusal.RID == "" || strings.Contains(refusal.Msg, "rid") {
		t.Errorf("a wrong secret: %#v", err)
	}
}

func TestComponentCreatePreAuthCode(t *testing.T) {
	tests := map[string]struct {
		fault *wechattest.Fault
		life  time.Duration
		fails bool
	}{
		"as documented":         {life: 30 * time.Minute},
		"ten minutes":           {fault: &wechattest.Fault{Body: []byte(`{"pre_auth_code":"preauthcode@@@x","expires_in":600}`)}, life: 10 * time.Minute},
		"a number in quotes":    {fault: &wechattest.Fault{Body: []byte(`{"pre_auth_code":"preauthcode@@@x","expires_in":"600"}`)}, life: 10 * time.Minute},
		"no expires_in":         {fault: &wechattest.Fault{Body: []byte(`{"pre_auth_code":"preauthcode@@@x"}`)}, life: 0},
		"an absurd expires_in":  {fault: &wechattest.Fault{Body: []byte(`{"pre_auth_code":"preauthcode@@@x","expires_in":9223372036854775807}`)}, life: 24 * time.Hour},
		"no code":               {fault: &wechattest.Fault{Body: []byte(`{"expires_in":600}`)}, fails: true},
		"an empty code":         {fault: &wechattest.Fault{Body: []byte(`{"pre_auth_code":"","expires_in":600}`)}, fails: true},
		"expires_in is a word":  {fault: &wechattest.Fault{Body: []byte(`{"pre_auth_code":"preauthcode@@@x","expires_in":"soon"}`)}, fails: true},
		"refused":               {fault: &wechattest.Fault{ErrCode: 61004}, fails: true},
		"the code is no string": {fault: &wechattest.Fault{Body: []byte(`{"pre_auth_code":7,"expires_in":600}`)}, fails: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.pushTicket()
			if tt.fault != nil {
				tt.fault.Path = apiPreAuthCode
				w.sim.Inject(*tt.fault)
			}
			before := w.sim.Now()
			code, err := w.platform.CreatePreAuthCode(t.Context())
			after := w.sim.Now()
			if tt.fails {
				if err == nil || strings.Contains(err.Error(), "preauthcode@@@") {
					t.Errorf("%v, %v", code, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(code.Code, "preauthcode@@@") || code.Expiry.Before(before.Add(tt.life)) || code.Expiry.After(after.Add(tt.life)) {
				t.Errorf("%q until %v, %v from now", code.Code, code.Expiry, code.Expiry.Sub(before))
			}
			for _, s := range []string{fmt.Sprint(*code), fmt.Sprintf("%v %+v %#v", code, code, code), slog.AnyValue(*code).Resolve().String()} {
				if strings.Contains(s, code.Code) {
					t.Errorf("the code prints: %s", s)
				}
			}
			c := w.theCall(apiPreAuthCode)
			if c.Method != http.MethodPost || !maps.Equal(jsonBody(t, c), map[string]any{"component_appid": w.comp.AppID()}) || c.Query.Get("component_access_token") == "" {
				t.Errorf("%s %v %s", c.Method, c.Query, c.Body)
			}
		})
	}
}

func TestComponentAuthorizeURL(t *testing.T) {
	creds := wechatopen.Credentials{AppID: "wxc0", AppSecret: "s", Token: "t", EncodingAESKey: strings.Repeat("a", 43)}
	p, err := wechatopen.NewPlatform(creds, wechatopen.WithStore(wechatopen.NewMemoryStore()))
	if err != nil {
		t.Fatal(err)
	}
	back := "https://saas.example.com/join?shop=7&x=%E5%BA%97 +"
	const encoded = "https%3A%2F%2Fsaas.example.com%2Fjoin%3Fshop%3D7%26x%3D%25E5%25BA%2597%20%2B"
	tests := map[string]struct {
		link wechatopen.AuthorizeLink
		want string
	}{
		"desktop": {wechatopen.AuthorizeLink{PreAuthCode: "preauthcode@@@a_-b", RedirectURI: back},
			"https://mp.weixin.qq.com/cgi-bin/componentloginpage?component_appid=wxc0&pre_auth_code=preauthcode%40%40%40a_-b&redirect_uri=" + encoded + "&auth_type=3"},
		"phone": {wechatopen.AuthorizeLink{PreAuthCode: "c", RedirectURI: back, Phone: true},
			"https://open.weixin.qq.com/wxaopen/safe/bindcomponent?action=bindcomponent&no_scan=1&component_appid=wxc0&pre_auth_code=c&redirect_uri=" + encoded + "&auth_type=3#wechat_redirect"},
		"all of it": {wechatopen.AuthorizeLink{PreAuthCode: "c", RedirectURI: back, AuthType: 2, BizAppID: "wxb1", CategoryIDs: []int{1, 22, 3}},
			"https://mp.weixin.qq.com/cgi-bin/componentloginpage?component_appid=wxc0&pre_auth_code=c&redirect_uri=" + encoded + "&auth_type=2&biz_appid=wxb1&category_id_list=1%7C22%7C3"},
		"all of it on a phone": {wechatopen.AuthorizeLink{PreAuthCode: "c", RedirectURI: back, Phone: true, AuthType: 8, BizAppID: "wx&b=1#", CategoryIDs: []int{5}},
			"https://open.weixin.qq.com/wxaopen/safe/bindcomponent?action=bindcomponent&no_scan=1&component_appid=wxc0&pre_auth_code=c&redirect_uri=" + encoded + "&auth_type=8&biz_appid=wx%26b%3D1%23&category_id_list=5#wechat_redirect"},
	}
	for name, tt := range tests {
		if got := p.AuthorizeURL(tt.link); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tt.want)
		}
	}
}

func TestComponentQueryAuthRedeemsACodeOnce(t *testing.T) {
	w := newWorld(t)
	w.pushTicket()
	code := w.comp.NewAuthCode(w.shop)
	var all sync.WaitGroup
	results := make(chan *wechatopen.Authorization, 40)
	for range 20 {
		all.Go(func() {
			a, err := w.platform.QueryAuth(t.Context(), code)
			if err != nil {
				t.Error(err)
				return
			}
			results <- a
		})
	}
	all.Wait()
	for range 5 {
		a, err := w.newPlatform().QueryAuth(t.Context(), code)
		if err != nil {
			t.Fatal(err)
		}
		results <- a
	}
	close(results)
	for a := range results {
		if a.AppID != w.shop.AppID() || !a.HasToken || !slices.Equal(a.FuncInfo, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15}) {
			t.Fatalf("%+v", a)
		}
	}
	c := w.theCall(apiQueryAuth)
	if want := map[string]any{"component_appid": w.comp.AppID(), "authorization_code": code}; !maps.Equal(jsonBody(t, c), want) {
		t.Errorf("body %s", c.Body)
	}
	w.wantGrant()
	for k, v := range w.store.snapshot() {
		if strings.Contains(k, code) || strings.Contains(v, code) {
			t.Errorf("%s: the code itself is in the Store", k)
		}
	}
}

func TestComponentQueryAuthErrors(t *testing.T) {
	w := newWorld(t)
	w.pushTicket()
	if _, err := w.platform.QueryAuth(t.Context(), ""); err == nil {
		t.Error("no error for an empty code")
	}
	if n := w.sim.Count(apiQueryAuth); n != 0 {
		t.Errorf("%d calls for an empty code", n)
	}
	before := w.store.snapshot()
	_, err := w.platform.QueryAuth(t.Context(), "queryauthcode@@@never")
	var refusal *wechatopen.APIError
	if !errors.As(err, &refusal) || refusal.Code != 61009 || strings.Contains(err.Error(), "never") {
		t.Errorf("a code that is none: %v", err)
	}
	for k := range w.store.snapshot() {
		if _, ok := before[k]; !ok && !strings.HasSuffix(k, ":component_token") {
			t.Errorf("%s was stored", k)
		}
	}
}

// A code is spent with the first call: a caller who leaves does not lose it.
func TestComponentQueryAuthIsFinishedThoughItsCallerLeaves(t *testing.T) {
	net := &grantNet{}
	w := newWorld(t, net.option())
	w.pushTicket()
	code := w.comp.NewAuthCode(w.shop)
	arrived, release := net.holdAnswer(t, apiQueryAuth)
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := w.platform.QueryAuth(ctx, code)
		done <- err
	}()
	receive(t, arrived, "the redemption")
	leave()
	release()
	receive(t, done, "QueryAuth")
	w.wantGrant()
	if a, err := w.platform.QueryAuth(t.Context(), code); err != nil || a.AppID != w.shop.AppID() {
		t.Errorf("%+v, %v", a, err)
	}
	if n := w.sim.Count(apiQueryAuth); n != 1 {
		t.Errorf("%d calls", n)
	}
}

func TestComponentQueryAuthReadsNumbersInQuotes(t *testing.T) {
	w := newWorld(t)
	w.pushTicket()
	start := w.sim.Now()
	w.sim.Inject(wechattest.Fault{Path: apiQueryAuth, Body: []byte(`{"authorization_info":{"authorizer_appid":"` + w.shop.AppID() +
		`","authorizer_access_token":"92_x","expires_in":"7200","authorizer_refresh_token":"refreshtoken@@@x","func_info":[
		{"funcscope_category":{"id":"1","type":0,"name":"消息管理权限","desc":"d"},"confirm_info":{"need_confirm":1,"already_confirm":0,"can_confirm":0}},
		{"funcscope_category":{"id":15}},{"funcscope_category":{"id":""}},{}]}}`)})
	a, err := w.platform.QueryAuth(t.Context(), "queryauthcode@@@x")
	if err != nil || !a.HasToken || len(a.FuncInfo) < 2 || a.FuncInfo[0] != 1 || a.FuncInfo[1] != 15 {
		t.Fatalf("%+v, %v", a, err)
	}
	tok := w.wantToken(w.platform.Account(w.shop.AppID()))
	if tok.Value != "92_x" || tok.Expiry.Before(start.Add(2*time.Hour)) || tok.Expiry.After(w.sim.Now().Add(2*time.Hour)) {
		t.Errorf("token %q until %v", tok.Value, tok.Expiry)
	}
}

func TestComponentAuthorizerInfo(t *testing.T) {
	// Every field that WeChat documents, and numbers as numbers or in quotes, as some have seen them.
	const body = `{
	"authorizer_info":{
		"nick_name":"示例 & Co","head_img":"http://wx.qlogo.cn/mmopen/x/0","service_type_info":{"id":%[1]s2%[1]s,"name":"服务号"},"verify_type_info":{"id":%[1]s-1%[1]s},
		"user_name":"gh_eb5e3a772040","alias":"paytest01","qrcode_url":"http://mmbiz.qpic.cn/x",
		"business_info":{"open_pay":%[1]s1%[1]s,"open_shake":%[1]s1%[1]s,"open_scan":%[1]s0%[1]s,"open_card":%[1]s1%[1]s,"open_store":%[1]s0%[1]s},
		"idc":%[1]s1%[1]s,"principal_name":"腾讯计算机系统有限公司","signature":"签名",
		"MiniProgramInfo":{"network":{"RequestDomain":["https://a.com"],"WsRequestDomain":["wss://b.com"],"UploadDomain":["https://c.com"],
			"DownloadDomain":["https://d.com"],"BizDomain":["https://e.com"],"UDPDomain":["udp://f.com"],"TCPDomain":["tcp://g.com"]},
			"categories":[{"first":"资讯","second":"文娱"},{"first":"工具","second":"天气"}],"visit_status":%[1]s1%[1]s},
		"register_type":%[1]s6%[1]s,"account_status":%[1]s14%[1]s,"basic_config":{"is_phone_configured":true,"is_email_configured":false},
		"channels_info":{"id":"sph123"},"store_info":{"id":7},"talent_info":{"id":"t8"},"supplier_info":{"id":9},
		"unknown_field":{"a":[1]}},
	"authorization_info":{"%[2]s":"wxf8b4f85f3a794e77","authorizer_refresh_token":"refreshtoken@@@SNiEM","func_info":[
		{"funcscope_category":{"id":%[1]s1%[1]s}},{"funcscope_category":{"id":%[1]s2%[1]s}}]}}`
	want := wechatopen.AuthorizerInfo{
		NickName: "示例 & Co", HeadImg: "http://wx.qlogo.cn/mmopen/x/0", ServiceType: wechatopen.IDName{ID: "2", Name: "服务号"}, VerifyType: wechatopen.IDName{ID: "-1"},
		UserName: "gh_eb5e3a772040", Alias: "paytest01", QRCodeURL: "http://mmbiz.qpic.cn/x",
		BusinessInfo: wechatopen.BusinessInfo{OpenPay: 1, OpenShake: 1, OpenCard: 1}, IDC: 1, PrincipalName: "腾讯计算机系统有限公司", Signature: "签名",
		MiniProgram: &wechatopen.MiniProgramInfo{
			Network: wechatopen.MiniProgramNetwork{RequestDomain: []string{"https://a.com"}, WsRequestDomain: []string{"wss://b.com"}, UploadDomain: []string{"https://c.com"},
				DownloadDomain: []string{"https://d.com"}, BizDomain: []string{"https://e.com"}, UDPDomain: []string{"udp://f.com"}, TCPDomain: []string{"tcp://g.com"}},
			Categories: []wechatopen.Category{{First: "资讯", Second: "文娱"}, {First: "工具", Second: "天气"}}, VisitStatus: 1,
		},
		RegisterType: 6, AccountStatus: 14, BasicConfig: wechatopen.BasicConfig{IsPhoneConfigured: true},
		Channels: &wechatopen.IDName{ID: "sph123"}, Store: &wechatopen.IDName{ID: "7"}, Talent: &wechatopen.IDName{ID: "t8"}, Supplier: &wechatopen.IDName{ID: "9"},
		Authorization: wechatopen.Authorization{AppID: "wxf8b4f85f3a794e77", FuncInfo: []int{1, 2}, HasToken: true},
	}
	for name, args := range map[string][]any{"numbers": {"", "authorizer_appid"}, "numbers in quotes": {`"`, "authorizer_appid"}, "the appid of old samples": {"", "authorization_appid"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.pushTicket()
			w.sim.Inject(wechattest.Fault{Path: apiAuthorizerInfo, Body: fmt.Appendf(nil, body, args...)})
			got, err := w.platform.AuthorizerInfo(t.Context(), "wxf8b4f85f3a794e77")
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(*got, want) {
				t.Errorf("got  %+v\nwant %+v", *got, want)
			}
			if got.ServiceType.ID.Int() != 2 || got.VerifyType.ID.Int() != -1 || got.Channels.ID.Int() != 0 {
				t.Error("ID.Int")
			}
			if s := fmt.Sprintf("%+v %#v", got, got); strings.Contains(s, "refreshtoken") {
				t.Error("the refresh token is handed out")
			}
			// Looking does not store anything.
			if n := len(w.refreshTokens()); n != 0 {
				t.Errorf("%d grants stored", n)
			}
		})
	}
}

func TestComponentAuthorizerInfoOfEachKind(t *testing.T) {
	w := newWorld(t)
	w.ready()
	mini := w.sim.AddAccount(wechattest.AccountConfig{Name: "Mini", MiniProgram: true, Alias: "mini", Principal: "Mini Ltd"})
	noAPI := w.sim.AddAccount(wechattest.AccountConfig{Name: "No API", NoAPI: true})
	for _, a := range []*wechattest.Account{mini, noAPI} {
		if _, err := w.comp.Authorize(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	for account, check := range map[*wechattest.Account]func(*wechatopen.AuthorizerInfo) bool{
		w.shop: func(i *wechatopen.AuthorizerInfo) bool {
			return i.MiniProgram == nil && i.ServiceType.ID == "2" && i.Authorization.HasToken
		},
		mini: func(i *wechatopen.AuthorizerInfo) bool {
			return i.MiniProgram != nil && len(i.MiniProgram.Categories) == 1 && i.Alias == "mini" && i.PrincipalName == "Mini Ltd" && i.Authorization.HasToken
		},
		noAPI: func(i *wechatopen.AuthorizerInfo) bool { return i.MiniProgram == nil && !i.Authorization.HasToken },
	} {
		i, err := w.platform.AuthorizerInfo(t.Context(), account.AppID())
		if err != nil {
			t.Fatal(err)
		}
		if i.NickName != account.Name() || i.UserName != account.UserName() || i.Authorization.AppID != account.AppID() || len(i.Authorization.FuncInfo) == 0 || !check(i) {
			t.Errorf("%s: %+v", account.Name(), i)
		}
	}
	calls := w.sim.Calls(apiAuthorizerInfo)
	last := calls[len(calls)-1]
	if b := jsonBody(t, last); b["component_appid"] != w.comp.AppID() || b["authorizer_appid"] == "" || last.Query.Get("component_access_token") == "" {
		t.Errorf("%v %s", last.Query, last.Body)
	}
	stranger := w.sim.AddAccount(wechattest.AccountConfig{})
	_, err := w.platform.AuthorizerInfo(t.Context(), stranger.AppID())
	var refusal *wechatopen.APIError
	if !errors.Is(err, wechatopen.ErrNotAuthorized) || !errors.As(err, &refusal) || refusal.Code != 61003 {
		t.Errorf("a stranger: %v", err)
	}
	if _, err := w.platform.AuthorizerInfo(t.Context(), "wxunknown"); err == nil || errors.Is(err, wechatopen.ErrNotAuthorized) {
		t.Errorf("no appid of WeChat's (40013): %v", err)
	}
}

// WeChat's samples carry only part of the fields.
func TestComponentAuthorizerInfoOfSparseAnswers(t *testing.T) {
	for _, body := range []string{
		`{}`, `{"authorizer_info":{},"authorization_info":{}}`, `{"authorizer_info":null,"authorization_info":null}`,
		`{"authorizer_info":{"alias":null,"service_type_info":null,"business_info":null,"MiniProgramInfo":{},"channels_info":null,"idc":""},"authorization_info":{"func_info":null}}`,
		`{"authorizer_info":{"service_type_info":{"id":null},"MiniProgramInfo":{"network":null,"categories":null}}}`,
		`{"authorizer_info":{"nick_name":"n","business_info":{}},"authorization_info":{"func_info":[{"funcscope_category":null}]}}`,
	} {
		w := newWorld(t)
		w.pushTicket()
		w.sim.Inject(wechattest.Fault{Path: apiAuthorizerInfo, Body: []byte(body)})
		if i, err := w.platform.AuthorizerInfo(t.Context(), w.shop.AppID()); err != nil || i.Authorization.HasToken {
			t.Errorf("%s: %+v, %v", body, i, err)
		}
	}
}

func TestComponentAuthorizers(t *testing.T) {
	w := newWorld(t)
	w.pushTicket()
	const accounts = 1201
	want := map[string]bool{}
	for i := range accounts {
		a := w.sim.AddAccount(wechattest.AccountConfig{AppID: fmt.Sprintf("wx%016x", i), AppSecret: "s", Token: "t", EncodingAESKey: "k", Name: "n", UserName: "gh_x"})
		w.comp.NewAuthCode(a)
		want[a.AppID()] = true
	}
	if _, err := w.platform.QueryAuth(t.Context(), w.comp.NewAuthCode(w.sim.Account("wx0000000000000007"))); err != nil {
		t.Fatal(err)
	}
	now := w.sim.Now()

	t.Run("all of them", func(t *testing.T) {
		w.sim.ResetJournal()
		seen := map[string]bool{}
		for a, err := range w.platform.Authorizers(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if !want[a.AppID] || seen[a.AppID] || a.HasToken != (a.AppID == "wx0000000000000007") || now.Sub(a.AuthTime).Abs() > time.Hour {
				t.Fatalf("%+v, seen %t", a, seen[a.AppID])
			}
			seen[a.AppID] = true
		}
		if len(seen) != accounts {
			t.Errorf("%d of %d accounts", len(seen), accounts)
		}
		var pages []string
		for _, c := range w.sim.Calls(apiList) {
			b := jsonBody(t, c)
			pages = append(pages, fmt.Sprintf("%v+%v of %v", b["offset"], b["count"], b["component_appid"]))
		}
		if want := []string{"0+500 of " + w.comp.AppID(), "500+500 of " + w.comp.AppID(), "1000+500 of " + w.comp.AppID()}; !slices.Equal(pages, want) {
			t.Errorf("pages %q", pages)
		}
	})
	t.Run("a break stops", func(t *testing.T) {
		for after, pages := range map[int]int{1: 1, 500: 1, 501: 2} {
			w.sim.ResetJournal()
			n := 0
			for _, err := range w.platform.Authorizers(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if n++; n == after {
					break
				}
			}
			if got := w.sim.Count(apiList); got != pages {
				t.Errorf("break after %d accounts: %d pages, want %d", after, got, pages)
			}
		}
	})
	t.Run("an error in the middle is the last thing", func(t *testing.T) {
		w.sim.Inject(wechattest.Fault{Path: apiList, Times: 1})
		w.sim.Inject(wechattest.Fault{Path: apiList, Times: 1, ErrCode: -1})
		n, failures := 0, 0
		for a, err := range w.platform.Authorizers(t.Context()) {
			if failures > 0 {
				t.Fatal("the loop goes on after an error")
			}
			if err != nil {
				failures++
				var refusal *wechatopen.APIError
				if a != (wechatopen.Authorizer{}) || !errors.As(err, &refusal) || refusal.Code != -1 {
					t.Errorf("%+v, %v", a, err)
				}
				continue
			}
			n++
		}
		if n != 500 || failures != 1 {
			t.Errorf("%d accounts and %d errors, want 500 and 1", n, failures)
		}
	})
	t.Run("ctx ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		var last error
		for _, err := range w.platform.Authorizers(ctx) {
			if last = err; err == nil {
				n++
				cancel()
			}
		}
		if !errors.Is(last, context.Canceled) || n != 500 {
			t.Errorf("%d accounts, then %v", n, last)
		}
	})
	t.Run("the loop may be run again", func(t *testing.T) {
		all := w.platform.Authorizers(t.Context())
		for range 2 {
			n := 0
			for range all {
				n++
			}
			if n != accounts {
				t.Errorf("%d accounts", n)
			}
		}
	})
}

func TestComponentAuthorizersOfOddAnswers(t *testing.T) {
	tests := map[string]struct {
		body  string
		want  []wechatopen.Authorizer
		calls int
	}{
		"nobody":                           {body: `{"total_count":0,"list":[]}`, calls: 1},
		"nothing":                          {body: `{}`, calls: 1},
		"a total that does not come true":  {body: `{"total_count":5000,"list":[]}`, calls: 1},
		"null":                             {body: `{"total_count":null,"list":null}`, calls: 1},
		"numbers in quotes, and no secret": {body: `{"total_count":"1","list":[{"authorizer_appid":"wx1","refresh_token":"","auth_time":"1500000000"}]}`, want: []wechatopen.Authorizer{{AppID: "wx1", AuthTime: time.Unix(1500000000, 0)}}, calls: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.pushTicket()
			w.sim.Inject(wechattest.Fault{Path: apiList, Body: []byte(tt.body)})
			var got []wechatopen.Authorizer
			for a, err := range w.platform.Authorizers(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, a)
			}
			if !slices.Equal(got, tt.want) || w.sim.Count(apiList) != tt.calls {
				t.Errorf("%+v after %d calls", got, w.sim.Count(apiList))
			}
		})
	}
}

func TestComponentAuthorizerOption(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	account, component := w.wantToken(a).Value, w.componentToken()
	appID := w.shop.AppID()
	if err := w.platform.SetAuthorizerOption(t.Context(), appID, "location_report", "2"); err != nil {
		t.Fatal(err)
	}
	set := w.theCall(apiWriteOption)
	if want := map[string]any{"component_appid": w.comp.AppID(), "authorizer_appid": appID, "option_name": "location_report", "option_value": "2"}; !maps.Equal(jsonBody(t, set), want) ||
		set.Query.Get("access_token") != account {
		t.Errorf("%v %s", set.Query, set.Body)
	}
	v, err := w.platform.AuthorizerOption(t.Context(), appID, "location_report")
	if err != nil || v != "2" {
		t.Errorf("%q, %v", v, err)
	}
	if v, err := w.platform.AuthorizerOption(t.Context(), appID, "voice_recognize"); err != nil || v != "0" {
		t.Errorf("%q, %v", v, err)
	}
	var refusal *wechatopen.APIError
	if _, err := w.platform.AuthorizerOption(t.Context(), appID, "nonsense"); !errors.As(err, &refusal) || refusal.Code != 61012 {
		t.Errorf("a bad name: %v", err)
	}
	if err := w.platform.SetAuthorizerOption(t.Context(), appID, "location_report", "9"); !errors.As(err, &refusal) || refusal.Code != 61013 {
		t.Errorf("a bad value: %v", err)
	}

	t.Run("with the component's token where WeChat wants it", func(t *testing.T) {
		w.sim.ResetJournal()
		w.sim.Inject(wechattest.Fault{Path: apiWriteOption, Times: 1, ErrCode: 61014})
		w.sim.Inject(wechattest.Fault{Path: apiReadOption, Times: 1, ErrCode: 61014})
		if err := w.platform.SetAuthorizerOption(t.Context(), appID, "customer_service", "1"); err != nil {
			t.Error(err)
		}
		if v, err := w.platform.AuthorizerOption(t.Context(), appID, "customer_service"); err != nil || v != "1" {
			t.Errorf("%q, %v", v, err)
		}
		for _, path := range []string{apiWriteOption, apiReadOption} {
			calls := w.sim.Calls(path)
			if len(calls) != 2 || calls[0].Query.Get("access_token") != account || calls[1].Query.Get("access_token") != component ||
				string(calls[0].Body) != string(calls[1].Body) {
				t.Errorf("calls %+v", calls)
			}
		}
	})
	t.Run("a number instead of a string", func(t *testing.T) {
		w.sim.Inject(wechattest.Fault{Path: apiReadOption, Times: 1, Body: []byte(`{"option_name":"location_report","option_value":1}`)})
		if v, err := w.platform.AuthorizerOption(t.Context(), appID, "location_report"); err != nil || v != "1" {
			t.Errorf("%q, %v", v, err)
		}
	})
	t.Run("of an account that does not authorize the platform", func(t *testing.T) {
		w.sim.ResetJournal()
		stranger := w.sim.AddAccount(wechattest.AccountConfig{})
		if _, err := w.platform.AuthorizerOption(t.Context(), stranger.AppID(), "location_report"); !errors.Is(err, wechatopen.ErrNotAuthorized) {
			t.Errorf("get: %v", err)
		}
		if err := w.platform.SetAuthorizerOption(t.Context(), "../..", "location_report", "1"); !errors.Is(err, wechatopen.ErrNotAuthorized) {
			t.Errorf("set: %v", err)
		}
		if n := len(w.sim.Calls()); n != 0 {
			t.Errorf("%d calls", n)
		}
	})
}

func (w *world) componentToken() string {
	w.t.Helper()
	tok, err := w.platform.ComponentToken().Token(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return tok.Value
}

func TestComponentClearQuota(t *testing.T) {
	t.Run("of the component, when no token can be had", func(t *testing.T) {
		w := newWorldWith(t, wechattest.Config{Now: atNoon})
		w.pushTicket()
		w.sim.SetQuota(apiComponentToken, 1)
		w.wantComponentToken()
		w.sim.Advance(3 * time.Hour)
		var refusal *wechatopen.APIError
		for range 5 {
			if _, err := w.platform.ComponentToken().Token(t.Context()); !errors.As(err, &refusal) || refusal.Code != 45009 {
				t.Fatalf("Token: %v", err)
			}
		}
		if n := w.sim.Count(apiComponentToken); n != 2 {
			t.Errorf("%d calls of api_component_token, want 2: a used-up quota is remembered", n)
		}
		if err := w.platform.ClearQuota(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wantComponentToken() // at once
		c := w.theCall(apiClearComponent)
		if want := map[string]any{"component_appid": w.comp.AppID(), "appsecret": w.comp.Credentials().AppSecret}; !maps.Equal(jsonBody(t, c), want) || len(c.Query) != 0 {
			t.Errorf("%v %s", c.Query, c.Body)
		}
	})
	t.Run("of the component, ten times a month", func(t *testing.T) {
		w := newWorld(t)
		for i := range 12 {
			err := w.platform.ClearQuota(t.Context())
			var refusal *wechatopen.APIError
			if i < 10 && err != nil || i >= 10 && (!errors.As(err, &refusal) || refusal.Code != 48006) {
				t.Errorf("time %d: %v", i+1, err)
			}
		}
		if n := len(w.sim.Calls()) - w.sim.Count(apiClearComponent); n != 0 {
			t.Errorf("%d other calls: it needs no token", n)
		}
	})
	t.Run("of an account, ten times a month", func(t *testing.T) {
		w := newWorld(t)
		a := w.ready()
		token := w.wantToken(a).Value
		for i := range 11 {
			err := a.ClearQuota(t.Context())
			var refusal *wechatopen.APIError
			if i < 10 && err != nil || i == 10 && (!errors.As(err, &refusal) || refusal.Code != 48006) {
				t.Errorf("time %d: %v", i+1, err)
			}
		}
		c := w.sim.Calls(apiClearAccount)[0]
		if !maps.Equal(jsonBody(t, c), map[string]any{"appid": w.shop.AppID()}) || c.Query.Get("access_token") != token {
			t.Errorf("%v %s", c.Query, c.Body)
		}
	})
	t.Run("of an account of one's own", func(t *testing.T) {
		w := newWorld(t)
		a := w.shopOfItsOwn()
		if err := a.ClearQuota(t.Context()); err != nil {
			t.Error(err)
		}
		if c := w.theCall(apiClearAccount); !maps.Equal(jsonBody(t, c), map[string]any{"appid": w.shop.AppID()}) {
			t.Errorf("%s", c.Body)
		}
	})
}

// shopOfItsOwn is the shop, run by its owner without a platform.
func (w *world) shopOfItsOwn(opts ...wechatopen.Option) *wechatopen.Account {
	w.t.Helper()
	creds := w.shop.Credentials()
	a, err := wechatopen.NewAccount(creds, append(append(w.sim.Options(), wechatopen.WithStore(w.store), wechatopen.WithLogger(w.log.logger())), opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// rawCaller is what Platform and Account have in common.
type rawCaller interface {
	Get(ctx context.Context, path string, query url.Values, out any) error
	Post(ctx context.Context, path string, in, out any) error
}

// echoed is what the simulator's echo answers.
type echoed struct {
	AppID string              `json:"appid"`
	Query map[string][]string `json:"query"`
	Body  json.RawMessage     `json:"body"`
}

func TestComponentRawCalls(t *testing.T) {
	for _, who := range []string{"platform", "account", "own account"} {
		t.Run(who, func(t *testing.T) {
			w := newWorld(t)
			account := w.ready()
			var c rawCaller = w.platform
			appID := w.comp.AppID()
			switch who {
			case "account":
				c, appID = account, w.shop.AppID()
			case "own account":
				c, appID = w.shopOfItsOwn(), w.shop.AppID()
			}

			var out echoed
			query := url.Values{"a": {"1", "2"}, "店": {"& ="}}
			if err := c.Get(t.Context(), apiEcho, query, &out); err != nil {
				t.Fatal(err)
			}
			if out.AppID != appID || !maps.EqualFunc(out.Query, query, slices.Equal[[]string]) {
				t.Errorf("Get: %+v", out)
			}
			if len(query) != 2 {
				t.Errorf("the caller's query was changed: %v", query)
			}
			out = echoed{}
			if err := c.Get(t.Context(), apiEcho+"?x=%26y&type=jsapi", url.Values{"a": {"1"}}, &out); err != nil {
				t.Fatal(err)
			}
			if !maps.EqualFunc(out.Query, map[string][]string{"x": {"&y"}, "type": {"jsapi"}, "a": {"1"}}, slices.Equal[[]string]) {
				t.Errorf("Get of a path with a query: %+v", out.Query)
			}

			out = echoed{}
			in := map[string]any{"text": "店 <a href=\"x\">&</a> \u2028", "n": 1}
			if err := c.Post(t.Context(), apiEcho, in, &out); err != nil {
				t.Fatal(err)
			}
			var back map[string]any
			if err := json.Unmarshal(out.Body, &back); err != nil || back["text"] != in["text"] {
				t.Errorf("Post: %s, %v", out.Body, err)
			}
			calls := w.sim.Calls(apiEcho)
			last := calls[len(calls)-1]
			if !strings.Contains(string(last.Body), `店 <a href=\"x\">&</a>`) || last.Header.Get("Content-Type") != "application/json; charset=utf-8" {
				t.Errorf("sent %s as %q", last.Body, last.Header.Get("Content-Type"))
			}

			var raw []byte
			if err := c.Get(t.Context(), apiEcho, nil, &raw); err != nil || !strings.HasPrefix(string(raw), `{"errcode":0,`) {
				t.Errorf("out *[]byte: %s, %v", raw, err)
			}
			if err := c.Get(t.Context(), apiEcho, nil, nil); err != nil {
				t.Errorf("nil out: %v", err)
			}
			if err := c.Post(t.Context(), apiEcho, nil, &out); err != nil || string(out.Body) != "{}" {
				t.Errorf("nil in: %s, %v", out.Body, err)
			}
			before := w.sim.Count(apiEcho)
			if err := c.Post(t.Context(), apiEcho, func() {}, nil); err == nil || !strings.HasPrefix(err.Error(), "wechatopen: ") {
				t.Errorf("in that is no JSON: %v", err)
			}
			if w.sim.Count(apiEcho) != before {
				t.Error("a call was made with a body that could not be made")
			}

			var refusal *wechatopen.APIError
			w.sim.Inject(wechattest.Fault{Path: apiEcho, Times: 3, ErrCode: 48001})
			raw = []byte("untouched")
			if err := c.Get(t.Context(), apiEcho, nil, &raw); !errors.As(err, &refusal) || refusal.Code != 48001 || refusal.Op != apiEcho || string(raw) != "untouched" {
				t.Errorf("a refusal with out *[]byte: %v, %s", err, raw)
			}
			if err := c.Post(t.Context(), apiEcho+"?secret=1234567890123", nil, nil); !errors.As(err, &refusal) || refusal.Op != apiEcho || strings.Contains(err.Error(), "1234567890123") {
				t.Errorf("a refusal: %v", err)
			}
			if err := c.Get(t.Context(), apiEcho, nil, &out); !errors.As(err, &refusal) {
				t.Errorf("a refusal: %v", err)
			}
		})
	}
}

// What is no JSON object comes as it is, such as a picture.
func TestComponentRawBytes(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	picture := append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 1<<20)...)
	w.sim.Inject(wechattest.Fault{Path: apiEcho, Body: picture})
	var raw []byte
	if err := a.Get(t.Context(), apiEcho, nil, &raw); err != nil || string(raw) != string(picture) {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
	var out map[string]any
	if err := a.Get(t.Context(), apiEcho, nil, &out); err == nil || strings.Contains(err.Error(), "PNG") {
		t.Errorf("into a map: %v", err)
	}
	if err := a.Get(t.Context(), apiEcho, nil, nil); err == nil {
		t.Error("a picture where an answer was expected is no success")
	}
}

// A path that leads elsewhere would carry the token there: it is refused before anything is sent, a fetch of the token
// included.
func TestComponentRawCallsStayOnTheAPIHost(t *testing.T) {
	elsewhere := 0
	w := newWorld(t)
	w.mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { elsewhere++ })
	host := strings.TrimPrefix(w.site.URL, "http://")
	paths := []string{
		"", "cgi-bin/test/echo", "?x=1", "#", "@" + host + "/x", ":80@" + host + "/x", "." + host + "/x",
		w.site.URL + "/x", "https://" + host + "/x", "http:" + host, "mailto:a@b", "javascript:alert(1)",
		"//" + host + "/x", "//user@" + host + "/x", `\\` + host + "/x", "/cgi-bin/x#y", "/%zz", "/a b\r\nHost: evil", "/cgi-bin/\x00",
	}
	for _, warm := range []bool{false, true} {
		if warm {
			w.ready()
			w.wantComponentToken()
		} else {
			w.pushTicket()
		}
		account := w.platform.Account(w.shop.AppID())
		for _, c := range []rawCaller{w.platform, account, w.shopOfItsOwn()} {
			for _, path := range paths {
				w.sim.ResetJournal()
				err := c.Get(t.Context(), path, nil, nil)
				perr := c.Post(t.Context(), path, map[string]string{"a": "b"}, nil)
				if err == nil || perr == nil || !strings.HasPrefix(err.Error(), "wechatopen: ") {
					t.Errorf("%T %q: %v, %v", c, path, err, perr)
				}
				if calls := w.sim.Calls(); len(calls) != 0 {
					t.Errorf("%T, warm %t, %q: a call of %s", c, warm, path, calls[0].Path)
				}
			}
		}
	}
	if elsewhere != 0 {
		t.Errorf("%d calls went elsewhere", elsewhere)
	}
}

// What a proxy does with // at the front of a path is its own: the request must be to the API host.
func TestComponentRawCallOfOddPathsReachTheAPIHostOrNobody(t *testing.T) {
	var mu sync.Mutex
	hosts := map[string]bool{}
	rt := grantTransport(func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		hosts[r.URL.Host] = true
		mu.Unlock()
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"errcode":0,"access_token":"92_x","expires_in":7200}`)), Request: r}, nil
	})
	a, err := wechatopen.NewAccount(wechatopen.Credentials{AppID: "wx1", AppSecret: "s"}, wechatopen.WithHTTPClient(&http.Client{Transport: rt}))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/x", "///evil.example/x", "/\\evil.example", "/..//evil.example", "/%2f%2fevil.example", "/.evil.example", "/@evil.example", "/:80@evil.example/", "/x?@evil.example", "/x?a=//evil.example"} {
		a.Get(t.Context(), path, url.Values{"q": {"1"}}, nil) // an error is as good
	}
	if want := map[string]bool{"api.weixin.qq.com": true}; !maps.Equal(hosts, want) {
		t.Errorf("hosts %v", hosts)
	}
}

// The body is sent again with the new token, and nothing else is repeated.
func TestComponentRawCallIsRepeatedOnceWithAFreshToken(t *testing.T) {
	for _, code := range []int{40001, 40014, 42001} {
		w := newWorld(t)
		a := w.ready()
		old := w.wantToken(a).Value
		w.sim.Inject(wechattest.Fault{Path: apiEcho, Times: 1, ErrCode: code})
		var out echoed
		if err := a.Post(t.Context(), apiEcho, map[string]string{"k": "店"}, &out); err != nil || string(out.Body) != `{"k":"店"}` {
			t.Errorf("%d: %s, %v", code, out.Body, err)
		}
		calls := w.sim.Calls(apiEcho)
		if len(calls) != 2 || calls[0].Query.Get("access_token") != old || calls[1].Query.Get("access_token") == old || w.sim.Count(apiAuthorizerToken) != 1 {
			t.Errorf("%d: %d calls, %d refreshes", code, len(calls), w.sim.Count(apiAuthorizerToken))
		}
		w.wantGrant()
	}
}
