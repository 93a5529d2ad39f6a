package wechatopen

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Credentials are what a console page at WeChat gives you. A constructor checks them all and reports every mistake by
// the name of its field, never by its value.
type Credentials struct {
	AppID     string // "wx" and 16 hexadecimal digits; of the component, or of an account of one's own
	AppSecret string

	// Token and EncodingAESKey (43 letters and digits) verify and open what WeChat pushes. A platform needs both; an
	// account of one's own may leave both empty if it receives no messages.
	Token          string
	EncodingAESKey string

	// PreviousToken and PreviousEncodingAESKey are still accepted while the new ones roll out. Empty: there are none.
	PreviousToken          string
	PreviousEncodingAESKey string
}

// String keeps the secrets out of logs.
func (c Credentials) String() string { return "{" + c.AppID + " …}" }

// GoString keeps the secrets out of %#v.
func (c Credentials) GoString() string { return "wechatopen.Credentials" + c.String() }

// LogValue keeps the secrets out of [log/slog].
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// check reports everything that is wrong, by field name. pushes: Token and EncodingAESKey are needed.
func (c Credentials) check(pushes bool) error {
	var errs []error
	bad := func(field, why string) { errs = append(errs, errorf("Credentials.%s %s", field, why)) }
	switch {
	case c.AppID == "":
		bad("AppID", "is empty")
	case !validAppID(c.AppID):
		bad("AppID", "is not an appid: only letters, digits, - and _ are, 64 at most")
	}
	secret := func(field, v string, needed bool) {
		switch {
		case v == "" && needed:
			bad(field, "is empty")
		case strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
			bad(field, "holds a space, a line break or a character that is not ASCII: copied with something around it?")
		}
	}
	secret("AppSecret", c.AppSecret, true)
	secret("Token", c.Token, pushes || c.EncodingAESKey != "")
	secret("PreviousToken", c.PreviousToken, false)
	key := func(field, v string, needed bool) {
		if v == "" {
			if needed {
				bad(field, "is empty")
			}
			return
		}
		if len(v) != 43 || strings.ContainsFunc(v, func(r rune) bool { return !isAlnum(r) }) {
			bad(field, "is not 43 letters and digits")
		}
	}
	key("EncodingAESKey", c.EncodingAESKey, pushes || c.Token != "")
	key("PreviousEncodingAESKey", c.PreviousEncodingAESKey, false)
	return errors.Join(errs...)
}

// aesKeys decodes the current key and, if there is one, the previous. The unused bits of the 43rd character may be set,
// as they are in WeChat's own samples, so decoding is not strict.
func (c Credentials) aesKeys() (keys [][]byte) {
	for _, s := range []string{c.EncodingAESKey, c.PreviousEncodingAESKey} {
		if key, err := base64.RawStdEncoding.DecodeString(s); err == nil && len(key) == 32 {
			keys = append(keys, key)
		}
	}
	return keys
}

func (c Credentials) tokens() []string {
	if c.PreviousToken == "" {
		return []string{c.Token}
	}
	return []string{c.Token, c.PreviousToken}
}

func isAlnum(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// validAppID keeps what could be mistaken in a store key, a cookie name or a URL out of them.
func validAppID(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool { return !isAlnum(r) && r != '-' && r != '_' })
}

// Endpoints are the base URLs of WeChat's hosts, such as "https://api.weixin.qq.com". An empty field means WeChat's own
// host over https; set all three to play against wechattest.
type Endpoints struct {
	API  string // server calls; empty: https://api.weixin.qq.com
	Open string // pages for browsers, login; empty: https://open.weixin.qq.com
	MP   string // pages for browsers, authorization by QR code; empty: https://mp.weixin.qq.com
}

func (e Endpoints) withDefaults() (Endpoints, error) {
	var errs []error
	fix := func(field, v, def string) string {
		if v == "" {
			return def
		}
		u, err := url.Parse(v)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			errs = append(errs, errorf("Endpoints.%s is not a base URL such as %s", field, def))
		}
		return strings.TrimSuffix(v, "/")
	}
	e.API = fix("API", e.API, "https://api.weixin.qq.com")
	e.Open = fix("Open", e.Open, "https://open.weixin.qq.com")
	e.MP = fix("MP", e.MP, "https://mp.weixin.qq.com")
	return e, errors.Join(errs...)
}

// Trace holds functions that are told what happens, for metrics and spans. Every field may be nil. They are called on
// the goroutine that does the work and should return quickly; they may be called at the same time. No argument holds a
// secret.
type Trace struct {
	// APICall is called after each call of WeChat's API, a repeated one again.
	APICall func(ctx context.Context, c APICall)
	// TokenFetch is called after a token or ticket was fetched from WeChat, or could not be.
	TokenFetch func(ctx context.Context, f TokenFetch)
	// Push is called after a push was answered; err is nil if it was answered "success".
	Push func(ctx context.Context, infoType string, err error)
	// Login is called when a browser came back from WeChat; err is nil if it now has a session.
	Login func(ctx context.Context, appID string, err error)
}

// APICall is one call of WeChat's API.
type APICall struct {
	Op       string // path, without the query
	AppID    string // of the component or the account whose token the call carries; empty if it carries none
	Duration time.Duration
	Err      error // nil if WeChat answered and its errcode is 0
}

// TokenFetch is one attempt to fetch a token or ticket from WeChat.
type TokenFetch struct {
	Key      string // the store key: names the component, the account and the kind of token
	Duration time.Duration
	Err      error
}

// Option sets what a Platform or Account stands on. See the With functions.
type Option func(*options)

type options struct {
	store      Store
	locker     Locker
	httpClient *http.Client
	endpoints  Endpoints
	logger     *slog.Logger
	trace      Trace
	now        func() time.Time
	recent     func() time.Time // now, or up to a tick ago, but cheap
	basicToken bool

	bodies  *bodyPool
	replies *watch
}

// WithStore sets where state is kept. Without it a [MemoryStore] is used, which loses the merchants' authorizations with
// the process; a platform says so in its log.
func WithStore(s Store) Option { return func(o *options) { o.store = s } }

// WithLocker sets what lets one process of several refresh a token. Without it refreshes are single within this process
// only.
func WithLocker(l Locker) Option { return func(o *options) { o.locker = l } }

// WithHTTPClient sets the client for calls to WeChat, for a proxy or other timeouts. It is copied, and the copy follows
// no redirects, which would carry the token in the URL elsewhere. Without it a private client with a limit of 10 seconds
// is used.
func WithHTTPClient(c *http.Client) Option { return func(o *options) { o.httpClient = c } }

// WithEndpoints sets where WeChat is, for tests against wechattest.
func WithEndpoints(e Endpoints) Option { return func(o *options) { o.endpoints = e } }

// WithLogger sets the log. Without it [slog.Default] is used.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

// WithTrace sets functions to be told what happens. t is copied; nil changes nothing.
func WithTrace(t *Trace) Option {
	return func(o *options) {
		if t != nil {
			o.trace = *t
		}
	}
}

// WithClock sets the clock that every window, expiry and age obeys. Without it [time.Now] is used.
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

// WithBasicToken makes an account of one's own fetch its access token from /cgi-bin/token, where each fetch replaces the
// token for all who use it, instead of /cgi-bin/stable_token. A platform does not use it.
func WithBasicToken() Option { return func(o *options) { o.basicToken = true } }

func newOptions(opts []Option) (options, error) {
	o := options{bodies: new(bodyPool), replies: new(watch)}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.locker == nil {
		o.locker = newMemoryLocker()
	}
	if o.logger == nil {
		o.logger = slog.Default()
	}
	o.recent = o.now
	if o.now == nil {
		o.now, o.recent = time.Now, new(recentClock).now
	}
	var err error
	o.endpoints, err = o.endpoints.withDefaults()
	return o, err
}
