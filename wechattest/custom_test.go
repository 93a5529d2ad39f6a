package wechattest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

const customPath = "/cgi-bin/message/custom/send"

func sendCustom(t *testing.T, a *Account, to, kind, content string) answered {
	t.Helper()
	return accountCall(t, a, customPath, nil, `{"touser":"`+to+`","msgtype":"`+kind+`","`+kind+`":`+content+`}`)
}

func sendText(t *testing.T, a *Account, to string) int {
	t.Helper()
	return sendCustom(t, a, to, "text", `{"content":"你好"}`).code()
}

func TestCustomMessageWindows(t *testing.T) {
	s := Start(t)
	a, u := s.AddAccount(AccountConfig{}), s.AddUser(UserConfig{})
	ctx := testContext(t)
	openID := a.OpenID(u)
	send := func(step string, want ...int) {
		t.Helper()
		for i, code := range want {
			if got := sendText(t, a, openID); got != code {
				t.Fatalf("%s: message %d: errcode %d, want %d", step, i+1, got, code)
			}
		}
	}
	do := func(_ *PushResult, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := sendText(t, a, "oNobody"); got != 40003 {
		t.Errorf("unknown openid: %d", got)
	}
	send("not a follower", 43004)
	do(a.Follow(ctx, u, ""))
	send("followed", 0, 0, 0, 45047)
	s.Advance(time.Minute)
	send("a minute later", 45015)
	do(a.Follow(ctx, u, "shelf"))
	send("scanned", 0)
	s.Advance(59 * time.Second)
	send("59 s later", 0)
	s.Advance(time.Second)
	send("60 s later", 45015)
	createMenu(t, a, sampleMenu).want(t, 0)
	do(a.Tap(ctx, u, "搜索"))
	send("opened a link", 45015)
	do(a.Tap(ctx, u, "V1001"))
	send("tapped", 0, 0, 0, 45047)
	do(a.Say(ctx, u, "hi"))
	send("wrote", 0, 0, 0, 0, 0, 45047)
	do(a.Say(ctx, u, "hi"))
	s.Advance(48*time.Hour - time.Second)
	send("two days later", 0)
	s.Advance(time.Second)
	send("too late", 45015)
	do(a.Say(ctx, u, "hi"))
	do(a.Tap(ctx, u, "V1001"))
	send("both windows", 0, 0, 0, 0, 0, 0, 0, 0, 45047)
	do(a.Say(ctx, u, "hi"))
	do(a.Unfollow(ctx, u))
	send("no longer a follower", 45015)
}

func TestAPushedMessageOpensTheWindowOfAnyOpenID(t *testing.T) {
	s := Start(t)
	_, c := startService(t, s, ComponentConfig{})
	a := s.AddAccount(AccountConfig{})
	ctx := testContext(t)
	for _, tt := range []struct {
		openID, message string
		code            int
	}{
		{"oText", a.TextXML("oText", "hi", 1, s.Now()), 0},
		{"oEvent", a.EventXML("oEvent", "subscribe", "", s.Now()), 0},
		{"oPlace", a.EventXML("oPlace", "LOCATION", "", s.Now()), 45015},
		{"oDone", a.EventXML("oDone", "TEMPLATESENDJOBFINISH", "", s.Now()), 40003},
	} {
		if _, err := c.PushMessage(ctx, a, tt.message); err != nil {
			t.Fatal(err)
		}
		if got := sendText(t, a, tt.openID); got != tt.code {
			t.Errorf("%s: errcode %d, want %d", tt.openID, got, tt.code)
		}
	}
}

func TestCustomMessageKinds(t *testing.T) {
	s := Start(t)
	s.AllowMisuse(customPath)
	a, mini := s.AddAccount(AccountConfig{}), s.AddAccount(AccountConfig{MiniProgram: true})
	other := s.AddAccount(AccountConfig{})
	upload := func(a *Account, kind, name string) string {
		return uploadKind(t, a, kind, name, []byte("x")).want(t, 0).str("media_id")
	}
	image, voice, video, thumb := upload(a, "image", "a.png"), upload(a, "voice", "a.mp3"), upload(a, "video", "a.mp4"), upload(a, "thumb", "a.jpg")
	media := func(id string) string { return `{"media_id":"` + id + `"}` }
	miniThumb := upload(mini, "image", "a.png")
	for _, tt := range []struct {
		a             *Account
		kind, content string
		code          int
		shown         string // in the line
	}{
		{a, "text", `{"content":"<a href=\"http://a/\">你好</a>"}`, 0, `<a href="http://a/">你好</a>`},
		{a, "text", `{"content":""}`, 44004, ""},
		{a, "text", `{"content":"` + strings.Repeat("x", 2049) + `"}`, 45002, ""},
		{a, "text", `"hi"`, 47001, ""},
		{a, "image", media(image), 0, image},
		{a, "image", media(voice), 40007, ""},
		{a, "image", media("unknown"), 40007, ""},
		{a, "image", media(upload(other, "image", "a.png")), 40007, ""},
		{a, "image", `{}`, 41006, ""},
		{a, "voice", media(voice), 0, voice},
		{a, "video", `{"media_id":"` + video + `","thumb_media_id":"` + thumb + `","title":"片"}`, 0, "片"},
		{a, "video", media(video), 41006, ""},
		{a, "music", `{"title":"歌","musicurl":"http://a/","hqmusicurl":"http://b/","thumb_media_id":"` + thumb + `"}`, 0, "歌"},
		{a, "music", `{"title":"歌","hqmusicurl":"http://b/","thumb_media_id":"` + thumb + `"}`, 40097, ""},
		{a, "music", `{"musicurl":"http://a/","hqmusicurl":"http://b/"}`, 41006, ""},
		{a, "news", `{"articles":[{"title":"新闻","description":"d","url":"http://a/","picurl":"http://p/"}]}`, 0, "新闻"},
		{a, "news", `{"articles":[{"title":"1"},{"title":"2"}]}`, 45008, ""},
		{a, "news", `{"articles":[]}`, 44003, ""},
		{a, "mpnews", media("set"), 0, "set"},
		{a, "mpnews", `{}`, 41006, ""},
		{a, "mpnewsarticle", `{"article_id":"art"}`, 0, "art"},
		{a, "mpnewsarticle", `{}`, 40097, ""},
		{a, "msgmenu", `{"head_content":"满意吗","list":[{"id":"101","content":"满意"},{"id":102,"content":"不满意"}],"tail_content":"谢谢"}`, 0, "102"},
		{a, "msgmenu", `{"head_content":"满意吗"}`, 40097, ""},
		{a, "wxcard", `{"card_id":"card1"}`, 0, "card1"},
		{a, "wxcard", `{}`, 40097, ""},
		{a, "miniprogrampage", `{"title":"页","appid":"wx1","pagepath":"p/i","thumb_media_id":"` + thumb + `"}`, 0, "页"},
		{a, "miniprogrampage", `{"title":"页","pagepath":"p/i","thumb_media_id":"` + thumb + `"}`, 40097, ""},
		{mini, "miniprogrampage", `{"title":"页","pagepath":"p/i","thumb_media_id":"` + miniThumb + `"}`, 0, "页"},
		{mini, "link", `{"title":"链","description":"d","url":"http://a/","thumb_url":"http://p/"}`, 0, "链"},
		{mini, "link", `{"title":"链"}`, 40097, ""},
		{a, "sticker", `{}`, 40008, ""},
	} {
		// Each from a user of its own, so that no window is used up.
		openID := tt.a.OpenID(s.AddUser(UserConfig{}))
		tt.a.heard(tt.a.TextXML(openID, "hi", newMsgID(), s.Now()))
		before := len(tt.a.Sent())
		if got := sendCustom(t, tt.a, openID, tt.kind, tt.content); got.code() != tt.code {
			t.Errorf("%s %.100s: errcode %d %s, want %d", tt.kind, tt.content, got.code(), got.str("errmsg"), tt.code)
			continue
		}
		sent := tt.a.Sent()[before:]
		if tt.code != 0 {
			if len(sent) != 0 {
				t.Errorf("%s: refused and sent %+v", tt.kind, sent)
			}
			continue
		}
		l := sent[0]
		if l.OpenID != openID || l.MsgType != tt.kind || l.Via != ViaCustom || len(l.Raw) == 0 ||
			!strings.Contains(asText(l), tt.shown) {
			t.Errorf("%s: line %+v, want one with %q", tt.kind, l, tt.shown)
		}
	}
	accountCall(t, a, customPath, nil, `{"touser":"o1","msgtype":"text"}`).want(t, 40008)
	accountCall(t, a, customPath, nil, `{"msgtype":"text","text":{"content":"x"}}`).want(t, 40003)
}

// asText is all that a line shows.
func asText(l Line) string {
	out := []string{l.Text, l.MediaID}
	for _, it := range l.Articles {
		out = append(out, it.Title, it.Description, it.PicURL, it.URL)
	}
	for _, k := range l.Choices {
		out = append(out, k.ID, k.Content)
	}
	return strings.Join(out, "\n")
}

func TestARefusedMessageLeavesTheWindow(t *testing.T) {
	s := Start(t)
	s.AllowMisuse(customPath)
	a, u := s.AddAccount(AccountConfig{MiniProgram: true}), s.AddUser(UserConfig{})
	if _, err := a.Say(testContext(t), u, "hi"); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		sendCustom(t, a, a.OpenID(u), "image", `{"media_id":"unknown"}`).want(t, 40007)
	}
	if got := sendText(t, a, a.OpenID(u)); got != 0 {
		t.Errorf("errcode %d", got)
	}
}

func TestCustomMessageWithExpiredMedia(t *testing.T) {
	s := Start(t)
	a, u := s.AddAccount(AccountConfig{MiniProgram: true}), s.AddUser(UserConfig{})
	id := uploadKind(t, a, "image", "a.png", []byte("x")).want(t, 0).str("media_id")
	for _, tt := range []struct {
		after time.Duration
		code  int
	}{{mediaLife - time.Second, 0}, {time.Second, 40007}} {
		s.Advance(tt.after)
		if _, err := a.Say(testContext(t), u, "hi"); err != nil {
			t.Fatal(err)
		}
		sendCustom(t, a, a.OpenID(u), "image", `{"media_id":"`+id+`"}`).want(t, tt.code)
	}
}

func TestCustomTyping(t *testing.T) {
	s := Start(t)
	s.AllowMisuse()
	a, u := s.AddAccount(AccountConfig{}), s.AddUser(UserConfig{})
	for _, tt := range []struct {
		body string
		code int
	}{
		{`{"touser":"` + a.OpenID(u) + `","command":"Typing"}`, 0},
		{`{"touser":"` + a.OpenID(u) + `","command":"CancelTyping"}`, 0},
		{`{"touser":"` + a.OpenID(u) + `","command":"Thinking"}`, 45072},
		{`{"touser":"oNobody","command":"Typing"}`, 40003},
		{`{"command":"Typing"}`, 40003},
	} {
		if got := accountCall(t, a, "/cgi-bin/message/custom/typing", nil, tt.body); got.code() != tt.code {
			t.Errorf("%s: errcode %d, want %d", tt.body, got.code(), tt.code)
		}
	}
}

func TestWaitSent(t *testing.T) {
	s := Start(t)
	a, u := s.AddAccount(AccountConfig{MiniProgram: true}), s.AddUser(UserConfig{})
	ctx := testContext(t)
	if _, err := a.Say(ctx, u, "hi"); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := a.WaitSent(gone, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("nothing was sent: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- a.WaitSent(ctx, 2) }()
	for range 2 {
		if got := sendText(t, a, a.OpenID(u)); got != 0 {
			t.Fatal(got)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestConversationIsBounded(t *testing.T) {
	s := Start(t)
	a := s.AddAccount(AccountConfig{})
	for range 5*maxLines + 1 {
		a.heard(a.TextXML("o1", "x", 1, s.Now()))
	}
	a.heard(a.TextXML("o1", "last", 1, s.Now()))
	lines := a.linesOf(func(Line) bool { return true })
	if len(lines) < maxLines || len(lines) > 2*maxLines || lines[len(lines)-1].Text != "last" {
		t.Errorf("%d lines, the last %+v", len(lines), lines[len(lines)-1])
	}
}
