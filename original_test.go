package wechatopen_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// original is a function of the PHP package whose work this one does, xwzgit/wechat-bus, and how it is done here.
type original struct {
	name string // as the READMEs have it
	test func(t *testing.T, o *originalSite)
}

// originalSite is a platform with a merchant who has authorized it, and an account of its own beside it.
type originalSite struct {
	*messageSite
	account *wechatopen.Account // the merchant's
	native  *wechatopen.Account
	bare    *wechattest.Account // native, at WeChat
}

// eachLogin tests a web login as the merchant's account has it, by proxy of the platform, and as one's own has it.
func (o *originalSite) eachLogin(f func(a *wechatopen.Account, openID string, code func(scope string) string)) {
	f(o.account, o.openID, func(scope string) string { return o.comp.NewLoginCode(o.wx, o.alice, scope) })
	f(o.native, o.bare.OpenID(o.alice), func(scope string) string { return o.bare.NewLoginCode(o.alice, scope) })
}

// calls fails the test unless the account's token, whatever it is now, is good for a call.
func (o *originalSite) calls(t *testing.T, a *wechatopen.Account) {
	t.Helper()
	var out struct {
		AppID string `json:"appid"`
	}
	if err := a.Get(t.Context(), opEcho, nil, &out); err != nil || out.AppID != a.AppID() {
		t.Errorf("a call as %s: made by %q, %v", a.AppID(), out.AppID, err)
	}
}

func (o *originalSite) answers(t *testing.T, reply wechatopen.Reply) string {
	t.Helper()
	o.handler.Handle = o.answering(func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) { return reply, nil })
	res, err := o.wx.Say(t.Context(), o.alice, "hello")
	if err != nil {
		t.Fatal(err)
	}
	return res.Reply // decrypted, and its signature verified, by the simulator
}

func TestEverythingTheOriginalDoes(t *testing.T) {
	for _, f := range originals() {
		t.Run(f.name, func(t *testing.T) {
			o := &originalSite{messageSite: newMessageSite(t, false)}
			o.account = o.platform.Account(o.wx.AppID())
			o.native, o.bare = o.ownAccount()
			for _, wx := range []*wechattest.Account{o.wx, o.bare} {
				if _, err := wx.Follow(t.Context(), o.alice, "42"); err != nil {
					t.Fatal(err)
				}
			}
			f.test(t, o)
		})
	}
}

func originals() []original {
	return []original{
		{"Ticket::verifyTicket", func(t *testing.T, o *originalSite) {
			res, err := o.comp.PushTicket(t.Context())
			if err != nil || res.Body != "success" {
				t.Fatalf("the push is answered %+v, %v", res, err)
			}
			if !strings.Contains(fmt.Sprint(o.store.snapshot()), o.comp.Ticket()) {
				t.Error("the ticket is not in the Store")
			}
		}},
		{"OpenApiServer::componentAccessToken", func(t *testing.T, o *originalSite) {
			if left := tokenOf(t, o.platform.ComponentToken()).Expiry.Sub(o.sim.Now()); left < 7100*time.Second || left > 7200*time.Second {
				t.Errorf("the token lives %v", left)
			}
			if err := o.platform.Get(t.Context(), opEcho, nil, nil); err != nil {
				t.Error(err)
			}
		}},
		{"OpenApiServer::preAuthCode", func(t *testing.T, o *originalSite) {
			c, err := o.platform.CreatePreAuthCode(t.Context())
			if err != nil || !strings.HasPrefix(c.Code, "preauthcode@@@") || !c.Expiry.After(o.sim.Now()) {
				t.Errorf("%v, %v", c, err)
			}
		}},
		{"OpenApiServer::createAuthUrl", func(t *testing.T, o *originalSite) {
			m := o.merchantPage(o.platform) // its page has the link, and is where the merchant comes back to
			page, err := throughWeChat(t.Context(), o.sim.NewBrowser(nil), m.url, o.wx.AppID())
			if err != nil || !page.Has("attached") {
				t.Fatalf("ends at %v, %v", page, err)
			}
			if got := m.authorizations(); len(got) != 1 || got[0].AppID != o.wx.AppID() {
				t.Errorf("authorized are %v", got)
			}
		}},
		{"OpenApiServer::authAccessToken", func(t *testing.T, o *originalSite) {
			got, err := o.platform.QueryAuth(t.Context(), o.comp.NewAuthCode(o.wx))
			if err != nil || got.AppID != o.wx.AppID() || !got.HasToken || len(got.FuncInfo) == 0 {
				t.Fatalf("%+v, %v", got, err)
			}
			if !strings.Contains(fmt.Sprint(o.store.snapshot()), o.comp.RefreshToken(o.wx)) {
				t.Error("the refresh token is not in the Store")
			}
			o.calls(t, o.account)
		}},
		{"OpenApiServer::refreshAuthAccessToken", func(t *testing.T, o *originalSite) {
			before := tokenOf(t, o.account.AccessToken()).Value
			o.comp.ExpireTokens()
			o.calls(t, o.account)
			if tokenOf(t, o.account.AccessToken()).Value == before || !strings.Contains(fmt.Sprint(o.store.snapshot()), o.comp.RefreshToken(o.wx)) {
				t.Error("the token is the old one, or the new refresh token is not in the Store")
			}
		}},
		{"OpenApiServer::authorizeInfo", func(t *testing.T, o *originalSite) {
			info, err := o.platform.AuthorizerInfo(t.Context(), o.wx.AppID())
			if err != nil || info.UserName != o.wx.UserName() || info.NickName != o.wx.Name() {
				t.Errorf("%+v, %v", info, err)
			}
		}},
		{"OpenApiServer::authorizeList", func(t *testing.T, o *originalSite) {
			var got []string
			for a, err := range o.platform.Authorizers(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, a.AppID)
			}
			if !slices.Equal(got, []string{o.wx.AppID()}) {
				t.Errorf("authorized by %v", got)
			}
		}},
		{"OpenApiServer::clearWeChatQuota", func(t *testing.T, o *originalSite) {
			o.sim.SetQuota(opEcho, 1)
			o.calls(t, o.account)
			if err := o.account.Get(t.Context(), opEcho, nil, nil); refusedWith(err) != 45009 {
				t.Fatalf("%v, want errcode 45009", err)
			}
			if err := o.account.ClearQuota(t.Context()); err != nil {
				t.Fatal(err)
			}
			o.calls(t, o.account)
		}},
		{"OpenApiServer::clearComponentQuota", func(t *testing.T, o *originalSite) {
			o.sim.SetQuota(apiPreAuthCode, 0)
			if _, err := o.platform.CreatePreAuthCode(t.Context()); refusedWith(err) != 45009 {
				t.Fatalf("%v, want errcode 45009", err)
			}
			o.sim.SetQuota(apiPreAuthCode, 1)
			if _, err := o.platform.CreatePreAuthCode(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := o.platform.ClearQuota(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := o.platform.CreatePreAuthCode(t.Context()); err != nil {
				t.Errorf("after ClearQuota: %v", err)
			}
		}},
		{"MessageServer::validate", func(t *testing.T, o *originalSite) {
			r, err := o.comp.NewURLCheck(t.Context(), o.url, "echo")
			if err != nil {
				t.Fatal(err)
			}
			if a := do(t, nil, r); a.Status != http.StatusOK || a.Body != "echo" {
				t.Errorf("answered %d %q", a.Status, a.Body)
			}
			r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "signature=", "signature=0", 1)
			if a := do(t, nil, r); a.Status != http.StatusForbidden {
				t.Errorf("a wrong signature is answered %d %q", a.Status, a.Body)
			}
		}},
		{"MessageServer::messageContent", func(t *testing.T, o *originalSite) {
			if _, err := o.wx.Say(t.Context(), o.alice, "你好 <&>"); err != nil {
				t.Fatal(err)
			}
			m := o.lastMessage(t)
			if m.Content != "你好 <&>" || m.FromUserName != o.openID || m.ToUserName != o.wx.UserName() || m.MsgType != "text" {
				t.Errorf("got %s: %q", m, m.Content)
			}
		}},
		{"BaseProcess::getOriginContent", func(t *testing.T, o *originalSite) {
			sent := o.textXML("原文")
			if _, err := o.deliver(t.Context(), sent); err != nil {
				t.Fatal(err)
			}
			if raw := string(o.lastMessage(t).Raw); raw != sent {
				t.Errorf("Raw is %s, want %s", raw, sent)
			}
		}},
		{"MessageServer::response", func(t *testing.T, o *originalSite) {
			for want, reply := range map[string]wechatopen.Reply{
				"<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[你好]]></Content>":                                                wechatopen.Text("你好"),
				"<Image><MediaId><![CDATA[M]]></MediaId></Image>":                                                                     wechatopen.Image("M"),
				"<Voice><MediaId><![CDATA[M]]></MediaId></Voice>":                                                                     wechatopen.Voice("M"),
				"<Video><MediaId><![CDATA[M]]></MediaId><Title><![CDATA[t]]></Title><Description><![CDATA[d]]></Description></Video>": wechatopen.Video("M", "t", "d"),
				"<MusicUrl><![CDATA[https://m.example/]]></MusicUrl><ThumbMediaId><![CDATA[M]]></ThumbMediaId></Music>":               wechatopen.Music(wechatopen.MusicReply{ThumbMediaID: "M", URL: "https://m.example/"}),
				// A link, which WeChat takes as no reply of its own, is news of one article.
				"<ArticleCount>1</ArticleCount><Articles><item><Title><![CDATA[t]]></Title>": wechatopen.News(wechatopen.Article{Title: "t", URL: "https://n.example/"}),
				"<MsgType><![CDATA[transfer_customer_service]]></MsgType></xml>":             wechatopen.TransferCustomerService(""),
			} {
				if got := o.answers(t, reply); !strings.Contains(got, want) || !strings.Contains(got, "<ToUserName><![CDATA["+o.openID+"]]>") {
					t.Errorf("replied %s, want %s", got, want)
				}
			}
		}},
		{"WeChatAuthServer::getAuthCodeUrl", func(t *testing.T, o *originalSite) {
			o.mux.HandleFunc("/landing", func(http.ResponseWriter, *http.Request) {})
			o.eachLogin(func(a *wechatopen.Account, openID string, _ func(string) string) {
				page, err := o.sim.NewBrowser(o.alice).Open(t.Context(), a.AuthCodeURL(o.site.URL+"/landing", wechatopen.ScopeBase, "state1"))
				if err != nil {
					t.Fatal(err)
				}
				q := mustParse(t, page.URL).Query()
				if user, err := a.ExchangeCode(t.Context(), q.Get("code")); err != nil || user.OpenID != openID || q.Get("state") != "state1" {
					t.Errorf("the browser comes back to %s: %v, %v", page.URL, user, err)
				}
			})
		}},
		{"WeChatAuthServer::getAccessToken", func(t *testing.T, o *originalSite) {
			o.eachLogin(func(a *wechatopen.Account, openID string, code func(string) string) {
				user, err := a.ExchangeCode(t.Context(), code(wechatopen.ScopeBase))
				if err != nil || user.OpenID != openID || user.Scope != wechatopen.ScopeBase || user.AccessToken == "" || user.RefreshToken == "" {
					t.Errorf("%v, %v", user, err)
				}
			})
		}},
		{"WeChatAuthServer::refreshAccessToken", func(t *testing.T, o *originalSite) {
			o.eachLogin(func(a *wechatopen.Account, openID string, code func(string) string) {
				user, err := a.ExchangeCode(t.Context(), code(wechatopen.ScopeBase))
				if err != nil {
					t.Fatal(err)
				}
				o.sim.Advance(3 * time.Hour)
				if err := a.CheckUserToken(t.Context(), user.AccessToken, user.OpenID); err == nil {
					t.Error("the token does not end")
				}
				fresh, err := a.RefreshUserToken(t.Context(), user.RefreshToken)
				if err != nil {
					t.Fatal(err)
				}
				if err := a.CheckUserToken(t.Context(), fresh.AccessToken, openID); err != nil {
					t.Errorf("the new token: %v", err)
				}
			})
		}},
		{"WeChatAuthServer::getUserInfo", func(t *testing.T, o *originalSite) {
			o.eachLogin(func(a *wechatopen.Account, openID string, code func(string) string) {
				user, err := a.ExchangeCode(t.Context(), code(wechatopen.ScopeUserInfo))
				if err != nil {
					t.Fatal(err)
				}
				info, err := a.UserInfo(t.Context(), user.AccessToken, user.OpenID, "")
				if err != nil || info.OpenID != openID || info.Nickname != "Alice" || info.AvatarURL != o.alice.AvatarURL() {
					t.Errorf("%+v, %v", info, err)
				}
			})
		}},
		{"WeChatAuthServer::getSubscribeUserInfo", func(t *testing.T, o *originalSite) {
			o.eachLogin(func(a *wechatopen.Account, openID string, _ func(string) string) {
				f, err := a.Follower(t.Context(), openID, "")
				if err != nil || !f.Follows || f.OpenID != openID || f.QRScene != "42" || f.Since.IsZero() {
					t.Errorf("%+v, %v", f, err)
				}
			})
		}},
		{"WeChatTokenServer::getBasicAccessToken", func(t *testing.T, o *originalSite) {
			a := o.newOwnAccount(o.bare.Credentials(), wechatopen.WithBasicToken())
			o.calls(t, a)
			if n := o.sim.Count(opBasicToken); n != 1 {
				t.Errorf("%d calls of %s", n, opBasicToken)
			}
		}},
		{"WeChatTokenServer::getJsApiTicket", func(t *testing.T, o *originalSite) {
			o.eachLogin(func(a *wechatopen.Account, _ string, _ func(string) string) {
				ticket := tokenOf(t, a.JSAPITicket())
				if left := ticket.Expiry.Sub(o.sim.Now()); left < 7100*time.Second || left > 7200*time.Second {
					t.Errorf("the ticket lives %v", left)
				}
			})
			if n := o.sim.Count(opGetTicket); n != 2 {
				t.Errorf("%d calls of %s, want one of each account", n, opGetTicket)
			}
		}},
		{"WeChatTokenServer::getShareSetting", func(t *testing.T, o *originalSite) {
			page := o.site.URL + "/page?a=%E4%BD%A0&b=2"
			o.eachLogin(func(a *wechatopen.Account, _ string, _ func(string) string) {
				c, err := a.JSConfig(t.Context(), page+"#top")
				if err != nil {
					t.Fatal(err)
				}
				if err := o.sim.VerifyJSConfig(c.AppID, c.NonceStr, c.Timestamp, page, c.Signature); err != nil || c.AppID != a.AppID() {
					t.Errorf("%s: %v", c.AppID, err)
				}
			})
		}},
		{"WeChatTokenServer::getWeChatAttention", func(t *testing.T, o *originalSite) {
			o.eachLogin(func(a *wechatopen.Account, openID string, _ func(string) string) {
				if follows, err := a.Follows(t.Context(), openID); !follows || err != nil {
					t.Errorf("%t, %v", follows, err)
				}
			})
			if _, err := o.wx.Unfollow(t.Context(), o.alice); err != nil {
				t.Fatal(err)
			}
			if follows, err := o.account.Follows(t.Context(), o.openID); follows || err != nil {
				t.Errorf("after leaving: %t, %v", follows, err)
			}
		}},
		{"WeChatApiServer::menusChannel(createMenus)", func(t *testing.T, o *originalSite) {
			if err := o.account.CreateMenu(t.Context(), clickMenu("歌", "SONG")); err != nil {
				t.Fatal(err)
			}
			if _, err := o.wx.Tap(t.Context(), o.alice, "SONG"); err != nil || o.lastMessage(t).EventKey != "SONG" {
				t.Errorf("a tap brings %s, %v", o.lastMessage(t), err)
			}
		}},
		{"WeChatApiServer::menusChannel(getCustomMenus)", func(t *testing.T, o *originalSite) {
			want := wechatopen.Buttons{{Name: "更多", Sub: clickMenu("歌", "SONG")}}
			if err := o.account.CreateMenu(t.Context(), want); err != nil {
				t.Fatal(err)
			}
			got, on, err := o.account.CurrentMenu(t.Context())
			wantButtons(t, "CurrentMenu", got, want, err)
			if !on {
				t.Error("off")
			}
		}},
		{"WeChatApiServer::menusChannel(getMenus)", func(t *testing.T, o *originalSite) {
			if err := o.account.CreateMenu(t.Context(), clickMenu("歌", "SONG")); err != nil {
				t.Fatal(err)
			}
			got, _, err := o.account.Menus(t.Context())
			wantButtons(t, "Menus", got.Buttons, clickMenu("歌", "SONG"), err)
		}},
		{"WeChatApiServer::menusChannel(deleteMenus)", func(t *testing.T, o *originalSite) {
			if err := o.account.CreateMenu(t.Context(), clickMenu("歌", "SONG")); err != nil {
				t.Fatal(err)
			}
			if err := o.account.DeleteMenu(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := o.wx.Tap(t.Context(), o.alice, "SONG"); err == nil {
				t.Error("the menu is still there")
			}
		}},
		{"WeChatApiServer::menusChannel(createConditionalMenus)", func(t *testing.T, o *originalSite) {
			o.twoMenus(t)
			_, conditional, err := o.account.Menus(t.Context())
			if err != nil || len(conditional) != 1 || conditional[0].Rule.TagID != 7 {
				t.Errorf("%+v, %v", conditional, err)
			}
		}},
		{"WeChatApiServer::menusChannel(tryConditionalMenus)", func(t *testing.T, o *originalSite) {
			o.twoMenus(t)
			got, err := o.account.TryMenu(t.Context(), o.openID)
			wantButtons(t, "without the tag", got, clickMenu("all", "ALL"), err)
			o.wx.SetTags(o.alice, 7)
			got, err = o.account.TryMenu(t.Context(), o.openID)
			wantButtons(t, "with the tag", got, clickMenu("some", "SOME"), err)
		}},
		{"WeChatApiServer::menusChannel(deleteConditionalMenus)", func(t *testing.T, o *originalSite) {
			if err := o.account.DeleteConditionalMenu(t.Context(), o.twoMenus(t)); err != nil {
				t.Fatal(err)
			}
			if _, conditional, err := o.account.Menus(t.Context()); err != nil || len(conditional) != 0 {
				t.Errorf("%+v, %v", conditional, err)
			}
		}},
		{"WeChatApiServer::processMsgTpl(getTemplateList)", func(t *testing.T, o *originalSite) {
			got, err := o.account.Templates(t.Context())
			if want := o.wx.Templates(); err != nil || len(got) != len(want) || got[0].ID != want[0].ID || got[0].Content != want[0].Content {
				t.Errorf("%+v, %v", got, err)
			}
			// Which can be sent here, too.
			if _, err := o.account.SendTemplate(t.Context(), &wechatopen.TemplateMessage{ToUser: o.openID, TemplateID: got[0].ID,
				Data: map[string]wechatopen.TemplateValue{"first": {Value: "已支付"}}}); err != nil || len(o.wx.Sent()) != 1 {
				t.Errorf("Alice sees %v, %v", o.wx.Sent(), err)
			}
		}},
		{"WeChatApiServer::processMsgTpl(removeTemplate)", func(t *testing.T, o *originalSite) {
			before := o.wx.Templates()
			if err := o.account.DeleteTemplate(t.Context(), before[0].ID); err != nil {
				t.Fatal(err)
			}
			if left := o.wx.Templates(); len(left) != len(before)-1 || left[0].ID == before[0].ID {
				t.Errorf("left are %v", left)
			}
		}},
		{"config::use_proxy", func(t *testing.T, o *originalSite) {
			pages := http.NewServeMux()
			other := httptest.NewServer(pages) // on a domain that WeChat does not know
			defer other.Close()
			o.mux.Handle("/wechat/relay", &wechatopen.RelayHandler{Origins: []string{other.URL}})
			oauth := &wechatopen.OAuth{Account: wechatopen.FixedAccount(o.account), BaseURL: other.URL, Cookies: o.cookies, RelayURL: o.site.URL + "/wechat/relay"}
			pages.Handle("/hello", oauth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				user, _ := wechatopen.UserFromContext(r.Context())
				fmt.Fprint(w, user.OpenID)
			})))
			page, err := o.sim.NewBrowser(o.alice).Open(t.Context(), other.URL+"/hello?a=1")
			if err != nil || page.Body != o.openID || !strings.HasPrefix(page.URL, other.URL+"/hello?a=1#") {
				t.Fatalf("ends at %+v, %v", page, err)
			}
			if !slices.ContainsFunc(page.Trail, func(u string) bool {
				return strings.HasPrefix(u, o.site.URL+"/wechat/relay?to="+url.QueryEscape(other.URL))
			}) {
				t.Errorf("not by the relay: %q", page.Trail)
			}
		}},
	}
}

// twoMenus makes a menu for everyone, and one for those with the tag 7, whose id it returns.
func (o *originalSite) twoMenus(t *testing.T) wechatopen.Int {
	t.Helper()
	if err := o.account.CreateMenu(t.Context(), clickMenu("all", "ALL")); err != nil {
		t.Fatal(err)
	}
	id, err := o.account.AddConditionalMenu(t.Context(), clickMenu("some", "SOME"), wechatopen.MenuRule{TagID: 7})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// The tables of the READMEs name what is tested, and nothing else.
func TestReadmesNameEverythingTheOriginalDoes(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `(\\w+::[^`]+)` \\|")
	var want []string
	for _, f := range originals() {
		want = append(want, f.name)
	}
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range row.FindAllStringSubmatch(string(b), -1) {
			got = append(got, m[1])
		}
		if got == nil {
			t.Fatalf("%s has no table of the original's functions", name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has\n%q\ntested are\n%q", name, got, want)
		}
	}
}
