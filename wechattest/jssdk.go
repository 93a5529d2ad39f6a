package wechattest

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// jsSignature signs a page for wx.config.
func jsSignature(ticket, nonceStr string, timestamp int64, pageURL string) string {
	sum := sha1.Sum(fmt.Appendf(nil, "jsapi_ticket=%s&noncestr=%s&timestamp=%d&url=%s", ticket, nonceStr, timestamp, pageURL))
	return hex.EncodeToString(sum[:])
}

// VerifyJSConfig checks what a page at pageURL passes to wx.config as WeChat's client does: that the signature was made
// with a live jsapi ticket of the account, and that the page is on a domain registered for it, if any is. The errors are
// the client's, "invalid signature" and "invalid url domain".
func (s *Server) VerifyJSConfig(appID, nonceStr string, timestamp int64, pageURL, signature string) error {
	pageURL, _, _ = strings.Cut(pageURL, "#")
	origin := pageURL // a path may hold a % that escapes nothing, as browsers leave it
	if scheme, rest, ok := strings.Cut(pageURL, "://"); ok {
		if end := strings.IndexAny(rest, "/?"); end >= 0 {
			origin = scheme + "://" + rest[:end]
		}
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return errors.New("wechattest: wx.config: invalid url domain")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[appID]
	if a == nil {
		return errors.New("wechattest: wx.config: invalid appid")
	}
	matched := false
	for _, t := range a.tickets["jsapi"] {
		if s.Now().Before(t.expires) {
			want := jsSignature(t.value, nonceStr, timestamp, pageURL)
			matched = matched || subtle.ConstantTimeCompare([]byte(want), []byte(signature)) == 1
		}
	}
	if !matched {
		return errors.New("wechattest: wx.config: invalid signature")
	}
	domains := []string{a.domain}
	for _, c := range a.grants {
		domains = append(domains, c.domain)
	}
	open := true // no domain is registered anywhere
	for _, d := range domains {
		if d == "" {
			continue
		}
		open = false
		if hostMatches(d, u.Host, u.Hostname()) {
			return nil
		}
	}
	if !open {
		return errors.New("wechattest: wx.config: invalid url domain")
	}
	return nil
}
