package wechatopen

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// JSConfig is what a page passes to wx.config, field by field under the names that it takes. A list that a page does not
// need is empty.
type JSConfig struct {
	Debug       bool     `json:"debug,omitempty"`
	AppID       string   `json:"appId"`
	Timestamp   int64    `json:"timestamp"` // Unix seconds
	NonceStr    string   `json:"nonceStr"`
	Signature   string   `json:"signature"`
	JSAPIList   []string `json:"jsApiList"`
	OpenTagList []string `json:"openTagList,omitempty"`
}

// JSConfig signs a page for the JSSDK. pageURL is the page's address as its browser has it, location.href; a fragment
// is left out of the signature. Who may have a page signed is the caller's to decide; [JSSDKHandler] does it by origin.
// Source: the JSSDK guide, "signature algorithm".
func (a *Account) JSConfig(ctx context.Context, pageURL string) (*JSConfig, error) {
	page, _, err := parsePage(pageURL)
	if err != nil {
		return nil, err
	}
	ticket, err := a.JSAPITicket().Token(ctx)
	if err != nil {
		return nil, err
	}
	c := &JSConfig{AppID: a.appID, Timestamp: a.c.recent().Unix(), NonceStr: rand.Text(), JSAPIList: []string{}}
	c.Signature = signPage(ticket.Value, c.NonceStr, c.Timestamp, page)
	return c, nil
}

func signPage(ticket, nonce string, timestamp int64, page string) string {
	b := make([]byte, 0, 512) // more than most need, and on the stack
	b = append(append(b, "jsapi_ticket="...), ticket...)
	b = append(append(b, "&noncestr="...), nonce...)
	b = strconv.AppendInt(append(b, "&timestamp="...), timestamp, 10)
	b = append(append(b, "&url="...), page...)
	sum := sha1.Sum(b)
	return string(hex.AppendEncode(b[:0], sum[:]))
}

// maxPageURL is more than browsers and WeChat carry.
const maxPageURL = 8 << 10

// parsePage returns the address without its fragment, byte for byte, and its origin.
func parsePage(raw string) (page, origin string, err error) {
	page, _, _ = strings.Cut(raw, "#")
	bad := func(why string) error {
		return withStatus(http.StatusBadRequest, errorf("page address: %s; pass location.href", why))
	}
	if page == "" || len(page) > maxPageURL {
		return "", "", bad("empty or too long")
	}
	for i := range len(page) {
		if page[i] <= ' ' || page[i] == 0x7f {
			return "", "", bad("a character that no browser has there")
		}
	}
	notHTTP := "not an http or https address"
	if before, _, found := strings.Cut(page, `\`); found && !strings.Contains(before, "?") {
		return "", "", bad(notHTTP)
	}
	// Only what comes before the path is parsed: a path may hold a % that escapes nothing, which browsers leave alone.
	scheme, rest, _ := strings.Cut(page, "://")
	host, _, _ := strings.Cut(rest, "/")
	host, _, _ = strings.Cut(host, "?")
	if (scheme == "https" || scheme == "http") && plainHost(host) {
		return page, page[:len(scheme)+len("://")+len(host)], nil // as nearly every one
	}
	u, err := url.Parse(scheme + "://" + host)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Path != "" {
		return "", "", bad(notHTTP)
	}
	return page, originOf(u), nil
}

// plainHost reports whether a host is a name or address in lower case and without a port.
func plainHost(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return s != ""
}

// originOf is the origin as a browser writes it: lower case, without the scheme's own port.
func originOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if port := u.Port(); port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return u.Scheme + "://" + host
}

// JSSDKHandler answers GET ?url=<location.href, escaped> with the JSON that wx.config takes. Only pages of AllowedOrigins
// are signed: a signature lets a page act in the account's name.
//
//	fetch("/wechat/jssdk?url=" + encodeURIComponent(location.href)).then(r => r.json()).then(wx.config)
type JSSDKHandler struct {
	// Account says with which account a request's page is signed: [FixedAccount] for one. Required.
	Account func(*http.Request) (*Account, error)

	// AllowedOrigins are the origins whose pages may be signed, "https://shop.example.com" each, without wildcards.
	// Required. They may also call the handler from scripts (CORS).
	AllowedOrigins []string

	// JSAPIList and OpenTagList are handed on to wx.config. Empty: none.
	JSAPIList, OpenTagList []string

	// OnError answers in the handler's place; [HTTPStatus] says with what: 400 for an address that is none, 403 for one
	// of another origin. Nil: the error is logged and the status answered.
	OnError func(w http.ResponseWriter, r *http.Request, err error)

	once    sync.Once
	allowed map[string]bool
	err     error
}

// ServeHTTP signs the page that the query names.
func (h *JSSDKHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	log := slog.Default()
	config, err := h.sign(w, r, &log)
	if err != nil {
		answerError(w, r, log, h.OnError, "wechatopen: page not signed", err)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "application/json; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	_ = json.NewEncoder(w).Encode(config) // the browser has left
}

func (h *JSSDKHandler) sign(w http.ResponseWriter, r *http.Request, log **slog.Logger) (*JSConfig, error) {
	h.once.Do(h.prepare)
	if h.err != nil {
		return nil, h.err
	}
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); h.allowed[origin] {
		header.Set("Access-Control-Allow-Origin", origin)
	}
	a, err := h.Account(r)
	if err == nil && a == nil {
		err = errorf("JSSDKHandler.Account returned neither an account nor an error")
	}
	if err != nil {
		return nil, err
	}
	*log = a.c.logger
	if r.Method != http.MethodGet {
		header.Set("Allow", http.MethodGet)
		return nil, withStatus(http.StatusMethodNotAllowed, errorf("page to sign: method %s", r.Method))
	}
	values := r.URL.Query()["url"]
	if len(values) != 1 {
		return nil, withStatus(http.StatusBadRequest, errorf("page to sign: the query has not exactly one url"))
	}
	page, origin, err := parsePage(values[0])
	if err != nil {
		return nil, err
	}
	if !h.allowed[origin] {
		return nil, withStatus(http.StatusForbidden, errorf("page to sign: %s is not one of AllowedOrigins", origin))
	}
	config, err := a.JSConfig(r.Context(), page)
	if err != nil {
		return nil, err
	}
	if h.JSAPIList != nil {
		config.JSAPIList = h.JSAPIList
	}
	config.OpenTagList = h.OpenTagList
	return config, nil
}

func (h *JSSDKHandler) prepare() {
	if h.Account == nil {
		h.err = errorf("JSSDKHandler.Account is nil: use FixedAccount for a site of one account")
		return
	}
	h.allowed = make(map[string]bool, len(h.AllowedOrigins))
	for _, o := range h.AllowedOrigins {
		u, err := url.Parse(o)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || strings.Contains(o, "*") {
			h.err = errorf(`JSSDKHandler.AllowedOrigins: each must be an origin such as "https://shop.example.com", without wildcards`)
			return
		}
		h.allowed[originOf(u)] = true
	}
	if len(h.allowed) == 0 {
		h.err = errorf("JSSDKHandler.AllowedOrigins is empty: name the origins whose pages may be signed")
	}
}
