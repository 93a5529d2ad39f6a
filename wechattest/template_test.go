package wechattest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const templatePath = "/cgi-bin/message/template/send"

func templateList(t *testing.T, a *Account) []any {
	t.Helper()
	list, _ := accountCall(t, a, "/cgi-bin/template/get_all_private_template", nil, nil).want(t, 0)["template_list"].([]any)
	return list
}

func TestTemplatesAreListedAddedAndDeleted(t *testing.T) {
	s := Start(t)
	a := s.AddAccount(AccountConfig{Templates: []Template{{ID: "tm1", Title: "提醒", Content: "{{a.DATA}}", Example: "x", PrimaryIndustry: "IT", DeputyIndustry: "电商"}}})
	if len(templateList(t, s.AddAccount(AccountConfig{}))) == 0 {
		t.Error("an account has no sample templates")
	}
	got := templateList(t, a)
	if asJSON(got) != `[{"content":"{{a.DATA}}","deputy_industry":"电商","example":"x","primary_industry":"IT","template_id":"tm1","title":"提醒"}]` {
		t.Errorf("templates %s", asJSON(got))
	}
	add := func() answered {
		return accountCall(t, a, "/cgi-bin/template/api_add_template", nil, `{"template_id_short":"TM00015","keyword_name_list":["金额","时间"]}`)
	}
	id := add().want(t, 0).str("template_id")
	if all := a.Templates(); len(all) != 2 || all[1].ID != id || all[1].Content != "金额：{{keyword1.DATA}}\n时间：{{keyword2.DATA}}\n" {
		t.Errorf("templates %+v", all)
	}
	remove := func(id string) answered {
		return accountCall(t, a, "/cgi-bin/template/del_private_template", nil, map[string]string{"template_id": id})
	}
	remove("tm1").want(t, 0)
	remove("tm1").want(t, 40037)
	if len(templateList(t, a)) != 1 {
		t.Error("the template was not deleted")
	}
	for range maxTemplates - 1 {
		add().want(t, 0)
	}
	add().want(t, 45026)
}

func TestTemplateMessage(t *testing.T) {
	s := Start(t)
	s.AllowMisuse(templatePath)
	sv, c := startService(t, s, ComponentConfig{})
	a, u, stranger := s.AddAccount(AccountConfig{Templates: []Template{{ID: "tm", Title: "订单", Content: "{{first.DATA}}\n金额：{{keyword1.DATA}}\n{{remark.DATA}}"}}}),
		s.AddUser(UserConfig{}), s.AddUser(UserConfig{})
	c.NewAuthCode(a)
	ctx := testContext(t)
	if _, err := a.Follow(ctx, u, ""); err != nil {
		t.Fatal(err)
	}
	finished := make(chan string, 8)
	sv.answer = func(_ int, msg string) string {
		if strings.Contains(msg, "TEMPLATESENDJOBFINISH") {
			finished <- msg
		}
		return "success"
	}
	const data = `{"first":{"value":"已支付 <b>"},"keyword1":{"value":"100 元","color":"#173177"}}`
	send := func(to, template, rest string) answered {
		t.Helper()
		return accountCall(t, a, templatePath, nil, `{"touser":"`+to+`","template_id":"`+template+`"`+rest+`}`)
	}
	id := a.OpenID(u)
	got := send(id, "tm", `,"url":"https://shop.example/1","data":`+data).want(t, 0)
	if got["msgid"] == nil || got["errcode"] != 0.0 || got.str("errmsg") != "ok" {
		t.Errorf("answer %v", got)
	}
	event := <-finished
	for _, part := range []string{fmt.Sprintf("<MsgID>%.0f</MsgID>", got["msgid"]), "<Status><![CDATA[success]]>", id} {
		if !strings.Contains(event, part) {
			t.Errorf("the event lacks %s: %s", part, event)
		}
	}
	sent := a.Sent()
	if len(sent) != 1 || sent[0].Via != ViaTemplate || sent[0].OpenID != id || sent[0].Text != "已支付 <b>\n金额：100 元" ||
		sent[0].Articles[0] != (Article{Title: "订单", URL: "https://shop.example/1"}) {
		t.Errorf("sent %+v", sent)
	}
	send(a.OpenID(stranger), "tm", `,"data":`+data).want(t, 43004)
	send("oNobody", "tm", `,"data":`+data).want(t, 40003)
	send(id, "other", `,"data":`+data).want(t, 40037)
	send(id, "tm", "").want(t, 47001)
	send(id, "", `,"data":`+data).want(t, 40037)
	send("", "tm", `,"data":`+data).want(t, 40003)
	send(id, "tm", `,"miniprogram":{},"data":`+data).want(t, 40013)
	mini := s.AddAccount(AccountConfig{MiniProgram: true})
	accountCall(t, mini, templatePath, nil, `{"touser":"o1","template_id":"tm","data":{}}`).want(t, 48001)
	if len(a.Sent()) != 1 {
		t.Errorf("refused messages were sent: %+v", a.Sent())
	}

	first := send(id, "tm", `,"client_msg_id":"m1","data":`+data).want(t, 0)
	again := send(id, "tm", `,"client_msg_id":"m1","data":`+data).want(t, 0)
	if first["msgid"] != again["msgid"] || len(a.Sent()) != 2 {
		t.Errorf("the same client_msg_id: msgid %v and %v, %d sent", first["msgid"], again["msgid"], len(a.Sent()))
	}
	s.Advance(10 * time.Minute)
	if later := send(id, "tm", `,"client_msg_id":"m1","data":`+data).want(t, 0); later["msgid"] == first["msgid"] || len(a.Sent()) != 3 {
		t.Error("a client_msg_id holds for longer than ten minutes")
	}
	<-finished
	<-finished
	if _, err := a.Unfollow(ctx, u); err != nil {
		t.Fatal(err)
	}
	send(id, "tm", `,"data":`+data).want(t, 43004)
}

func TestATemplateMessageIsNoWindow(t *testing.T) {
	s := Start(t)
	a, u := s.AddAccount(AccountConfig{}), s.AddUser(UserConfig{})
	if _, err := a.Follow(testContext(t), u, ""); err != nil {
		t.Fatal(err)
	}
	s.Advance(time.Minute)
	accountCall(t, a, templatePath, nil, `{"touser":"`+a.OpenID(u)+`","template_id":"`+a.Templates()[0].ID+`","data":{}}`).want(t, 0)
	if got := sendText(t, a, a.OpenID(u)); got != 45015 {
		t.Errorf("errcode %d", got)
	}
}

func TestATemplateMessageSurvivesAFailingPush(t *testing.T) {
	s := Start(t, Config{PushAttempts: 1})
	a, u := s.AddAccount(AccountConfig{MessageURL: "http://127.0.0.1:1/"}), s.AddUser(UserConfig{})
	if _, err := a.Follow(testContext(t), u, ""); err == nil {
		t.Fatal("somebody listens on port 1")
	}
	accountCall(t, a, templatePath, nil, `{"touser":"`+a.OpenID(u)+`","template_id":"`+a.Templates()[0].ID+`","data":{}}`).want(t, 0)
	s.Close() // waits for the push, or cancels it
}
