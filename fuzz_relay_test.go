package wechatopen_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	wechatopen "github.com/wechatopen/wechatopen"
)

// Whatever a relay is asked for, it sends browsers to a listed origin, or nowhere.
func FuzzRelay(f *testing.F) {
	for _, to := range []string{
		"https://shop.example.com/page?a=b", "https://SHOP.example.com:443", "http://127.0.0.1:8080/%5C", "https://shop.example.com.evil.example/",
		"https://shop.example.com@evil.example/", "//shop.example.com", `/\evil.example`, `https://shop.example.com\@evil.example/`,
		"javascript:alert(1)", "https://shop.example.com/\r\nX: y", "https://shop.example.com:443:443/", "https://shop。example.com/?\\#",
	} {
		f.Add("to=" + url.QueryEscape(to) + "&code=061abc&state=ABC1&appid=wx1")
		f.Add("to=" + to + "&code=061abc&state=ABC1")
	}
	f.Add("to=https://shop.example.com/&to=https://evil.example/&state=ABC1")
	f.Add("state=%0d%0a&to=https://shop.example.com/?%5c")
	allowed := map[string]bool{"https://shop.example.com": true, "http://127.0.0.1:8080": true}
	relay := &wechatopen.RelayHandler{
		Origins: []string{"https://shop.example.com", "http://127.0.0.1:8080"},
		OnError: func(w http.ResponseWriter, _ *http.Request, err error) { w.WriteHeader(wechatopen.HTTPStatus(err)) },
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, relayAddress, nil)
		r.URL.RawQuery = query
		a := fuzzCall(relay, r, "")
		locations := a.Header["Location"]
		if a.Status/100 == 4 && locations == nil {
			return
		}
		if a.Status != http.StatusFound || len(locations) != 1 {
			t.Fatalf("%q: status %d, Location %q", query, a.Status, locations)
		}
		location := locations[0]
		if strings.ContainsFunc(location, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' || r == '#' }) {
			t.Fatalf("%q: Location %q holds what browsers read in their own way", query, location)
		}
		u, err := url.Parse(location)
		if err != nil || u.User != nil || !allowed[u.Scheme+"://"+u.Host] || !strings.HasPrefix(u.Path, "/") {
			t.Fatalf("%q: Location %q: %v", query, location, err)
		}
		// The origin as plain text too, whatever a parser makes of it.
		scheme, rest, _ := strings.Cut(location, "://")
		if host, _, _ := strings.Cut(rest, "/"); !allowed[scheme+"://"+host] {
			t.Fatalf("%q: Location %q", query, location)
		}
		if state, ok := lastOf(u.RawQuery, "state"); !ok || state == "" {
			t.Fatalf("%q: Location %q has no state", query, location)
		}
	})
}

// lastOf is the last parameter of that name.
func lastOf(rawQuery, name string) (value string, ok bool) {
	for pair := range strings.SplitSeq(rawQuery, "&") {
		if k, v, _ := strings.Cut(pair, "="); k == name {
			value, ok = v, true
		}
	}
	return value, ok
}
