package wechatopen_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	wechatopen "github.com/wechatopen/wechatopen"
)

// fuzzAccount is an account of one's own whose WeChat is answer, for every path but that of its token.
func fuzzAccount(f *testing.F, answer func(r *http.Request) *http.Response) *wechatopen.Account {
	f.Helper()
	a, err := wechatopen.NewAccount(wechatopen.Credentials{AppID: "wx0123456789abcdef", AppSecret: "secret"},
		wechatopen.WithLogger(slog.New(slog.DiscardHandler)),
		wechatopen.WithHTTPClient(&http.Client{Transport: wire(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == opStableToken {
				return wireAnswer(r, 200, numberedToken(1, 7200)), nil
			}
			return answer(r), nil
		})}))
	if err != nil {
		f.Fatal(err)
	}
	return a
}

// Whatever WeChat, or a proxy before it, answers: no panic, an error with our prefix, and nothing of the answer in it but
// what WeChat says in errmsg.
func FuzzAPIAnswer(f *testing.F) {
	const secret = "55_S3cr3tOfTheAnswer"
	for _, seed := range [][2]string{
		{"", ""},
		{`{"errcode":0,"errmsg":"ok","ticket":"`, `","expires_in":7200}`},
		{`{"errcode":40001,"errmsg":"invalid credential`, ` rid: 61725984-6126f6f9-040f19c4"}`},
		{`{"errcode":"40029","errmsg":"invalid code, rid: `, `"}`},
		{`{"errcode":4e4,"errmsg":["`, `"]}`},
		{`{"errcode":{"`, `":1}}`},
		{`{"access_token":"`, `"`},
		{`{"access_token":"`, `","expires_in":"7200"}`},
		{`{"expires_in":"`, `"}`},
		{`{"expires_in":["`, `"]}`},
		{`{"name":{"`, `":1}}`},
		{`{"list":[{"id":"`, `"}]}`},
		{`[{"access_token":"`, `"}]`},
		{`"`, `"`},
		{"<html><body>", "</body></html>"},
		{"\ufeff{\"errcode\":0,\"token\":\"", "\"}"},
		{"  {\"", "\":null}\n"},
		{strings.Repeat(`{"a":`, 200) + `"`, `"` + strings.Repeat("}", 200)},
		{"\x1f\x8b\x08", "\x00\xff"},
		{`{"errcode":1e999,"errmsg":"`, `"}`},
		{`{"errcode":9223372036854775808,"errmsg":"`, `"}`},
		{`{"errcode":NaN,"errmsg":"`, `"}`},
	} {
		for out := range byte(6) {
			f.Add([]byte(seed[0]), []byte(seed[1]), out)
		}
	}
	var body string
	a := fuzzAccount(f, func(r *http.Request) *http.Response { return wireAnswer(r, 200, body) })
	f.Fuzz(func(t *testing.T, before, after []byte, kind byte) {
		body = string(before) + secret + string(after)
		var raw []byte
		var out any
		switch kind % 6 {
		case 0: // no result wanted
		case 1:
			out = &raw
		case 2:
			out = &struct {
				Token     string         `json:"access_token"`
				ExpiresIn wechatopen.Int `json:"expires_in"`
				Name      wechatopen.ID  `json:"name"`
			}{}
		case 3:
			out = &struct {
				List []struct {
					ID wechatopen.Int `json:"id"`
				} `json:"list"`
				ExpiresIn map[string]int `json:"expires_in"`
			}{}
		case 4:
			out = &map[string]int{}
		case 5:
			out = &map[string]any{}
		}
		err := a.Get(t.Context(), opEcho, nil, out)
		var refusal *wechatopen.APIError
		switch {
		case err == nil:
			if kind%6 == 1 && string(raw) != body {
				t.Errorf("bytes were asked for: got %q of %q", raw, body)
			}
			var status struct {
				ErrCode wechatopen.Int `json:"errcode"`
			}
			if json.Unmarshal([]byte(body), &status) == nil && status.ErrCode != 0 {
				t.Errorf("errcode %d taken for a success: %q", status.ErrCode, body)
			}
		case !strings.HasPrefix(err.Error(), "wechatopen: "+opEcho+": "):
			t.Errorf("an error without prefix and operation: %v", err)
		case errors.As(err, &refusal):
			if refusal.Code == 0 || len(refusal.Msg) > 256 || len(refusal.RID) > 64 || refusal.Op != opEcho {
				t.Errorf("refusal %+v", refusal)
			}
			var status struct {
				ErrMsg string `json:"errmsg"`
			}
			if json.Unmarshal([]byte(body), &status) != nil || !strings.Contains(status.ErrMsg, secret) && strings.Contains(err.Error(), secret) {
				t.Errorf("more than errmsg is quoted: %v", err)
			}
		case strings.Contains(err.Error(), secret):
			t.Errorf("the answer is quoted: %v", err)
		}
	})
}

// browserOrigin is the origin that a browser makes of an address, by the rules of the WHATWG URL standard for http and
// https as far as they differ from net/url: blanks and tabs vanish, a backslash is a slash, any number of slashes begins
// the authority, the last @ ends the user. Empty: not an http or https address.
func browserOrigin(raw string) string {
	raw = strings.TrimFunc(raw, func(r rune) bool { return r <= ' ' })
	raw = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(raw)
	scheme, rest, ok := strings.Cut(raw, ":")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "http" && scheme != "https" {
		return ""
	}
	rest = strings.TrimLeft(rest, `/\`)
	if i := strings.IndexAny(rest, `/\?#`); i >= 0 {
		rest = rest[:i]
	}
	host := strings.ToLower(rest[strings.LastIndex(rest, "@")+1:])
	port := ""
	if i := strings.LastIndex(host, ":"); i >= 0 && !strings.HasSuffix(host, "]") {
		host, port = host[:i], host[i+1:]
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return ""
		}
		if port = ":" + strconv.FormatUint(n, 10); scheme == "https" && n == 443 || scheme == "http" && n == 80 {
			port = ""
		}
	}
	if h, err := url.PathUnescape(host); err == nil {
		host = h
	}
	return scheme + "://" + host + port
}

func TestBrowserOrigin(t *testing.T) {
	for raw, want := range map[string]string{
		"https://a.example/":                    "https://a.example",
		" HTTPS:\\\\A.example:443\\x":           "https://a.example",
		"ht\ntps:a.example":                     "https://a.example",
		"https:////a.example:08443?x@y":         "https://a.example:8443",
		"https://u:p@b.example\\@a.example/":    "https://b.example",
		"https://u@v@a.example#@b.example":      "https://a.example",
		"http://[::1]:80/":                      "http://[::1]",
		"https://a%2eexample/":                  "https://a.example",
		"javascript://a.example/":               "",
		"//a.example/":                          "",
		"https://a.example:x/":                  "",
		"https://a.example:70000/":              "",
		"http://a.example:443/":                 "http://a.example:443",
		"https://a.example.b.example/a.example": "https://a.example.b.example",
	} {
		if got := browserOrigin(raw); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

// A page is signed only if net/url and a browser agree that it is on an allowed origin.
func FuzzPageURL(f *testing.F) {
	allowed := map[string]bool{jsOrigin: true, "http://localhost:8080": true, "https://[::1]:8443": true}
	for _, page := range []string{
		jsOrigin + "/", jsOrigin, jsOrigin + "?a=b", jsOrigin + "/#x", jsOrigin + ":443/", "http://localhost:8080/", "https://[::1]:8443/x",
		"HTTPS://SHOP.EXAMPLE.COM/", jsOrigin + "/%E5%95%86?q=微信#/r", jsOrigin + "/100%", jsOrigin + `/?a=\`, jsOrigin + ":/", jsOrigin + ":0443/",
		"https://shop.example.com.evil.example/", "https://shop.example.com@evil.example/", `https://evil.example\@shop.example.com/`,
		`https://shop.example.com\@evil.example/`, "https://evil.example/@shop.example.com", "https://evil.example#@shop.example.com/",
		"https://shop.example.com:443@evil.example/", "//shop.example.com/", "https:shop.example.com", "https:/\\shop.example.com", "javascript:x", "",
		"https://shop.example.com%2f.evil.example/", "https://shop.example.com%00.evil.example/", "https://shop.example.com;evil.example/",
		"https://shop.example.com,evil.example/", "https://shop.exam\tple.com/", "https://shop.example.com\u3002evil.example/", "https://shop.example.com&@evil.example/",
		"http://localhost:8080@evil.example/", "http://localhost:80800/", "https://[::1]:8443.evil.example/", "https://[::1%25shop.example.com]:8443/",
		"https://evil.example?\nhttps://shop.example.com/", "\x00https://shop.example.com/", "https://shop.example.com/\x85", "https://shop.example.com\xff/",
	} {
		f.Add(page)
	}
	a := fuzzAccount(f, func(r *http.Request) *http.Response {
		return wireAnswer(r, 200, `{"errcode":0,"errmsg":"ok","ticket":"`+jsTicketOfVectors+`","expires_in":7200}`)
	})
	h := &wechatopen.JSSDKHandler{
		Account: wechatopen.FixedAccount(a),
		OnError: func(w http.ResponseWriter, _ *http.Request, err error) { w.WriteHeader(wechatopen.HTTPStatus(err)) },
	}
	for o := range allowed {
		h.AllowedOrigins = append(h.AllowedOrigins, o)
	}
	f.Fuzz(func(t *testing.T, page string) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/jssdk?"+url.Values{"url": {page}}.Encode(), nil))
		body, err := io.ReadAll(rec.Body)
		if err != nil {
			t.Fatal(err)
		}
		bare, _, _ := strings.Cut(page, "#")
		// What is plainly a page of ours, without anything to quarrel about, is signed.
		plain := strings.HasPrefix(page, jsOrigin+"/") && len(page) < 2048 && !strings.ContainsFunc(page, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '%' || r == '\\' })
		switch {
		case rec.Code == http.StatusOK:
			if got := browserOrigin(page); !allowed[got] {
				t.Fatalf("%q signed: a browser takes it for %q", page, got)
			}
			if u, err := url.Parse(bare); err == nil && (u.User != nil || !allowed[browserOrigin(u.Scheme+"://"+u.Host)]) {
				t.Fatalf("%q signed: net/url takes it for %q", page, u.Host)
			}
			var c wechatopen.JSConfig
			if err := json.Unmarshal(body, &c); err != nil {
				t.Fatal(err)
			}
			if c.Signature != jsSigned(jsTicketOfVectors, c.NonceStr, c.Timestamp, bare) {
				t.Fatalf("%q: signed as something else", page)
			}
		case rec.Code != http.StatusBadRequest && rec.Code != http.StatusForbidden:
			t.Fatalf("%q: status %d", page, rec.Code)
		case len(body) != 0 || plain:
			t.Fatalf("%q: refused with %d %q", page, rec.Code, body)
		}
	})
}
