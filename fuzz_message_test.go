package wechatopen_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// messageFuzz is an account of one's own with the credentials of an official sample, at its time, beside the simulator.
type messageFuzz struct {
	sim *wechattest.Server
	wx  *wechattest.Account
}

func newMessageFuzz(f *testing.F) messageFuzz {
	f.Helper()
	at := time.Unix(vectorC.unix, 0)
	sim := wechattest.Start(f, wechattest.Config{Now: func() time.Time { return at }})
	return messageFuzz{sim, sim.AddAccount(wechattest.AccountConfig{
		AppID: vectorC.creds.AppID, Token: vectorC.creds.Token, EncodingAESKey: vectorC.creds.EncodingAESKey, UserName: vectorC.toUserName,
	})}
}

// serve answers a push by a MessageHandler that has seen nothing before.
func (z messageFuzz) serve(t *testing.T, r *http.Request, handle wechatopen.MessageFunc) (rec *httptest.ResponseRecorder, traced tracedPush) {
	t.Helper()
	a, err := wechatopen.NewAccount(z.wx.Credentials(), wechatopen.WithClock(z.sim.Now), wechatopen.WithStore(wechatopen.NewMemoryStore()),
		wechatopen.WithLogger(slog.New(slog.DiscardHandler)), wechatopen.WithHTTPClient(&http.Client{Transport: noNetwork{}}),
		wechatopen.WithTrace(&wechatopen.Trace{Push: func(_ context.Context, kind string, err error) { traced = tracedPush{kind, err} }}))
	if err != nil {
		t.Fatal(err)
	}
	rec = httptest.NewRecorder()
	(&wechatopen.MessageHandler{Account: a, Handle: handle, ReplyTime: time.Minute}).ServeHTTP(rec, r)
	return rec, traced
}

func (z messageFuzz) push(tb testing.TB, spec wechattest.PushSpec) *http.Request {
	tb.Helper()
	spec.URL = "http://site.example/"
	r, err := z.wx.NewPush(tb.Context(), spec)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// openText opens an answer, sees that it is well-formed to its end, and reads it.
func (z messageFuzz) openText(t *testing.T, body string) (r textReply) {
	t.Helper()
	reply, err := z.wx.OpenReply(body)
	if err != nil {
		t.Fatalf("answer %q: %v", body, err)
	}
	if err := strictXML(reply); err != nil {
		t.Fatalf("reply %q: %v", reply, err)
	}
	if err := xml.Unmarshal([]byte(reply), &r); err != nil {
		t.Fatalf("reply %q: %v", reply, err)
	}
	return r
}

// FuzzMessage is any content, encrypted and signed as WeChat does.
func FuzzMessage(f *testing.F) {
	z := newMessageFuzz(f)
	at := z.sim.Now()
	for i, s := range messageSamples {
		f.Add(z.wx.MessageXML("oAlice", s.msgType, int64(i), at, s.rest))
	}
	for _, text := range hostileTexts {
		f.Add(z.wx.TextXML("oAlice", text, 1, at))
		f.Add(z.wx.TextXML(text, "hello", 0, at))
	}
	f.Add(z.wx.MessageXML("oAlice", "location", 1, at, "<Location_X>NaN</Location_X><Location_Y>1e999</Location_Y><Scale>-0x1p-2</Scale><Precision>Inf</Precision>"))
	f.Add("<xml><ToUserName>a</ToUserName><FromUserName>b&#13;c</FromUserName><MsgType>event</MsgType><Event>e</Event><CreateTime>99999999999999999999</CreateTime></xml>")
	f.Add("<xml><AppId>wx2c2769f8efd9abc2</AppId><InfoType>unauthorized</InfoType></xml>")
	f.Add(`<?xml version="1.0" encoding="GBK"?><!DOCTYPE xml [<!ENTITY a "a">]><xml><Content>&a;</Content></xml>`)
	f.Add("<xml>" + strings.Repeat("<a>", 20) + "</xml>")
	f.Add("我是中文abcd123")
	f.Fuzz(func(t *testing.T, content string) {
		if content == "" {
			return // means the default to NewPush; a message of no bytes is among the tests
		}
		var got []*wechatopen.Message
		rec, traced := z.serve(t, z.push(t, wechattest.PushSpec{XML: content}), func(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
			got = append(got, m)
			return wechatopen.Text(m.Content), nil
		})
		if rec.Code != http.StatusOK {
			if rec.Code/100 != 4 || len(got) != 0 || traced.err == nil || wechatopen.HTTPStatus(traced.err) != rec.Code || rec.Body.String() != http.StatusText(rec.Code)+"\n" {
				t.Errorf("refused with %d %q for %v, handled %v", rec.Code, rec.Body, traced.err, got)
			}
			return
		}
		if len(got) != 1 || traced.err != nil {
			t.Fatalf("handled %d times, traced %v", len(got), traced.err)
		}
		m := got[0]
		if string(m.Raw) != content || m.AppID != z.wx.AppID() || m.ToUserName != z.wx.UserName() || m.FromUserName == "" || m.MsgType == "" {
			t.Errorf("handled %#v, Raw %q", m, m.Raw)
		}
		for _, n := range []float64{m.Latitude, m.Longitude, m.Precision} {
			if math.IsNaN(n) || math.IsInf(n, 0) {
				t.Errorf("%v is no number", n)
			}
		}
		reply := z.openText(t, rec.Body.String())
		if reply.ToUserName != m.FromUserName || reply.FromUserName != m.ToUserName || reply.Content != m.Content || reply.CreateTime != at.Unix() {
			t.Errorf("reply %+v to %q of %q", reply, m.Content, m.FromUserName)
		}
		_ = fmt.Sprintf("%v %+v %#v", m, m, m)
		_ = m.Decode(&struct{ Content, MsgType string }{})
		// What can be read has some way to go.
		for _, pattern := range []string{"", m.MsgType, m.MsgType + "/*", m.MsgType + "/" + m.Event + "/" + m.EventKey, m.MsgType + "/" + m.Content} {
			var hit string
			if _, err := muxOf(&hit, "", pattern).Serve(t.Context(), m); err != nil || hit != "" && hit != pattern {
				t.Errorf("%q goes to %q, %v", pattern, hit, err)
			}
		}
	})
}

// FuzzReplyText is any text as a reply.
func FuzzReplyText(f *testing.F) {
	z := newMessageFuzz(f)
	for _, text := range hostileTexts {
		f.Add(text)
	}
	f.Add("")
	f.Add("hello")
	f.Fuzz(func(t *testing.T, text string) {
		message := z.wx.TextXML("oAlice", "hello", 1, z.sim.Now())
		rec, traced := z.serve(t, z.push(t, wechattest.PushSpec{XML: message}), func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
			return wechatopen.Text(text), nil
		})
		if rec.Code != http.StatusOK || traced.err != nil {
			t.Fatalf("answered %d for %v", rec.Code, traced.err)
		}
		reply := z.openText(t, rec.Body.String())
		if want := asXMLCarries(text); reply.Content != want || reply.MsgType != "text" || reply.ToUserName != "oAlice" {
			t.Errorf("%q arrives as %q, want %q; %+v", text, reply.Content, want, reply)
		}
	})
}
