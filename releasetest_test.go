package wechatopen_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

const (
	queryAuthPath  = "/cgi-bin/component/api_query_auth"
	customSendPath = "/cgi-bin/message/custom/send"
)

// releaseAccounts are WeChat's test accounts, group by group, the official account before the mini program.
var releaseAccounts = [][2]string{
	{"wx570bc396a51b8ff8", "gh_3c884a361561"}, {"wxd101a85aa106f53e", "gh_8dad206e9538"},
	{"wx9252c5e0bb1836fc", "gh_c0f28a78b318"}, {"wxc39235c15087f6f3", "gh_905ae9d01059"},
	{"wx8e1097c5bc82cde9", "gh_3f222ed8d140"}, {"wx7720d01d4b2a4500", "gh_393666f1fdf4"},
	{"wx14550af28c71a144", "gh_26128078e9ab"}, {"wx05d483572dcd5d8b", "gh_39abb5d4e1b7"},
	{"wxa35b9c23cfe664eb", "gh_2b3713f184a6"}, {"wx5910277cae6fd970", "gh_7818dcb60240"},
}

// newReleaseSite is a platform ready for the release test; what the test leaves to others is answered with "next".
func newReleaseSite(t *testing.T, opts ...wechatopen.Option) *messageSite {
	t.Helper()
	s := newMessageSite(t, false, opts...)
	s.handler.Handle = wechatopen.ReleaseTest(s.platform, s.answering(func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
		return wechatopen.Text("next"), nil
	}))
	return s
}

// testAccount is a test account at WeChat, which does not authorize the platform yet.
func (s *messageSite) testAccount(i int) *wechattest.Account {
	return s.sim.AddAccount(wechattest.AccountConfig{AppID: releaseAccounts[i][0], UserName: releaseAccounts[i][1], MiniProgram: i%2 == 1})
}

// sentTexts are the customer-service messages that WeChat was given: to whom, and what.
func (s *messageSite) sentTexts(t *testing.T) (out []string) {
	t.Helper()
	for _, c := range s.sim.Calls(customSendPath) {
		var m struct {
			ToUser, MsgType string
			Text            struct{ Content string }
		}
		if err := json.Unmarshal(c.Body, &m); err != nil || m.MsgType != "text" {
			t.Fatalf("%s: %v", c.Body, err)
		}
		out = append(out, c.AppID+" "+m.ToUser+" "+m.Text.Content)
	}
	return out
}

func TestReleaseTestPassesWithEveryGroup(t *testing.T) {
	for group := 1; group <= 5; group++ {
		t.Run(fmt.Sprint(group), func(t *testing.T) {
			s := newReleaseSite(t)
			for range 2 { // WeChat may test again
				if err := s.comp.ReleaseTest(t.Context(), group); err != nil {
					t.Fatalf("%v; log: %s", err, s.log)
				}
			}
			if s.handled() != 0 {
				t.Errorf("next was given %q", s.contents())
			}
			if n := s.sim.Count(authorizerInfoPath); n != 0 {
				t.Errorf("WeChat was asked %d times for original ids that are known", n)
			}
			if line := s.log.String(); strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
				t.Errorf("log: %s", line)
			}
		})
	}
}

func TestReleaseTestPassesWithAllGroupsOneAfterTheOther(t *testing.T) {
	s := newReleaseSite(t)
	for group := 1; group <= 5; group++ {
		if err := s.comp.ReleaseTest(t.Context(), group); err != nil {
			t.Errorf("group %d: %v", group, err)
		}
	}
	if n := len(s.sentTexts(t)); n != 10 {
		t.Errorf("%d customer-service messages for ten accounts", n)
	}
}

// The test has to be able to fail.
func TestReleaseTestFailsWithoutIt(t *testing.T) {
	s := newReleaseSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.handler.Handle = func(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
		if strings.HasPrefix(m.Content, "QUERY_AUTH_CODE:") {
			cancel() // or WeChat would wait its five seconds for a message
		}
		return nil, nil
	}
	if err := s.comp.ReleaseTest(ctx, 1); err == nil || !strings.Contains(err.Error(), "text message") || !strings.Contains(err.Error(), "customer service") {
		t.Errorf("%v", err)
	}
}

func TestReleaseTestAnswersTheTextCheckOfEachAccount(t *testing.T) {
	s := newReleaseSite(t)
	for i := range releaseAccounts {
		a := s.testAccount(i)
		res, err := s.comp.PushMessage(t.Context(), a, a.TextXML("oTester", "TESTCOMPONENT_MSG_TYPE_TEXT", messageSerial.Add(1), s.sim.Now()))
		if err != nil || res.Attempts != 1 {
			t.Fatalf("%s: %v after %d attempts; log: %s", a.AppID(), err, res.Attempts, s.log)
		}
		got := parseTextReply(t, res.Reply)
		if got.Content != "TESTCOMPONENT_MSG_TYPE_TEXT_callback" || got.ToUserName != "oTester" || got.FromUserName != a.UserName() || got.CreateTime < s.sim.Now().Unix()-60 {
			t.Errorf("%s: reply %+v", a.AppID(), got)
		}
		for _, event := range []string{"LOCATION", "subscribe"} { // of older versions of the test
			res, err := s.comp.PushMessage(t.Context(), a, a.EventXML("oTester", event, "", s.sim.Now()))
			if err != nil || parseTextReply(t, res.Reply).Content != event+"from_callback" {
				t.Errorf("%s: %s: %v, %+v", a.AppID(), event, err, res)
			}
		}
	}
	if s.handled() != 0 || s.sim.Count(customSendPath) != 0 {
		t.Errorf("next was given %q; %d customer-service messages", s.contents(), s.sim.Count(customSendPath))
	}
}

// The answer has no body, it is out before the code is redeemed, and what follows is done once.
func TestReleaseTestAnswersQueryAuthCodeFirstAndSendsThen(t *testing.T) {
	for _, pushed := range []bool{true, false} {
		t.Run(fmt.Sprint("code pushed before ", pushed), func(t *testing.T) {
			s := newReleaseSite(t)
			for i := range releaseAccounts {
				a := s.testAccount(i)
				var code string
				if pushed {
					var err error
					if code, err = s.comp.Authorize(t.Context(), a); err != nil {
						t.Fatal(err)
					}
				} else {
					code = s.comp.NewAuthCode(a)
				}
				s.sim.ResetJournal()
				path := customSendPath
				if !pushed {
					path = queryAuthPath
				}
				gate := make(chan struct{})
				open := sync.OnceFunc(func() { close(gate) })
				defer open()
				s.sim.Inject(wechattest.Fault{Path: path, Times: 1, Gate: gate})
				message := a.TextXML("oTester", "QUERY_AUTH_CODE:"+code, messageSerial.Add(1), s.sim.Now())
				push := func() answer {
					t.Helper()
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // as long as WeChat waits
					defer cancel()
					return do(t, nil, s.make(t, wechattest.PushSpec{XML: message, URL: s.site.URL + "/wechat/message/" + a.AppID(), ToUserName: a.UserName()}).WithContext(ctx))
				}
				if got := push(); got.Status != http.StatusOK || got.Body != "" || got.Header.Get("Content-Length") != "0" {
					t.Errorf("answered %d %q, %v", got.Status, got.Body, got.Header)
				}
				if n := s.sim.Count(customSendPath); n > 1 || !pushed && n != 0 {
					t.Errorf("%d messages sent already", n)
				}
				open()
				if err := s.sim.WaitCount(t.Context(), customSendPath, 1); err != nil {
					t.Fatal(err)
				}
				// A copy is answered alike, and nothing is done again.
				for range 2 {
					if got := push(); got.Status != http.StatusOK || got.Body != "" {
						t.Errorf("the copy is answered %d %q", got.Status, got.Body)
					}
				}
				want := []string{a.AppID() + " oTester " + code + "_from_api"}
				if got := s.sentTexts(t); !slices.Equal(got, want) {
					t.Errorf("sent %q, want %q", got, want)
				}
				if n := s.sim.Count(queryAuthPath); n != map[bool]int{true: 0, false: 1}[pushed] {
					t.Errorf("the code was redeemed %d times", n)
				}
			}
			if s.handled() != 0 {
				t.Errorf("next was given %q", s.contents())
			}
		})
	}
}

// A code may hold what the message is split at, and blanks around it are not its own.
func TestReleaseTestTakesTheCodeWhole(t *testing.T) {
	s := newReleaseSite(t)
	a := s.testAccount(0)
	s.sim.ResetJournal()
	s.sim.Inject(wechattest.Fault{Path: queryAuthPath, ErrCode: 48001})
	res, err := s.comp.PushMessage(t.Context(), a, a.TextXML("oTester", "QUERY_AUTH_CODE: queryauthcode@@@a:b:c \n", messageSerial.Add(1), s.sim.Now()))
	if err != nil || res.Body != "" {
		t.Fatal(err, res.Body)
	}
	if err := s.sim.WaitCount(t.Context(), queryAuthPath, 1); err != nil {
		t.Fatal(err)
	}
	if call := s.sim.Calls(queryAuthPath)[0]; !bytes.Contains(call.Body, []byte(`"queryauthcode@@@a:b:c"`)) {
		t.Errorf("asked with %s", call.Body)
	}
}

// What goes wrong after the answer is in the log, without the code.
func TestReleaseTestLogsWhatFailsAfterItsAnswer(t *testing.T) {
	traced := make(chan error, 1)
	s := newReleaseSite(t, wechatopen.WithTrace(&wechatopen.Trace{Push: func(_ context.Context, kind string, err error) {
		if kind == "text" {
			traced <- err
		}
	}}))
	a := s.testAccount(0)
	code, err := s.comp.Authorize(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	s.sim.Inject(wechattest.Fault{Path: customSendPath, ErrCode: 48001})
	s.log.reset()
	if _, err := s.comp.PushMessage(t.Context(), a, a.TextXML("oTester", "QUERY_AUTH_CODE:"+code, messageSerial.Add(1), s.sim.Now())); err != nil {
		t.Fatal(err)
	}
	if err := <-traced; err != nil { // the push was answered
		t.Error(err)
	}
	if line := s.log.String(); !strings.Contains(line, "level=ERROR") || !strings.Contains(line, "48001") || strings.Contains(line, code) {
		t.Errorf("log: %s", line)
	}
}

// The checks are those of ten accounts. A user of any other could have codes redeemed with them, or be answered oddly.
func TestReleaseTestLeavesEverythingElseToNext(t *testing.T) {
	s := newReleaseSite(t)
	a := s.testAccount(0)
	own := s.comp.NewAuthCode(s.shop)
	calls := func() int { return s.sim.Count(queryAuthPath) + s.sim.Count(customSendPath) }
	before := calls()
	at := s.sim.Now()
	for name, tt := range map[string]struct {
		a       *wechattest.Account
		message func(a *wechattest.Account, id int64) string
	}{
		"text check, another account": {s.shop, func(a *wechattest.Account, id int64) string {
			return a.TextXML("o1", "TESTCOMPONENT_MSG_TYPE_TEXT", id, at)
		}},
		"code check, another account": {s.shop, func(a *wechattest.Account, id int64) string { return a.TextXML("o1", "QUERY_AUTH_CODE:"+own, id, at) }},
		"event, another account":      {s.shop, func(a *wechattest.Account, id int64) string { return a.EventXML("o1", "LOCATION", "", at) }},
		"text, test account":          {a, func(a *wechattest.Account, id int64) string { return a.TextXML("o1", "hello", id, at) }},
		"longer text, test account": {a, func(a *wechattest.Account, id int64) string {
			return a.TextXML("o1", "TESTCOMPONENT_MSG_TYPE_TEXT!", id, at)
		}},
		"text behind it, test account": {a, func(a *wechattest.Account, id int64) string { return a.TextXML("o1", "a QUERY_AUTH_CODE:x", id, at) }},
		"image, test account": {a, func(a *wechattest.Account, id int64) string {
			return a.MessageXML("o1", "image", id, at, "<PicUrl>TESTCOMPONENT_MSG_TYPE_TEXT</PicUrl><Content>TESTCOMPONENT_MSG_TYPE_TEXT</Content>")
		}},
		"event of no name": {a, func(a *wechattest.Account, id int64) string { return a.MessageXML("o1", "event", 0, at, "") }},
	} {
		t.Run(name, func(t *testing.T) {
			handled := s.handled()
			res, err := s.comp.PushMessage(t.Context(), tt.a, tt.message(tt.a, messageSerial.Add(1)))
			if err != nil || parseTextReply(t, res.Reply).Content != "next" || s.handled() != handled+1 {
				t.Errorf("%v, reply %q; next was called %d times", err, res.Reply, s.handled()-handled)
			}
		})
	}
	if n := calls() - before; n != 0 {
		t.Errorf("%d calls of WeChat were made", n)
	}
}

// A test account's path is for its messages alone.
func TestReleaseTestAccountsAreToldByTheirOriginalIDs(t *testing.T) {
	s := newReleaseSite(t)
	first, other := s.testAccount(0), s.testAccount(2)
	for name, r := range map[string]*http.Request{
		"another test account's": s.make(t, wechattest.PushSpec{XML: other.TextXML("o1", "TESTCOMPONENT_MSG_TYPE_TEXT", 1, s.sim.Now()),
			URL: s.site.URL + "/wechat/message/" + first.AppID(), ToUserName: other.UserName()}),
		"a merchant's": s.make(t, wechattest.PushSpec{XML: s.textXML("QUERY_AUTH_CODE:x"), URL: s.site.URL + "/wechat/message/" + first.AppID()}),
	} {
		t.Run(name, func(t *testing.T) { s.refuses(t, r, forged("another account")) })
	}
}

func TestReleaseTestWithoutNextAnswersSuccess(t *testing.T) {
	s := newReleaseSite(t)
	s.handler.Handle = wechatopen.ReleaseTest(s.platform, nil)
	if got := s.send(t, s.textXML("hello")); got.Status != http.StatusOK || got.Body != "success" {
		t.Errorf("answered %d %q", got.Status, got.Body)
	}
	if err := s.comp.ReleaseTest(t.Context(), 3); err != nil {
		t.Error(err)
	}
}

func TestReleaseTestPassesOnTheErrorOfNext(t *testing.T) {
	want := errors.New("database is away")
	f := wechatopen.ReleaseTest(nil, func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
		return wechatopen.Text("x"), want
	})
	if reply, err := f(t.Context(), &wechatopen.Message{AppID: "wx1", MsgType: "text"}); reply == nil || err != want {
		t.Errorf("%v, %v", reply, err)
	}
}

// Within a mux and its middleware it works as well, since a Reply is a Reply.
func TestReleaseTestPassesInsideAMux(t *testing.T) {
	s := newReleaseSite(t)
	var mux wechatopen.MessageMux
	mux.Handle("", wechatopen.ReleaseTest(s.platform, nil))
	mux.Use(func(next wechatopen.MessageFunc) wechatopen.MessageFunc {
		return func(ctx context.Context, m *wechatopen.Message) (wechatopen.Reply, error) { return next(ctx, m) }
	})
	s.handler.Handle = mux.Serve
	if err := s.comp.ReleaseTest(t.Context(), 5); err != nil {
		t.Error(err)
	}
}

// The tester waits for its customer-service message though its push was answered late.
func TestReleaseTestSendsThoughItsAnswerWasLate(t *testing.T) {
	s := newReleaseSite(t)
	a := s.testAccount(0)
	code, err := s.comp.Authorize(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	gate := make(chan struct{})
	inner := s.handler.Handle
	s.handler.ReplyTime = 20 * time.Millisecond
	s.handler.OnLate = func(context.Context, *wechatopen.Message, wechatopen.Reply) {
		t.Error("OnLate was given what is no reply")
	}
	s.handler.Handle = func(ctx context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
		<-gate
		return inner(ctx, m)
	}
	res, err := s.comp.PushMessage(t.Context(), a, a.TextXML("oTester", "QUERY_AUTH_CODE:"+code, messageSerial.Add(1), s.sim.Now()))
	if err != nil || res.Body != "success" {
		t.Errorf("answered %q, %v", res.Body, err)
	}
	close(gate)
	if err := s.sim.WaitCount(t.Context(), customSendPath, 1); err != nil {
		t.Fatal(err)
	}
	if got := s.sentTexts(t); len(got) != 1 || !strings.HasSuffix(got[0], code+"_from_api") {
		t.Errorf("sent %q", got)
	}
}

func TestSendSendsACustomerServiceMessage(t *testing.T) {
	s := newMessageSite(t, false)
	if _, err := s.deliver(t.Context(), s.textXML("hello")); err != nil {
		t.Fatal(err)
	}
	const content = "你好 <b>&\" \u2028"
	if err := s.platform.Account(s.shop.AppID()).Send(t.Context(), s.openID, wechatopen.Text(content)); err != nil {
		t.Fatal(err)
	}
	if got, want := s.sentTexts(t), []string{s.shop.AppID() + " " + s.openID + " " + content}; !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
	if body := s.sim.Calls(customSendPath)[0].Body; !bytes.Contains(body, []byte("你好 <b>&")) {
		t.Errorf("WeChat shows escapes as they are: %s", body)
	}
	s.sim.Inject(wechattest.Fault{Path: customSendPath, ErrCode: 45015})
	var refused *wechatopen.APIError
	if err := s.platform.Account(s.shop.AppID()).Send(t.Context(), s.openID, wechatopen.Text("late")); !errors.As(err, &refused) || refused.Code != 45015 {
		t.Errorf("%v", err)
	}
}
