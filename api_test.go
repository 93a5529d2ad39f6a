package wechatopen_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
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

	_ func(*wechatopen.Platform, func(context.Context, *wechatopen.Message) (wechatopen.Reply, error)) func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) = wechatopen.ReleaseTest

	_ func(content string) wechatopen.Reply                     = wechatopen.Text
	_ func(mediaID string) wechatopen.Reply                     = wechatopen.Image
	_ func(mediaID string) wechatopen.Reply                     = wechatopen.Voice
	_ func(mediaID, title, description string) wechatopen.Reply = wechatopen.Video
	_ func(wechatopen.MusicReply) wechatopen.Reply              = wechatopen.Music
	_ func(...wechatopen.Article) wechatopen.Reply              = wechatopen.News
	_ func(account string) wechatopen.Reply                     = wechatopen.TransferCustomerService

	_ func(mediaID string) wechatopen.CustomMessage              = wechatopen.MPNews
	_ func(articleID string) wechatopen.CustomMessage            = wechatopen.MPArticle
	_ func(cardID string) wechatopen.CustomMessage               = wechatopen.Card
	_ func(msgType string, content any) wechatopen.CustomMessage = wechatopen.CustomKind
	_ wechatopen.CustomMessage                                   = wechatopen.Text("")

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

		CreateMenu(ctx context.Context, buttons wechatopen.Buttons) error
		CurrentMenu(ctx context.Context) (buttons wechatopen.Buttons, on bool, err error)
		Menus(ctx context.Context) (def wechatopen.Menu, conditional []wechatopen.Menu, err error)
		DeleteMenu(ctx context.Context) error
		AddConditionalMenu(ctx context.Context, buttons wechatopen.Buttons, rule wechatopen.MenuRule) (id wechatopen.Int, err error)
		DeleteConditionalMenu(ctx context.Context, id wechatopen.Int) error
		TryMenu(ctx context.Context, user string) (wechatopen.Buttons, error)
		Templates(ctx context.Context) ([]wechatopen.Template, error)
		DeleteTemplate(ctx context.Context, id string) error
		SendTemplate(ctx context.Context, m *wechatopen.TemplateMessage) (msgID int64, err error)
		Follower(ctx context.Context, openID, lang string) (*wechatopen.Follower, error)
		Follows(ctx context.Context, openID string) (bool, error)
		Send(ctx context.Context, openID string, m wechatopen.CustomMessage) error
		SendAs(ctx context.Context, agent, openID string, m wechatopen.CustomMessage) error
	} = (*wechatopen.Account)(nil)
	// What an account and a platform have alike.
	_, _ interface {
		Upload(ctx context.Context, path string, f wechatopen.File, out any) error
		Quota(ctx context.Context, path string) (*wechatopen.Quota, error)
		CallRecord(ctx context.Context, rid string) (*wechatopen.CallRecord, error)
		APIDomainIPs(ctx context.Context) ([]netip.Prefix, error)
		CallbackIPs(ctx context.Context) ([]netip.Prefix, error)
		ClearQuota(ctx context.Context) error
	} = (*wechatopen.Account)(nil), (*wechatopen.Platform)(nil)
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

	_ wechatopen.Store  = (*wechatopen.MemoryStore)(nil)
	_ http.Handler      = (*wechatopen.TicketHandler)(nil)
	_ http.Handler      = (*wechatopen.AuthorizeHandler)(nil)
	_ http.Handler      = (*wechatopen.MessageHandler)(nil)
	_ http.Handler      = (*wechatopen.JSSDKHandler)(nil)
	_ http.Handler      = (*wechatopen.RelayHandler)(nil)
	_ http.RoundTripper = (*wechatopen.Transport)(nil)

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
	_ = wechatopen.MessageHandler{
		Platform: nil, Account: nil,
		AppID:     func(*http.Request) string { return "" },
		Handle:    func(ctx context.Context, m *wechatopen.Message) (wechatopen.Reply, error) { return nil, nil },
		OnLate:    func(ctx context.Context, m *wechatopen.Message, r wechatopen.Reply) {},
		OnError:   func(w http.ResponseWriter, r *http.Request, err error) {},
		ReplyTime: time.Duration(0), WorkTime: time.Duration(0), Window: time.Duration(0), Plain: false,
	}
	_ = wechatopen.Message{
		AppID: "", ToUserName: "", FromUserName: "", CreateTime: time.Time{}, MsgType: "", MsgID: int64(0), Content: "",
		MediaID: "", PicURL: "", Format: "", Recognition: "", ThumbMediaID: "",
		Latitude: 0.5, Longitude: 0.5, Precision: 0.5, Scale: 0, Label: "", Title: "", Description: "", URL: "",
		Event: "", EventKey: "", Ticket: "", Status: "", SentMsgID: int64(0),
		TotalCount: 0, FilterCount: 0, SentCount: 0, ErrorCount: 0, Reason: "", Raw: []byte{},
	}
	_ = wechatopen.MusicReply{ThumbMediaID: "", Title: "", Description: "", URL: "", HQURL: ""}
	_ = wechatopen.Article{Title: "", Description: "", PicURL: "", URL: ""}
	_ = []wechatopen.CustomMessage{
		wechatopen.CustomVideo{MediaID: "", ThumbMediaID: "", Title: "", Description: ""},
		wechatopen.MiniProgramPage{Title: "", AppID: "", PagePath: "", ThumbMediaID: ""},
		wechatopen.Link{Title: "", Description: "", URL: "", ThumbURL: ""},
		wechatopen.MessageMenu{Head: "", Items: []wechatopen.MessageMenuChoice{{ID: "", Content: ""}}, Tail: ""},
	}
	_ = wechatopen.File{
		Name: "", Content: io.ReaderAt(nil), Size: int64(0), Field: "", ContentType: "", Form: url.Values{},
		Progress: func(sent, size int64) {},
	}
	_ = wechatopen.Transport{Source: (*wechatopen.CachedTokenSource)(nil), Base: http.RoundTripper(nil)}
	_ = wechatopen.Buttons{wechatopen.Button{
		Type: "", Name: "", Key: "", URL: "", AppID: "", PagePath: "", MediaID: "", ArticleID: "", Value: "", Sub: wechatopen.Buttons{},
	}}
	_ = wechatopen.Menu{ID: wechatopen.Int(0), Buttons: wechatopen.Buttons{}, Rule: &wechatopen.MenuRule{TagID: 0, Platform: 0}}
	_ = wechatopen.Template{ID: "", Title: "", PrimaryIndustry: "", DeputyIndustry: "", Content: "", Example: ""}
	_ = wechatopen.TemplateMessage{
		ToUser: "", TemplateID: "", URL: "", MiniProgram: &wechatopen.TemplateMiniProgram{AppID: "", PagePath: ""}, ClientMsgID: "",
		Data: map[string]wechatopen.TemplateValue{"": {Value: "", Color: ""}},
	}
	_ = wechatopen.Follower{
		Follows: false, OpenID: "", UnionID: "", Language: "", Since: time.Time{}, Remark: "", TagIDs: []int{}, Channel: "", QRScene: "",
	}
	_ = wechatopen.Quota{DailyLimit: int64(0), Used: int64(0), Remain: int64(0), Rate: wechatopen.RateLimit{Calls: int64(0), Per: time.Duration(0)}, ComponentRate: wechatopen.RateLimit{}}
	_ = wechatopen.CallRecord{Time: time.Time{}, Duration: time.Duration(0), URL: "", Body: "", Answer: "", ClientIP: ""}
	_ = wechatopen.RelayHandler{Origins: []string{}, OnError: func(w http.ResponseWriter, r *http.Request, err error) {}}
	_ = []string{wechatopen.ScopeBase, wechatopen.ScopeUserInfo, wechatopen.ScopeLogin}
	_ = []error{
		wechatopen.ErrNotFound, wechatopen.ErrNoTicket, wechatopen.ErrNotAuthorized, wechatopen.ErrSignature,
		wechatopen.ErrState, wechatopen.ErrDenied, wechatopen.ErrSnapshotUser, wechatopen.ErrLoginLoop,
	}
)
