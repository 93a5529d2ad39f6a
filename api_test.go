package wechatopen_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/wechatopen/wechatopen"
)

// The names that other code compiles against. This file fails to compile when one of them changes.
var (
	_ = wechatopen.Credentials{AppID: "", AppSecret: "", Token: "", EncodingAESKey: "", PreviousToken: "", PreviousEncodingAESKey: ""}
	_ = wechatopen.Endpoints{API: "", Open: "", MP: ""}

	_ func(wechatopen.Store) wechatopen.Option                = wechatopen.WithStore
	_ func(wechatopen.Locker) wechatopen.Option               = wechatopen.WithLocker
	_ func(*http.Client) wechatopen.Option                    = wechatopen.WithHTTPClient
	_ func(wechatopen.Endpoints) wechatopen.Option            = wechatopen.WithEndpoints
	_ func(*slog.Logger) wechatopen.Option                    = wechatopen.WithLogger
	_ func(*wechatopen.Trace) wechatopen.Option               = wechatopen.WithTrace
	_ func(func() time.Time) wechatopen.Option                = wechatopen.WithClock
	_ func(...[]byte) (*wechatopen.Cookies, error)            = wechatopen.NewCookies
	_ func() *wechatopen.MemoryStore                          = wechatopen.NewMemoryStore
	_ func(context.Context) (*wechatopen.User, bool)          = wechatopen.UserFromContext
	_ func(context.Context, *wechatopen.User) context.Context = wechatopen.ContextWithUser

	_ func(wechatopen.Credentials, ...wechatopen.Option) (*wechatopen.Platform, error) = wechatopen.NewPlatform
	_ func(wechatopen.Credentials, ...wechatopen.Option) (*wechatopen.Account, error)  = wechatopen.NewAccount
	_ func(*wechatopen.Account) func(*http.Request) (*wechatopen.Account, error)       = wechatopen.FixedAccount

	_ interface {
		Account(appID string) *wechatopen.Account
		ComponentToken() *wechatopen.CachedTokenSource
		Get(ctx context.Context, path string, query url.Values, out any) error
		Post(ctx context.Context, path string, in, out any) error
	} = (*wechatopen.Platform)(nil)
	_ interface {
		AppID() string
		AccessToken() *wechatopen.CachedTokenSource
		JSAPITicket() *wechatopen.CachedTokenSource
		Get(ctx context.Context, path string, query url.Values, out any) error
		Post(ctx context.Context, path string, in, out any) error
		JSConfig(ctx context.Context, pageURL string) (*wechatopen.JSConfig, error)
	} = (*wechatopen.Account)(nil)
	_ interface {
		wechatopen.TokenSource
		Invalidate(ctx context.Context, bad *wechatopen.Token) error
	} = (*wechatopen.CachedTokenSource)(nil)
	_ interface {
		Require(next http.Handler) http.Handler
		Load(next http.Handler) http.Handler
		RequireScope(scope string) func(http.Handler) http.Handler
		Logout(w http.ResponseWriter, r *http.Request)
	} = (*wechatopen.OAuth)(nil)

	_ wechatopen.Store = (*wechatopen.MemoryStore)(nil)
	_ http.Handler     = (*wechatopen.TicketHandler)(nil)
	_ http.Handler     = (*wechatopen.AuthorizeHandler)(nil)
	_ http.Handler     = (*wechatopen.JSSDKHandler)(nil)

	_ = wechatopen.Token{Value: "", Expiry: time.Time{}}
	_ = wechatopen.Cookies{Insecure: false, Domain: "", MaxAge: time.Duration(0)}
	_ = wechatopen.User{AppID: "", OpenID: "", UnionID: "", Nickname: "", AvatarURL: "", Scope: "", LoginTime: time.Time{}, Expiry: time.Time{}}
	_ = wechatopen.Event{AppID: "", InfoType: "", CreateTime: time.Time{}, AuthorizerAppID: "", AuthorizationCode: "", PreAuthCode: "", Raw: nil}
	_ = wechatopen.Authorization{AppID: "", FuncInfo: []int{}}
	_ = wechatopen.APIError{Op: "", Code: 0, Msg: "", RID: ""}
	_ = wechatopen.TicketHandler{
		Platform: nil,
		OnEvent:  func(ctx context.Context, e *wechatopen.Event) error { return nil },
		OnError:  func(w http.ResponseWriter, r *http.Request, err error) {},
	}
	_ = wechatopen.AuthorizeHandler{
		Platform: nil, BaseURL: "", Cookies: nil, AuthType: 0, BizAppID: "",
		OnAuthorized: func(w http.ResponseWriter, r *http.Request, a *wechatopen.Authorization) {},
		OnError:      func(w http.ResponseWriter, r *http.Request, err error) {},
	}
	_ = wechatopen.OAuth{
		Account: func(*http.Request) (*wechatopen.Account, error) { return nil, nil },
		BaseURL: "", Cookies: nil, Scope: wechatopen.ScopeBase,
		OnLogin: func(ctx context.Context, u *wechatopen.User, t *wechatopen.UserToken) error { return nil },
		OnError: func(w http.ResponseWriter, r *http.Request, err error) {},
	}
	_ = wechatopen.JSSDKHandler{
		Account:        func(*http.Request) (*wechatopen.Account, error) { return nil, nil },
		AllowedOrigins: []string{}, JSAPIList: []string{}, OpenTagList: []string{},
		OnError: func(w http.ResponseWriter, r *http.Request, err error) {},
	}
	_ = []string{wechatopen.ScopeBase, wechatopen.ScopeUserInfo, wechatopen.ScopeLogin}
	_ = []error{
		wechatopen.ErrNotFound, wechatopen.ErrNoTicket, wechatopen.ErrNotAuthorized, wechatopen.ErrSignature,
		wechatopen.ErrState, wechatopen.ErrDenied, wechatopen.ErrSnapshotUser, wechatopen.ErrLoginLoop,
	}
)
