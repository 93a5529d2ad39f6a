package wechatopen_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// goldenReplies are all kinds of reply with what they write behind the common elements.
var goldenReplies = []struct {
	name  string
	reply wechatopen.Reply
	want  string
}{
	{"text", wechatopen.Text("你好 <b>&</b>"), "<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[你好 <b>&</b>]]></Content>"},
	{"text, empty", wechatopen.Text(""), "<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[]]></Content>"},
	{"image", wechatopen.Image("media"), "<MsgType><![CDATA[image]]></MsgType><Image><MediaId><![CDATA[media]]></MediaId></Image>"},
	{"voice", wechatopen.Voice("media"), "<MsgType><![CDATA[voice]]></MsgType><Voice><MediaId><![CDATA[media]]></MediaId></Voice>"},
	{"video", wechatopen.Video("media", "t", "d"), "<MsgType><![CDATA[video]]></MsgType><Video><MediaId><![CDATA[media]]></MediaId>" +
		"<Title><![CDATA[t]]></Title><Description><![CDATA[d]]></Description></Video>"},
	{"video, bare", wechatopen.Video("media", "", ""), "<MsgType><![CDATA[video]]></MsgType><Video><MediaId><![CDATA[media]]></MediaId></Video>"},
	{"music", wechatopen.Music(wechatopen.MusicReply{ThumbMediaID: "thumb", Title: "t", Description: "d", URL: "http://a/?b&c", HQURL: "http://hq"}),
		"<MsgType><![CDATA[music]]></MsgType><Music><Title><![CDATA[t]]></Title><Description><![CDATA[d]]></Description>" +
			"<MusicUrl><![CDATA[http://a/?b&c]]></MusicUrl><HQMusicUrl><![CDATA[http://hq]]></HQMusicUrl><ThumbMediaId><![CDATA[thumb]]></ThumbMediaId></Music>"},
	{"music, bare", wechatopen.Music(wechatopen.MusicReply{ThumbMediaID: "thumb"}),
		"<MsgType><![CDATA[music]]></MsgType><Music><ThumbMediaId><![CDATA[thumb]]></ThumbMediaId></Music>"},
	{"news", wechatopen.News(wechatopen.Article{Title: "t1", Description: "d1", PicURL: "http://p1", URL: "http://u1/?a&b"}, wechatopen.Article{Title: "t2"}),
		"<MsgType><![CDATA[news]]></MsgType><ArticleCount>2</ArticleCount><Articles>" +
			"<item><Title><![CDATA[t1]]></Title><Description><![CDATA[d1]]></Description><PicUrl><![CDATA[http://p1]]></PicUrl><Url><![CDATA[http://u1/?a&b]]></Url></item>" +
			"<item><Title><![CDATA[t2]]></Title><Description><![CDATA[]]></Description><PicUrl><![CDATA[]]></PicUrl><Url><![CDATA[]]></Url></item></Articles>"},
	{"transfer_customer_service", wechatopen.TransferCustomerService(""), "<MsgType><![CDATA[transfer_customer_service]]></MsgType>"},
	{"transfer_customer_service to one", wechatopen.TransferCustomerService("test1@test"),
		"<MsgType><![CDATA[transfer_customer_service]]></MsgType><TransInfo><KfAccount><![CDATA[test1@test]]></KfAccount></TransInfo>"},
}

func TestRepliesAreWhatWeChatDocuments(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		for _, tt := range goldenReplies {
			t.Run(tt.name, func(t *testing.T) {
				s.handler.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) { return tt.reply, nil }
				// To the user who wrote, from the account that was written to; the time is now, not that of the message.
				want := fmt.Sprintf("<xml><ToUserName><![CDATA[%s]]></ToUserName><FromUserName><![CDATA[%s]]></FromUserName><CreateTime>%d</CreateTime>%s</xml>",
					s.openID, s.wx.UserName(), now.Unix(), tt.want)
				message := s.wx.TextXML(s.openID, "hello", messageSerial.Add(1), now.Add(-time.Minute))
				for range 2 { // a copy is answered alike
					res, err := s.deliver(t.Context(), message)
					if err != nil || res.Attempts != 1 || res.Reply != want {
						t.Errorf("%v after %d attempts, reply\n%s\nwant\n%s", err, res.Attempts, res.Reply, want)
					}
				}
			})
		}
	}, wechatopen.WithClock(func() time.Time { return now }))
}

func TestReplyIsSealedAsWeChatDocuments(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		message := s.textXML("hello")
		envelope := regexp.MustCompile(`^<xml><Encrypt><!\[CDATA\[[A-Za-z0-9+/]+=*\]\]></Encrypt><MsgSignature><!\[CDATA\[[0-9a-f]{40}\]\]></MsgSignature>` +
			fmt.Sprintf("<TimeStamp>%d</TimeStamp>", now.Unix()) + `<Nonce><!\[CDATA\[415670741\]\]></Nonce></xml>$`)
		ciphers := map[string]bool{}
		for range 3 {
			got := do(t, nil, s.make(t, wechattest.PushSpec{XML: message, Nonce: "415670741"}))
			if !envelope.MatchString(got.Body) || got.Header.Get("Content-Type") != "application/xml; charset=utf-8" {
				t.Errorf("answered %q, %q", got.Body, got.Header)
			}
			if strings.Contains(got.Body, s.openID) || strings.Contains(got.Body, "hello") {
				t.Errorf("the answer is in the clear: %s", got.Body)
			}
			ciphers[cipherOfBody(t, got.Body)] = true
		}
		if len(ciphers) != 3 {
			t.Error("two answers are equal in their ciphertext: the random bytes are not")
		}
	}, wechatopen.WithClock(func() time.Time { return now }))
}

func cipherOfBody(t *testing.T, body string) string {
	t.Helper()
	var envelope struct{ Encrypt string }
	if err := xml.Unmarshal([]byte(body), &envelope); err != nil {
		t.Fatal(err)
	}
	return envelope.Encrypt
}

func TestNilReplyIsSuccessInTheClear(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		s.handler.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) { return nil, nil }
		got := s.send(t, s.textXML("hello"))
		if got.Status != http.StatusOK || got.Body != "success" || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("answered %d %q, %q", got.Status, got.Body, got.Header)
		}
	})
}

// asXMLCarries is s with U+FFFD for what XML 1.0 cannot hold.
func asXMLCarries(s string) string {
	var out strings.Builder
	for _, r := range s { // each byte that is not UTF-8 counts as one
		if r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000 {
			out.WriteRune(r)
		} else {
			out.WriteRune(utf8.RuneError)
		}
	}
	return out.String()
}

// strictXML sees that there is one document, well-formed to its end.
func strictXML(document string) error {
	if !utf8.ValidString(document) {
		return errors.New("not UTF-8")
	}
	d := xml.NewDecoder(strings.NewReader(document))
	roots, depth := 0, 0
	for {
		tok, err := d.Token()
		if err == io.EOF && roots == 1 && depth == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		switch tok.(type) {
		case xml.StartElement:
			if depth++; depth == 1 {
				roots++
			}
		case xml.EndElement:
			depth--
		case xml.Directive, xml.ProcInst, xml.Comment:
			return fmt.Errorf("holds a %T", tok)
		}
	}
}

var hostileTexts = map[string]string{
	"end of CDATA":         "a]]>b",
	"ends of CDATA":        "]]>]]>]]>",
	"half an end":          "a]]",
	"end in pieces":        "]]]]>>]>",
	"CDATA inside":         "<![CDATA[x]]>",
	"nested CDATA":         "<![CDATA[<![CDATA[]]>]]>",
	"injection":            "]]></Content><MsgType>image</MsgType><Content><![CDATA[",
	"NUL":                  "a\x00b",
	"end with NUL between": "]]\x00>",
	"end with bad between": "]]\xff>",
	"control characters":   "\x01\x08\x0b\x0c\x0e\x1f\x7f\u0080\u009f",
	"invalid UTF-8":        "a\xff\xfe\xc3(\xe4\xbd",
	"surrogates":           "\xed\xa0\x80\xed\xbf\xbf",
	"overlong":             "\xc0\xaf\xe0\x80\xaf",
	"beyond Unicode":       "\xf4\x90\x80\x80",
	"not characters":       "\ufffe\uffff\U0001fffe",
	"the replacement":      "\ufffd",
	"blanks":               " \t\n a \n\n ",
	"line separators":      "\u0085\u2028\u2029\ufeff",
	"markup":               `<a href="weixin://x">&amp;&lt;&#0;</a>`,
	"emoji":                "👨‍👩‍👧‍👦🇨🇳",
	"Chinese":              "您好，世界",
	"Windows line ends":    "a\r\nb",
	"carriage returns":     "\ra\r\rb\r",
	"a carriage return, >": "]]\r>",
	"end, carriage return": "]]>\r]]>",
	"carriage return, bad": "\r\xff\r\x00",
}

// attacks.md 18
func TestReplyTextIsWellFormedAndAsNearAsXMLCanCarryIt(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		for name, text := range hostileTexts {
			t.Run(name, func(t *testing.T) {
				s.handler.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
					return wechatopen.Text(text), nil
				}
				message := s.textXML("hello")
				for _, attempt := range []string{"first", "copy"} {
					res, err := s.deliver(t.Context(), message)
					if err != nil {
						t.Fatal(attempt, err)
					}
					if err := strictXML(res.Reply); err != nil {
						t.Fatalf("%s: %v in %q", attempt, err, res.Reply)
					}
					got := parseTextReply(t, res.Reply)
					if want := asXMLCarries(text); got.Content != want || got.ToUserName != s.openID || got.FromUserName != s.wx.UserName() {
						t.Errorf("%s: %q arrives as %q, want %q; to %q", attempt, text, got.Content, want, got.ToUserName)
					}
				}
			})
		}
	})
}

// attacks.md 18: in every text of every kind.
func TestEveryTextOfAReplyIsEscaped(t *testing.T) {
	s := newMessageSite(t, true)
	const bad = "a]]><x>\x00\xff"
	for name, reply := range map[string]wechatopen.Reply{
		"image": wechatopen.Image(bad), "voice": wechatopen.Voice(bad), "video": wechatopen.Video(bad, bad, bad),
		"music": wechatopen.Music(wechatopen.MusicReply{ThumbMediaID: bad, Title: bad, Description: bad, URL: bad, HQURL: bad}),
		"news":  wechatopen.News(wechatopen.Article{Title: bad, Description: bad, PicURL: bad, URL: bad}), "transfer": wechatopen.TransferCustomerService(bad),
	} {
		t.Run(name, func(t *testing.T) {
			s.handler.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) { return reply, nil }
			res, err := s.deliver(t.Context(), s.textXML("hello"))
			if err != nil {
				t.Fatal(err)
			}
			if err := strictXML(res.Reply); err != nil || strings.Contains(strings.ReplaceAll(res.Reply, "]]]]><![CDATA[>", ""), "]]><x>") {
				t.Errorf("%v in %q", err, res.Reply)
			}
		})
	}
}

// The sender's id comes back in the reply: it is a text too.
func TestReplyEscapesTheIDsOfTheMessage(t *testing.T) {
	s := newMessageSite(t, true)
	const odd = "o]]><Content>x"
	got := s.takes(t, s.make(t, wechattest.PushSpec{XML: s.wx.TextXML(odd, "hello", messageSerial.Add(1), s.sim.Now())}))
	if got.ToUserName != odd || got.Content != "re: hello" {
		t.Errorf("reply %+v", got)
	}
}

// A passive reply can be big; none of it is lost.
func TestBigReplyArrivesWhole(t *testing.T) {
	s := newMessageSite(t, true)
	big := strings.Repeat("很长]]>", 20_000)
	s.handler.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) { return wechatopen.Text(big), nil }
	res, err := s.deliver(t.Context(), s.textXML("hello"))
	if err != nil || parseTextReply(t, res.Reply).Content != big {
		t.Errorf("%v, %d bytes", err, len(res.Reply))
	}
}

// A Reply is used for many messages at once.
func TestReplyCanBeShared(t *testing.T) {
	s := newMessageSite(t, true)
	shared := wechatopen.News(wechatopen.Article{Title: "shared"})
	s.handler.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) { return shared, nil }
	answers := make(chan string, 20)
	for i := range cap(answers) {
		go func() {
			from := fmt.Sprint("oUser", i)
			res, err := s.wx.PushMessage(context.Background(), s.wx.TextXML(from, "hello", messageSerial.Add(1), s.sim.Now()))
			if err != nil || !strings.Contains(res.Reply, "<ToUserName><![CDATA["+from+"]]>") || !strings.Contains(res.Reply, "shared") {
				answers <- fmt.Sprintf("%v %v", err, res)
				return
			}
			answers <- ""
		}()
	}
	for range cap(answers) {
		if bad := <-answers; bad != "" {
			t.Error(bad)
		}
	}
}

// A response that cannot be written, as when WeChat has left, is no reason to handle the message again.
func TestReplyThatCannotBeWrittenIsKeptForTheCopy(t *testing.T) {
	s := newMessageSite(t, true)
	message := s.textXML("hello")
	s.handler.ServeHTTP(brokenWriter{httptest.NewRecorder()}, s.make(t, wechattest.PushSpec{XML: message}))
	before := s.handled()
	if got := s.send(t, message); got.Status != http.StatusOK || parseTextReply(t, s.open(t, got.Body)).Content != "re: hello" || s.handled() != before || before != 1 {
		t.Errorf("the copy is answered %d %q, handled %d times", got.Status, got.Body, s.handled())
	}
}

type brokenWriter struct{ http.ResponseWriter }

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }
