package wechatopen_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// customSite is a message site whose user has followed its account, and the account.
func customSite(t *testing.T, own bool) (*messageSite, *wechatopen.Account) {
	t.Helper()
	s := newMessageSite(t, own)
	if _, err := s.wx.Follow(t.Context(), s.alice, ""); err != nil {
		t.Fatal(err)
	}
	if own {
		return s, s.handler.Account
	}
	return s, s.platform.Account(s.wx.AppID())
}

// says has Alice write, which lets the account write five times.
func (s *messageSite) says(text string) {
	s.t.Helper()
	if _, err := s.wx.Say(s.t.Context(), s.alice, text); err != nil {
		s.t.Fatal(err)
	}
}

func uploaded(t *testing.T, a *wechatopen.Account, kind, name string) string {
	t.Helper()
	var media struct {
		ID string `json:"media_id"`
	}
	if err := a.Upload(t.Context(), opMediaUpload+"?type="+kind, wechatopen.File{Name: name, Content: pattern{}, Size: 1000}, &media); err != nil {
		t.Fatal(err)
	}
	return media.ID
}

func TestEveryKindOfMessageIsSentAsWeChatWantsIt(t *testing.T) {
	const text = "你好 <a href=\"https://shop.example/?a=1&b=2\">商店</a> 🐱"
	for _, own := range []bool{false, true} {
		s, a := customSite(t, own)
		image, voice, video, thumb := uploaded(t, a, "image", "猫.jpg"), uploaded(t, a, "voice", "a.mp3"), uploaded(t, a, "video", "a.mp4"), uploaded(t, a, "thumb", "a.jpg")
		names := strings.NewReplacer(image, "IMAGE", voice, "VOICE", video, "VIDEO", thumb, "THUMB", s.openID, "ALICE")
		for kind, test := range map[string]struct {
			m    wechatopen.CustomMessage
			want string
		}{
			"text":  {wechatopen.Text(text), `{"content":"你好 <a href=\"https://shop.example/?a=1&b=2\">商店</a> 🐱"}`},
			"image": {wechatopen.Image(image), `{"media_id":"IMAGE"}`},
			"voice": {wechatopen.Voice(voice), `{"media_id":"VOICE"}`},
			"video": {wechatopen.CustomVideo{MediaID: video, ThumbMediaID: thumb, Title: "标题 <&>", Description: "说明"},
				`{"media_id":"VIDEO","thumb_media_id":"THUMB","title":"标题 <&>","description":"说明"}`},
			"music": {wechatopen.Music(wechatopen.MusicReply{ThumbMediaID: thumb, Title: "歌", Description: "d", URL: "https://m.example/?a=1&b=2", HQURL: "https://m.example/hq"}),
				`{"thumb_media_id":"THUMB","title":"歌","description":"d","musicurl":"https://m.example/?a=1&b=2","hqmusicurl":"https://m.example/hq"}`},
			"news": {wechatopen.News(wechatopen.Article{Title: "新闻 <&>", Description: "d", PicURL: "https://p.example/1.jpg", URL: "https://n.example/?a=1&b=2"}),
				`{"articles":[{"title":"新闻 <&>","description":"d","picurl":"https://p.example/1.jpg","url":"https://n.example/?a=1&b=2"}]}`},
			"mpnews":        {wechatopen.MPNews("MEDIA"), `{"media_id":"MEDIA"}`},
			"mpnewsarticle": {wechatopen.MPArticle("ARTICLE"), `{"article_id":"ARTICLE"}`},
			"wxcard":        {wechatopen.Card("CARD"), `{"card_id":"CARD"}`},
			"msgmenu": {wechatopen.MessageMenu{Head: "满意吗 <&>", Items: []wechatopen.MessageMenuChoice{{ID: "101", Content: "满意"}, {ID: "102", Content: "不满意"}}, Tail: "欢迎再次光临"},
				`{"head_content":"满意吗 <&>","list":[{"id":"101","content":"满意"},{"id":"102","content":"不满意"}],"tail_content":"欢迎再次光临"}`},
			"miniprogrampage": {wechatopen.MiniProgramPage{Title: "页", AppID: "wx0123456789abcdef", PagePath: "index?a=1&b=2", ThumbMediaID: thumb},
				`{"title":"页","appid":"wx0123456789abcdef","pagepath":"index?a=1&b=2","thumb_media_id":"THUMB"}`},
			"link": {wechatopen.Link{Title: "链", Description: "d", URL: "https://l.example/?a=1&b=2", ThumbURL: "https://l.example/1.jpg"},
				`{"title":"链","description":"d","url":"https://l.example/?a=1&b=2","thumb_url":"https://l.example/1.jpg"}`},
		} {
			s.says("hello")
			before := len(s.wx.Sent())
			if err := a.Send(t.Context(), s.openID, test.m); err != nil {
				t.Errorf("%s: %v", kind, err)
				continue
			}
			// Go writes the keys of a map in order.
			want := fmt.Sprintf(`{"msgtype":%q,"touser":"ALICE",%q:%s}`, kind, kind, test.want)
			if kind < "msgtype" {
				want = fmt.Sprintf(`{%q:%s,"msgtype":%q,"touser":"ALICE"}`, kind, test.want, kind)
			} else if kind < "touser" {
				want = fmt.Sprintf(`{"msgtype":%q,%q:%s,"touser":"ALICE"}`, kind, kind, test.want)
			}
			if got := names.Replace(s.lastBody(customSendPath)); got != want {
				t.Errorf("%s: sent\n%s\nwant\n%s", kind, got, want)
			}
			if sent := s.wx.Sent(); len(sent) != before+1 || sent[before].MsgType != kind || sent[before].OpenID != s.openID {
				t.Errorf("%s: Alice sees %+v", kind, sent[before:])
			}
		}
		sent := s.wx.Sent()
		s.says("hello")
		if err := a.SendAs(t.Context(), "kf2001@shop", s.openID, wechatopen.Text(text)); err != nil {
			t.Error(err)
		}
		if got, want := names.Replace(s.lastBody(customSendPath)),
			`{"customservice":{"kf_account":"kf2001@shop"},"msgtype":"text","text":{"content":"你好 <a href=\"https://shop.example/?a=1&b=2\">商店</a> 🐱"},"touser":"ALICE"}`; got != want {
			t.Errorf("SendAs: sent\n%s\nwant\n%s", got, want)
		}
		if n := len(s.wx.Sent()); n != len(sent)+1 {
			t.Errorf("Alice sees %d messages of the agent, want 1", n-len(sent))
		}
	}
}

// What the simulator refuses, because its account or a field is missing, is sent as the caller has it.
func TestMessagesWithoutWhatMayBeMissing(t *testing.T) {
	var body string
	a := bareAccount(t, "http://api.example", wechatopen.WithHTTPClient(&http.Client{Transport: wire(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path == opStableToken {
			return wireAnswer(r, 200, numberedToken(1, 7200)), nil
		}
		b, err := io.ReadAll(r.Body)
		body = string(b)
		return wireAnswer(r, 200, wireOK), err
	})}))
	for _, test := range []struct {
		m    wechatopen.CustomMessage
		want string
	}{
		{wechatopen.Video("V", "标题", "<&>"), `{"msgtype":"video","touser":"o1","video":{"media_id":"V","title":"标题","description":"<&>"}}`},
		{wechatopen.Video("V", "", ""), `{"msgtype":"video","touser":"o1","video":{"media_id":"V"}}`},
		{wechatopen.Music(wechatopen.MusicReply{ThumbMediaID: "T"}), `{"msgtype":"music","music":{"thumb_media_id":"T"},"touser":"o1"}`},
		{wechatopen.MiniProgramPage{Title: "t", PagePath: "p", ThumbMediaID: "T"}, `{"miniprogrampage":{"title":"t","pagepath":"p","thumb_media_id":"T"},"msgtype":"miniprogrampage","touser":"o1"}`},
		{&wechatopen.Link{Title: "t"}, `{"link":{"title":"t","description":"","url":"","thumb_url":""},"msgtype":"link","touser":"o1"}`},
		{wechatopen.CustomKind("ai_option", struct {
			Text string `json:"text"`
		}{"新 <&>"}), `{"ai_option":{"text":"新 <&>"},"msgtype":"ai_option","touser":"o1"}`},
		{wechatopen.CustomKind("nothing", nil), `{"msgtype":"nothing","nothing":{},"touser":"o1"}`},
	} {
		if err := a.Send(t.Context(), "o1", test.m); err != nil || body != test.want {
			t.Errorf("%T: sent\n%s\nwant\n%s\nerror %v", test.m, body, test.want, err)
		}
	}
}

func TestWhatIsNoMessageIsNotSent(t *testing.T) {
	s, a := customSite(t, false)
	s.sim.ResetJournal()
	for name, m := range map[string]wechatopen.CustomMessage{
		"nil":                      nil,
		"a nil Reply":              wechatopen.Reply(nil),
		"TransferCustomerService":  wechatopen.TransferCustomerService(""),
		"the same to an agent":     wechatopen.TransferCustomerService("a@b"),
		"a kind without a name":    wechatopen.CustomKind("", map[string]string{}),
		"the same kind by another": wechatopen.CustomKind("transfer_customer_service", nil),
		"another field's name":     wechatopen.CustomKind("touser", "oSomebodyElse"),
		"what JSON cannot carry":   wechatopen.CustomKind("text", func() {}),
	} {
		if err := a.Send(t.Context(), s.openID, m); err == nil || !strings.HasPrefix(err.Error(), "wechatopen: ") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if n := len(s.sim.Calls()); n != 0 {
		t.Errorf("%d calls", n)
	}
}

func TestMessagesAreRefusedOutsideTheirTime(t *testing.T) {
	for _, own := range []bool{false, true} {
		s, a := customSite(t, own)
		send := func() int { return refusedWith(a.Send(t.Context(), s.openID, wechatopen.Text("hello"))) }
		fits := func(n, then int) {
			t.Helper()
			for i := range n {
				if code := send(); code != 0 {
					t.Errorf("message %d: errcode %d", i+1, code)
				}
			}
			if code := send(); code != then {
				t.Errorf("message %d: errcode %d, want %d", n+1, code, then)
			}
		}
		fits(3, 45047) // after following
		s.says("hello")
		fits(5, 45047)
		s.says("hello again")
		s.sim.Advance(48*time.Hour - time.Second)
		s.pushTicket() // without which a platform has no token after so long
		fits(1, 0)
		s.sim.Advance(2 * time.Second)
		fits(0, 45015)
		bob := s.sim.AddUser(wechattest.UserConfig{Name: "Bob"})
		for openID, want := range map[string]int{"nobody": 40003, s.wx.OpenID(bob): 43004} {
			if err := a.Send(t.Context(), openID, wechatopen.Text("hello")); refusedWith(err) != want {
				t.Errorf("to %s: %v, want errcode %d", openID, err, want)
			}
		}
		if err := a.Send(t.Context(), s.openID, wechatopen.Image("unknown")); refusedWith(err) != 40007 {
			t.Errorf("a picture that was not uploaded: %v, want errcode 40007", err)
		}
	}
}

// A reply that comes too late for WeChat can be sent as it is.
func TestLateReplyIsSentAsACustomerServiceMessage(t *testing.T) {
	for _, own := range []bool{false, true} {
		s, a := customSite(t, own)
		answered := make(chan struct{})
		failed := make(chan error, 1)
		s.handler.ReplyTime = time.Millisecond
		s.handler.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
			<-answered
			return wechatopen.Text("对不起 <&>"), nil
		}
		s.handler.OnLate = func(ctx context.Context, m *wechatopen.Message, r wechatopen.Reply) {
			failed <- a.Send(ctx, m.FromUserName, r)
		}
		res, err := s.wx.Say(t.Context(), s.alice, "hello")
		if err != nil || res.Body != "success" || res.Attempts != 1 {
			t.Errorf("WeChat was answered %+v, %v", res, err)
		}
		close(answered)
		if err := receive(t, failed, "OnLate"); err != nil {
			t.Error(err)
		}
		if sent := s.wx.Sent(); len(sent) != 1 || sent[0].Text != "对不起 <&>" || sent[0].OpenID != s.openID {
			t.Errorf("Alice sees %+v", sent)
		}
	}
}
