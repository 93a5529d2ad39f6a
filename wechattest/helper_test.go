package wechattest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// answered is a JSON answer.
type answered map[string]any

func (a answered) code() int {
	n, _ := a["errcode"].(float64)
	return int(n)
}

func (a answered) str(key string) string {
	v, _ := a[key].(string)
	return v
}

func (a answered) obj(key string) answered {
	v, _ := a[key].(map[string]any)
	return v
}

// request calls the server. body nil: GET.
func request(t *testing.T, s *Server, path string, query url.Values, body any) answered {
	t.Helper()
	method, reader := "GET", io.Reader(nil)
	if body != nil {
		b, ok := body.(string)
		if !ok {
			b = string(encodeJSON(body))
		}
		method, reader = "POST", strings.NewReader(b)
	}
	req, err := http.NewRequest(method, s.URL()+path+"?"+query.Encode(), reader)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var a answered
	if err := json.Unmarshal(data, &a); err != nil {
		t.Fatalf("%s: %s: %v", path, data, err)
	}
	return a
}

func (a answered) want(t *testing.T, code int) answered {
	t.Helper()
	if a.code() != code {
		t.Fatalf("errcode %d %q, want %d", a.code(), a.str("errmsg"), code)
	}
	return a
}

func token(name, value string) url.Values { return url.Values{name: {value}} }

// platform is a component with a token, driven by hand.
type platform struct {
	t *testing.T
	s *Server
	*Component
	access string
}

func newPlatform(t *testing.T, s *Server, cfg ComponentConfig) *platform {
	t.Helper()
	p := &platform{t: t, s: s, Component: s.AddComponent(cfg)}
	p.NewTicket()
	p.access = p.fetchToken(p.Ticket()).want(t, 0).str("component_access_token")
	return p
}

func (p *platform) fetchToken(ticket string) answered {
	p.t.Helper()
	return request(p.t, p.s, "/cgi-bin/component/api_component_token", nil, map[string]string{
		"component_appid": p.AppID(), "component_appsecret": p.Credentials().AppSecret, "component_verify_ticket": ticket})
}

// call posts to /cgi-bin/component/, with component_appid put in.
func (p *platform) call(api string, body map[string]any) answered {
	p.t.Helper()
	if body == nil {
		body = map[string]any{}
	}
	if _, ok := body["component_appid"]; !ok {
		body["component_appid"] = p.AppID()
	}
	return request(p.t, p.s, "/cgi-bin/component/"+api, token("component_access_token", p.access), body)
}

func (p *platform) preAuthCode() string {
	p.t.Helper()
	return p.call("api_create_preauthcode", nil).want(p.t, 0).str("pre_auth_code")
}

func (p *platform) redeem(code string) answered {
	p.t.Helper()
	return p.call("api_query_auth", map[string]any{"authorization_code": code})
}

func (p *platform) refresh(a *Account, refreshToken string) answered {
	p.t.Helper()
	return p.call("api_authorizer_token", map[string]any{"authorizer_appid": a.AppID(), "authorizer_refresh_token": refreshToken})
}

// authorized redeems a new code and returns access and refresh token.
func (p *platform) authorized(a *Account) (access, refresh string) {
	p.t.Helper()
	info := p.redeem(p.NewAuthCode(a)).want(p.t, 0).obj("authorization_info")
	return info.str("authorizer_access_token"), info.str("authorizer_refresh_token")
}

func (p *platform) echo(accessToken string) answered {
	p.t.Helper()
	return request(p.t, p.s, "/cgi-bin/test/echo", token("access_token", accessToken), nil)
}

// service takes pushes: it keeps what was in them and answers as told.
type service struct {
	*httptest.Server
	comp *Component

	mu      sync.Mutex
	queries []url.Values
	events  []string
	answer  func(n int, msg string) string // n counts from 1
}

func newService(t *testing.T) *service {
	sv := &service{answer: func(int, string) string { return "success" }}
	sv.Server = httptest.NewServer(sv)
	t.Cleanup(sv.Close)
	return sv
}

func (sv *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, encrypted, _ := strings.Cut(string(body), "<Encrypt><![CDATA[")
	encrypted, _, _ = strings.Cut(encrypted, "]]>")
	cr, q := sv.comp.Credentials(), r.URL.Query()
	if q.Get("msg_signature") != sign(cr.Token, q.Get("timestamp"), q.Get("nonce"), encrypted) {
		http.Error(w, "signature", http.StatusForbidden)
		return
	}
	_, msg, appID, err := decrypt(cr.EncodingAESKey, encrypted)
	if err != nil || appID != cr.AppID {
		http.Error(w, fmt.Sprint("decrypt: ", err), http.StatusForbidden)
		return
	}
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.queries = append(sv.queries, q)
	sv.events = append(sv.events, string(msg))
	io.WriteString(w, sv.answer(len(sv.events), string(msg)))
}

func (sv *service) received() []string {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	return append([]string(nil), sv.events...)
}

// encryptedReply is what a component answers to a message.
func encryptedReply(cr interface {
	credentials() (token, key, appID string)
}, msg string) string {
	token, key, appID := cr.credentials()
	e, err := encryptRaw(key, pad(frame(make([]byte, 16), []byte(msg), appID)))
	if err != nil {
		panic(err)
	}
	return "<xml><Encrypt><![CDATA[" + e + "]]></Encrypt><MsgSignature><![CDATA[" + sign(token, "1", "2", e) +
		"]]></MsgSignature><TimeStamp>1</TimeStamp><Nonce><![CDATA[2]]></Nonce></xml>"
}

func (c *Component) credentials() (token, key, appID string) {
	cr := c.Credentials()
	return cr.Token, cr.EncodingAESKey, cr.AppID
}

// recorder is a TB that keeps what a test would be told.
type recorder struct {
	errors  []string
	cleanup []func()
}

func (r *recorder) Helper()                   {}
func (r *recorder) Logf(string, ...any)       {}
func (r *recorder) Cleanup(f func())          { r.cleanup = append(r.cleanup, f) }
func (r *recorder) Errorf(f string, a ...any) { r.errors = append(r.errors, fmt.Sprintf(f, a...)) }
func (r *recorder) end() {
	for _, f := range r.cleanup {
		f()
	}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (a *Account) credentials() (token, key, appID string) {
	cr := a.Credentials()
	return cr.Token, cr.EncodingAESKey, cr.AppID
}
