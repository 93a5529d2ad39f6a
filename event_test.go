package wechatopen_test

import (
	"bytes"
	"context"
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

// eventSample is a push as WeChat sends it, and what is read from it. APPID stands for the component's appid.
type eventSample struct {
	name string
	xml  string
	want wechatopen.Event // without AppID and Raw
}

// eventSamples are all kinds that are known but those that change something, in the shapes in which they were seen:
// strings in CDATA and numbers bare, some the other way round; elements in an order of their own.
var eventSamples = []eventSample{
	{"fast registration of an enterprise", `<xml><AppId><![CDATA[APPID]]></AppId>
<CreateTime>1592978881</CreateTime>
<InfoType><![CDATA[notify_third_fasteregister]]></InfoType><status>0</status>
<msg><![CDATA[OK]]></msg>
<appid><![CDATA[wxba5fad812f8e6fb9]]></appid>
<auth_code><![CDATA[queryauthcode@@@fast]]></auth_code>
<info>
<name><![CDATA[深圳市某某科技有限公司 & Söhne <GmbH>]]></name>
<code><![CDATA[91440300MA5EX00000]]></code>
<code_type>1</code_type>
<legal_persona_wechat><![CDATA[candy]]></legal_persona_wechat>
<legal_persona_name><![CDATA[张三]]></legal_persona_name>
<component_phone><![CDATA[+86 138 0013 8000]]></component_phone>
</info>
</xml>`, wechatopen.Event{InfoType: wechatopen.InfoFastRegister, CreateTime: time.Unix(1592978881, 0), MiniProgram: &wechatopen.MiniProgramEvent{
		AppID: "wxba5fad812f8e6fb9", AuthCode: "queryauthcode@@@fast", Message: "OK",
		Name: "深圳市某某科技有限公司 & Söhne <GmbH>", Code: "91440300MA5EX00000", CodeType: "1",
		LegalPersonaWechat: "candy", LegalPersonaName: "张三", ComponentPhone: "+86 138 0013 8000",
	}}},
	{"fast registration of a person", `<xml><info><idname><![CDATA[李四]]></idname><component_phone>13800138000</component_phone><wxuser><![CDATA[lisi]]></wxuser></info>
<auth_code>queryauthcode@@@person</auth_code><appid>wx1</appid><msg>OK</msg><status><![CDATA[0]]></status>
<InfoType>notify_third_fasteregister</InfoType><CreateTime><![CDATA[1592978882]]></CreateTime><AppId>APPID</AppId></xml>`,
		wechatopen.Event{InfoType: wechatopen.InfoFastRegister, CreateTime: time.Unix(1592978882, 0), MiniProgram: &wechatopen.MiniProgramEvent{
			AppID: "wx1", AuthCode: "queryauthcode@@@person", Message: "OK", WxUser: "lisi", IDName: "李四", ComponentPhone: "13800138000",
		}}},
	{"fast registration that failed", `<xml><AppId>APPID</AppId><CreateTime>1592978883</CreateTime><InfoType>notify_third_fasteregister</InfoType>
<status>-1</status><msg><![CDATA[check legal persona and enterprise fail]]></msg><info><name>n</name></info></xml>`,
		wechatopen.Event{InfoType: wechatopen.InfoFastRegister, CreateTime: time.Unix(1592978883, 0), MiniProgram: &wechatopen.MiniProgramEvent{
			Status: -1, Message: "check legal persona and enterprise fail", Name: "n",
		}}},
	{"trial registration", `<xml><AppId>APPID</AppId><CreateTime>1592978884</CreateTime><InfoType>notify_third_fastregisterbetaapp</InfoType>
<appid>wx2</appid><status>0</status><msg>OK</msg><info><unique_id><![CDATA[u-1]]></unique_id><name><![CDATA[试用]]></name></info></xml>`,
		wechatopen.Event{InfoType: wechatopen.InfoFastRegisterBeta, CreateTime: time.Unix(1592978884, 0), MiniProgram: &wechatopen.MiniProgramEvent{
			AppID: "wx2", Message: "OK", UniqueID: "u-1", Name: "试用",
		}}},
	{"trial made formal", `<xml><AppId>APPID</AppId><CreateTime>1592978885</CreateTime><InfoType>notify_third_fastverifybetaapp</InfoType>
<appid>wx3</appid><status>86001</status><msg>no</msg><info><name>n</name><code>c</code><code_type>2</code_type>
<legal_persona_wechat>w</legal_persona_wechat><legal_persona_name>l</legal_persona_name><component_phone>1</component_phone></info></xml>`,
		wechatopen.Event{InfoType: wechatopen.InfoFastVerifyBeta, CreateTime: time.Unix(1592978885, 0), MiniProgram: &wechatopen.MiniProgramEvent{
			AppID: "wx3", Status: 86001, Message: "no", Name: "n", Code: "c", CodeType: "2", LegalPersonaWechat: "w", LegalPersonaName: "l", ComponentPhone: "1",
		}}},
	{"filing, face check", `<xml><AppId>APPID</AppId><CreateTime>1592978886</CreateTime><InfoType>notify_icpfiling_verify_result</InfoType>
<task_id><![CDATA[task-7]]></task_id><verify_appid>wx4</verify_appid><result>3</result><along_with_auth_result>9</along_with_auth_result></xml>`,
		wechatopen.Event{InfoType: wechatopen.InfoFilingVerifyResult, CreateTime: time.Unix(1592978886, 0), Filing: &wechatopen.FilingEvent{
			AppID: "wx4", TaskID: "task-7", Result: 3, AlongWithAuthResult: 9,
		}}},
	{"filing, outcome", `<xml><AppId>APPID</AppId><CreateTime>1592978887</CreateTime><InfoType>notify_apply_icpfiling_result</InfoType>
<authorizer_appid><![CDATA[wx5]]></authorizer_appid><beian_status>6</beian_status></xml>`,
		wechatopen.Event{InfoType: wechatopen.InfoFilingApplyResult, CreateTime: time.Unix(1592978887, 0), AuthorizerAppID: "wx5", Filing: &wechatopen.FilingEvent{
			AppID: "wx5", Status: 6,
		}}},
	{"verification", `<xml><AppId>APPID</AppId><CreateTime>1592978888</CreateTime><InfoType>notify_3rd_wxa_auth</InfoType>
<dispatch_info><dispatch_time>1592978000</dispatch_time><contact>0755-1</contact><provider><![CDATA[某机构]]></provider></dispatch_info>
<message><![CDATA[审核中]]></message><apply_status>2</apply_status><task_status>12</task_status><taskid>t1</taskid><appid>wx6</appid></xml>`,
		wechatopen.Event{InfoType: wechatopen.InfoMiniProgramAuth, CreateTime: time.Unix(1592978888, 0), MiniProgram: &wechatopen.MiniProgramEvent{
			AppID: "wx6", Message: "审核中", TaskID: "t1", TaskStatus: 12, ApplyStatus: 2, Provider: "某机构", Contact: "0755-1", DispatchTime: time.Unix(1592978000, 0),
		}}},
	{"yearly verification", `<xml><AppId>APPID</AppId><CreateTime>1592978889</CreateTime><InfoType>notify_3rd_wxa_wxverify</InfoType>
<appid>wx7</appid><expired>1624514889</expired><message><![CDATA[60 天]]></message></xml>`,
		wechatopen.Event{InfoType: wechatopen.InfoMiniProgramVerify, CreateTime: time.Unix(1592978889, 0), MiniProgram: &wechatopen.MiniProgramEvent{
			AppID: "wx7", Message: "60 天", Expired: time.Unix(1624514889, 0),
		}}},
	{"verification and filing", `<xml><AppId>APPID</AppId><CreateTime>1592978890</CreateTime><InfoType>notify_3rd_wxa_auth_and_icp</InfoType>
<procedure_id><![CDATA[p-9]]></procedure_id><procedure_status>13</procedure_status></xml>`,
		wechatopen.Event{InfoType: wechatopen.InfoMiniProgramAuthICP, CreateTime: time.Unix(1592978890, 0), Filing: &wechatopen.FilingEvent{
			ProcedureID: "p-9", ProcedureStatus: 13,
		}}},
	{"order path applied for", `<xml><AppId>APPID</AppId><CreateTime>1592978891</CreateTime><InfoType>order_path_apply_result_notify</InfoType>
<list><appid><![CDATA[wx8]]></appid><ret_code>0</ret_code></list><other/><list><ret_code>-2</ret_code><appid>wx9</appid></list></xml>`,
		wechatopen.Event{InfoType: wechatopen.InfoOrderPathApplyResult, CreateTime: time.Unix(1592978891, 0), OrderPaths: []wechatopen.OrderPathResult{{"wx8", 0}, {"wx9", -2}}}},
	{"order path audited", `<xml><AppId>APPID</AppId><CreateTime>1592978892</CreateTime><InfoType>order_path_audit_result_notify</InfoType>
<list><appid>wx8</appid><ret_code>1</ret_code></list></xml>`,
		wechatopen.Event{InfoType: wechatopen.InfoOrderPathAuditResult, CreateTime: time.Unix(1592978892, 0), OrderPaths: []wechatopen.OrderPathResult{{"wx8", 1}}}},

	// attacks.md 11
	{"a kind that nobody knows", `<xml><AppId>APPID</AppId><CreateTime>1592978893</CreateTime><InfoType><![CDATA[notify_of_tomorrow]]></InfoType>
<appid>wx1</appid><AuthorizationCode>c</AuthorizationCode><list><appid>wx8</appid></list></xml>`,
		wechatopen.Event{InfoType: "notify_of_tomorrow", CreateTime: time.Unix(1592978893, 0)}},
	{"a kind that nobody knows, of an account", `<xml><AuthorizerAppid>wx1</AuthorizerAppid><AppId>APPID</AppId><InfoType>x</InfoType><CreateTime>1592978894</CreateTime></xml>`,
		wechatopen.Event{InfoType: "x", CreateTime: time.Unix(1592978894, 0), AuthorizerAppID: "wx1"}},
	{"elements that nobody knows", `<xml><New><AppId>wrong</AppId><InfoType>wrong</InfoType></New><AppId>APPID</AppId><CreateTime>1592978895</CreateTime>
<InfoType>notify_3rd_wxa_auth_and_icp</InfoType><procedure_id>p</procedure_id><a b="c">d<e/>f</a><procedure_status>1</procedure_status></xml>`,
		wechatopen.Event{InfoType: wechatopen.InfoMiniProgramAuthICP, CreateTime: time.Unix(1592978895, 0), Filing: &wechatopen.FilingEvent{ProcedureID: "p", ProcedureStatus: 1}}},
	{"a phone number where a number was expected", `<xml><AppId>APPID</AppId><CreateTime>1592978896</CreateTime><InfoType>notify_third_fasteregister</InfoType>
<status>+86 138 0013 8000</status><appid>wx1</appid></xml>`,
		wechatopen.Event{InfoType: wechatopen.InfoFastRegister, CreateTime: time.Unix(1592978896, 0), MiniProgram: &wechatopen.MiniProgramEvent{AppID: "wx1"}}},
	{"a number that is too large", `<xml><AppId>APPID</AppId><CreateTime>1592978897</CreateTime><InfoType>notify_third_fasteregister</InfoType>
<status>86138001380008613800138000</status><appid>wx1</appid></xml>`,
		wechatopen.Event{InfoType: wechatopen.InfoFastRegister, CreateTime: time.Unix(1592978897, 0), MiniProgram: &wechatopen.MiniProgramEvent{AppID: "wx1"}}},
	{"no info at all", `<xml><AppId>APPID</AppId><CreateTime>1592978898</CreateTime><InfoType>notify_3rd_wxa_auth</InfoType></xml>`,
		wechatopen.Event{InfoType: wechatopen.InfoMiniProgramAuth, CreateTime: time.Unix(1592978898, 0), MiniProgram: &wechatopen.MiniProgramEvent{}}},
}

func TestEventHasTheFieldsOfItsKind(t *testing.T) {
	s := newEventSite(t)
	for _, tt := range eventSamples {
		t.Run(tt.name, func(t *testing.T) {
			raw := strings.ReplaceAll(tt.xml, "APPID", s.comp.AppID())
			calls := len(s.sim.Calls())
			s.takes(t, s.make(t, wechattest.PushSpec{XML: raw}))
			want := tt.want
			want.AppID, want.Raw = s.comp.AppID(), []byte(raw)
			got := s.events[len(s.events)-1]
			// As values: an Event that prints itself would hide what differs.
			type event wechatopen.Event
			if diff := cmp.Diff(event(want), event(*got)); diff != "" {
				t.Errorf("event differs (-want +got):\n%s", diff)
			}
			if n := len(s.sim.Calls()) - calls; n != 0 {
				t.Errorf("%d calls of WeChat", n)
			}
		})
	}
}

// attacks.md 11: without a time that can be, that of the signed query stands in.
func TestEventHasATime(t *testing.T) {
	s := newEventSite(t)
	sent := s.sim.Now().Truncate(time.Second).Add(-time.Minute)
	for i, createTime := range []string{"", "<CreateTime></CreateTime>", "<CreateTime>+86 138 0013 8000</CreateTime>", "<CreateTime>-1</CreateTime>",
		"<CreateTime>99999999999999999999</CreateTime>", "<CreateTime>1592978881000</CreateTime>", "<CreateTime><a>1592978881</a></CreateTime>"} {
		xml := fmt.Sprintf("<xml><AppId>%s</AppId><InfoType>x%d</InfoType>%s</xml>", s.comp.AppID(), i, createTime)
		s.takes(t, s.make(t, wechattest.PushSpec{XML: xml, Timestamp: fmt.Sprint(sent.Unix())}))
		if got := s.events[len(s.events)-1].CreateTime; !got.Equal(sent) {
			t.Errorf("%q: CreateTime is %v, want %v", createTime, got, sent)
		}
	}
}

// OnEvent may use what the event brought.
func TestEventComesWhenThePlatformHasDealtWithIt(t *testing.T) {
	s := newEventSite(t)
	var seen []string
	s.handler.OnEvent = func(ctx context.Context, e *wechatopen.Event) error {
		s.told(e)
		_, err := s.platform.ComponentToken().Token(ctx)
		line := fmt.Sprint(e.InfoType, " component ", err == nil)
		if e.AuthorizerAppID != "" {
			_, err = s.platform.Account(e.AuthorizerAppID).AccessToken().Token(ctx)
			line += fmt.Sprint(" account ", err == nil)
		}
		seen = append(seen, line)
		return nil
	}
	shop := s.ready()
	s.sim.Advance(time.Minute)
	if _, err := s.comp.Authorize(t.Context(), s.shop); err != nil {
		t.Fatal(err)
	}
	s.sim.Advance(time.Minute)
	if err := s.comp.Unauthorize(t.Context(), s.shop); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"component_verify_ticket component true",
		"authorized component true account true",
		"updateauthorized component true account true",
		"unauthorized component true account false",
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
	for i, e := range s.events {
		if got := e.AuthorizerAppID; e.AppID != s.comp.AppID() || i > 0 && got != shop.AppID() || i == 0 && got != "" {
			t.Errorf("event %v: AuthorizerAppID %q", e, got)
		}
		authorized := i == 1 || i == 2
		if strings.HasPrefix(e.AuthorizationCode, "queryauthcode@@@") != authorized || strings.HasPrefix(e.PreAuthCode, "preauthcode@@@") != authorized ||
			authorized && !e.AuthorizationCodeExpiry.Equal(e.CreateTime.Add(time.Hour)) || !authorized && !e.AuthorizationCodeExpiry.IsZero() {
			t.Errorf("event %v: code %q, pre-auth code %q, expiry %v", e, e.AuthorizationCode, e.PreAuthCode, e.AuthorizationCodeExpiry)
		}
	}
	if n := s.sim.Count("/cgi-bin/component/api_query_auth"); n != 2 {
		t.Errorf("%d codes redeemed, want 2", n)
	}
}

// What cannot be an event of its kind is refused before it touches anything.
func TestEventWithoutWhatItsKindNeedsIsRefused(t *testing.T) {
	s := newEventSite(t)
	s.ready()
	event := func(infoType, rest string) string {
		return fmt.Sprintf("<xml><AppId>%s</AppId><InfoType>%s</InfoType><CreateTime>%d</CreateTime>%s</xml>", s.comp.AppID(), infoType, s.sim.Now().Unix(), rest)
	}
	code := "<AuthorizationCode>queryauthcode@@@x</AuthorizationCode>"
	for name, tt := range map[string]struct{ xml, why string }{
		"no InfoType":                      {event("", ""), "no InfoType"},
		"ticket push without a ticket":     {event("component_verify_ticket", ""), "without a ticket"},
		"with an empty ticket":             {event("component_verify_ticket", "<ComponentVerifyTicket> </ComponentVerifyTicket>"), "without a ticket"},
		"authorized without account":       {event("authorized", code), "AuthorizerAppid"},
		"authorized without code":          {event("authorized", "<AuthorizerAppid>wx1</AuthorizerAppid>"), "AuthorizationCode"},
		"updateauthorized without account": {event("updateauthorized", code), "AuthorizerAppid"},
		"unauthorized without account":     {event("unauthorized", ""), "AuthorizerAppid"},
		"an account with a colon":          {event("unauthorized", "<AuthorizerAppid>"+s.shop.AppID()+":access_token</AuthorizerAppid>"), "AuthorizerAppid"},
		"an account with a path":           {event("unauthorized", "<AuthorizerAppid>../ticket</AuthorizerAppid>"), "AuthorizerAppid"},
		"an account of 65 letters":         {event("unauthorized", "<AuthorizerAppid>"+strings.Repeat("a", 65)+"</AuthorizerAppid>"), "AuthorizerAppid"},
		"an account with a star":           {event("unauthorized", "<AuthorizerAppid>*</AuthorizerAppid>"), "AuthorizerAppid"},
	} {
		t.Run(name, func(t *testing.T) {
			s.refuses(t, s.make(t, wechattest.PushSpec{XML: tt.xml}), refusal{status: http.StatusBadRequest, why: tt.why})
		})
	}
}

// attacks.md 42: an event may be logged.
func TestEventPrintsWithoutItsCodes(t *testing.T) {
	e := &wechatopen.Event{
		AppID: "wxcomponent", InfoType: "authorized", CreateTime: time.Unix(1592978881, 0), AuthorizerAppID: "wxshop",
		AuthorizationCode: "queryauthcode@@@SECRET", PreAuthCode: "preauthcode@@@SECRET",
		MiniProgram: &wechatopen.MiniProgramEvent{AuthCode: "queryauthcode@@@SECRET"},
		Raw:         []byte("<xml>SECRET</xml>"),
	}
	var text, json bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("event", "event", e, "value", *e)
	slog.New(slog.NewJSONHandler(&json, nil)).Info("event", "event", e, "value", *e)
	for name, got := range map[string]string{
		"%v": fmt.Sprintf("%v %v", e, *e), "%+v": fmt.Sprintf("%+v %+v", e, *e), "%#v": fmt.Sprintf("%#v %#v", e, *e), "%s": fmt.Sprintf("%s %s", e, *e),
		"%q": fmt.Sprintf("%q %q", e, *e), "slog text": text.String(), "slog JSON": json.String(),
	} {
		if strings.Contains(got, "SECRET") || strings.Contains(got, "83 69 67") {
			t.Errorf("%s holds a code: %s", name, got)
		}
		for _, part := range []string{"authorized", "wxcomponent", "wxshop"} {
			if strings.Count(got, part) < 2 {
				t.Errorf("%s does not say %s twice: %s", name, part, got)
			}
		}
	}
}

// attacks.md 42: its part about a mini program holds a code, too.
func TestMiniProgramEventPrintsWithoutItsCode(t *testing.T) {
	m := &wechatopen.MiniProgramEvent{AppID: "wx1", AuthCode: "queryauthcode@@@SECRET"}
	var json bytes.Buffer
	slog.New(slog.NewJSONHandler(&json, nil)).Info("event", "event", m)
	for name, got := range map[string]string{"%v": fmt.Sprintf("%v %v", m, *m), "%+v": fmt.Sprintf("%+v", m), "%#v": fmt.Sprintf("%#v", m), "slog JSON": json.String()} {
		if strings.Contains(got, "SECRET") {
			t.Errorf("%s holds the code: %s", name, got)
		}
	}
}
