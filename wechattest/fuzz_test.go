package wechattest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzCalls sends any body to every API that takes one of an account's tokens: each is answered with JSON.
func FuzzCalls(f *testing.F) {
	s := Start(f)
	s.AllowMisuse()
	a, u := s.AddAccount(AccountConfig{Templates: []Template{{ID: "tm", Content: "{{a.DATA}}"}}}), s.AddUser(UserConfig{})
	if _, err := a.Follow(f.Context(), u, "7"); err != nil {
		f.Fatal(err)
	}
	s.mu.Lock()
	token := s.issue(&a.slot, apiToken{kind: nativeToken, account: a}).value
	s.mu.Unlock()
	var paths []string
	for path, rt := range s.routes {
		if rt.api != nil && rt.method == http.MethodPost && rt.token == useAccount {
			paths = append(paths, path)
		}
	}
	id := a.OpenID(u)
	for _, body := range []string{
		sampleMenu,
		`{"button":[{"type":"click","name":"a","key":"k"}],"matchrule":{"tag_id":[1,{"a":null}]}}`,
		`{"menuid":12}`, `{"user_id":"` + id + `"}`,
		`{"touser":"` + id + `","template_id":"tm","client_msg_id":"1","data":{"a":{"value":1e400}}}`,
		`{"touser":"` + id + `","msgtype":"msgmenu","msgmenu":{"list":[{"id":1,"content":"x"}]}}`,
		`{"touser":"` + id + `","msgtype":"news","news":{"articles":[{}]}}`,
		"--b\r\nContent-Disposition: form-data; name=\"media\"; filename=\"a.png\"\r\n\r\nx\r\n--b--\r\n",
		"", "null", "[]", "{",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range paths {
			r := httptest.NewRequest(http.MethodPost, path+"?type=image&access_token="+url.QueryEscape(token), strings.NewReader(body))
			r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
			w := httptest.NewRecorder()
			s.serve(w, r)
			var out struct {
				ErrCode *int `json:"errcode"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != http.StatusOK {
				t.Errorf("%s: status %d, %.200s: %v", path, w.Code, w.Body, err)
			}
		}
		// The menus go at the end, or they would grow with every body.
		for _, path := range []string{"/cgi-bin/menu/get", "/cgi-bin/get_current_selfmenu_info", "/wechatsim/chat", "/cgi-bin/menu/delete"} {
			w := httptest.NewRecorder()
			s.serve(w, httptest.NewRequest(http.MethodGet, path+"?appid="+a.AppID()+"&access_token="+url.QueryEscape(token), nil))
			if w.Code != http.StatusOK {
				t.Errorf("%s: status %d %.200s", path, w.Code, w.Body)
			}
		}
	})
}

// FuzzMessages takes anything for a message of a user and for the reply to it.
func FuzzMessages(f *testing.F) {
	s := Start(f)
	a := s.AddAccount(AccountConfig{})
	f.Add(a.TextXML("o1", "hi", 1, s.Now()), "<xml><MsgType>text</MsgType><Content>x</Content></xml>")
	f.Add(a.EventXML("o1", "unsubscribe", "", s.Now()), "<xml><MsgType>news</MsgType><Articles><item><Title>t</Title></item></Articles></xml>")
	f.Add("<xml>", "")
	f.Fuzz(func(t *testing.T, message, answer string) {
		openID := a.heard(message)
		a.answered(openID, &PushResult{Reply: answer}, nil)
		for _, l := range a.linesOf(func(Line) bool { return true }) {
			if l.OpenID == "" || l.Via == "" {
				t.Errorf("line %+v", l)
			}
		}
	})
}
