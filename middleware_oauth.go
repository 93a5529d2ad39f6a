package wechatopen

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// User is a WeChat user who has logged in, as a session keeps it.
type User struct {
	AppID   string // the account at which the user logged in; OpenID means nothing to another
	OpenID  string
	UnionID string // empty unless the account is bound to an Open Platform account and the scope is more than ScopeBase
	// Nickname and AvatarURL are empty with ScopeBase.
	Nickname, AvatarURL string
	Scope               string // what was granted: ScopeBase, ScopeUserInfo or ScopeLogin
	LoginTime           time.Time
	Expiry              time.Time // when the session ends
}

// OAuth is a middleware that knows the WeChat user of a request. [OAuth.Require] sends a visitor without a session to
// WeChat and back to the same page; [OAuth.Load] only looks.
//
// The wrapped page is its own callback: nothing else is mounted, and there is nowhere to be redirected to. On wrapped
// pages the query parameters code and state together are WeChat's, and so are those that it adds last.
//
// One OAuth may wrap any number of pages. Set the fields before first use.
type OAuth struct {
	// Account says with which account a request logs in: [FixedAccount] for one, or by host or path for many. Required.
	Account func(*http.Request) (*Account, error)

	// BaseURL is the public origin of the site: "https://shop.example.com". Required; it is never guessed from a request.
	BaseURL string

	// Cookies keeps the sessions. Required.
	Cookies *Cookies

	// Scope is what Require asks for: [ScopeBase], [ScopeUserInfo] for nickname and avatar, or [ScopeLogin] on a website.
	// Empty: ScopeBase.
	Scope string

	// OutsideWeChat answers a browser that is not WeChat's and has no session, where WeChat's login page would only say
	// "open in WeChat". It may be what another OAuth requires, one of [ScopeLogin], around the same pages; requests of
	// every kind reach it, for that one to find its session. Programs that do not call themselves a browser go on to
	// WeChat. Nil: for navigations a page that says so, with the address as text and, up to 1,000 bytes, as a QR code. It is
	// not for ScopeLogin, whose page any browser can use.
	OutsideWeChat http.Handler

	// AnyBrowser sends every browser to WeChat's login page: for development against package wechattest, whose pages any
	// browser shows. False: OutsideWeChat.
	AnyBrowser bool

	// RelayURL is the public address of a [RelayHandler] on the domain that WeChat knows, for a site that is on another:
	// "https://login.example.com/wechat/relay". Empty: none, the site is on that domain itself.
	RelayURL string

	// Lang is the language of region names in a user's data: "zh_CN", "zh_TW" or "en". Empty: zh_CN.
	Lang string

	// NoConnectRedirect leaves connect_redirect=1 out of the address of the login page, which keeps WeChat's client from
	// calling the page back twice. False: it is sent.
	NoConnectRedirect bool

	// OnLogin is called once for each login, before its session begins, with the user's token, which is kept nowhere. An
	// error refuses the login. Nil: everyone may log in.
	OnLogin func(ctx context.Context, u *User, t *UserToken) error

	// OnError answers in the middleware's place; [HTTPStatus] says with what. [ErrDenied]: the visitor refused.
	// [ErrSnapshotUser]: ask the visitor to tap "use full service". [ErrLoginLoop]: the browser keeps no cookies.
	// [ErrState]: the way back was not the browser's own. Nil: the error is logged and the status answered.
	OnError func(w http.ResponseWriter, r *http.Request, err error)

	site site
}

// FixedAccount is for [OAuth] and [JSSDKHandler] on a site of one account.
func FixedAccount(a *Account) func(*http.Request) (*Account, error) {
	return func(*http.Request) (*Account, error) { return a, nil }
}

type userKey struct{}

// UserFromContext is the WeChat user of a request behind [OAuth.Require] or [OAuth.Load]; false if there is none.
func UserFromContext(ctx context.Context) (*User, bool) {
	u, ok := ctx.Value(userKey{}).(*User)
	return u, ok && u != nil
}

// ContextWithUser puts a user into a context, for tests of what Require wraps.
func ContextWithUser(ctx context.Context, u *User) context.Context {
	return context.WithValue(ctx, userKey{}, u)
}

// Require lets only users of WeChat through to next, who finds them by [UserFromContext]. A browser without a session
// goes to WeChat and comes back; a request that is no navigation (fetch, XHR, a form, a websocket) is answered 401 with
// JSON, because a redirect would do it no good.
func (o *OAuth) Require(next http.Handler) http.Handler { return o.RequireScope("")(next) }

// RequireScope is [OAuth.Require] for pages that need more than the others, such as [ScopeUserInfo] to greet by name.
// A user whose session has less goes to WeChat once more. Empty means OAuth.Scope.
func (o *OAuth) RequireScope(scope string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("Vary", "Cookie")
			u, log, err := o.login(w, r, scope)
			switch {
			case err != nil:
				answerError(w, r, log, o.OnError, "wechatopen: login", err)
			case u != nil:
				next.ServeHTTP(w, r.WithContext(ContextWithUser(r.Context(), u)))
			}
		})
	}
}

// Load puts the user into the request's context if there is a session, and never redirects.
func (o *OAuth) Load(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Cookie")
		a, log, err := o.account(r)
		if err == nil {
			_, err = o.site.at(o.BaseURL, o.Cookies)
		}
		if err != nil {
			answerError(w, r, log, o.OnError, "wechatopen: session", err)
			return
		}
		if u := o.Cookies.getSession(r, a.appID, a.c.over); u != nil {
			r = r.WithContext(ContextWithUser(r.Context(), u))
		}
		next.ServeHTTP(w, r)
	})
}

// Logout ends the session with the account of this request. The answer is still the caller's to write. With [ScopeBase]
// the next visit to a page behind Require logs in again without asking.
func (o *OAuth) Logout(w http.ResponseWriter, r *http.Request) {
	a, log, err := o.account(r)
	if err == nil {
		_, err = o.site.at(o.BaseURL, o.Cookies)
	}
	if err != nil {
		log.Error("wechatopen: logout", "error", err.Error())
		return
	}
	o.Cookies.clearSession(w, a.appID)
}

func (o *OAuth) account(r *http.Request) (*Account, *slog.Logger, error) {
	if o.Account == nil {
		return nil, slog.Default(), errorf("OAuth.Account is nil: use FixedAccount for a site of one account")
	}
	a, err := o.Account(r)
	if err == nil && a == nil {
		err = errorf("OAuth.Account returned neither an account nor an error")
	}
	if err != nil {
		return nil, slog.Default(), err
	}
	return a, a.c.logger, a.access.err // what is no appid gets no cookie and no page of WeChat
}

// maxTries is how often a login is started before a browser that comes back without its cookie is told so.
const maxTries = 3

// visit is a request on its way through the middleware.
type visit struct {
	o      *OAuth
	w      http.ResponseWriter
	r      *http.Request
	a      *Account
	origin string
	scope  string

	path, query string // what the browser asked for
	back        bool   // it came back, or looks so
	state, code string // WeChat's, if it came back; the code is empty if the visitor refused
	flow        *flow  // what the browser's cookie says of the login that came back; nil if it is not its own
	restarted   error  // why the login was started once more
}

// login returns the user of the request, or answers it: then user and error are nil.
func (o *OAuth) login(w http.ResponseWriter, r *http.Request, scope string) (*User, *slog.Logger, error) {
	a, log, err := o.account(r)
	if err != nil {
		return nil, log, err
	}
	origin, err := o.site.at(o.BaseURL, o.Cookies)
	if err != nil {
		return nil, log, errorf("OAuth: %w", err)
	}
	scope = firstOf(scope, o.Scope, ScopeBase)
	u := o.Cookies.getSession(r, a.appID, a.c.over)
	good := u != nil && covers(u.Scope, scope)
	if good && !mayHaveParam(r, "state") {
		return u, log, nil // as nearly every request
	}
	v := &visit{o: o, w: w, r: r, a: a, origin: origin, scope: scope}
	v.read()
	if good {
		if v.back && v.code != "" && isNavigation(r) {
			if v.flow != nil {
				o.Cookies.clearFlow(w, v.flow)
			}
			redirect(w, v.clean()) // a second call of WeChat's browser, or an address that was passed on
			return nil, log, nil
		}
		return u, log, nil
	}
	navigation := isNavigation(r)
	if (navigation || o.OutsideWeChat != nil) && v.outside() {
		return nil, log, v.answerOutside()
	}
	if !navigation {
		writeLoginRequired(w)
		return nil, log, nil
	}
	if !v.back {
		return nil, log, v.start(1)
	}
	err = v.finish()
	if trace := a.c.trace.Login; trace != nil {
		trace(r.Context(), a.appID, cmp.Or(err, v.restarted))
	}
	return nil, log, err
}

// read tells what WeChat added to the address. The page may have parameters of these names too, but not last.
func (v *visit) read() {
	v.path, v.query = requestURI(v.r)
	var coded bool
	if v.state, v.back = lastParam(v.query, "state"); !v.back {
		return
	}
	v.code, coded = lastParam(v.query, "code")
	v.flow = v.findFlow()
	if v.flow != nil && countParam(v.query, "code") <= v.flow.Codes {
		v.code = "" // the page's own: the visitor refused
	}
	// A state alone is WeChat's word that the visitor refused, if this browser asked; else it is the page's own.
	v.back = coded || v.flow != nil
}

func (v *visit) findFlow() *flow {
	if len(v.state) != flowIDLen+1 {
		return nil
	}
	f := v.o.Cookies.getFlow(v.r, v.state[:flowIDLen], flowLogin, v.a.appID, loginFlowAge, v.a.c.now())
	if f == nil || f.Scope != v.scope {
		return nil
	}
	return f
}

// clean is the page's own address, as it was before WeChat.
func (v *visit) clean() string {
	q := v.query
	if v.back {
		q = withoutParams(q, "state")
		if v.code != "" || v.flow == nil {
			q = withoutParams(q, "code")
		}
		if appID, _ := lastParam(q, "appid"); appID == v.a.appID && v.a.platform != nil && (v.flow == nil || countParam(q, "appid") > v.flow.AppIDs) {
			q = withoutParams(q, "appid") // which WeChat adds for an authorizer
		}
	}
	return v.origin + joinQuery(v.path, q)
}

// start sends the browser to WeChat. The state is the id of the flow, which only the browser's cookie can prove, and one
// digit that counts the tries, which a browser without cookies can bring back too.
func (v *visit) start(try int) error {
	page := v.clean()
	back, err := v.redirectURI(page)
	if err != nil {
		return err
	}
	_, query, _ := strings.Cut(page, "?")
	f := &flow{
		Kind: flowLogin, AppID: v.a.appID, Scope: v.scope, Tries: try,
		Codes: countParam(query, "code"), AppIDs: countParam(query, "appid"),
	}
	if err := v.o.Cookies.startFlow(v.w, v.r, f, loginFlowAge, v.a.c.now()); err != nil {
		return err
	}
	redirect(v.w, v.a.authCodeURL(back, v.scope, f.ID+string(rune('0'+try)), !v.o.NoConnectRedirect))
	return nil
}

// restart starts a login once more that has been tried before, for a reason.
func (v *visit) restart(tried int, reason error) error {
	if tried >= maxTries {
		return ErrLoginLoop
	}
	v.restarted = reason
	if v.flow != nil {
		v.o.Cookies.clearFlow(v.w, v.flow)
	}
	return v.start(tried + 1)
}

// triesOf is how often the login of a state without a cookie has been started. One that is not of our making gets one
// more try.
func triesOf(state string) int {
	if len(state) == flowIDLen+1 && validFlowID(state[:flowIDLen]) {
		if n := int(state[flowIDLen] - '0'); n >= 1 && n <= maxTries {
			return n
		}
	}
	return maxTries - 1
}

// finish ends the login that came back: with a session and the page's own address, with another try, or with an error.
func (v *visit) finish() error {
	f := v.flow
	if f == nil {
		return v.restart(triesOf(v.state), ErrState)
	}
	if v.code == "" {
		v.o.Cookies.clearFlow(v.w, f)
		return errorf("%w: the visitor refused", ErrDenied)
	}
	if appID, _ := lastParam(v.query, "appid"); v.a.platform != nil && countParam(v.query, "appid") > f.AppIDs && appID != v.a.appID {
		return errorf("%w: WeChat names another account", ErrState)
	}
	u, err := v.user()
	switch {
	case err == nil:
	case hasCode(err, codeInvalidCode, codeUsedCode, codeExpiredCode):
		if f.Tries > 1 {
			return errorf("%w: %w", ErrState, err)
		}
		return v.restart(f.Tries, err)
	case errors.Is(err, ErrState):
		return v.restart(f.Tries, err)
	default:
		return err
	}
	v.o.Cookies.clearFlow(v.w, f)
	if err := v.o.Cookies.setSession(v.w, u); err != nil {
		return err
	}
	redirect(v.w, v.clean())
	return nil
}

// user is whose login it was: exchanged now, or a moment ago by the same browser's other call.
func (v *visit) user() (u *User, err error) {
	c := v.a.c
	err = c.finishFlow(v.r.Context(), v.a.prefix, v.flow, v.code, loginFlowAge, func(ctx context.Context, rec *flowRecord) error {
		if rec.User == nil {
			user, err := v.o.exchange(ctx, v.a, v.code, v.scope)
			switch {
			case hasCode(err, codeInvalidCode, codeUsedCode):
				// Perhaps by another process, where no Locker keeps them apart.
				err = c.awaitUser(ctx, v.a.prefix, v.flow, rec, err)
			case err == nil:
				rec.User, rec.At = user, c.now().Unix()
			}
			if err != nil {
				return err
			}
		}
		if c.now().Sub(time.Unix(rec.At, 0)) > resultAge {
			return errorf("%w: it came back before", ErrState)
		}
		u = rec.User
		return nil
	})
	return u, err
}

// resultAge is how long a browser that comes back twice is given the result of the first time.
const resultAge = time.Minute

// exchange spends the code and says who it was.
func (o *OAuth) exchange(ctx context.Context, a *Account, code, scope string) (*User, error) {
	t, err := a.ExchangeCode(ctx, code)
	if err != nil {
		return nil, err
	}
	if t.SnapshotUser {
		return nil, ErrSnapshotUser
	}
	granted := grantedScope(t.Scope, scope)
	if !covers(granted, scope) {
		return nil, errorf("%w: WeChat granted %s, not %s", ErrDenied, granted, scope)
	}
	now := a.c.now()
	u := &User{
		AppID: a.appID, OpenID: t.OpenID, UnionID: t.UnionID, Scope: granted,
		LoginTime: now, Expiry: now.Add(o.Cookies.maxAge()),
	}
	if granted != ScopeBase {
		info, err := a.UserInfo(ctx, t.AccessToken, t.OpenID, o.Lang)
		if err != nil {
			return nil, err
		}
		u.Nickname, u.AvatarURL = info.Nickname, info.AvatarURL
		u.UnionID = firstOf(u.UnionID, info.UnionID)
	}
	if o.OnLogin != nil {
		if err := o.OnLogin(ctx, u, t); err != nil {
			return nil, errorf("OnLogin: %w", err)
		}
	}
	return u, nil
}

// grantedScope is the most of what WeChat granted. Where it does not say, it is what was asked for.
func grantedScope(granted, asked string) string {
	best := ""
	for s := range strings.SplitSeq(granted, ",") {
		if s = strings.TrimSpace(s); s == ScopeBase && best == "" || s == ScopeUserInfo || s == ScopeLogin {
			best = s
		}
	}
	return firstOf(best, granted, asked)
}

// covers reports whether a session of one scope does for a page that needs another.
func covers(has, needs string) bool {
	return has == needs || needs == ScopeBase || needs == ScopeUserInfo && has == ScopeLogin
}

// isNavigation tells a browser that shows a page from a script, a form or a socket, by what it says itself.
func isNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.Header.Get("Upgrade") != "" {
		return false
	}
	// Scripts send "XMLHttpRequest". Android's WebView, and so WeChat, sends the name of the app, "com.tencent.mm", with
	// every page.
	if with := r.Header.Get("X-Requested-With"); with != "" && !strings.Contains(with, ".") {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	accept := r.Header.Get("Accept")
	return accept == "" || strings.Contains(accept, "text/html")
}

func writeLoginRequired(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusUnauthorized)
	io.WriteString(w, `{"error":"login_required","message":"no WeChat session: reload the page to log in"}`+"\n")
}
