package wechatopen

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wechatopen/wechatopen/internal/msgcrypt"
)

// Platform is a third-party platform (第三方平台, "component"): the holder of its credentials and of what it does as
// itself. It is safe for concurrent use; make one for a component and share it.
type Platform struct {
	c      *client
	creds  Credentials
	codec  *msgcrypt.Codec
	prefix string // of its keys in the Store, with the colon
	token  CachedTokenSource

	ticketKey string

	accounts sync.Map // appid → *Account
}

// NewPlatform returns the platform of a component. It makes no call of WeChat; every mistake in the credentials is
// reported at once. Without [WithStore] the merchants' authorizations are lost with the process, which is logged.
func NewPlatform(creds Credentials, opts ...Option) (*Platform, error) {
	o, err := newOptions(opts)
	if err := errors.Join(creds.check(true), err); err != nil {
		return nil, err
	}
	if o.store == nil {
		o.store = NewMemoryStore()
		o.logger.Warn("wechatopen: no Store given (WithStore): the merchants' authorizations are kept in memory and lost with this process", "component", creds.AppID)
	}
	codec, err := msgcrypt.New(creds.AppID, creds.tokens(), creds.aesKeys())
	if err != nil {
		return nil, errorf("%w", err)
	}
	p := &Platform{c: newClient(o), creds: creds, codec: codec, prefix: "wechatopen:" + creds.AppID + ":"}
	p.ticketKey = p.prefix + "ticket"
	p.token.c, p.token.appID, p.token.key, p.token.fetch = p.c, creds.AppID, p.prefix+"component_token", p.fetchToken
	return p, nil
}

// String names the component and keeps its secrets out of logs.
func (p *Platform) String() string { return "{platform " + p.creds.AppID + "}" }

// GoString keeps the secrets out of %#v.
func (p *Platform) GoString() string { return "wechatopen.Platform" + p.String() }

// LogValue keeps the secrets out of [log/slog].
func (p *Platform) LogValue() slog.Value { return slog.StringValue(p.String()) }

// AppID is the component's appid.
func (p *Platform) AppID() string { return p.creds.AppID }

// ComponentToken is the source of the component_access_token.
func (p *Platform) ComponentToken() *CachedTokenSource { return &p.token }

// Account acts for an account that authorizes the platform. It is cheap, makes no call and always returns the same
// *Account for the same appid, which takes some hundred bytes for as long as the platform: pass it the appids of your
// database, not what a request says. Whether the account authorizes the platform shows when a token is asked for.
func (p *Platform) Account(appID string) *Account {
	if a, ok := p.accounts.Load(appID); ok {
		return a.(*Account)
	}
	a := newAuthorizer(p, appID)
	if a.access.err != nil {
		return a // its token source says that this is no appid
	}
	return p.share(a)
}

// unshared is the account in use, or one that is not kept.
func (p *Platform) unshared(appID string) *Account {
	if a, ok := p.accounts.Load(appID); ok {
		return a.(*Account)
	}
	return newAuthorizer(p, appID)
}

func (p *Platform) share(a *Account) *Account {
	shared, _ := p.accounts.LoadOrStore(a.appID, a)
	return shared.(*Account)
}

// Get calls any path of the API with the component's token put in, and decodes the answer into out, which may be nil.
// With out a *[]byte the answer is returned as it is. When WeChat says that the token is stale, it is replaced and the
// call repeated once. A refusal is an *[APIError].
func (p *Platform) Get(ctx context.Context, path string, query url.Values, out any) error {
	return p.c.callAs(ctx, &p.token, http.MethodGet, path, query, nil, out)
}

// Post is [Platform.Get] for calls with a body: in is sent as JSON, nil as {}.
func (p *Platform) Post(ctx context.Context, path string, in, out any) error {
	return p.c.postAs(ctx, &p.token, path, in, out)
}

// fetchToken gets a component_access_token with the newest ticket. WeChat's page: api_component_token.
func (p *Platform) fetchToken(ctx context.Context, _ string) (*fetched, error) {
	ticket, err := p.loadTicket(ctx)
	if errors.Is(err, ErrNotFound) {
		return nil, ErrNoTicket
	}
	if err != nil {
		return nil, err
	}
	var out struct {
		Token     string `json:"component_access_token"`
		ExpiresIn Int    `json:"expires_in"`
	}
	err = p.c.post(ctx, p.creds.AppID, "/cgi-bin/component/api_component_token", nil, map[string]string{
		"component_appid":         p.creds.AppID,
		"component_appsecret":     p.creds.AppSecret,
		"component_verify_ticket": ticket.ticket,
	}, &out)
	if hasCode(err, codeTicketExpired, codeTicketInvalid) {
		return nil, errorf("%w: %w", ErrNoTicket, err)
	}
	if err != nil {
		return nil, err
	}
	return &fetched{out.Token, out.ExpiresIn}, nil
}

// ticketRecord is the newest verify ticket in the Store: a version, 1, the time and the ticket, with spaces between and a
// line feed at the end.
// WeChat accepts it for twelve hours.
type ticketRecord struct {
	ticket string
	time   int64 // CreateTime of the push, Unix seconds
}

func (rec ticketRecord) encode() []byte {
	b := make([]byte, 0, len(rec.ticket)+32)
	b = strconv.AppendInt(append(b, "1 "...), rec.time, 10)
	return append(append(append(b, ' '), rec.ticket...), '\n')
}

func decodeTicket(b []byte) (rec ticketRecord, ok bool) {
	version, rest, _ := strings.Cut(string(b), " ")
	seconds, ticket, _ := strings.Cut(rest, " ")
	ticket, whole := strings.CutSuffix(ticket, "\n")
	n, err := strconv.ParseInt(seconds, 10, 64)
	return ticketRecord{ticket, n}, err == nil && version == "1" && whole
}

// loadTicket returns an error that wraps [ErrNotFound] if there is none.
func (p *Platform) loadTicket(ctx context.Context) (rec ticketRecord, err error) {
	b, found, err := getValue(ctx, p.c.store, p.ticketKey)
	if err != nil {
		return rec, err
	}
	if !found {
		return rec, &passingError{ErrNotFound}
	}
	rec, ok := decodeTicket(b)
	if !ok {
		return rec, unreadable(p.ticketKey)
	}
	return rec, nil
}

// saveTicket keeps a ticket unless it or a newer one is there.
func (p *Platform) saveTicket(ctx context.Context, ticket string, at time.Time) error {
	held, unlock, err := p.c.lock(ctx, p.ticketKey)
	if err != nil {
		return err
	}
	defer unlock()
	rec := ticketRecord{ticket, at.Unix()}
	switch old, err := p.loadTicket(held); {
	case err == nil && (old.time > rec.time || old == rec):
		return nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	if err := setValue(held, p.c.store, p.ticketKey, rec.encode(), 0); err != nil {
		return err
	}
	p.token.retryNow()
	return nil
}
