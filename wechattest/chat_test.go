package wechattest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wechatopen/wechatopen"
)

// ownService serves an account of one's own with the root package, in safe or in plain mode.
func ownService(t *testing.T, s *Server, cfg AccountConfig, handle wechatopen.MessageFunc) *Account {
	t.Helper()
	a := s.AddAccount(cfg)
	own, err := wechatopen.NewAccount(a.Credentials(), s.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(&wechatopen.MessageHandler{Account: own, Plain: cfg.PlainMode, Handle: handle})
	t.Cleanup(srv.Close)
	a.SetMessageURL(srv.URL)
	return a
}

// echoes answers with what it was sent.
func echoes(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
	return wechatopen.Text(m.MsgType + "/" + m.Event + "/" + m.EventKey + "/" + m.Content + "/" + m.MediaID), nil
}

func TestAccountsOfOnesOwnInSafeAndInPlainMode(t *testing.T) {
	for name, plain := range map[string]bool{"safe": false, "plain": true} {
		t.Run(name, func(t *testing.T) {
			s := Start(t)
			a := ownService(t, s, AccountConfig{PlainMode: plain}, echoes)
			u := s.AddUser(UserConfig{})
			ctx := testContext(t)
			want := func(res *PushResult, err error, text string) {
				t.Helper()
				if err != nil || res.Attempts != 1 || !strings.Contains(res.Reply, text) {
					t.Errorf("%+v, %v, want %q", res, err, text)
				}
				if encrypted := strings.Contains(res.Body, "<Encrypt>"); encrypted == plain {
					t.Errorf("answer %s", res.Body)
				}
			}
			res, err := a.Follow(ctx, u, "7")
			want(res, err, "event/subscribe/qrscene_7//")
			createMenu(t, a, sampleMenu).want(t, 0)
			res, err = a.Tap(ctx, u, "V1001")
			want(res, err, "event/CLICK/V1001//")
			res, err = a.Say(ctx, u, "hello ]]> <b>")
			want(res, err, "text///hello ")
			res, err = a.SayImage(ctx, u, "a.png", []byte("png"))
			want(res, err, "image////")
			lines := a.Conversation(u)
			id := lines[len(lines)-2].MediaID
			if _, body := getMedia(t, a, id); body != "png" {
				t.Errorf("the user's picture is %q", body)
			}
			if len(lines) != 8 || lines[4].Text != "hello ]]> <b>" || lines[4].Via != ViaUser || lines[0].Via != ViaEvent || lines[1].Via != ViaReply {
				t.Errorf("conversation %+v", lines)
			}
			if got := sendText(t, a, a.OpenID(u)); got != 0 {
				t.Errorf("errcode %d", got)
			}
		})
	}
}

func TestRepliesThatNobodySees(t *testing.T) {
	s := Start(t)
	a, u := ownService(t, s, AccountConfig{}, echoes), s.AddUser(UserConfig{})
	ctx := testContext(t)
	if _, err := a.Follow(ctx, u, ""); err != nil {
		t.Fatal(err)
	}
	for _, event := range []string{"TEMPLATESENDJOBFINISH", "unsubscribe"} {
		if res, err := a.Push(ctx, a.EventXML(a.OpenID(u), event, "", s.Now())); err != nil || !strings.Contains(res.Reply, event) {
			t.Errorf("%+v, %v", res, err)
		}
		if lines := a.Conversation(u); strings.Contains(lines[len(lines)-1].Text, "event/"+event) {
			t.Errorf("shown %+v", lines[len(lines)-1])
		}
	}
}

func TestPlainModeTakesNoEncryptedReply(t *testing.T) {
	s := Start(t, Config{PushAttempts: 1})
	a := s.AddAccount(AccountConfig{PlainMode: true})
	answer := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); q.Has("msg_signature") || q.Get("signature") != sign(a.token, q.Get("timestamp"), q.Get("nonce")) {
			w.WriteHeader(http.StatusForbidden)
		}
		io.WriteString(w, answer)
	}))
	defer srv.Close()
	a.SetMessageURL(srv.URL)
	for _, tt := range []struct {
		answer string
		good   bool
	}{
		{"success", true}, {"", true}, {"<xml><MsgType>text</MsgType></xml>", true},
		{encryptedReply(a, "<xml/>"), false}, {"<xml></xml>", false}, {"{}", false},
	} {
		answer = tt.answer
		if res, err := a.PushMessage(testContext(t), a.TextXML("o1", "hi", 1, s.Now())); (err == nil) != tt.good {
			t.Errorf("%.60q: %+v, %v", tt.answer, res, err)
		}
	}
}

// chatPage opens the chat of a person with an account.
func chatPage(t *testing.T, s *Server, a *Account, u *User) *Page {
	t.Helper()
	page, err := s.NewBrowser(u).Open(testContext(t), s.URL()+"/")
	must(t, page, err)
	page, err = page.Click(testContext(t), "chat-"+a.AppID())
	return must(t, page, err)
}

func click(t *testing.T, p *Page, id string) *Page {
	t.Helper()
	page, err := p.Click(testContext(t), id)
	return must(t, page, err)
}

func TestChatPage(t *testing.T) {
	s := Start(t)
	a := ownService(t, s, AccountConfig{Name: "店铺 & <b>"}, echoes)
	u := s.AddUser(UserConfig{Name: "小明"})
	createMenu(t, a, sampleMenu).want(t, 0)
	reads := func(p *Page, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(p.Text(), w) {
				t.Errorf("the page lacks %q: %s", w, p.Text())
			}
		}
	}
	p := chatPage(t, s, a, u)
	reads(p, "店铺 & <b>", "小明", "关注 Follow")
	if p.Has("menu") || p.Has("send") {
		t.Error("who does not follow sees a menu, or can write")
	}
	p.Fill("scene", "door")
	p = click(t, p, "follow")
	reads(p, "subscribe", "qrscene_door", "event/subscribe/qrscene_door//", "今日歌曲", "搜索")
	if !a.Follows(u) {
		t.Error("does not follow")
	}
	p = click(t, p, "tap-V1001")
	reads(p, "event/CLICK/V1001//")
	p.Fill("text", "hi <script>alert(1)</script>")
	p = click(t, p, "send")
	reads(p, "text///hi <script>alert(1)</script>/")
	if strings.Contains(p.Body, "<script") {
		t.Error("what a user wrote is HTML")
	}
	p.Attach("picture", "cat.png", []byte("png"))
	p = click(t, p, "send-picture")
	reads(p, "image////")
	if !strings.Contains(p.Body, `<img src="`+s.URL()+`/wechatsim/media?id=`) {
		t.Errorf("the picture is not shown: %s", p.Body)
	}
	bad, err := p.Click(testContext(t), "send-picture")
	if must(t, bad, err); !bad.Has("error") {
		t.Errorf("no picture: %s", bad.Text())
	}
	p.Attach("picture", "cat.exe", []byte("png"))
	if bad = click(t, p, "send-picture"); !bad.Has("error") {
		t.Errorf("not a picture: %s", bad.Text())
	}
	id := a.OpenID(u)
	sendCustom(t, a, id, "msgmenu", `{"head_content":"满意吗","list":[{"id":"101","content":"满意"}],"tail_content":"谢谢"}`).want(t, 0)
	sendCustom(t, a, id, "news", `{"articles":[{"title":"新闻","description":"导语","url":"javascript:alert(1)","picurl":"http://p.example/"}]}`).want(t, 0)
	accountCall(t, a, templatePath, nil, `{"touser":"`+id+`","template_id":"`+a.Templates()[1].ID+`","url":"http://a.example/","data":{"thing1":{"value":"体检"}}}`).want(t, 0)
	p = click(t, p, "refresh")
	reads(p, "满意吗", "新闻", "导语", "客服消息", "模板消息", "预约提醒", "预约项目：体检")
	if strings.Contains(p.Body, "javascript:") {
		t.Error("a link runs a script")
	}
	p = click(t, p, "choose-101")
	reads(p, "text///满意/")
	if lines := a.linesOf(func(l Line) bool { return l.Text == "满意" }); len(lines) != 1 || !strings.Contains(string(lines[0].Raw), "<bizmsgmenuid><![CDATA[101]]>") {
		t.Errorf("lines %+v", lines)
	}
	p = click(t, p, "scan")
	p.Fill("scene", "shelf")
	p = click(t, p, "scan")
	reads(p, "event/SCAN/shelf//")
	stale := p
	p = click(t, p, "unfollow")
	if reads(p, "unsubscribe"); p.Has("menu") || a.Follows(u) {
		t.Error("still follows")
	}
	stale.Fill("text", "hi")
	if bad = click(t, stale, "send"); !bad.Has("error") {
		t.Errorf("wrote without following: %s", bad.Text())
	}
	if other := chatPage(t, s, a, s.AddUser(UserConfig{})); strings.Contains(other.Text(), "door") {
		t.Errorf("another person sees the conversation: %s", other.Text())
	}
}

func TestChatOpensTheLinkOfAButton(t *testing.T) {
	s, ap := Start(t), newApp(t)
	a := ownService(t, s, AccountConfig{}, echoes)
	u := s.AddUser(UserConfig{})
	createMenu(t, a, `{"button":[{"type":"view","name":"店","url":"`+ap.URL+`/callback?x=1"}]}`).want(t, 0)
	p := click(t, chatPage(t, s, a, u), "follow")
	if p = click(t, p, "tap-店"); p.URL != ap.URL+"/callback?x=1" {
		t.Errorf("opened %s", p.URL)
	}
	if lines := a.Conversation(u); lines[len(lines)-2].MsgType != "VIEW" {
		t.Errorf("lines %+v", lines)
	}
}

func TestChatSaysThatTheAccountDoesNotAnswer(t *testing.T) {
	s := Start(t, Config{PushAttempts: 1})
	a, u := s.AddAccount(AccountConfig{MessageURL: "http://127.0.0.1:1/"}), s.AddUser(UserConfig{})
	if p := click(t, chatPage(t, s, a, u), "follow"); !strings.Contains(p.Text(), "该公众号提供的服务出现故障") {
		t.Errorf("page %s", p.Text())
	}
}

func TestChatPageRefusals(t *testing.T) {
	s := Start(t)
	a, site := s.AddAccount(AccountConfig{}), s.AddAccount(AccountConfig{Website: true})
	b := s.NewBrowser(nil)
	open := func(appID string) *Page {
		page, err := b.Open(testContext(t), s.URL()+"/wechatsim/chat?appid="+appID)
		return must(t, page, err)
	}
	if !open(a.AppID()).Has("error") {
		t.Error("a chat of nobody")
	}
	s.AddUser(UserConfig{})
	for appID, good := range map[string]bool{a.AppID(): true, site.AppID(): false, "wx0": false, "": false} {
		if p := open(appID); p.Has("error") == good {
			t.Errorf("%q: %s", appID, p.Text())
		}
	}
}
