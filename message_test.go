package wechatopen_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// messageSamples are messages as WeChat's documentation shows them, between the sender and the end, and what is read of
// them beside the common fields.
var messageSamples = []struct {
	name, msgType, rest string
	want                wechatopen.Message
}{
	{"text", "text", "<Content><![CDATA[this is a test]]></Content><MsgId>1234567890123456</MsgId><MsgDataId>x</MsgDataId><Idx>1</Idx>",
		wechatopen.Message{Content: "this is a test", MsgID: 1234567890123456}},
	{"text with blanks, markup and emoji", "text", "<Content><![CDATA[ <b>你好</b> & 😀\n]]></Content><MsgId>9223372036854775807</MsgId>",
		wechatopen.Message{Content: " <b>你好</b> & 😀\n", MsgID: 9223372036854775807}},
	{"image", "image", "<PicUrl><![CDATA[https://mmbiz.qpic.cn/a?b=1&c=2]]></PicUrl><MediaId><![CDATA[media_id]]></MediaId><MsgId>1</MsgId>",
		wechatopen.Message{PicURL: "https://mmbiz.qpic.cn/a?b=1&c=2", MediaID: "media_id", MsgID: 1}},
	{"voice", "voice", "<MediaId><![CDATA[media_id]]></MediaId><Format><![CDATA[amr]]></Format><MsgId>2</MsgId>",
		wechatopen.Message{MediaID: "media_id", Format: "amr", MsgID: 2}},
	{"voice, recognised", "voice", "<MediaId>m</MediaId><Format>speex</Format><Recognition><![CDATA[腾讯微信团队]]></Recognition><MsgId>3</MsgId>",
		wechatopen.Message{MediaID: "m", Format: "speex", Recognition: "腾讯微信团队", MsgID: 3}},
	{"video", "video", "<MediaId><![CDATA[media_id]]></MediaId><ThumbMediaId><![CDATA[thumb]]></ThumbMediaId><MsgId>4</MsgId>",
		wechatopen.Message{MediaID: "media_id", ThumbMediaID: "thumb", MsgID: 4}},
	{"shortvideo", "shortvideo", "<MediaId><![CDATA[media_id]]></MediaId><ThumbMediaId><![CDATA[thumb]]></ThumbMediaId><MsgId>5</MsgId>",
		wechatopen.Message{MediaID: "media_id", ThumbMediaID: "thumb", MsgID: 5}},
	{"location", "location", "<Location_X>23.134521</Location_X><Location_Y>113.358803</Location_Y><Scale>20</Scale><Label><![CDATA[位置信息]]></Label><MsgId>6</MsgId>",
		wechatopen.Message{Latitude: 23.134521, Longitude: 113.358803, Scale: 20, Label: "位置信息", MsgID: 6}},
	{"location in the southwest", "location", "<Location_X>-33.45</Location_X><Location_Y>-70.66</Location_Y><Scale>16</Scale><Label></Label><MsgId>7</MsgId>",
		wechatopen.Message{Latitude: -33.45, Longitude: -70.66, Scale: 16, MsgID: 7}},
	{"link", "link", "<Title><![CDATA[公众平台官网链接]]></Title><Description><![CDATA[链接]]></Description><Url><![CDATA[https://mp.weixin.qq.com/s?a=1&b=2]]></Url><MsgId>8</MsgId>",
		wechatopen.Message{Title: "公众平台官网链接", Description: "链接", URL: "https://mp.weixin.qq.com/s?a=1&b=2", MsgID: 8}},
	{"subscribe", "event", "<Event><![CDATA[subscribe]]></Event>",
		wechatopen.Message{Event: "subscribe"}},
	{"subscribe by a scene", "event", "<Event><![CDATA[subscribe]]></Event><EventKey><![CDATA[qrscene_123123]]></EventKey><Ticket><![CDATA[TICKET]]></Ticket>",
		wechatopen.Message{Event: "subscribe", EventKey: "qrscene_123123", Ticket: "TICKET"}},
	{"unsubscribe", "event", "<Event><![CDATA[unsubscribe]]></Event><EventKey><![CDATA[]]></EventKey>",
		wechatopen.Message{Event: "unsubscribe"}},
	{"SCAN", "event", "<Event><![CDATA[SCAN]]></Event><EventKey><![CDATA[SCENE_VALUE]]></EventKey><Ticket><![CDATA[TICKET]]></Ticket>",
		wechatopen.Message{Event: "SCAN", EventKey: "SCENE_VALUE", Ticket: "TICKET"}},
	{"LOCATION", "event", "<Event><![CDATA[LOCATION]]></Event><Latitude>23.137466</Latitude><Longitude>113.352425</Longitude><Precision>119.385040</Precision>",
		wechatopen.Message{Event: "LOCATION", Latitude: 23.137466, Longitude: 113.352425, Precision: 119.38504}},
	{"CLICK", "event", "<Event><![CDATA[CLICK]]></Event><EventKey><![CDATA[EVENTKEY]]></EventKey>",
		wechatopen.Message{Event: "CLICK", EventKey: "EVENTKEY"}},
	{"VIEW", "event", "<Event><![CDATA[VIEW]]></Event><EventKey><![CDATA[www.qq.com/?a=1&b=2]]></EventKey>",
		wechatopen.Message{Event: "VIEW", EventKey: "www.qq.com/?a=1&b=2"}},
	{"TEMPLATESENDJOBFINISH", "event", "<Event><![CDATA[TEMPLATESENDJOBFINISH]]></Event><Status><![CDATA[failed:user block]]></Status>",
		wechatopen.Message{Event: "TEMPLATESENDJOBFINISH", Status: "failed:user block"}},
	{"MASSSENDJOBFINISH", "event", "<Event><![CDATA[MASSSENDJOBFINISH]]></Event><Status><![CDATA[err(10001)]]></Status><TotalCount>100</TotalCount><FilterCount>80</FilterCount><SentCount>75</SentCount><ErrorCount>5</ErrorCount>",
		wechatopen.Message{Event: "MASSSENDJOBFINISH", Status: "err(10001)", TotalCount: 100, FilterCount: 80, SentCount: 75, ErrorCount: 5}},
	{"weapp_audit_success", "event", "<Event><![CDATA[weapp_audit_success]]></Event><SuccTime>1488856741</SuccTime>",
		wechatopen.Message{Event: "weapp_audit_success"}},
	{"weapp_audit_fail", "event", "<Event><![CDATA[weapp_audit_fail]]></Event><Reason><![CDATA[1:账号信息不符合规范:<br>(1):包含色情因素<br>]]></Reason><FailTime>1488856591</FailTime><ScreenShot>xxx|yyy|zzz</ScreenShot>",
		wechatopen.Message{Event: "weapp_audit_fail", Reason: "1:账号信息不符合规范:<br>(1):包含色情因素<br>"}},
	{"weapp_audit_delay", "event", "<Event><![CDATA[weapp_audit_delay]]></Event><Reason><![CDATA[为了更好的服务小程序]]></Reason><DelayTime>1488856591</DelayTime>",
		wechatopen.Message{Event: "weapp_audit_delay", Reason: "为了更好的服务小程序"}},
	{"wxa_nickname_audit", "event", "<Event><![CDATA[wxa_nickname_audit]]></Event><ret>2</ret><nickname><![CDATA[昵称]]></nickname><reason><![CDATA[驳回原因]]></reason>",
		wechatopen.Message{Event: "wxa_nickname_audit", Reason: "驳回原因"}},
}

func TestMessageHasTheFieldsOfItsKind(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		for i, tt := range messageSamples {
			t.Run(tt.name, func(t *testing.T) {
				at := s.sim.Now().Add(time.Duration(i) * time.Second).Truncate(time.Second)
				message := s.wx.MessageXML(s.openID, tt.msgType, 0, at, tt.rest)
				s.takes(t, s.make(t, wechattest.PushSpec{XML: message}))
				want := tt.want
				want.AppID, want.ToUserName, want.FromUserName = s.wx.AppID(), s.wx.UserName(), s.openID
				want.CreateTime, want.MsgType, want.Raw = time.Unix(at.Unix(), 0), tt.msgType, []byte(message)
				if diff := cmp.Diff(&want, s.lastMessage(t)); diff != "" {
					t.Error(diff)
				}
				kind := tt.msgType
				if tt.want.Event != "" {
					kind += "/" + tt.want.Event
				}
				if got := s.lastTraced(t).infoType; got != kind {
					t.Errorf("Trace.Push was told of %q, want %q", got, kind)
				}
			})
		}
	})
}

func TestMessageDecodesIntoAStructOfOnesOwn(t *testing.T) {
	s := newMessageSite(t, false)
	s.takes(t, s.make(t, wechattest.PushSpec{XML: s.wx.MessageXML(s.openID, "event", 0, s.sim.Now(),
		"<Event>pic_weixin</Event><SendPicsInfo><Count>2</Count><PicList><item><PicMd5Sum>a</PicMd5Sum></item><item><PicMd5Sum>b</PicMd5Sum></item></PicList></SendPicsInfo>")}))
	m := s.lastMessage(t)
	var pics struct {
		Count int      `xml:"SendPicsInfo>Count"`
		Sums  []string `xml:"SendPicsInfo>PicList>item>PicMd5Sum"`
	}
	if err := m.Decode(&pics); err != nil || pics.Count != 2 || fmt.Sprint(pics.Sums) != "[a b]" {
		t.Errorf("%+v, %v", pics, err)
	}
	var wrong struct {
		Event int
	}
	if err := m.Decode(&wrong); err == nil || strings.Contains(err.Error(), "pic_weixin") {
		t.Errorf("into a number: %v; want an error that does not quote the message", err)
	}
	if err := m.Decode(wrong); err == nil {
		t.Error("no error for what is no pointer")
	}
}

func TestMessagePrintsWithoutItsContent(t *testing.T) {
	m := wechatopen.Message{AppID: "wx1", ToUserName: "gh_1", FromUserName: "oAlice", MsgType: "text", MsgID: 7, Content: "my secret", Recognition: "my secret",
		Label: "my secret", EventKey: "my secret", Raw: []byte("<xml>my secret</xml>"), CreateTime: time.Unix(1, 0)}
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	log.Info("x", "m", m, "p", &m)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "m", m, "p", &m)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&out, format+format+"\n", m, &m)
	}
	if got := out.String(); strings.Contains(got, "secret") {
		t.Errorf("the content is printed:\n%s", got)
	}
	for _, want := range []string{"wx1", "text", "7", "oAlice"} {
		if !strings.Contains(m.String(), want) {
			t.Errorf("%s does not say %s", m, want)
		}
	}
	event := wechatopen.Message{AppID: "wx1", MsgType: "event", Event: "CLICK", EventKey: "my secret"}
	if got := event.String(); !strings.Contains(got, "CLICK") || strings.Contains(got, "secret") {
		t.Error(got)
	}
}

// attacks.md 42
func TestNoMessageReachesTheLogOrAnError(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		s.log.reset()
		var errs []string
		s.handler.OnError = func(w http.ResponseWriter, _ *http.Request, err error) {
			errs = append(errs, fmt.Sprintf("%v %#v", err, err))
			w.WriteHeader(wechatopen.HTTPStatus(err))
		}
		const secret = "my id card is 110101"
		fail := false
		s.handler.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
			if fail {
				return nil, fmt.Errorf("database is away")
			}
			return wechatopen.Text("you said " + secret), nil
		}
		s.send(t, s.textXML(secret))
		fail = true
		s.send(t, s.textXML(secret))
		s.send(t, strings.Replace(s.textXML(secret), "MsgType", secret, 1)) // malformed
		s.send(t, strings.ReplaceAll(s.textXML(secret), s.wx.UserName(), "gh_of_another"))
		s.send(t, "<xml><Content>"+secret+"</Content></xml>")
		if len(errs) != 4 {
			t.Errorf("%d errors: %q", len(errs), errs)
		}
		for _, text := range append(errs, s.log.String()) {
			for _, word := range []string{"110101", s.creds.AppSecret, s.creds.Token, s.creds.EncodingAESKey} {
				if strings.Contains(text, word) {
					t.Errorf("%q is told in %s", word, text)
				}
			}
		}
	})
}

// Content is what another parser reads, blanks and all.
func TestMessageIsReadTheSameByEncodingXML(t *testing.T) {
	s := newMessageSite(t, true)
	content := "a]]>b & <c> \u2028 \t\n 你好 😀"
	s.takes(t, s.make(t, wechattest.PushSpec{XML: s.textXML(content)}))
	m := s.lastMessage(t)
	var by struct{ Content string }
	if err := xml.Unmarshal(m.Raw, &by); err != nil || by.Content != m.Content || m.Content != content {
		t.Errorf("Content %q, by encoding/xml %q, %v; sent %q", m.Content, by.Content, err, content)
	}
}
