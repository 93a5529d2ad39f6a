package wechatopen_test

import (
	"context"
	"encoding/xml"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// noNetwork is the transport of a platform that has no reason to call WeChat.
type noNetwork struct{}

func (noNetwork) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, errors.New("a call of " + r.URL.Path)
}

// fuzzedPush is what became of one push to a platform of its own.
type fuzzedPush struct {
	status   int
	body     string
	infoType string
	err      error
	events   []*wechatopen.Event
}

// servePush answers r by a TicketHandler that has seen nothing before.
func servePush(t *testing.T, creds wechatopen.Credentials, now func() time.Time, r *http.Request) (out fuzzedPush) {
	t.Helper()
	p, err := wechatopen.NewPlatform(creds, wechatopen.WithStore(wechatopen.NewMemoryStore()), wechatopen.WithClock(now),
		wechatopen.WithLogger(slog.New(slog.DiscardHandler)), wechatopen.WithHTTPClient(&http.Client{Transport: noNetwork{}}),
		wechatopen.WithTrace(&wechatopen.Trace{Push: func(_ context.Context, infoType string, err error) { out.infoType, out.err = infoType, err }}))
	if err != nil {
		t.Fatal(err)
	}
	h := &wechatopen.TicketHandler{Platform: p, OnEvent: func(_ context.Context, e *wechatopen.Event) error {
		out.events = append(out.events, e)
		return nil
	}}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	out.status, out.body = rec.Code, rec.Body.String()
	return out
}

// check sees that a push was either handled or refused, and nothing else.
func (p fuzzedPush) check(t *testing.T, appID string) {
	t.Helper()
	switch {
	case p.status == http.StatusOK:
		if p.body != "success" || p.err != nil || len(p.events) != 1 || p.events[0].AppID != appID || p.events[0].InfoType == "" {
			t.Errorf("answered 200 %q, error %v, events %v", p.body, p.err, p.events)
		}
		return
	case p.status/100 == 4:
		if p.err == nil || wechatopen.HTTPStatus(p.err) != p.status {
			t.Errorf("answered %d for %v", p.status, p.err)
		}
	case p.status == http.StatusInternalServerError && errors.Is(p.err, wechatopen.ErrNoTicket) &&
		(p.infoType == wechatopen.InfoAuthorized || p.infoType == wechatopen.InfoUpdateAuthorized):
		// Well-formed, and not to be done without a ticket: WeChat is to send it again.
	default:
		t.Errorf("answered %d for %v", p.status, p.err)
	}
	if p.body != http.StatusText(p.status)+"\n" || len(p.events) != 0 {
		t.Errorf("refused with %d %q, events %v", p.status, p.body, p.events)
	}
}

// fuzzWeChat is the simulator at the time of a sample, with the component of the sample.
func fuzzWeChat(f *testing.F, m sampleMessage) (*wechattest.Server, *wechattest.Component) {
	f.Helper()
	at := time.Unix(m.unix, 0)
	sim := wechattest.Start(f, wechattest.Config{Now: func() time.Time { return at }})
	return sim, sim.AddComponent(wechattest.ComponentConfig{AppID: m.creds.AppID, Token: m.creds.Token, EncodingAESKey: m.creds.EncodingAESKey})
}

// FuzzTicketHandlerEnvelope is any body under a signature that is right for its Encrypt.
func FuzzTicketHandlerEnvelope(f *testing.F) {
	sim, comp := fuzzWeChat(f, vectorE)
	creds := comp.Credentials()
	envelopeOf := func(spec wechattest.PushSpec) []byte {
		spec.URL = "http://site.example/"
		r, err := comp.NewPush(f.Context(), spec)
		if err != nil {
			f.Fatal(err)
		}
		return readAll(f, r)
	}
	f.Add([]byte(vectorE.body()))
	f.Add([]byte(vectorC.body()))
	f.Add(envelopeOf(wechattest.PushSpec{XML: comp.TicketXML("ticket@@@x", sim.Now())}))
	f.Add(envelopeOf(wechattest.PushSpec{}))
	f.Add([]byte("<xml><Encrypt>jn1L23DB+6ELqJ+6bruv21Y6MD7KeIfP82D6gU39rmkgczbWwt5+3bnyg5K55bgVtVzd832WzZGMhkP72vVOfg==</Encrypt></xml>"))
	f.Add([]byte(`<?xml version="1.0" encoding="GBK"?><!DOCTYPE xml [<!ENTITY a "a">]><xml><Encrypt>&a;</Encrypt></xml>`))
	f.Add([]byte("<xml>" + strings.Repeat("<a>", 20) + "</xml>"))
	f.Add([]byte(`{"ToUserName":"","Encrypt":"AAAA"}`))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		var envelope struct{ Encrypt string }
		_ = xml.Unmarshal(body, &envelope) // what is no XML is signed as if it held nothing
		encrypt := strings.TrimSpace(envelope.Encrypt)
		spec := wechattest.PushSpec{
			URL: "http://site.example/", Timestamp: strconv.FormatInt(vectorE.unix, 10), Nonce: vectorE.nonce,
			Encrypt: &encrypt, Body: append([]byte{}, body...),
		}
		r, err := comp.NewPush(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if encrypt == vectorE.encrypt && r.URL.Query().Get("msg_signature") != vectorE.signature {
			t.Fatal("the official vector has another signature")
		}
		servePush(t, creds, sim.Now, r).check(t, creds.AppID)

		// Under the signature of the official vector no other body is anything.
		spec.MsgSignature = vectorE.signature
		if r, err = comp.NewPush(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		if got := servePush(t, creds, sim.Now, r); got.status/100 != 4 || len(got.events) != 0 {
			t.Errorf("under another signature answered %d %q", got.status, got.body)
		}
	})
}

// FuzzTicketHandlerContent is any content, encrypted and signed as WeChat does.
func FuzzTicketHandlerContent(f *testing.F) {
	sim, comp := fuzzWeChat(f, vectorE)
	creds := comp.Credentials()
	shop := sim.AddAccount(wechattest.AccountConfig{})
	for _, s := range eventSamples {
		f.Add(strings.ReplaceAll(s.xml, "APPID", comp.AppID()))
	}
	f.Add(comp.TicketXML("ticket@@@x", sim.Now()))
	f.Add(comp.AuthorizedXML("authorized", shop, "queryauthcode@@@x", "preauthcode@@@x", sim.Now()))
	f.Add(comp.AuthorizedXML("updateauthorized", shop, "queryauthcode@@@x", "preauthcode@@@x", sim.Now()))
	f.Add(comp.UnauthorizedXML(shop, sim.Now()))
	// The contents of the official vectors C and E.
	f.Add("<xml><ToUserName><![CDATA[gh_10f6c3c3ac5a]]></ToUserName>\n<FromUserName><![CDATA[oyORnuP8q7ou2gfYjqLzSIWZf0rs]]></FromUserName>\n" +
		"<CreateTime>1409735668</CreateTime>\n<MsgType><![CDATA[text]]></MsgType>\n<Content><![CDATA[abcdteT]]></Content>\n<MsgId>6054768590064713728</MsgId>\n</xml>")
	f.Add("<xml><ToUserName>gh_97417a04a28d</ToUserName><MsgType>event</MsgType><Event>debug_demo</Event><debug_str>hello world</debug_str></xml>")
	f.Add("我是中文abcd123")
	f.Add("<xml>" + strings.Repeat("<a>", 20) + "</xml>")
	f.Fuzz(func(t *testing.T, content string) {
		if content == "" {
			return // means the default to NewPush; a message of no bytes is among the tests
		}
		r, err := comp.NewPush(t.Context(), wechattest.PushSpec{URL: "http://site.example/", XML: content})
		if err != nil {
			t.Fatal(err)
		}
		got := servePush(t, creds, sim.Now, r)
		got.check(t, creds.AppID)
		if got.status == http.StatusOK && string(got.events[0].Raw) != content {
			t.Errorf("Raw is %q", got.events[0].Raw)
		}
		if errors.Is(got.err, wechatopen.ErrSignature) && !strings.Contains(got.err.Error(), "another appid") {
			t.Errorf("what is signed and encrypted well was called forged: %v", got.err)
		}
	})
}

func readAll(tb testing.TB, r *http.Request) []byte {
	tb.Helper()
	var out strings.Builder
	if err := r.Write(&out); err != nil {
		tb.Fatal(err)
	}
	_, body, _ := strings.Cut(out.String(), "\r\n\r\n")
	return []byte(body)
}
