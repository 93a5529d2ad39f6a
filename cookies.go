package wechatopen

import (
	"cmp"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/securecookie"
)

const (
	defaultSessionAge = 7 * 24 * time.Hour
	loginFlowAge      = 10 * time.Minute // a login code lives five minutes
	authorizeFlowAge  = time.Hour        // a pre-auth code lives up to half an hour, and a merchant may take a while to scan
	// maxCookie is what browsers keep of one cookie, name, value and attributes together.
	maxCookie = 4096
	// maxFlows is how many logins one browser may have under way; the oldest give way, so that the Cookie header stays
	// under the 8 KiB that common servers accept.
	maxFlows = 24
)

// Cookies keeps sessions and the flows that lead to them in the browser, encrypted and signed. Each flow has a cookie of
// its own, so that several tabs can log in at once, and so has each account's session. Tokens never go into a cookie.
//
// Cookies carry the __Host- prefix and are Secure, HttpOnly and SameSite=Lax. Set the fields before first use; share one
// Cookies among all handlers of a site.
type Cookies struct {
	// Insecure lets cookies travel over plain HTTP, without the prefix, and BaseURL begin with http://. For development
	// only. False: https only.
	Insecure bool

	// Domain shares sessions with the subdomains of this domain; the prefix is then __Secure-. Empty: this host alone.
	Domain string

	// MaxAge is how long a session lasts, in the cookie and in its sealed content. Zero: seven days.
	MaxAge time.Duration

	secrets [][]byte
	once    sync.Once
	session []securecookie.Codec
	flow    []securecookie.Codec
	err     error
}

// NewCookies returns Cookies under secrets of at least 32 random bytes each, newest first: the first one seals, all of
// them open. Processes that serve one site need the same secrets.
func NewCookies(secrets ...[]byte) (*Cookies, error) {
	if len(secrets) == 0 {
		return nil, errorf("NewCookies needs a secret of 32 random bytes or more")
	}
	c := &Cookies{}
	for i, s := range secrets {
		if len(s) < 32 {
			return nil, errorf("NewCookies: secret %d has %d bytes; it needs 32 random ones or more", i+1, len(s))
		}
		c.secrets = append(c.secrets, slices.Clone(s))
	}
	return c, nil
}

// String keeps the secrets out of logs.
func (c *Cookies) String() string { return "{cookies}" }

// GoString keeps the secrets out of %#v.
func (c *Cookies) GoString() string { return "wechatopen.Cookies" + c.String() }

// LogValue keeps the secrets out of [log/slog].
func (c *Cookies) LogValue() slog.Value { return slog.StringValue(c.String()) }

// codecs derives keys for sessions and for flows apart, so that one never opens as the other. Ages are checked twice:
// here by the time of the machine, and with the content by the clock of the Platform.
func (c *Cookies) codecs() error {
	c.once.Do(func() {
		for _, s := range c.secrets {
			session, err := codec(s, "session", c.maxAge(), sessionSerializer{})
			flow, err2 := codec(s, "flow", authorizeFlowAge, securecookie.JSONEncoder{})
			if c.err = errors.Join(c.err, err, err2); c.err != nil {
				return
			}
			c.session, c.flow = append(c.session, session), append(c.flow, flow)
		}
		switch {
		case len(c.secrets) == 0:
			c.err = errorf("Cookies has no secret: make it with NewCookies")
		case c.maxAge() < time.Second:
			c.err = errorf("Cookies.MaxAge is less than a second: a session would be over before it begins")
		}
	})
	return c.err
}

func codec(secret []byte, use string, age time.Duration, content securecookie.Serializer) (securecookie.Codec, error) {
	sign, err := hkdf.Key(sha256.New, secret, nil, "wechatopen "+use+" cookie, signing", 32)
	if err != nil {
		return nil, errorf("%w", err)
	}
	seal, err := hkdf.Key(sha256.New, secret, nil, "wechatopen "+use+" cookie, encryption", 32)
	if err != nil {
		return nil, errorf("%w", err)
	}
	return securecookie.New(sign, seal).MaxAge(int(age / time.Second)).MaxLength(maxCookie).SetSerializer(content), nil
}

func (c *Cookies) maxAge() time.Duration {
	if c.MaxAge == 0 {
		return defaultSessionAge
	}
	return c.MaxAge
}

// name is a cookie's: of a kind, for an account or a flow, behind the prefix that lets a browser enforce how it was set.
func (c *Cookies) name(kind, id string) string {
	prefix := "__Host-"
	switch {
	case c.Insecure:
		prefix = ""
	case c.Domain != "":
		prefix = "__Secure-"
	}
	return prefix + kind + id
}

// put sets a cookie, or clears it if age is negative. It is the one place that knows the attributes.
func (c *Cookies) put(w http.ResponseWriter, name, value string, age time.Duration) error {
	cookie := &http.Cookie{
		Name: name, Value: value, Path: "/", Domain: c.Domain, MaxAge: int(age / time.Second),
		Secure: !c.Insecure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	if cookie.Valid() != nil {
		return errorf("cookie %s cannot be set: Cookies.Domain is not a domain", name)
	}
	line := cookie.String()
	if len(line) > maxCookie {
		return errorf("cookie %s has %d bytes; browsers drop one of more than %d", name, len(line), maxCookie)
	}
	w.Header().Add("Set-Cookie", line)
	return nil
}

func (c *Cookies) clear(w http.ResponseWriter, name string) {
	_ = c.put(w, name, "", -time.Second)
}

// seal sets a cookie with sealed content.
func (c *Cookies) seal(w http.ResponseWriter, codecs []securecookie.Codec, name string, content any, age time.Duration) error {
	v, err := securecookie.EncodeMulti(name, content, codecs...)
	if err != nil {
		return errorf("cookie %s cannot be sealed, perhaps because it would exceed %d bytes: %w", name, maxCookie, err)
	}
	return c.put(w, name, v, age)
}

// open reads a sealed cookie. One that cannot be read is none.
func open(r *http.Request, codecs []securecookie.Codec, name string, content any) bool {
	// A value that opens is what net/http would have found, which reads all cookies for it.
	value := rawCookie(r, name)
	if value != "" && openValue(codecs, name, value, content) {
		return true
	}
	cookie, err := r.Cookie(name)
	return err == nil && cookie.Value != value && openValue(codecs, name, cookie.Value, content)
}

func openValue(codecs []securecookie.Codec, name, value string, content any) bool {
	return securecookie.DecodeMulti(name, value, content, codecs...) == nil
}

// rawCookie is what stands behind the first mention of a cookie, unread.
func rawCookie(r *http.Request, name string) string {
	for _, line := range r.Header["Cookie"] {
		for line != "" {
			var part string
			part, line, _ = strings.Cut(line, ";")
			if k, v, _ := strings.Cut(part, "="); textproto.TrimString(k) == name {
				return v
			}
		}
	}
	return ""
}

const (
	sessionName = "wxsession-" // and the account's appid
	flowName    = "wxflow-"    // and the flow's id
)

// sessionSerializer writes a User as a session keeps it: a byte for the version, the two times in Unix seconds and the
// lengths of the six strings, big-endian, and the strings. To read JSON would take longer than the cookie's cryptography.
type sessionSerializer struct{}

const (
	sessionVersion = 1
	sessionHeader  = 1 + 2*8 + 6*2
)

// Serialize takes a *User.
func (sessionSerializer) Serialize(src any) ([]byte, error) {
	u, ok := src.(*User)
	if !ok {
		return nil, errorf("a session is that of a *User")
	}
	b := []byte{sessionVersion}
	b = binary.BigEndian.AppendUint64(b, uint64(u.LoginTime.Unix()))
	b = binary.BigEndian.AppendUint64(b, uint64(u.Expiry.Unix()))
	text := ""
	for _, s := range u.strings() {
		if len(*s) > maxCookie {
			return nil, errorf("a session cannot hold a text of %d bytes", len(*s))
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(*s)))
		text += *s
	}
	return append(b, text...), nil
}

// Deserialize fills a *User. Anything but the work of Serialize is an error.
func (sessionSerializer) Deserialize(src []byte, dst any) error {
	u, ok := dst.(*User)
	if !ok || len(src) < sessionHeader || src[0] != sessionVersion {
		return errorf("not a session of this release")
	}
	u.LoginTime = time.Unix(int64(binary.BigEndian.Uint64(src[1:])), 0)
	u.Expiry = time.Unix(int64(binary.BigEndian.Uint64(src[9:])), 0)
	text := string(src[sessionHeader:])
	for i, s := range u.strings() {
		n := int(binary.BigEndian.Uint16(src[17+2*i:]))
		if n > len(text) {
			return errorf("a session that is cut short")
		}
		*s, text = text[:n], text[n:]
	}
	if text != "" {
		return errorf("a session with something behind it")
	}
	return nil
}

// strings are what a session keeps of a User beside the times.
func (u *User) strings() [6]*string {
	return [...]*string{&u.AppID, &u.OpenID, &u.UnionID, &u.Nickname, &u.AvatarURL, &u.Scope}
}

// setSession begins the session of u.
func (c *Cookies) setSession(w http.ResponseWriter, u *User) error {
	if err := c.codecs(); err != nil {
		return err
	}
	return c.seal(w, c.session, c.name(sessionName, u.AppID), u, c.maxAge())
}

// getSession is the user of the request's session with an account, nil if there is none.
func (c *Cookies) getSession(r *http.Request, appID string, over func(time.Time) bool) *User {
	u := &User{}
	if c.codecs() != nil || !open(r, c.session, c.name(sessionName, appID), u) || u.AppID != appID || u.OpenID == "" {
		return nil
	}
	if end := u.LoginTime.Add(c.maxAge()); end.Before(u.Expiry) { // MaxAge was shortened since
		u.Expiry = end
	}
	if over(u.Expiry) {
		return nil
	}
	return u
}

func (c *Cookies) clearSession(w http.ResponseWriter, appID string) {
	c.clear(w, c.name(sessionName, appID))
}

// flow is a way to WeChat and back that a browser is on: a login, or an authorization.
type flow struct {
	ID    string `json:"-"` // random, letters and digits, in the cookie's name
	Kind  string `json:"k"` // flowLogin or flowAuthorize
	AppID string `json:"a"` // whose login page, or the component
	Scope string `json:"s,omitempty"`
	Tries int    `json:"n,omitempty"` // how often this login has been started
	Start int64  `json:"t"`           // Unix seconds

	// How many parameters of these names the page has of its own: WeChat adds one of each, or, if the visitor refuses,
	// none.
	Codes  int `json:"c,omitempty"`
	AppIDs int `json:"i,omitempty"`
}

const (
	flowLogin     = "login"
	flowAuthorize = "authorize"
)

// startFlow gives f an id and the browser its cookie, and takes the oldest flows of a browser that has too many.
func (c *Cookies) startFlow(w http.ResponseWriter, r *http.Request, f *flow, age time.Duration, now time.Time) error {
	if err := c.codecs(); err != nil {
		return err
	}
	c.dropFlows(w, r)
	f.ID, f.Start = rand.Text(), now.Unix()
	return c.seal(w, c.flow, c.name(flowName, f.ID), f, age)
}

func (c *Cookies) dropFlows(w http.ResponseWriter, r *http.Request) {
	type old struct {
		name  string
		start int64
	}
	var flows []old
	prefix := c.name(flowName, "")
	for _, cookie := range r.Cookies() {
		if strings.HasPrefix(cookie.Name, prefix) {
			var f flow // a cookie that cannot be read counts as the oldest
			_ = openValue(c.flow, cookie.Name, cookie.Value, &f)
			flows = append(flows, old{cookie.Name, f.Start})
		}
	}
	if len(flows) < maxFlows {
		return
	}
	slices.SortStableFunc(flows, func(a, b old) int { return cmp.Compare(a.start, b.start) })
	for _, f := range flows[:len(flows)-maxFlows+1] {
		c.clear(w, f.name)
	}
}

// getFlow is the flow of that id, kind and appid that this browser started, nil if there is none.
func (c *Cookies) getFlow(r *http.Request, id, kind, appID string, age time.Duration, now time.Time) *flow {
	f := flow{}
	if c.codecs() != nil || !validFlowID(id) || !open(r, c.flow, c.name(flowName, id), &f) {
		return nil
	}
	if start := time.Unix(f.Start, 0); f.Kind != kind || f.AppID != appID || !now.Before(start.Add(age)) {
		return nil
	}
	f.ID = id
	return &f
}

func (c *Cookies) clearFlow(w http.ResponseWriter, f *flow) {
	c.clear(w, c.name(flowName, f.ID))
}

// flowIDLen is the length of rand.Text: 128 bits in base32.
const flowIDLen = 26

func validFlowID(s string) bool {
	return len(s) == flowIDLen && !strings.ContainsFunc(s, func(r rune) bool { return !isAlnum(r) })
}
