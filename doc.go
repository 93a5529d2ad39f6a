// Package wechatopen makes a Go web service a third-party platform (第三方平台, "component") on the WeChat Open Platform,
// or serves an official account (公众号) of its own, with plain net/http handlers and middleware.
//
// # Three steps
//
// First, say who you are. Everything wrong with the credentials is reported here:
//
//	platform, err := wechatopen.NewPlatform(wechatopen.Credentials{
//		AppID: "wx…", AppSecret: "…", Token: "…", EncodingAESKey: "…",
//	}, wechatopen.WithStore(store))
//	cookies, err := wechatopen.NewCookies(secret)
//
// Second, mount what WeChat and the merchants call:
//
//	mux.Handle("/wechat/events", &wechatopen.TicketHandler{Platform: platform})
//	mux.Handle("/wechat/authorize", &wechatopen.AuthorizeHandler{
//		Platform: platform, BaseURL: "https://saas.example.com", Cookies: cookies,
//		OnAuthorized: func(w http.ResponseWriter, r *http.Request, a *wechatopen.Authorization) {
//			// note a.AppID as a merchant's account
//		},
//	})
//
// Third, wrap the pages that want to know who visits:
//
//	oauth := &wechatopen.OAuth{Account: accountOfRequest, BaseURL: "https://saas.example.com", Cookies: cookies}
//	mux.Handle("/shop/", oauth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
//		user, _ := wechatopen.UserFromContext(r.Context())
//		fmt.Fprintln(w, "hello", user.OpenID)
//	})))
//
// The verify ticket then arrives by itself, merchants authorize the platform at /wechat/authorize, and their customers
// are known at /shop/.
//
// # The parts
//
//   - [Platform] is the component: its tokens, the calls it makes as itself, and the accounts that authorize it.
//   - [Account] is one official account or mini program, an authorizer's ([Platform.Account]) or your own
//     ([NewAccount]). It has methods for menus, templates, followers and customer-service messages; [Account.Get],
//     [Account.Post] and [Account.Upload] call any path of the API with the right token, and [Transport] puts it into the
//     requests of a client of your own.
//   - [CachedTokenSource] keeps a token fresh: fetched once however many ask, refreshed ahead of its end, replaced when
//     WeChat refuses it.
//   - [TicketHandler], [AuthorizeHandler], [MessageHandler] and [JSSDKHandler] are [net/http.Handler]s. [OAuth] is the
//     login middleware, [Cookies] its sessions. [MessageMux] routes messages, [ReleaseTest] passes WeChat's test of a
//     platform. [RelayHandler] brings logins to sites whose domains WeChat does not know.
//   - [Store] keeps what must not be lost, [Locker] lets one process of several do what is done once. [MemoryStore] is
//     the Store for tests; boltstore and redisstore are modules of their own; [SealedStore] encrypts any of them.
//   - Package wechattest plays WeChat's side over real HTTP, for your tests and for development without an account.
//
// # Errors
//
// Where a caller can act on an error it wraps one of the Err variables, or *[APIError] for a refusal of WeChat. Handlers
// tell a visitor no cause: they log it and answer the status that [HTTPStatus] gives, or leave both to OnError. No error
// and no log line holds a secret, a token, a ticket or a code.
package wechatopen
