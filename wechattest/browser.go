package wechattest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// What browsers call themselves.
const (
	wechatUserAgent = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) " +
		"Mobile/15E148 MicroMessenger/8.0.49(0x18003137) NetType/WIFI Language/zh_CN"
	desktopUserAgent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) " +
		"Chrome/126.0.0.0 Safari/537.36"
)

// maxPage bounds what is read of a page.
const maxPage = 8 << 20

// Browser plays a person's browser. It keeps cookies as browsers do (too big ones it drops), follows redirects, and sends
// the Referer that each page's Referrer-Policy allows. It runs no scripts. A Browser is one window: use it from one
// goroutine at a time.
type Browser struct {
	// Client has the cookie jar; its CheckRedirect is not used. For an app with TLS, set its Transport to that of the test
	// server's client. Cookies age by the real clock, not by that of the Server.
	Client       *http.Client
	UserAgent    string
	NoCookies    bool // neither keeps nor sends cookies
	MaxRedirects int  // 0: 20

	s    *Server
	user *User
}

// NewBrowser opens u's browser, inside WeChat. The server knows whose it is by a cookie that it sends to the server
// only. u nil: a desktop browser, whose person is the first that was added.
func (s *Server) NewBrowser(u *User) *Browser {
	inner, _ := cookiejar.New(nil) // fails never
	b := &Browser{s: s, user: u, UserAgent: desktopUserAgent, Client: &http.Client{Jar: browserJar{inner}}}
	if u != nil {
		b.UserAgent = wechatUserAgent
	}
	return b
}

// browserJar refuses cookies that a browser refuses and package cookiejar does not.
type browserJar struct{ http.CookieJar }

const maxCookie = 4096 // of name and value together

func (j browserJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	var kept []*http.Cookie
	for _, k := range cookies {
		switch {
		case len(k.Name)+len(k.Value) > maxCookie:
		case k.Secure && u.Scheme != "https":
		case strings.HasPrefix(k.Name, "__Secure-") && !k.Secure:
		case strings.HasPrefix(k.Name, "__Host-") && (!k.Secure || k.Path != "/" || k.Domain != ""):
		default:
			kept = append(kept, k)
		}
	}
	j.CookieJar.SetCookies(u, kept)
}

// Open is a URL typed into the address bar: without Referer.
func (b *Browser) Open(ctx context.Context, url string) (*Page, error) {
	return b.visit(ctx, visit{method: http.MethodGet, url: url})
}

// visit is a navigation before it is made.
type visit struct {
	method, url string
	form        url.Values // of a POST
	files       []file     // of a POST as multipart/form-data; nil of any other
	from        string     // URL of the page that it starts from; "" none
	policy      string     // Referrer-Policy of that page
	site        string     // Sec-Fetch-Site so far; "" at first
}

// visit makes a navigation and follows its redirects.
func (b *Browser) visit(ctx context.Context, v visit) (*Page, error) {
	limit := b.MaxRedirects
	if limit <= 0 {
		limit = 20
	}
	var trail []string
	fromServer := false // the last hop was a redirect of the simulator
	for range limit + 1 {
		trail = append(trail, v.url)
		v.site = farther(v.site, fetchSite(v.from, v.url))
		resp, err := b.hop(ctx, v, fromServer)
		if err != nil {
			return nil, err
		}
		location := resp.header.Get("Location")
		if !isRedirect(resp.status) || location == "" {
			return b.page(v, resp, trail)
		}
		base, err := url.Parse(v.url)
		if err != nil {
			return nil, fmt.Errorf("wechattest: browser: %w", err)
		}
		next, err := base.Parse(location)
		if err != nil {
			return nil, fmt.Errorf("wechattest: browser: redirect: %w", err)
		}
		if next.Fragment == "" {
			next.Fragment = base.Fragment
		}
		if resp.status != http.StatusTemporaryRedirect && resp.status != http.StatusPermanentRedirect {
			v.method, v.form, v.files = http.MethodGet, nil, nil
		}
		v.policy = referrerPolicy(resp.header.Values("Referrer-Policy"), v.policy)
		fromServer = b.atServer(v.url)
		v.url = next.String()
	}
	return nil, fmt.Errorf("wechattest: browser: more than %d redirects, the last to %s", limit, v.url)
}

func isRedirect(status int) bool {
	switch status {
	case 301, 302, 303, 307, 308:
		return true
	}
	return false
}

func (b *Browser) atServer(rawURL string) bool {
	return rawURL == b.s.url || strings.HasPrefix(rawURL, b.s.url+"/")
}

// answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// hop makes one request, or two of the same for a callback with Config.DoubleCallback, of which the later answer counts.
func (b *Browser) hop(ctx context.Context, v visit, fromServer bool) (answer, error) {
	if !b.s.cfg.DoubleCallback || !fromServer || !isCallback(v.url) || b.atServer(v.url) {
		return b.send(ctx, v)
	}
	type result struct {
		answer
		err error
	}
	results := make(chan result, 2)
	for range 2 {
		go func() {
			a, err := b.send(ctx, v)
			results <- result{a, err}
		}()
	}
	<-results
	last := <-results
	return last.answer, last.err
}

// isCallback reports whether a URL ends a login.
func isCallback(rawURL string) bool {
	u, err := url.Parse(rawURL)
	return err == nil && (u.Query().Has("code") || u.Query().Has("state"))
}

// file is one that a form sends.
type file struct {
	field, name string
	content     []byte
}

func multipartForm(fields url.Values, files []file) (body io.Reader, contentType string, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for name, values := range fields {
		for _, v := range values {
			err = errors.Join(err, w.WriteField(name, v))
		}
	}
	for _, f := range files {
		part, e := w.CreateFormFile(f.field, f.name)
		if e == nil {
			_, e = part.Write(f.content)
		}
		err = errors.Join(err, e)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, "", fmt.Errorf("wechattest: browser: %w", err)
	}
	return &b, w.FormDataContentType(), nil
}

func (b *Browser) send(ctx context.Context, v visit) (answer, error) {
	var body io.Reader
	contentType := "application/x-www-form-urlencoded"
	if v.method == http.MethodPost {
		body = strings.NewReader(v.form.Encode())
		if v.files != nil {
			var err error
			if body, contentType, err = multipartForm(v.form, v.files); err != nil {
				return answer{}, err
			}
		}
	}
	req, err := http.NewRequestWithContext(ctx, v.method, v.url, body)
	if err != nil {
		return answer{}, fmt.Errorf("wechattest: browser: %w", err)
	}
	h := req.Header
	h.Set("User-Agent", b.UserAgent)
	h.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	h.Set("Accept-Language", "zh-CN,zh;q=0.9,en;q=0.8")
	h.Set("Sec-Fetch-Mode", "navigate")
	h.Set("Sec-Fetch-Dest", "document")
	h.Set("Sec-Fetch-Site", v.site)
	h.Set("Upgrade-Insecure-Requests", "1")
	if v.method == http.MethodPost {
		h.Set("Content-Type", contentType)
		if from, err := url.Parse(v.from); err == nil && from.Host != "" {
			h.Set("Origin", origin(from))
		}
	}
	if ref := referer(v.policy, v.from, v.url); ref != "" {
		h.Set("Referer", ref)
	}
	if b.user != nil && b.atServer(v.url) {
		req.AddCookie(&http.Cookie{Name: userCookie, Value: b.user.id})
	}
	client := *b.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if b.NoCookies {
		client.Jar = nil
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("wechattest: browser: %w", err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(io.LimitReader(resp.Body, maxPage+1))
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("wechattest: browser: %w", err)
	case len(page) > maxPage:
		return answer{}, errors.New("wechattest: browser: page of more than 8 MiB")
	}
	return answer{resp.StatusCode, resp.Header, page}, nil
}
