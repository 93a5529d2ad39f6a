package wechatopen_test

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/securecookie"

	wechatopen "github.com/wechatopen/wechatopen"
)

// benchSession is a visitor with a session on a site.
type benchSession struct {
	page    http.Handler  // behind Require
	request *http.Request // of the visitor, as net/http's server reads it
	name    string        // of the session's cookie
	value   string
	user    *wechatopen.User // whom the page saw last
}

const benchSecret = "0123456789abcdef0123456789abcdef"

// newBenchSession logs a visitor in.
func newBenchSession(tb testing.TB, scope string) *benchSession {
	tb.Helper()
	a := shopOnWire(tb, func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == snsUserInfoPath {
			return wireAnswer(r, 200, `{"openid":"oR5GjjgEhCMJFyzaVZdrxZ2zRRF4","nickname":"爱丽丝 Alice","headimgurl":"https://thirdwx.qlogo.cn/mmopen/vi_32/Q0j4TwGTfTKxpAjC0GZ4xlGQyJfXyGlGzYqW5kVQ1u8rKNMvxXgJtg9dWkQ7RzqHyG6bYIhL2uH0s5fHhFJzjw/132","unionid":"oWmHK5-aBcDeFgHiJkLmNoPqRsTu"}`), nil
		}
		return wireAnswer(r, 200, `{"access_token":"token","expires_in":7200,"refresh_token":"refresh","openid":"oR5GjjgEhCMJFyzaVZdrxZ2zRRF4","scope":"`+scope+`"}`), nil
	})
	cookies, err := wechatopen.NewCookies([]byte(benchSecret))
	if err != nil {
		tb.Fatal(err)
	}
	s := &benchSession{}
	o := &wechatopen.OAuth{Account: wechatopen.FixedAccount(a), BaseURL: "https://shop.example.com", Cookies: cookies, Scope: scope}
	s.page = o.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		u, ok := wechatopen.UserFromContext(r.Context())
		if !ok {
			tb.Error("a page without its user")
			return
		}
		s.user = u
	}))
	get := func(query, cookie string) (*http.Response, *http.Request) {
		raw := "GET /orders/1234" + query + " HTTP/1.1\r\nHost: shop.example.com\r\n" +
			"User-Agent: Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36 MicroMessenger/8.0.50\r\n" +
			"Accept: text/html,application/xhtml+xml\r\nAccept-Language: zh-CN,zh;q=0.9\r\nX-Requested-With: com.tencent.mm\r\n" +
			"Cookie: lang=zh; " + cookie + "; _ga=GA1.2.1234567890.1700000000\r\n\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			tb.Fatal(err)
		}
		w := httptest.NewRecorder()
		s.page.ServeHTTP(w, r)
		return w.Result(), r
	}
	flow, _ := get("", "a=b")
	to, err := flow.Location()
	if err != nil {
		tb.Fatal(err)
	}
	done, _ := get("?code=C&state="+to.Query().Get("state"), flow.Cookies()[0].Name+"="+flow.Cookies()[0].Value)
	for _, k := range done.Cookies() {
		if strings.Contains(k.Name, loginSessionName) {
			s.name, s.value = k.Name, k.Value
		}
	}
	_, s.request = get("?from=menu&item=42", s.name+"="+s.value)
	if s.user == nil {
		tb.Fatalf("no session: %v", done.Status)
	}
	return s
}

// noAnswer is a ResponseWriter for pages that answer nothing.
type noAnswer struct{ h http.Header }

func (w noAnswer) Header() http.Header         { return w.h }
func (w noAnswer) Write(p []byte) (int, error) { return len(p), nil }
func (w noAnswer) WriteHeader(int)             {}

// require is one request through OAuth.Require.
func (s *benchSession) require(b *testing.B) {
	w := noAnswer{http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		delete(w.h, "Vary")
		s.user = nil
		s.page.ServeHTTP(w, s.request)
		if s.user == nil {
			b.Fatal("no session")
		}
	}
}

// floor is the cryptography that the cookie asks for, by the standard library alone, on the cookie's own bytes.
func (s *benchSession) floor(b *testing.B) {
	key := func(use string) []byte {
		k, err := hkdf.Key(sha256.New, []byte(benchSecret), nil, "wechatopen session cookie, "+use, 32)
		if err != nil {
			b.Fatal(err)
		}
		return k
	}
	sign := key("signing")
	block, err := aes.NewCipher(key("encryption"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		raw, err := base64.URLEncoding.DecodeString(s.value) // "time|base64 of iv and content|mac"
		if err != nil {
			b.Fatal(err)
		}
		signed, mac := raw[:len(raw)-sha256.Size-1], raw[len(raw)-sha256.Size:]
		h := hmac.New(sha256.New, sign)
		h.Write([]byte(s.name))
		h.Write([]byte("|"))
		h.Write(signed)
		if subtle.ConstantTimeCompare(h.Sum(nil), mac) != 1 {
			b.Fatal("not the cookie's cryptography")
		}
		sealed := signed[bytes.IndexByte(signed, '|')+1:]
		content := make([]byte, base64.URLEncoding.DecodedLen(len(sealed)))
		n, err := base64.URLEncoding.Decode(content, sealed)
		if err != nil {
			b.Fatal(err)
		}
		iv, content := content[:aes.BlockSize], content[aes.BlockSize:n]
		cipher.NewCTR(block, iv).XORKeyStream(content, content)
		if content[0] != 1 { // the version
			b.Fatal("not the cookie's cryptography")
		}
	}
}

// plainSecurecookie decodes the same user with securecookie alone and one of its own serializers.
func (s *benchSession) plainSecurecookie(b *testing.B, sz securecookie.Serializer) {
	codec := securecookie.New([]byte(benchSecret), []byte(benchSecret)).SetSerializer(sz)
	value, err := codec.Encode(s.name, *s.user)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		u := wechatopen.User{}
		if err := codec.Decode(s.name, value, &u); err != nil || u.OpenID == "" {
			b.Fatal(err)
		}
	}
}

// BenchmarkSession is a request of a visitor with a session, through OAuth.Require. floor is the cryptography of its
// cookie alone; securecookie is that library alone, without a request, with each of its serializers.
func BenchmarkSession(b *testing.B) {
	for _, scope := range []string{wechatopen.ScopeBase, wechatopen.ScopeUserInfo} {
		b.Run(scope, func(b *testing.B) {
			s := newBenchSession(b, scope)
			b.Run("floor", s.floor)
			b.Run("require", s.require)
			b.Run("securecookie-gob", func(b *testing.B) { s.plainSecurecookie(b, securecookie.GobEncoder{}) })
			b.Run("securecookie-json", func(b *testing.B) { s.plainSecurecookie(b, securecookie.JSONEncoder{}) })
			b.Run("securecookie-nop", func(b *testing.B) {
				codec := securecookie.New([]byte(benchSecret), []byte(benchSecret)).SetSerializer(securecookie.NopEncoder{})
				content, err := wechatopen.SessionContent{}.Serialize(s.user)
				if err != nil {
					b.Fatal(err)
				}
				value, err := codec.Encode(s.name, content)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					var content []byte
					if err := codec.Decode(s.name, value, &content); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

const benchPage = "https://shop.example.com/orders/1234?from=menu&item=42"

// BenchmarkJSConfig signs a page with a ticket that is there. floor is the nonce and the hash alone.
func BenchmarkJSConfig(b *testing.B) {
	b.Run("floor", benchJSConfigFloor)
	b.Run("here", benchJSConfig)
}

const benchTicket = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg"

func benchJSConfig(b *testing.B) {
	a := shopOnWire(b, func(r *http.Request) (*http.Response, error) {
		return wireAnswer(r, 200, `{"access_token":"token","ticket":"`+benchTicket+`","expires_in":7200}`), nil
	})
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.JSConfig(ctx, benchPage); err != nil {
			b.Fatal(err)
		}
	}
}

func benchJSConfigFloor(b *testing.B) {
	ticket, now, page := []byte("jsapi_ticket="+benchTicket+"&noncestr="), time.Now().Unix(), "&url="+benchPage
	var signed []byte
	b.ReportAllocs()
	for b.Loop() {
		signed = append(append(signed[:0], ticket...), rand.Text()...)
		signed = append(strconv.AppendInt(append(signed, "&timestamp="...), now, 10), page...)
		sum := sha1.Sum(signed)
		if hex.EncodeToString(sum[:]) == "" {
			b.Fatal("no signature")
		}
	}
}
