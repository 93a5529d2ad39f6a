package wechatopen

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/wechatopen/wechatopen/internal/msgcrypt"
)

// Account is one official account (公众号) or mini program: one that authorizes a [Platform], from [Platform.Account], or
// one of your own, from [NewAccount]. It is safe for concurrent use.
type Account struct {
	c        *client
	appID    string
	platform *Platform       // nil for an account of one's own
	creds    Credentials     // zero for an authorizer
	codec    *msgcrypt.Codec // nil for an authorizer, and without Token
	prefix   string          // of its keys in the Store, with the colon

	userName atomic.Pointer[string] // original id, once known

	access CachedTokenSource
	jsapi  atomic.Pointer[CachedTokenSource] // made when first asked for: most accounts of a platform need none
	card   atomic.Pointer[CachedTokenSource]
}

// NewAccount returns an account of your own, which works without any platform. Token and EncodingAESKey are needed only
// if it receives messages. Without [WithStore] its tokens live in memory, which costs no more than fetching them again.
func NewAccount(creds Credentials, opts ...Option) (*Account, error) {
	o, err := newOptions(opts)
	if err := errors.Join(creds.check(false), err); err != nil {
		return nil, err
	}
	if o.store == nil {
		o.store = NewMemoryStore()
	}
	a := &Account{c: newClient(o), appID: creds.AppID, creds: creds, prefix: "wechatopen:" + creds.AppID + ":"}
	if creds.Token != "" {
		if a.codec, err = msgcrypt.New(creds.AppID, creds.tokens(), creds.aesKeys()); err != nil {
			return nil, errorf("%w", err)
		}
	}
	fetch := a.fetchStableToken
	if o.basicToken {
		fetch = a.fetchBasicToken
	}
	a.access.c, a.access.appID, a.access.key, a.access.fetch = a.c, a.appID, a.prefix+"access_token", fetch
	return a, nil
}

func newAuthorizer(p *Platform, appID string) *Account {
	a := &Account{c: p.c, appID: appID, platform: p, prefix: p.prefix + appID + ":"}
	a.access.c, a.access.appID, a.access.key, a.access.fetch = a.c, appID, a.prefix+"access_token", a.fetchAuthorizerToken
	if !validAppID(appID) {
		a.access.err = errorf("%w: %q is not an appid", ErrNotAuthorized, appID)
	}
	return a
}

// String names the account and keeps its secrets out of logs.
func (a *Account) String() string { return "{account " + a.appID + "}" }

// GoString keeps the secrets out of %#v.
func (a *Account) GoString() string { return "wechatopen.Account" + a.String() }

// LogValue keeps the secrets out of [log/slog].
func (a *Account) LogValue() slog.Value { return slog.StringValue(a.String()) }

// AppID is the account's appid.
func (a *Account) AppID() string { return a.appID }

// AccessToken is the source of the token for calls in the account's name: authorizer_access_token for an account of a
// platform, access_token for one's own.
func (a *Account) AccessToken() *CachedTokenSource { return &a.access }

// JSAPITicket is the source of the ticket with which pages are signed for the JSSDK. See [Account.JSConfig].
func (a *Account) JSAPITicket() *CachedTokenSource { return a.ticket(&a.jsapi, "jsapi") }

// CardTicket is the source of the ticket (wx_card) with which cards and coupons are signed.
func (a *Account) CardTicket() *CachedTokenSource { return a.ticket(&a.card, "wx_card") }

func (a *Account) ticket(p *atomic.Pointer[CachedTokenSource], kind string) *CachedTokenSource {
	if s := p.Load(); s != nil {
		return s
	}
	p.CompareAndSwap(nil, &CachedTokenSource{c: a.c, appID: a.appID, key: a.prefix + "ticket:" + kind, err: a.access.err, fetch: func(ctx context.Context, _ string) (*fetched, error) {
		var out struct {
			Ticket    string `json:"ticket"`
			ExpiresIn Int    `json:"expires_in"`
		}
		err := a.Get(ctx, "/cgi-bin/ticket/getticket", url.Values{"type": {kind}}, &out)
		return &fetched{out.Ticket, out.ExpiresIn}, err
	}})
	return p.Load()
}

// Get calls any path of the API with the account's token put in, and decodes the answer into out, which may be nil. With
// out a *[]byte the answer is returned as it is. When WeChat says that the token is stale, it is replaced and the call
// repeated once. A refusal is an *[APIError].
func (a *Account) Get(ctx context.Context, path string, query url.Values, out any) error {
	return a.c.callAs(ctx, &a.access, http.MethodGet, path, query, nil, out)
}

// Post is [Account.Get] for calls with a body: in is sent as JSON, nil as {}.
func (a *Account) Post(ctx context.Context, path string, in, out any) error {
	return a.c.postAs(ctx, &a.access, path, in, out)
}

// ClearQuota sets the day's used calls of the account back to zero. WeChat allows it ten times a month, errcode 48006
// after that. WeChat's page: clear_quota.
func (a *Account) ClearQuota(ctx context.Context) error {
	err := a.Post(ctx, "/cgi-bin/clear_quota", map[string]string{"appid": a.appID}, nil)
	if err == nil {
		a.retryNow()
	}
	return err
}

// retryNow forgets what failed: its cause may be mended.
func (a *Account) retryNow() {
	a.access.retryNow()
	for _, s := range []*CachedTokenSource{a.jsapi.Load(), a.card.Load()} {
		if s != nil {
			s.retryNow()
		}
	}
}

// fetchStableToken gets the token of an account of one's own. WeChat returns the same one to all who ask until five
// minutes before its end, so a refused one must be replaced by force, which is allowed 20 times a day.
// WeChat's page: stable_token.
func (a *Account) fetchStableToken(ctx context.Context, bad string) (*fetched, error) {
	f, err := a.stableToken(ctx, false)
	if err == nil && bad != "" && f.value == bad {
		return a.stableToken(ctx, true)
	}
	return f, err
}

// nativeToken is the answer of the calls that fetch a token of an account of one's own.
type nativeToken struct {
	Token     string `json:"access_token"`
	ExpiresIn Int    `json:"expires_in"`
}

func (a *Account) stableToken(ctx context.Context, force bool) (*fetched, error) {
	var out nativeToken
	err := a.c.post(ctx, a.appID, "/cgi-bin/stable_token", nil, map[string]any{
		"grant_type":    "client_credential",
		"appid":         a.appID,
		"secret":        a.creds.AppSecret,
		"force_refresh": force,
	}, &out)
	return &fetched{out.Token, out.ExpiresIn}, err
}

// fetchBasicToken is fetchStableToken by the older call.
func (a *Account) fetchBasicToken(ctx context.Context, _ string) (*fetched, error) {
	var out nativeToken
	err := a.c.get(ctx, a.appID, "/cgi-bin/token", url.Values{
		"grant_type": {"client_credential"},
		"appid":      {a.appID},
		"secret":     {a.creds.AppSecret},
	}, &out)
	return &fetched{out.Token, out.ExpiresIn}, err
}
