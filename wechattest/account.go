package wechattest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"

	"github.com/wechatopen/wechatopen"
)

// AccountConfig is an official account, a mini program, or a website application. Empty credentials and names are made
// up.
type AccountConfig struct {
	AppID, AppSecret      string
	Token, EncodingAESKey string // for messages that WeChat pushes to an account of one's own
	Name                  string
	UserName              string // original id, gh_…
	Domain                string // host[:port] of web login when it is an account of one's own; "" not checked
	MiniProgram           bool
	Website               bool  // a website application: it logs visitors in by QR code, which no other account may
	NoAPI                 bool  // grants no API: api_query_auth answers without tokens
	FuncInfo              []int // permission sets; nil: the usual ones
	MessageURL            string
	PlainMode             bool       // messages of an account of one's own are pushed, and answered, as plain XML (明文模式)
	Templates             []Template // of messages; nil: two samples
	Principal             string     // the company behind it
	HeadImg               string     // URL of its picture; "" one that the simulator serves
	Alias                 string
}

// Account is an official account, a mini program or a website application.
type Account struct {
	s             *Server
	appID, secret string
	cfg           AccountConfig // without zero fields; never changed
	funcInfo      []int

	// Guarded by s.mu.
	token, aesKey string
	messageURL    string
	domain        string
	grants        map[string]*Component // those it is authorized to
	slot          tokenSlot             // of /cgi-bin/token
	stable        tokenSlot             // of /cgi-bin/stable_token
	stableForced  forced
	tickets       map[string][]jsTicket // by type
	options       map[string]string
	templates     []Template
	materials     map[string]*media // permanent ones, by media_id
	menu          *menu             // nil: none
	conditional   []*menu           // oldest first
	conversation  conversation

	// By openid.
	openIDs  map[string]*User // those that were asked for or logged in with
	follows  map[string]*follow
	tags     map[string][]int
	contacts map[string]*contact // those that did something
}

// AddAccount registers an account. It panics if the appid is taken.
func (s *Server) AddAccount(cfg AccountConfig) *Account {
	cfg.AppID = orElse(cfg.AppID, newAppID)
	cfg.AppSecret = orElse(cfg.AppSecret, newSecret)
	cfg.Token = orElse(cfg.Token, newMessageToken)
	cfg.EncodingAESKey = orElse(cfg.EncodingAESKey, newAESKey)
	cfg.Name = orElse(cfg.Name, func() string { return "公众号 " + cfg.AppID[max(0, len(cfg.AppID)-4):] })
	cfg.UserName = orElse(cfg.UserName, func() string { return "gh_" + randomHex(12) })
	cfg.Principal = orElse(cfg.Principal, func() string { return "示例科技有限公司" })
	cfg.HeadImg = orElse(cfg.HeadImg, func() string { return s.pictureURL(cfg.Name) })
	if cfg.FuncInfo == nil {
		cfg.FuncInfo = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15}
		if cfg.MiniProgram {
			cfg.FuncInfo = []int{17, 18, 19, 25, 30, 31, 37}
		}
	}
	if cfg.Templates == nil && !cfg.MiniProgram && !cfg.Website {
		cfg.Templates = defaultTemplates()
	}
	a := &Account{
		s: s, appID: cfg.AppID, secret: cfg.AppSecret, cfg: cfg, funcInfo: slices.Clone(cfg.FuncInfo),
		token: cfg.Token, aesKey: cfg.EncodingAESKey, messageURL: cfg.MessageURL, domain: cfg.Domain,
		grants: map[string]*Component{}, openIDs: map[string]*User{}, templates: withIDs(cfg.Templates),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkFree(a.appID)
	s.accounts[a.appID] = a
	s.accountOrder = append(s.accountOrder, a)
	return a
}

// Account returns the account with this appid, nil if there is none.
func (s *Server) Account(appID string) *Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accounts[appID]
}

// AppID is the appid of the account.
func (a *Account) AppID() string { return a.appID }

// Name is the nickname of the account.
func (a *Account) Name() string { return a.cfg.Name }

// UserName is the original id, gh_….
func (a *Account) UserName() string { return a.cfg.UserName }

// Credentials are those of an account of one's own, for NewAccount.
func (a *Account) Credentials() wechatopen.Credentials {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	return wechatopen.Credentials{AppID: a.appID, AppSecret: a.secret, Token: a.token, EncodingAESKey: a.aesKey}
}

// SetMessageURL sets where messages to an account of one's own are pushed; "" nowhere.
func (a *Account) SetMessageURL(url string) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.messageURL = url
}

// SetDomain sets the host[:port] that web login redirects to when the account is one's own; "" any.
func (a *Account) SetDomain(domain string) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.domain = domain
}

// SetKeys changes the message verification token and the EncodingAESKey at once. "" keeps one.
func (a *Account) SetKeys(token, encodingAESKey string) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if token != "" {
		a.token = token
	}
	if encodingAESKey != "" {
		a.aesKey = encodingAESKey
	}
}

// ExpireTokens ends the access tokens of an account of one's own at once: calls with them answer 42001. Those that
// components hold of it are ended by [Component.ExpireTokens].
func (a *Account) ExpireTokens() {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.s.expire(&a.slot)
	a.s.expire(&a.stable)
}

// OpenID is u's id at this account: 28 characters beginning with "o", always the same for the two.
func (a *Account) OpenID(u *User) string {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	return a.openID(u)
}

// openID is called with s.mu held. It remembers the id, so that user/info knows it.
func (a *Account) openID(u *User) string {
	id := a.s.idFor("openid", a.appID, u.id)
	a.openIDs[id] = u
	return id
}

// idFor makes the same id from the same parts: "o" and 27 URL-safe characters.
func (s *Server) idFor(parts ...string) string {
	h := hmac.New(sha256.New, s.openKey[:])
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return "o" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))[:27]
}
