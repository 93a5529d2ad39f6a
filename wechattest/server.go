package wechattest

import (
	"context"
	"crypto/rand"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wechatopen/wechatopen"
)

// Config says how a Server departs from WeChat as documented. The zero value departs in nothing.
type Config struct {
	// Addr is the address to listen on. Empty: "127.0.0.1:0", a free port of this machine.
	Addr string
	// Now is the base of the movable clock, see [Server.Now]. Nil: time.Now.
	Now func() time.Time
	// TokenOverlap is how long a token stays valid after it was replaced. 0: 5 minutes; negative: not at all.
	TokenOverlap time.Duration
	// PreAuthCodeLife is how long a pre_auth_code can be used. 0: 1800 s.
	PreAuthCodeLife time.Duration
	// KeepRefreshToken keeps an authorizer's refresh token as it is. False: each api_authorizer_token replaces it, and
	// the one before is refused with 61023.
	KeepRefreshToken bool
	// SeparateCodes makes the push of an authorization carry another code than the redirect. False: it is one code, and
	// it can be redeemed once. WeChat does not say which is so.
	SeparateCodes bool
	// LooseReferer lets componentloginpage be opened from anywhere. False: the host of the Referer, that of
	// redirect_uri and the component's Domain have to be the same.
	LooseReferer bool
	// PushAttempts is how often a push is sent until it is answered as WeChat wants it. 0: 3 times.
	PushAttempts int
	// PushTimeout is how long each attempt may take, in real time. 0: 5 s.
	PushTimeout time.Duration
	// StopAfter stops a component's ticket pushes, as StopPushes does, when this many tickets in a row were not taken.
	// 0: never.
	StopAfter int
	// DoubleCallback makes each [Browser] request the callback URL of a login twice at the same time.
	DoubleCallback bool
	// JournalSize is how many calls the journal keeps; the oldest are dropped first. 0: 250,000.
	JournalSize int
	// Logf is told of requests, pushes and misuse. Nil: nobody is.
	Logf func(format string, args ...any)
}

func (c Config) withDefaults() Config {
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.TokenOverlap == 0 {
		c.TokenOverlap = 5 * time.Minute
	}
	c.TokenOverlap = max(c.TokenOverlap, 0)
	if c.PreAuthCodeLife == 0 {
		c.PreAuthCodeLife = 1800 * time.Second
	}
	if c.PushAttempts <= 0 {
		c.PushAttempts = 3
	}
	if c.PushTimeout <= 0 {
		c.PushTimeout = 5 * time.Second
	}
	if c.JournalSize <= 0 {
		c.JournalSize = 250_000
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	return c
}

// Server is WeChat: api.weixin.qq.com, open.weixin.qq.com and mp.weixin.qq.com on one address. Make one with [New] or
// [Start]. All methods may be called at the same time.
type Server struct {
	cfg    Config
	url    string
	srv    *http.Server
	routes map[string]route
	pages  *template.Template
	pusher *http.Client

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup // requests being answered and pushes in the background

	skew    atomic.Int64 // what Advance added up to, in nanoseconds
	journal journal
	faults  faults
	openKey [32]byte // makes openids of this server unlike those of another

	mu           sync.Mutex // guards what follows and the fields of every Component, Account and User
	closed       bool
	handled      map[string]route // by Handle
	components   map[string]*Component
	compOrder    []*Component
	accounts     map[string]*Account
	accountOrder []*Account
	users        map[string]*User
	userOrder    []*User
	tokens       map[string]*apiToken
	preAuthCodes pool[preAuthCode]
	authCodes    pool[authCode]
	loginCodes   pool[login]
	userTokens   pool[*userToken]  // by access token
	refreshes    pool[*userToken]  // by refresh token
	media        pool[*media]      // temporary, by media_id
	published    map[string]*media // what has a URL for good, by id
	qrLogins     pool[*qrLogin]    // by uuid
	clientMsgs   pool[int64]       // msgid, by account, openid and client_msg_id
	quota        quota
	pushOrder    PushOrder
}

// New listens and serves until Close. The only error is that of listening.
func New(cfg Config) (*Server, error) {
	s := &Server{
		cfg:        cfg.withDefaults(),
		components: map[string]*Component{},
		accounts:   map[string]*Account{},
		users:      map[string]*User{},
		tokens:     map[string]*apiToken{},
		published:  map[string]*media{},
	}
	ln, err := net.Listen("tcp", s.cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("wechattest: %w", err)
	}
	rand.Read(s.openKey[:])
	s.url = "http://" + ln.Addr().String()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.journal.limit = s.cfg.JournalSize
	s.quota.limits = defaultQuota()
	s.routes = s.makeRoutes()
	s.pages = parsePages()
	s.pusher = &http.Client{
		Transport:     &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 16},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.srv = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 10 * time.Second}
	s.running.Go(func() { s.srv.Serve(ln) })
	return s, nil
}

// Close stops the server and returns when every request and push has ended. It may be called twice.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.srv.Close()
	s.running.Wait()
	s.pusher.CloseIdleConnections()
}

// begin reports whether the server is open, and if so keeps Close waiting until running.Done.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

// background runs f until it ends or Close ends its context.
func (s *Server) background(f func(context.Context)) {
	if s.begin() {
		go func() {
			defer s.running.Done()
			f(s.ctx)
		}()
	}
}

// URL is where the server listens, such as "http://127.0.0.1:40123".
func (s *Server) URL() string { return s.url }

// Endpoints has this server play all of WeChat's hosts.
func (s *Server) Endpoints() wechatopen.Endpoints {
	return wechatopen.Endpoints{API: s.url, Open: s.url, MP: s.url}
}

// Options are what NewPlatform and NewAccount need to talk to this server and to share its clock.
func (s *Server) Options() []wechatopen.Option {
	return []wechatopen.Option{wechatopen.WithEndpoints(s.Endpoints()), wechatopen.WithClock(s.Now)}
}
