package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"html/template"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wechatopen/wechatopen"
)

// shop is a third-party platform: merchants authorize it to act for their official accounts, and it runs a shop in
// WeChat for each of them.
type shop struct {
	platform *wechatopen.Platform
	store    wechatopen.Store // keeps the list of merchants too, which a real platform has in its database
	oauth    *wechatopen.OAuth
	log      *slog.Logger

	mu        sync.RWMutex
	merchants map[string]merchant // by appid
}

// merchantsKey is of another kind than the keys of the library, which begin with "wechatopen:".
const merchantsKey = "shop:merchants"

// merchant is an official account that authorizes the platform.
type merchant struct{ AppID, Name, Logo string }

// newShop serves the shop platform at baseURL, its public origin. At WeChat's console, the event URL of the platform is
// baseURL + "/wechat/events", and its launch and page domains are the host of baseURL.
func newShop(platform *wechatopen.Platform, store wechatopen.Store, baseURL string, cookies *wechatopen.Cookies, log *slog.Logger) (http.Handler, error) {
	s := &shop{platform: platform, store: store, log: log, merchants: map[string]merchant{}}
	if err := s.load(context.Background()); err != nil {
		return nil, err
	}
	s.oauth = &wechatopen.OAuth{
		Account: s.account,
		BaseURL: baseURL,
		Cookies: cookies,
		Scope:   wechatopen.ScopeUserInfo, // asks for name and avatar; ScopeBase is silent and tells the openid alone
		OnError: s.fail,

		AnyBrowser: cookies.Insecure, // in development any browser plays the customer's WeChat
	}
	// A form of another site must not log our customers out.
	sameOrigin := http.NewCrossOriginProtection()
	if err := sameOrigin.AddTrustedOrigin(baseURL); err != nil {
		return nil, err
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.Handle("/wechat/events", &wechatopen.TicketHandler{Platform: platform, OnEvent: s.onEvent})
	mux.Handle("/wechat/authorize", &wechatopen.AuthorizeHandler{ // a real platform has its merchants log in before
		Platform:     platform,
		BaseURL:      baseURL,
		Cookies:      cookies,
		AuthType:     1, // official accounts, for only they have web pages
		OnAuthorized: s.onAuthorized,
		OnError:      s.fail,
	})
	mux.Handle("/wechat/jssdk/{appid}", &wechatopen.JSSDKHandler{
		Account:        s.account,
		AllowedOrigins: []string{baseURL},
		JSAPIList:      []string{"updateAppMessageShareData", "updateTimelineShareData"},
		OnError:        s.fail,
	})
	mux.Handle("GET /shop/{appid}/{$}", s.oauth.Require(http.HandlerFunc(s.visit)))
	mux.Handle("POST /shop/{appid}/logout", sameOrigin.Handler(http.HandlerFunc(s.logout)))
	return mux, nil
}

// newServer gives each part of a request its time, so that nobody can hold a connection for nothing. An answer may take
// as long as a login or an authorization takes to finish at WeChat.
func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      45 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
	}
}

var errNoShop = errors.New("no merchant of this appid authorizes the platform")

// account says whose shop a request is for. Only merchants are asked for at the platform, never what an address says.
func (s *shop) account(r *http.Request) (*wechatopen.Account, error) {
	m, err := s.merchant(r.PathValue("appid"))
	if err != nil {
		return nil, err
	}
	return s.platform.Account(m.AppID), nil
}

func (s *shop) merchant(appID string) (merchant, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m, ok := s.merchants[appID]
	if !ok {
		return m, errNoShop
	}
	return m, nil
}

// open notes a merchant. It may be called again: the push and the browser both bring the news, in any order.
func (s *shop) open(ctx context.Context, appID string) error {
	info, err := s.platform.AuthorizerInfo(ctx, appID)
	if err != nil {
		return err
	}
	return s.change(ctx, func(merchants map[string]merchant) {
		merchants[appID] = merchant{AppID: appID, Name: info.NickName, Logo: info.HeadImg}
	})
}

func (s *shop) close(ctx context.Context, appID string) error {
	return s.change(ctx, func(merchants map[string]merchant) { delete(merchants, appID) })
}

// load brings back the merchants of the process before this one.
func (s *shop) load(ctx context.Context) error {
	list, err := s.store.Get(ctx, merchantsKey)
	if errors.Is(err, wechatopen.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(list, &s.merchants)
}

// change keeps a change before it shows: WeChat tells it once, and is told "success" then.
func (s *shop) change(ctx context.Context, edit func(merchants map[string]merchant)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	merchants := maps.Clone(s.merchants)
	edit(merchants)
	list, err := json.Marshal(merchants)
	if err != nil {
		return err
	}
	if err := s.store.Set(ctx, merchantsKey, list, 0); err != nil {
		return err
	}
	s.merchants = merchants
	return nil
}

// onEvent hears who authorizes the platform and who no longer does. An error has WeChat push again.
func (s *shop) onEvent(ctx context.Context, e *wechatopen.Event) error {
	switch e.InfoType {
	case wechatopen.InfoAuthorized, wechatopen.InfoUpdateAuthorized:
		err := s.open(ctx, e.AuthorizerAppID)
		if errors.Is(err, wechatopen.ErrNotAuthorized) {
			return nil // the push is late, and the merchant has changed their mind since
		}
		return err
	case wechatopen.InfoUnauthorized:
		return s.close(ctx, e.AuthorizerAppID)
	}
	return nil
}

// onAuthorized answers the browser of a merchant who comes back from WeChat.
func (s *shop) onAuthorized(w http.ResponseWriter, r *http.Request, a *wechatopen.Authorization) {
	if err := s.open(r.Context(), a.AppID); err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *shop) home(w http.ResponseWriter, _ *http.Request) {
	s.mu.RLock()
	merchants := slices.Collect(maps.Values(s.merchants))
	s.mu.RUnlock()
	slices.SortFunc(merchants, func(a, b merchant) int { return strings.Compare(a.AppID, b.AppID) })
	s.write(w, http.StatusOK, "home", merchants)
}

// visit is the page of a merchant's shop. OAuth.Require lets nobody through but a user of WeChat.
func (s *shop) visit(w http.ResponseWriter, r *http.Request) {
	user, _ := wechatopen.UserFromContext(r.Context())
	m, err := s.merchant(user.AppID)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.write(w, http.StatusOK, "shop", struct {
		Merchant merchant
		User     *wechatopen.User
	}{m, user})
}

func (s *shop) logout(w http.ResponseWriter, r *http.Request) {
	if _, err := s.account(r); err != nil {
		s.fail(w, r, err)
		return
	}
	s.oauth.Logout(w, r)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// fail tells a person what to do, and the log why if it is ours to mend.
func (s *shop) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, text := wechatopen.HTTPStatus(err), "出错了，请稍后再试 · Something went wrong, please try again later"
	switch {
	case errors.Is(err, errNoShop):
		status, text = http.StatusNotFound, "没有这家店铺 · There is no such shop"
	case errors.Is(err, wechatopen.ErrDenied):
		text = "你没有同意登录 · You did not agree to log in"
	case errors.Is(err, wechatopen.ErrSnapshotUser):
		text = "请点击“使用完整服务” · Please tap “use full service”"
	case errors.Is(err, wechatopen.ErrState):
		text = "页面已过期，请重新开始 · This page is over, please start again"
	case errors.Is(err, wechatopen.ErrLoginLoop):
		text = "浏览器不接受 Cookie · Your browser keeps no cookies"
	case errors.Is(err, wechatopen.ErrNoTicket):
		text = "平台还没有收到微信的推送，请十分钟后再试 · WeChat has not called yet, please try again in ten minutes"
	}
	if status >= http.StatusInternalServerError {
		s.log.ErrorContext(r.Context(), "request failed", "path", r.URL.Path, "error", err)
	}
	s.write(w, status, "error", struct{ Text, Path string }{text, r.URL.Path})
}

//go:embed shop.html
var files embed.FS

var pages = template.Must(template.ParseFS(files, "shop.html"))

// write sends a page on which only its own script runs. To load WeChat's jweixin script, name its origin in script-src.
func (s *shop) write(w http.ResponseWriter, status int, page string, data any) {
	nonce := rand.Text()
	var body bytes.Buffer
	if err := pages.ExecuteTemplate(&body, page, struct {
		Nonce string
		Data  any
	}{nonce, data}); err != nil {
		s.log.Error("page not written", "page", page, "error", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'nonce-"+nonce+"'; style-src 'nonce-"+nonce+
		"'; img-src http: https:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // the browser has left
}
