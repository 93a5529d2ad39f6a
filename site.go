package wechatopen

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// site is the public origin of the pages that a handler serves, checked once.
type site struct {
	once   sync.Once
	origin string
	err    error
}

// at returns the origin that a BaseURL names.
func (s *site) at(baseURL string, c *Cookies) (string, error) {
	s.once.Do(func() {
		if c == nil {
			s.err = errorf("Cookies is nil: make it with NewCookies")
			return
		}
		u, err := url.Parse(baseURL)
		switch {
		case err != nil || u.Host == "" || u.User != nil || strings.TrimSuffix(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
			s.err = errorf(`BaseURL must be the public origin of the site, such as "https://saas.example.com"`)
		case u.Scheme != "https" && !(u.Scheme == "http" && c.Insecure):
			s.err = errorf("BaseURL must begin with https://, or with http:// and Cookies.Insecure set, for development")
		default:
			s.origin, s.err = u.Scheme+"://"+u.Host, c.codecs()
		}
	})
	return s.origin, s.err
}

// requestURI is the path and query that the browser asked for, whatever a mux has stripped since. The path begins with
// a slash and is escaped.
func requestURI(r *http.Request) (path, rawQuery string) {
	u := r.URL
	if orig, err := url.ParseRequestURI(r.RequestURI); err == nil {
		u = orig
	}
	path = u.EscapedPath()
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return path, asciiQuery(u.RawQuery)
}

// asciiQuery escapes what does not belong into a header or a URL, and leaves the rest as the browser sent it.
func asciiQuery(s string) string {
	bad := func(r rune) bool { return r <= ' ' || r >= 0x7f }
	if !strings.ContainsFunc(s, bad) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; bad(rune(c)) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// mayHaveParam is false only if the query that requestURI returns, which takes longer to find, lacks the parameter.
func mayHaveParam(r *http.Request, name string) bool {
	for _, s := range [...]string{r.RequestURI, r.URL.RawQuery} {
		if strings.Contains(s, name) || strings.Contains(s, "%") { // a name may be escaped
			return true
		}
	}
	return false
}

// countParam is how often a query has a parameter.
func countParam(rawQuery, name string) (n int) {
	for pair := range strings.SplitSeq(rawQuery, "&") {
		if key, _, _ := strings.Cut(pair, "="); unescape(key) == name {
			n++
		}
	}
	return n
}

// withoutParams takes the last parameter of each name out of a query, which is where WeChat adds its own, and leaves the
// others as they are, in order and escaping.
func withoutParams(rawQuery string, names ...string) string {
	pairs := strings.Split(rawQuery, "&")
	for _, name := range names {
		for i := len(pairs) - 1; i >= 0; i-- {
			if key, _, _ := strings.Cut(pairs[i], "="); unescape(key) == name {
				pairs = append(pairs[:i], pairs[i+1:]...)
				break
			}
		}
	}
	return strings.Join(pairs, "&")
}

// lastParam is the value that withoutParams would take out.
func lastParam(rawQuery, name string) (value string, ok bool) {
	pairs := strings.Split(rawQuery, "&")
	for i := len(pairs) - 1; i >= 0; i-- {
		if key, v, _ := strings.Cut(pairs[i], "="); unescape(key) == name {
			return unescape(v), true
		}
	}
	return "", false
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return ""
}

func joinQuery(path, rawQuery string) string {
	if rawQuery == "" {
		return path
	}
	return path + "?" + rawQuery
}

// redirect sends a browser to an absolute URL and lets nobody remember it.
func redirect(w http.ResponseWriter, to string) {
	h := w.Header()
	h.Set("Location", to)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the URL left behind may hold a code
	w.WriteHeader(http.StatusFound)
}

// elsewhere calls look until it finds what another process is about to write, which shares the Store but no Locker: that
// is at most one call of WeChat and two writes away. Where a Locker keeps processes apart there is nothing to wait for.
func (o *options) elsewhere(ctx context.Context, look func() (found bool, err error)) (found bool, err error) {
	const pause, longest, all = 50 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second
	_, unlocked := o.locker.(*memoryLocker)
	if _, alone := o.store.(*MemoryStore); alone || !unlocked {
		return false, nil
	}
	for next, waited := pause, time.Duration(0); waited < all; next = min(2*next, longest) {
		waited += next
		select {
		case <-time.After(next):
		case <-ctx.Done():
			return false, nil
		}
		if found, err := look(); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// awaitUser fills rec with what another process finds for the code that WeChat refuses here.
func (o *options) awaitUser(ctx context.Context, prefix string, f *flow, rec *flowRecord, refusal error) error {
	found, err := o.elsewhere(ctx, func() (bool, error) {
		err := loadRecord(ctx, o.store, flowKey(prefix, f), rec, &rec.V)
		return rec.User != nil, err
	})
	if err != nil || found {
		return err
	}
	return refusal
}

func flowKey(prefix string, f *flow) string { return prefix + "flow:" + f.ID }

// flowRecord remembers in the Store that a flow has come back, with which code, and for a while with what result, so
// that a browser that comes back twice is answered twice and exchanges once.
type flowRecord struct {
	V    int    `json:"v"`
	Code string `json:"code"` // a hash of it
	User *User  `json:"user,omitempty"`
	At   int64  `json:"at,omitempty"` // when User was found, Unix seconds
}

// finishTime bounds what follows when a browser has come back: it is finished even if the browser leaves, because codes
// are single-use and a second call of the same browser waits for the result.
const finishTime = 30 * time.Second

// finishFlow calls do for the first code that comes back with a flow, with the record of that flow to fill. Others with
// the same code wait and find the record; another code is refused with ErrState.
func (o *options) finishFlow(ctx context.Context, prefix string, f *flow, code string, age time.Duration, do func(ctx context.Context, rec *flowRecord) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	defer cancel()
	key := flowKey(prefix, f)
	held, unlock, err := o.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	sum := sha256.Sum256([]byte(code))
	hash := base64.RawURLEncoding.EncodeToString(sum[:18])
	var rec flowRecord
	switch err := loadRecord(held, o.store, key, &rec, &rec.V); {
	case errors.Is(err, ErrNotFound):
		rec = flowRecord{V: 1, Code: hash}
		if err := storeRecord(held, o.store, key, rec, age); err != nil {
			return err
		}
	case err != nil:
		return err
	case rec.Code != hash:
		return errorf("%w: it came back before with another code", ErrState)
	}
	before := rec.User
	if err := do(held, &rec); err != nil {
		return err
	}
	if rec.User != before {
		return storeRecord(held, o.store, key, rec, age)
	}
	return nil
}
