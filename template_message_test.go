package wechatopen_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

const opTemplateSend = "/cgi-bin/message/template/send"

func TestTemplatesAreListedAndDeleted(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	got, err := a.Templates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var want []wechatopen.Template
	for _, m := range w.shop.Templates() {
		want = append(want, wechatopen.Template{ID: m.ID, Title: m.Title, Content: m.Content, Example: m.Example,
			PrimaryIndustry: m.PrimaryIndustry, DeputyIndustry: m.DeputyIndustry})
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got) < 2 {
		t.Fatalf("templates (-want +got):\n%s", diff)
	}
	if err := a.DeleteTemplate(t.Context(), got[0].ID); err != nil {
		t.Fatal(err)
	}
	if body, want := w.lastBody("/cgi-bin/template/del_private_template"), `{"template_id":"`+got[0].ID+`"}`; body != want {
		t.Errorf("sent %s, want %s", body, want)
	}
	if err := a.DeleteTemplate(t.Context(), got[0].ID); refusedWith(err) != 40037 {
		t.Errorf("deleted again: %v, want errcode 40037", err)
	}
	if left, err := a.Templates(t.Context()); err != nil || cmp.Diff(want[1:], left) != "" {
		t.Errorf("left are %v, %v", left, err)
	}
	w.sim.Inject(wechattest.Fault{Path: "/cgi-bin/template/get_all_private_template", Times: 1, Body: []byte(`{"template_list":[{"title":"x"},7]}`)})
	if list, err := a.Templates(t.Context()); err == nil || list != nil {
		t.Errorf("garbage is read as %v, %v", list, err)
	}
}

func TestTemplateMessageIsSentToAFollowerAndItsOutcomeComesBack(t *testing.T) {
	for _, own := range []bool{false, true} {
		s := newMessageSite(t, own)
		a := s.handler.Account
		if !own {
			a = s.platform.Account(s.wx.AppID())
		}
		events := make(chan *wechatopen.Message, 10)
		s.handler.Handle = func(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
			events <- m
			return nil, nil
		}
		if _, err := s.wx.Follow(t.Context(), s.alice, ""); err != nil {
			t.Fatal(err)
		}
		receive(t, events, "subscribe")
		template := s.wx.Templates()[0].ID
		for name, test := range map[string]struct {
			m    wechatopen.TemplateMessage
			want string
		}{
			"plain": {wechatopen.TemplateMessage{Data: map[string]wechatopen.TemplateValue{"first": {Value: "你好 <&> \"爱丽丝\""}}},
				`{"touser":"ALICE","template_id":"TEMPLATE","data":{"first":{"value":"你好 <&> \"爱丽丝\""}}}`},
			"without values": {wechatopen.TemplateMessage{}, `{"touser":"ALICE","template_id":"TEMPLATE","data":{}}`},
			"with everything": {wechatopen.TemplateMessage{
				URL: "https://shop.example/?a=1&b=2", MiniProgram: &wechatopen.TemplateMiniProgram{AppID: "wx0123456789abcdef", PagePath: "index?a=1&b=2"},
				ClientMsgID: "order-1", Data: map[string]wechatopen.TemplateValue{"first": {Value: "a", Color: "#173177"}, "keyword1": {Value: "b"}},
			}, `{"touser":"ALICE","template_id":"TEMPLATE","url":"https://shop.example/?a=1&b=2","miniprogram":{"appid":"wx0123456789abcdef","pagepath":"index?a=1&b=2"},` +
				`"client_msg_id":"order-1","data":{"first":{"value":"a","color":"#173177"},"keyword1":{"value":"b"}}}`},
			"to a mini program's home page": {wechatopen.TemplateMessage{
				MiniProgram: &wechatopen.TemplateMiniProgram{AppID: "wx0123456789abcdef"}, Data: map[string]wechatopen.TemplateValue{},
			}, `{"touser":"ALICE","template_id":"TEMPLATE","miniprogram":{"appid":"wx0123456789abcdef"},"data":{}}`},
		} {
			test.m.ToUser, test.m.TemplateID = s.openID, template
			id, err := a.SendTemplate(t.Context(), &test.m)
			if err != nil || id == 0 {
				t.Errorf("%s: %d, %v", name, id, err)
				continue
			}
			got := strings.NewReplacer(s.openID, "ALICE", template, "TEMPLATE").Replace(s.lastBody(opTemplateSend))
			if got != test.want {
				t.Errorf("%s: sent\n%s\nwant\n%s", name, got, test.want)
			}
			m := receive(t, events, "TEMPLATESENDJOBFINISH")
			if m.Event != "TEMPLATESENDJOBFINISH" || m.SentMsgID != id || m.Status != "success" || m.FromUserName != s.openID {
				t.Errorf("%s: the outcome is %s, of message %d, %q; want that of %d", name, m, m.SentMsgID, m.Status, id)
			}
		}
		sent := s.wx.Sent()
		if len(sent) != 4 {
			t.Errorf("Alice was shown %d messages, want 4", len(sent))
		}
	}
}

func TestTemplateMessageThatWeChatRefuses(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	alice, template := w.shop.OpenID(w.alice), w.shop.Templates()[0].ID
	send := func(to, template string) error {
		_, err := a.SendTemplate(t.Context(), &wechatopen.TemplateMessage{ToUser: to, TemplateID: template, Data: map[string]wechatopen.TemplateValue{"first": {Value: "x"}}})
		return err
	}
	// Follows is the check beforehand.
	if follows, err := a.Follows(t.Context(), alice); follows || err != nil {
		t.Errorf("Follows: %t, %v", follows, err)
	}
	if err := send(alice, template); refusedWith(err) != 43004 {
		t.Errorf("to one who does not follow: %v, want errcode 43004", err)
	}
	if _, err := w.shop.Follow(t.Context(), w.alice, ""); err != nil {
		t.Fatal(err)
	}
	if follows, err := a.Follows(t.Context(), alice); !follows || err != nil {
		t.Errorf("Follows: %t, %v", follows, err)
	}
	if err := send(alice, template); err != nil {
		t.Error(err)
	}
	if err := send(alice, "nothing"); refusedWith(err) != 40037 {
		t.Errorf("of an unknown template: %v, want errcode 40037", err)
	}
	if err := send("nobody", template); refusedWith(err) != 40003 {
		t.Errorf("to nobody: %v, want errcode 40003", err)
	}
	if _, err := w.shop.Unfollow(t.Context(), w.alice); err != nil {
		t.Fatal(err)
	}
	if err := send(alice, template); refusedWith(err) != 43004 {
		t.Errorf("to one who has left: %v, want errcode 43004", err)
	}
}

func TestClientMsgIDKeepsAMessageFromBeingSentTwice(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	if _, err := w.shop.Follow(t.Context(), w.alice, ""); err != nil {
		t.Fatal(err)
	}
	m := &wechatopen.TemplateMessage{ToUser: w.shop.OpenID(w.alice), TemplateID: w.shop.Templates()[0].ID, ClientMsgID: "order-1",
		Data: map[string]wechatopen.TemplateValue{"first": {Value: "x"}}}
	for range 3 {
		if _, err := a.SendTemplate(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(w.shop.Sent()); n != 1 {
		t.Errorf("Alice was shown %d messages within ten minutes, want 1", n)
	}
	w.sim.Advance(10*time.Minute + time.Second)
	if _, err := a.SendTemplate(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if n := len(w.shop.Sent()); n != 2 {
		t.Errorf("Alice was shown %d messages after that, want 2", n)
	}
}
