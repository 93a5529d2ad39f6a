package wechattest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func startService(t *testing.T, s *Server, cfg ComponentConfig) (*service, *Component) {
	sv := newService(t)
	cfg.EventURL, cfg.MessageURL = sv.URL+"/event?x=1", sv.URL+"/message/$APPID$"
	sv.comp = s.AddComponent(cfg)
	return sv, sv.comp
}

func TestPushTicket(t *testing.T) {
	s := Start(t)
	sv, c := startService(t, s, ComponentConfig{})
	res, err := c.PushTicket(testContext(t))
	if err != nil || res.Attempts != 1 || res.Body != "success" {
		t.Fatalf("PushTicket = %+v, %v", res, err)
	}
	got := sv.received()
	if len(got) != 1 || !strings.Contains(got[0], "<ComponentVerifyTicket><![CDATA["+c.Ticket()+"]]>") {
		t.Errorf("received %q, ticket %q", got, c.Ticket())
	}
	if q := sv.queries[0]; q.Get("x") != "1" || q.Get("encrypt_type") != "aes" || q.Has("openid") {
		t.Errorf("query %v", q)
	}
	c.SetKeys("newtoken", newAESKey())
	if _, err := c.PushTicket(testContext(t)); err != nil {
		t.Errorf("with new keys: %v", err)
	}
}

func TestPushIsRepeatedUntilSuccess(t *testing.T) {
	s := Start(t)
	sv, c := startService(t, s, ComponentConfig{})
	sv.answer = func(n int, _ string) string {
		return []string{"<html>", "success\n", "success"}[n-1]
	}
	res, err := c.PushTicket(testContext(t))
	if err != nil || res.Attempts != 3 {
		t.Fatalf("PushTicket = %+v, %v", res, err)
	}
	got := sv.received()
	if got[0] != got[1] || got[1] != got[2] {
		t.Errorf("repeated pushes differ: %q", got)
	}
	if sv.queries[0].Get("nonce") == sv.queries[1].Get("nonce") {
		t.Error("a repeated push has the same nonce")
	}
	sv.answer = func(int, string) string { return "" }
	if res, err := c.PushTicket(testContext(t)); err == nil || res.Attempts != 3 {
		t.Errorf("never success: %+v, %v", res, err)
	}
	sv.Close()
	if res, err := c.PushTicket(testContext(t)); err == nil || res.Status != 0 {
		t.Errorf("nobody listens: %+v, %v", res, err)
	}
}

func TestPushTimesOut(t *testing.T) {
	s := Start(t, Config{PushTimeout: 20 * time.Millisecond, PushAttempts: 2})
	sv, c := startService(t, s, ComponentConfig{})
	gate := make(chan struct{})
	defer close(gate)
	sv.answer = func(int, string) string { <-gate; return "success" }
	if res, err := c.PushTicket(testContext(t)); err == nil || res.Attempts != 2 {
		t.Errorf("PushTicket = %+v, %v", res, err)
	}
}

func TestStoppedPushes(t *testing.T) {
	s := Start(t)
	sv, c := startService(t, s, ComponentConfig{})
	pushed := make(chan string, 1)
	sv.answer = func(_ int, msg string) string { pushed <- msg; return "success" }
	in := map[string]string{"component_appid": c.AppID(), "component_secret": c.Credentials().AppSecret}
	start := func() answered {
		return request(t, s, "/cgi-bin/component/api_start_push_ticket", nil, in).want(t, 0)
	}
	if msg := start().str("errmsg"); msg != "in a normal state" {
		t.Errorf("errmsg %q", msg)
	}
	c.StopPushes()
	if _, err := c.PushTicket(testContext(t)); err == nil {
		t.Error("a ticket was pushed in the stopped state")
	}
	if msg := start().str("errmsg"); msg != "ok" {
		t.Errorf("errmsg %q", msg)
	}
	if msg := <-pushed; !strings.Contains(msg, c.Ticket()) {
		t.Errorf("pushed %q", msg)
	}
}

func TestAuthorizePushes(t *testing.T) {
	s := Start(t)
	sv, c := startService(t, s, ComponentConfig{})
	a := s.AddAccount(AccountConfig{})
	ctx := testContext(t)
	code, err := c.Authorize(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Authorize(ctx, a); err != nil {
		t.Fatal(err)
	}
	if err := c.Unauthorize(ctx, a); err != nil {
		t.Fatal(err)
	}
	got := sv.received()
	for i, want := range []string{"authorized", "updateauthorized", "unauthorized"} {
		if !strings.Contains(got[i], "<InfoType><![CDATA["+want+"]]>") || !strings.Contains(got[i], a.AppID()) {
			t.Errorf("push %d: %s, want %s", i, got[i], want)
		}
	}
	if !strings.Contains(got[0], "<AuthorizationCode><![CDATA["+code+"]]>") {
		t.Errorf("code %q is not in %s", code, got[0])
	}
}

func TestSeparateCodes(t *testing.T) {
	s := Start(t, Config{SeparateCodes: true})
	sv, c := startService(t, s, ComponentConfig{})
	code, err := c.Authorize(testContext(t), s.AddAccount(AccountConfig{}))
	if err != nil || strings.Contains(sv.received()[0], code) {
		t.Errorf("code %q, err %v, push %s", code, err, sv.received()[0])
	}
}

func TestPushMessage(t *testing.T) {
	s := Start(t)
	sv, c := startService(t, s, ComponentConfig{})
	a := s.AddAccount(AccountConfig{})
	own := s.AddAccount(AccountConfig{MessageURL: sv.URL})
	reply := ""
	sv.answer = func(int, string) string { return reply }
	message := a.TextXML("oUser", "a ]]> b", 1, s.Now())
	for _, tt := range []struct {
		answer, want string
		good         bool
	}{
		{"success", "", true},
		{"", "", true},
		{encryptedReply(c, "<xml>hi</xml>"), "<xml>hi</xml>", true},
		{"<xml>plain</xml>", "", false},
		{encryptedReply(s.AddComponent(ComponentConfig{}), "<xml/>"), "", false},
	} {
		reply = tt.answer
		res, err := c.PushMessage(testContext(t), a, message)
		if (err == nil) != tt.good || res.Reply != tt.want {
			t.Errorf("%.40q: %+v, %v", tt.answer, res, err)
		}
	}
	if q := sv.queries[0]; q.Get("openid") != "oUser" {
		t.Errorf("query %v", q)
	}
	if !strings.Contains(sv.received()[0], a.UserName()) {
		t.Errorf("message %s", sv.received()[0])
	}
	if _, err := own.PushMessage(testContext(t), message); err == nil {
		t.Error("a push with the keys of the account was taken by the component")
	}
}

func TestNewPushSpec(t *testing.T) {
	s := Start(t)
	_, c := startService(t, s, ComponentConfig{})
	empty := ""
	for name, tt := range map[string]struct {
		spec   PushSpec
		status int
	}{
		"right":            {PushSpec{XML: "<xml/>"}, 200},
		"other token":      {PushSpec{Token: "other"}, 403},
		"other key":        {PushSpec{EncodingAESKey: newAESKey()}, 403},
		"other appid":      {PushSpec{AppID: "wx0"}, 403},
		"signature":        {PushSpec{MsgSignature: "0"}, 403},
		"no ciphertext":    {PushSpec{Encrypt: &empty}, 403},
		"body":             {PushSpec{Body: []byte("x")}, 403},
		"query":            {PushSpec{Query: func(q url.Values) { q.Del("msg_signature") }}, 403},
		"padded plaintext": {PushSpec{Plaintext: frame(make([]byte, 16), []byte("<xml/>"), c.AppID())}, 200},
		"bad padding":      {PushSpec{Plaintext: make([]byte, 64), RawPlaintext: true}, 403},
		"raw":              {PushSpec{EncryptType: "raw"}, 403},
	} {
		req, err := c.NewPush(testContext(t), tt.spec)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%s: status %d, want %d", name, resp.StatusCode, tt.status)
		}
	}
	req, err := c.NewPush(testContext(t), PushSpec{})
	if err != nil || !strings.HasPrefix(req.URL.RawQuery, "x=1&signature=") || !strings.Contains(req.URL.RawQuery, "&encrypt_type=aes&msg_signature=") {
		t.Errorf("query %q, %v", req.URL.RawQuery, err)
	}
	if _, err := c.NewPush(testContext(t), PushSpec{Plaintext: make([]byte, 15), RawPlaintext: true}); err == nil {
		t.Error("15 bytes were encrypted without padding")
	}
}

func TestReleaseTest(t *testing.T) {
	s := Start(t)
	sv, c := startService(t, s, ComponentConfig{})
	p := newTokenOf(t, s, c)
	good := true
	sv.answer = func(_ int, msg string) string {
		m := func(name string) string {
			_, v, _ := strings.Cut(msg, "<"+name+"><![CDATA[")
			v, _, _ = strings.Cut(v, "]]>")
			return v
		}
		switch content := m("Content"); {
		case content == "TESTCOMPONENT_MSG_TYPE_TEXT":
			return encryptedReply(c, "<xml><ToUserName>"+m("FromUserName")+"</ToUserName><FromUserName>"+m("ToUserName")+
				"</FromUserName><MsgType>text</MsgType><Content>"+content+"_callback</Content></xml>")
		case strings.HasPrefix(content, "QUERY_AUTH_CODE:"):
			code := strings.TrimPrefix(content, "QUERY_AUTH_CODE:")
			access := p.redeem(code).want(t, 0).obj("authorization_info").str("authorizer_access_token")
			if !good {
				code = "another"
			}
			request(t, s, "/cgi-bin/message/custom/send", token("access_token", access), map[string]any{
				"touser": m("FromUserName"), "msgtype": "text", "text": map[string]string{"content": code + "_from_api"}})
			return ""
		}
		return "success"
	}
	for group := 1; group <= 5; group++ {
		if err := c.ReleaseTest(testContext(t), group); err != nil {
			t.Errorf("group %d: %v", group, err)
		}
	}
	report := c.ReleaseReport(testContext(t), 1)
	if event := report.Checks[len(report.Checks)-1]; !event.Optional || event.Err == nil || report.Err() != nil {
		t.Errorf("an event that is not answered: %+v, %v", event, report.Err())
	}
	for _, part := range []string{"group 1", "通过 PASS  推送 ticket component_verify_ticket", "未过 no    公众号事件 event (wx570bc396a51b8ff8) [可选 optional]", "4/4: 可以发布"} {
		if !strings.Contains(report.String(), part) {
			t.Errorf("the report lacks %q:\n%s", part, report)
		}
	}
	good = false
	if err := c.ReleaseTest(testContext(t), 1); err == nil || strings.Count(err.Error(), "customer service of") != 2 {
		t.Errorf("wrong answers: %v", err)
	}
	if err := c.ReleaseTest(testContext(t), 6); err == nil {
		t.Error("there is no group 6")
	}
}

// newTokenOf drives a component that exists.
func newTokenOf(t *testing.T, s *Server, c *Component) *platform {
	t.Helper()
	p := &platform{t: t, s: s, Component: c}
	p.access = p.fetchToken(c.NewTicket()).want(t, 0).str("component_access_token")
	return p
}

func TestPushesStopAfterFailures(t *testing.T) {
	s := Start(t, Config{StopAfter: 2, PushAttempts: 1})
	sv, c := startService(t, s, ComponentConfig{})
	good := false
	sv.answer = func(int, string) string {
		if good {
			return "success"
		}
		return "fail"
	}
	ctx := testContext(t)
	c.PushTicket(ctx)
	good = true
	c.PushTicket(ctx)
	good = false
	c.PushTicket(ctx)
	c.PushTicket(ctx)
	good = true
	if _, err := c.PushTicket(ctx); err == nil || len(sv.received()) != 4 {
		t.Errorf("two failures in a row did not stop the pushes: %v, %d pushes", err, len(sv.received()))
	}
}

func TestSettersAndPushWithoutURL(t *testing.T) {
	s := Start(t)
	c := s.AddComponent(ComponentConfig{})
	if _, err := c.PushTicket(testContext(t)); err == nil || c.Ticket() == "" {
		t.Errorf("without an event URL: %v, ticket %q", err, c.Ticket())
	}
	if _, err := c.PushMessage(testContext(t), s.AddAccount(AccountConfig{}), "<xml/>"); err == nil {
		t.Error("a message was pushed to no URL")
	}
	sv := newService(t)
	sv.comp = c
	c.SetEventURL(sv.URL)
	c.SetMessageURL(sv.URL)
	c.SetDomain("d.example")
	a := s.AddAccount(AccountConfig{})
	if _, err := c.PushTicket(testContext(t)); err != nil {
		t.Error(err)
	}
	if _, err := c.PushMessage(testContext(t), a, a.EventXML("o1", "subscribe", "", s.Now())); err != nil {
		t.Error(err)
	}
	if c.domain != "d.example" || len(sv.received()) != 2 {
		t.Errorf("domain %q, %d pushes", c.domain, len(sv.received()))
	}
}

func TestMessagesOfAnAccountOfOnesOwn(t *testing.T) {
	s := Start(t)
	a := s.AddAccount(AccountConfig{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("signature") != sign(a.Credentials().Token, q.Get("timestamp"), q.Get("nonce")) {
			w.WriteHeader(403)
		} else if r.Method == "GET" {
			io.WriteString(w, q.Get("echostr"))
		} else {
			io.WriteString(w, encryptedReply(a, "<xml>own</xml>"))
		}
	}))
	defer srv.Close()
	a.SetMessageURL(srv.URL)
	res, err := a.PushMessage(testContext(t), a.TextXML("o1", "hi", 1, s.Now()))
	if err != nil || res.Reply != "<xml>own</xml>" {
		t.Errorf("PushMessage = %+v, %v", res, err)
	}
	req, err := a.NewURLCheck(testContext(t), "", "1 & 2")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "1 & 2" {
		t.Errorf("URL check: %d %q", resp.StatusCode, body)
	}
}
