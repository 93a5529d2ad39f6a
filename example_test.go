package wechatopen_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// exampleSecret stands for 32 random bytes that all processes of a site share.
var exampleSecret = []byte("0123456789abcdef0123456789abcdef")

// exampleSite is a site of a platform, with WeChat simulated beside it. An application does not need it: there,
// WeChat is WeChat.
type exampleSite struct {
	sim      *wechattest.Server
	comp     *wechattest.Component
	merchant *wechattest.Account
	customer *wechattest.User
	platform *wechatopen.Platform
	cookies  *wechatopen.Cookies
	mux      *http.ServeMux
	server   *httptest.Server
}

func newExampleSite() *exampleSite {
	sim, err := wechattest.New(wechattest.Config{})
	if err != nil {
		panic(err)
	}
	s := &exampleSite{sim: sim, mux: http.NewServeMux()}
	s.server = httptest.NewServer(s.mux)
	s.comp = sim.AddComponent(wechattest.ComponentConfig{
		EventURL: s.server.URL + "/wechat/events",
		Domain:   strings.TrimPrefix(s.server.URL, "http://"),
	})
	s.merchant = sim.AddAccount(wechattest.AccountConfig{AppID: "wx0123456789abcdef", Name: "Tea House"})
	s.customer = sim.AddUser(wechattest.UserConfig{Name: "Li Lei"})
	quiet := wechatopen.WithLogger(slog.New(slog.DiscardHandler))
	s.platform, err = wechatopen.NewPlatform(s.comp.Credentials(), append(sim.Options(), quiet)...)
	if err != nil {
		panic(err)
	}
	s.cookies, err = wechatopen.NewCookies(exampleSecret)
	if err != nil {
		panic(err)
	}
	s.cookies.Insecure = true // the example's server has no https
	s.mux.Handle("/wechat/events", &wechatopen.TicketHandler{Platform: s.platform})
	return s
}

// authorized lets WeChat push a ticket and the merchant authorize the platform.
func (s *exampleSite) authorized() *exampleSite {
	ctx := context.Background()
	if _, err := s.comp.PushTicket(ctx); err != nil {
		panic(err)
	}
	if _, err := s.comp.Authorize(ctx, s.merchant); err != nil {
		panic(err)
	}
	return s
}

func (s *exampleSite) close() {
	s.server.Close()
	s.sim.Close()
}

// The event URL of a platform: tickets and grants are kept, and the application hears of each.
func ExampleTicketHandler() {
	site := newExampleSite()
	defer site.close()

	site.mux.Handle("/events", &wechatopen.TicketHandler{
		Platform: site.platform,
		OnEvent: func(ctx context.Context, e *wechatopen.Event) error {
			switch e.InfoType {
			case wechatopen.InfoAuthorized:
				fmt.Println("authorized by", e.AuthorizerAppID)
			case wechatopen.InfoUnauthorized:
				fmt.Println("no longer authorized by", e.AuthorizerAppID)
			default:
				fmt.Println(e.InfoType)
			}
			return nil
		},
	})

	// WeChat's part.
	ctx := context.Background()
	site.comp.SetEventURL(site.server.URL + "/events")
	site.comp.PushTicket(ctx)
	site.comp.Authorize(ctx, site.merchant)
	site.comp.Unauthorize(ctx, site.merchant)
	// Output:
	// component_verify_ticket
	// authorized by wx0123456789abcdef
	// no longer authorized by wx0123456789abcdef
}

// Where merchants authorize the platform: a page that leads to WeChat, and the way back.
func ExampleAuthorizeHandler() {
	site := newExampleSite()
	defer site.close()

	site.mux.Handle("/wechat/authorize", &wechatopen.AuthorizeHandler{
		Platform: site.platform,
		BaseURL:  site.server.URL, // https://saas.example.com
		Cookies:  site.cookies,
		OnAuthorized: func(w http.ResponseWriter, r *http.Request, a *wechatopen.Authorization) {
			fmt.Fprintf(w, "customer %s brought %s", r.URL.Query().Get("customer"), a.AppID)
		},
	})

	// A merchant's part, in a browser.
	ctx := context.Background()
	site.comp.PushTicket(ctx)
	browser := site.sim.NewBrowser(nil)
	page, _ := browser.Open(ctx, site.server.URL+"/wechat/authorize?customer=42")
	page, _ = page.Click(ctx, "authorize") // to WeChat
	page, err := page.Click(ctx, "authorize")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(page.Body)
	// Output: customer 42 brought wx0123456789abcdef
}

// A page that knows who visits it.
func ExampleOAuth_Require() {
	site := newExampleSite().authorized()
	defer site.close()

	oauth := &wechatopen.OAuth{
		Account: wechatopen.FixedAccount(site.platform.Account("wx0123456789abcdef")),
		BaseURL: site.server.URL, // https://shop.example.com
		Cookies: site.cookies,
		Scope:   wechatopen.ScopeUserInfo,
	}
	site.mux.Handle("/hello", oauth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _ := wechatopen.UserFromContext(r.Context())
		fmt.Fprintf(w, "hello %s", user.Nickname)
	})))

	// A customer's part, in WeChat.
	ctx := context.Background()
	page, _ := site.sim.NewBrowser(site.customer).Open(ctx, site.server.URL+"/hello")
	page, err := page.Click(ctx, "allow")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(page.Body)
	// Output: hello Li Lei
}

// One page with two doors: WeChat's browser logs in with the official account, every other with a website application,
// by a QR code.
func ExampleOAuth_outsideWeChat() {
	site := newExampleSite().authorized()
	defer site.close()
	app := site.sim.AddAccount(wechattest.AccountConfig{Name: "Tea House on the web", Website: true})
	website, err := wechatopen.NewAccount(app.Credentials(), site.sim.Options()...)
	if err != nil {
		fmt.Println(err)
		return
	}

	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _ := wechatopen.UserFromContext(r.Context())
		fmt.Fprint(w, "hello, ", user.Scope)
	})
	desk := &wechatopen.OAuth{
		Account: wechatopen.FixedAccount(website),
		BaseURL: site.server.URL, // https://shop.example.com
		Cookies: site.cookies,
		Scope:   wechatopen.ScopeLogin,
	}
	phone := &wechatopen.OAuth{
		Account:       wechatopen.FixedAccount(site.platform.Account("wx0123456789abcdef")),
		BaseURL:       site.server.URL,
		Cookies:       site.cookies,
		OutsideWeChat: desk.Require(page),
	}
	site.mux.Handle("/hello", phone.Require(page))

	// The same customer, in WeChat and at a computer.
	ctx := context.Background()
	inWeChat, _ := site.sim.NewBrowser(site.customer).Open(ctx, site.server.URL+"/hello")
	fmt.Println(inWeChat.Body)
	atDesk, _ := site.sim.NewBrowser(nil).Open(ctx, site.server.URL+"/hello")
	atDesk, err = atDesk.Click(ctx, "allow")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(atDesk.Body)
	// Output:
	// hello, snsapi_base
	// hello, snsapi_login
}

// A shop on a domain of its own logs in with an account whose domain is the platform's.
func ExampleRelayHandler() {
	site := newExampleSite().authorized()
	defer site.close()
	pages := http.NewServeMux()
	shop := httptest.NewServer(pages)
	defer shop.Close()

	// On the domain that WeChat knows.
	site.mux.Handle("/wechat/relay", &wechatopen.RelayHandler{Origins: []string{shop.URL}}) // https://shop.example.com

	// On the shop's.
	oauth := &wechatopen.OAuth{
		Account:  wechatopen.FixedAccount(site.platform.Account("wx0123456789abcdef")),
		BaseURL:  shop.URL,
		Cookies:  site.cookies,
		RelayURL: site.server.URL + "/wechat/relay", // https://login.example.com/wechat/relay
	}
	pages.Handle("/hello", oauth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _ := wechatopen.UserFromContext(r.Context())
		fmt.Fprint(w, "hello ", user.OpenID == site.merchant.OpenID(site.customer))
	})))

	page, err := site.sim.NewBrowser(site.customer).Open(context.Background(), shop.URL+"/hello")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(page.Body, len(page.Trail)-1, "redirects")
	// Output: hello true 4 redirects
}

// A page behind OAuth.Require is tested without any login.
func ExampleContextWithUser() {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, ok := wechatopen.UserFromContext(r.Context())
		fmt.Fprintln(w, ok, user.OpenID)
	})

	r := httptest.NewRequest(http.MethodGet, "/hello", nil)
	r = r.WithContext(wechatopen.ContextWithUser(r.Context(), &wechatopen.User{OpenID: "oTest"}))
	w := httptest.NewRecorder()
	hello.ServeHTTP(w, r)
	fmt.Print(w.Body)
	// Output: true oTest
}

// Pages of the named origins can be signed, others cannot.
func ExampleJSSDKHandler() {
	site := newExampleSite().authorized()
	defer site.close()

	site.mux.Handle("/wechat/jssdk", &wechatopen.JSSDKHandler{
		Account:        wechatopen.FixedAccount(site.platform.Account("wx0123456789abcdef")),
		AllowedOrigins: []string{"https://shop.example.com"},
		JSAPIList:      []string{"updateAppMessageShareData"},
	})

	for _, page := range []string{"https://shop.example.com/tea?id=1#top", "https://evil.example/"} {
		resp, err := http.Get(site.server.URL + "/wechat/jssdk?url=" + url.QueryEscape(page))
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(resp.StatusCode, strings.Contains(string(body), `"jsApiList":["updateAppMessageShareData"]`))
	}
	// Output:
	// 200 true
	// 403 false
}

// Any path of the API can be called; a refusal is an *APIError.
func ExampleAccount_Get() {
	site := newExampleSite().authorized()
	defer site.close()
	ctx := context.Background()
	account := site.platform.Account("wx0123456789abcdef")

	var out struct {
		IPs []string `json:"ip_list"`
	}
	if err := account.Get(ctx, "/cgi-bin/getcallbackip", nil, &out); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(out.IPs) > 0)

	err := account.Post(ctx, "/cgi-bin/openapi/quota/get", map[string]string{"cgi_path": "/no/such/path"}, nil)
	var refusal *wechatopen.APIError
	fmt.Println(errors.As(err, &refusal) && refusal.Code == 76021)
	// Output:
	// true
	// true
}

// All accounts that authorize the platform.
func ExamplePlatform_Authorizers() {
	site := newExampleSite().authorized()
	defer site.close()

	for a, err := range site.platform.Authorizers(context.Background()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(a.AppID)
	}
	// Output: wx0123456789abcdef
}

// An official account of your own needs no platform.
func ExampleNewAccount() {
	sim, err := wechattest.New(wechattest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sim.Close()
	own := sim.AddAccount(wechattest.AccountConfig{Name: "Tea House"})

	account, err := wechatopen.NewAccount(own.Credentials(), sim.Options()...)
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := account.AccessToken().Token(context.Background())
	fmt.Println(token.Value != "", err)
	// Output: true <nil>
}

// What is wrong with credentials is said at once, by the name of the field.
func ExampleNewPlatform() {
	_, err := wechatopen.NewPlatform(wechatopen.Credentials{AppID: "wx0123456789abcdef", AppSecret: "secret", EncodingAESKey: "too short"})
	fmt.Println(err)
	// Output:
	// wechatopen: Credentials.Token is empty
	// wechatopen: Credentials.EncodingAESKey is not 43 letters and digits
}

// How an application tests itself: WeChat is simulated, the clock is moved, and the journal says what was called.
func Example_testing() {
	// In a test: sim := wechattest.Start(t)
	site := newExampleSite().authorized()
	defer site.close()
	ctx := context.Background()
	tokens := site.platform.Account("wx0123456789abcdef").AccessToken()

	first, _ := tokens.Token(ctx)
	site.sim.Advance(3 * time.Hour) // the token has ended
	second, err := tokens.Token(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("replaced:", first.Value != second.Value)
	fmt.Println("refreshed:", site.sim.Count("/cgi-bin/component/api_authorizer_token"))
	// Output:
	// replaced: true
	// refreshed: 1
}

// The message URL of a platform: one function for each kind of message, and WeChat's test of the platform passed.
func ExampleMessageHandler() {
	site := newExampleSite().authorized()
	defer site.close()

	var mux wechatopen.MessageMux
	mux.Handle("text", func(ctx context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
		return wechatopen.Text("you said " + m.Content), nil
	})
	mux.Handle("event/subscribe", func(ctx context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
		return wechatopen.Text("welcome"), nil
	})
	site.mux.Handle("/wechat/message/{appid}", &wechatopen.MessageHandler{
		Platform: site.platform,
		Handle:   wechatopen.ReleaseTest(site.platform, mux.Serve),
	})

	// A customer's part, in WeChat.
	ctx := context.Background()
	site.comp.SetMessageURL(site.server.URL + "/wechat/message/$APPID$")
	openID := site.merchant.OpenID(site.customer)
	for _, xml := range []string{
		site.merchant.EventXML(openID, "subscribe", "", site.sim.Now()),
		site.merchant.TextXML(openID, "hello", 1, site.sim.Now()),
	} {
		answer, err := site.comp.PushMessage(ctx, site.merchant, xml)
		if err != nil {
			fmt.Println(err)
			return
		}
		_, reply, _ := strings.Cut(answer.Reply, "<Content>")
		fmt.Println(strings.TrimSuffix(reply, "</Content></xml>"))
	}
	// Output:
	// <![CDATA[welcome]]>
	// <![CDATA[you said hello]]>
}

// What a Store keeps is encrypted before it gets there.
func ExampleNewSealedStore() {
	file := wechatopen.NewMemoryStore() // or boltstore, or redisstore
	key := exampleSecret                // 32 random bytes, kept apart from the file

	store, err := wechatopen.NewSealedStore(file, key)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	store.Set(ctx, "name", []byte("secret"), 0)
	value, err := store.Get(ctx, "name")
	raw, _ := file.Get(ctx, "name")
	fmt.Println(string(value), err, strings.Contains(string(raw), "secret"))
	// Output: secret <nil> false
}
