package wechatopen_test

import (
	"context"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	wechatopen "github.com/wechatopen/wechatopen"
)

// muxOf routes each pattern to a function that says which it was.
func muxOf(hit *string, patterns ...string) *wechatopen.MessageMux {
	mux := &wechatopen.MessageMux{}
	for _, p := range patterns {
		mux.Handle(p, func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
			*hit = p
			return wechatopen.Text(p), nil
		})
	}
	return mux
}

const noPattern = "(none)"

func TestMessageMuxTakesTheMostSpecificPattern(t *testing.T) {
	text := func(content string) *wechatopen.Message {
		return &wechatopen.Message{MsgType: "text", Content: content}
	}
	event := func(name, key string) *wechatopen.Message {
		return &wechatopen.Message{MsgType: "event", Event: name, EventKey: key}
	}
	all := []string{"", "text", "text/help", "text/help*", "text/help me*", "event", "event/CLICK", "event/CLICK/help", "event/CLICK/h*",
		"event/SCAN/shop-*", "event/SCAN/shop-1*", "event/SCAN/shop-12", "event/subscribe", "event/subscribe/qrscene_*", "image", "event/VIEW/http://a.example/b*"}
	for _, tt := range []struct {
		name     string
		patterns []string
		m        *wechatopen.Message
		want     string
	}{
		{"content", all, text("help"), "text/help"},
		{"beginning", all, text("help!"), "text/help*"},
		{"longer beginning", all, text("help me please"), "text/help me*"},
		{"beginning alone", all, text("help me"), "text/help me*"},
		{"type", all, text("hello"), "text"},
		{"empty content", all, text(""), "text"},
		{"part of a content", all, text("hel"), "text"},
		{"content is the case of its own", all, text("Help"), "text"},
		{"content with blanks", all, text(" help"), "text"},
		{"type without key", all, &wechatopen.Message{MsgType: "image", MediaID: "m"}, "image"},
		{"unknown type", all, &wechatopen.Message{MsgType: "hologram"}, ""},
		{"event and key", all, event("CLICK", "help"), "event/CLICK/help"},
		{"event and beginning", all, event("CLICK", "hello"), "event/CLICK/h*"},
		{"event", all, event("CLICK", "x"), "event/CLICK"},
		{"event without key", all, event("CLICK", ""), "event/CLICK"},
		{"exact before prefix", all, event("SCAN", "shop-12"), "event/SCAN/shop-12"},
		{"longest prefix", all, event("SCAN", "shop-13"), "event/SCAN/shop-1*"},
		{"shorter prefix", all, event("SCAN", "shop-"), "event/SCAN/shop-*"},
		{"event without pattern of its own", all, event("SCAN", "other"), "event"},
		{"unknown event", all, event("teleport", "help"), "event"},
		{"subscribe", all, event("subscribe", ""), "event/subscribe"},
		{"subscribe by scene", all, event("subscribe", "qrscene_12"), "event/subscribe/qrscene_*"},
		{"key with slashes", all, event("VIEW", "http://a.example/b/c?d"), "event/VIEW/http://a.example/b*"},
		{"event of no name", all, event("", ""), "event"},
		{"key of no event is no event", all, event("", "subscribe"), "event"},

		{"names in other case", all, event("Subscribe", ""), "event/subscribe"},
		{"names in capitals", all, event("SUBSCRIBE", "qrscene_1"), "event/subscribe/qrscene_*"},
		{"names in small letters", all, event("click", "help"), "event/CLICK/help"},
		{"type in capitals", all, &wechatopen.Message{MsgType: "TEXT", Content: "help"}, "text/help"},
		{"type event in capitals", all, &wechatopen.Message{MsgType: "EVENT", Event: "subscribe"}, "event/subscribe"},
		{"key in another case", all, event("CLICK", "HELP"), "event/CLICK"},
		{"pattern in capitals", []string{"EVENT/ClIcK/Key", "TEXT/Yes"}, event("click", "Key"), "EVENT/ClIcK/Key"},
		{"pattern of a text in capitals", []string{"EVENT/ClIcK/Key", "TEXT/Yes"}, text("Yes"), "TEXT/Yes"},
		{"pattern's key keeps its case", []string{"EVENT/ClIcK/Key", "TEXT/Yes"}, text("yes"), noPattern},

		{"star of the user is no wildcard", all, text("*"), "text"},
		{"pattern's star sent by the user", []string{"text/a*"}, text("a*"), "text/a*"},
		{"star within", []string{"text/a*b", "text"}, text("a*b"), "text/a*b"},
		{"star within is no wildcard", []string{"text/a*b", "text"}, text("axb"), "text"},
		{"content with slashes", []string{"text/a/B", "text"}, text("a/B"), "text/a/B"},
		{"content like an event", []string{"event/CLICK/help", "text"}, text("event/CLICK/help"), "text"},
		{"content of another type's pattern", []string{"image/help", "text"}, text("help"), "text"},
		{"any key", []string{"event/SCAN/*", "event/SCAN"}, event("SCAN", "a"), "event/SCAN/*"},
		{"any text", []string{"text/*", "text/a"}, text("a"), "text/a"},
		{"prefix of another event", []string{"event/SCAN/a*", "event"}, event("CLICK", "abc"), "event"},
		// However they are written, what names an event is more specific than what does not.
		{"event before any event", []string{"event/*", "event/subscribe"}, event("subscribe", ""), "event/subscribe"},
		{"type before all", []string{"*", "text"}, text("a"), "text"},
		{"all", []string{"*", "text"}, event("CLICK", "a"), "*"},
		{"any event", []string{"event/*", "event/subscribe"}, event("CLICK", "a"), "event/*"},

		{"catch-all", []string{""}, event("CLICK", "a"), ""},
		{"catch-all for texts", []string{""}, text("a"), ""},
		{"nothing", []string{"event/CLICK"}, text("a"), noPattern},
		{"order does not matter", []string{"text/help me*", "text/help*", "text/help", "text", ""}, text("help me out"), "text/help me*"},
		{"order does not matter 2", []string{"", "text", "text/help", "text/help*", "text/help me*"}, text("help me out"), "text/help me*"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hit := noPattern
			reply, err := muxOf(&hit, tt.patterns...).Serve(t.Context(), tt.m)
			if hit != tt.want || err != nil || (reply == nil) != (tt.want == noPattern) {
				t.Errorf("%v goes to %q (%v, %v), want %q", tt.m, hit, reply, err, tt.want)
			}
		})
	}
}

func TestMessageMuxTakesTheLaterOfTwoEqualPatterns(t *testing.T) {
	for _, pair := range [][2]string{{"text", "TEXT"}, {"event/click/a", "event/CLICK/a"}, {"text/a*", "Text/a*"}, {"", ""}} {
		var hit string
		mux := muxOf(&hit, pair[0])
		mux.Handle(pair[1], func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) { hit = "later"; return nil, nil })
		m := &wechatopen.Message{MsgType: "text", Content: "abc"}
		if strings.HasPrefix(pair[0], "event") {
			m = &wechatopen.Message{MsgType: "event", Event: "CLICK", EventKey: "a"}
		}
		if _, err := mux.Serve(t.Context(), m); err != nil || hit != "later" {
			t.Errorf("%q, then %q: %q, %v", pair[0], pair[1], hit, err)
		}
	}
}

func TestMessageMuxMiddlewareGoesFromOutsideIn(t *testing.T) {
	var order []string
	wrap := func(name string) func(wechatopen.MessageFunc) wechatopen.MessageFunc {
		return func(next wechatopen.MessageFunc) wechatopen.MessageFunc {
			return func(ctx context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
				order = append(order, name+" in")
				defer func() { order = append(order, name+" out") }()
				return next(ctx, m)
			}
		}
	}
	mux := &wechatopen.MessageMux{}
	mux.Use(wrap("1"), wrap("2"))
	mux.Handle("text", func(ctx context.Context, _ *wechatopen.Message) (wechatopen.Reply, error) {
		order = append(order, "text")
		return nil, nil
	})
	mux.Use(wrap("3")) // around what was set before it, too
	for _, tt := range []struct{ msgType, want string }{
		{"text", "[1 in 2 in 3 in text 3 out 2 out 1 out]"},
		{"image", "[1 in 2 in 3 in 3 out 2 out 1 out]"}, // nobody's messages as well
	} {
		order = nil
		if reply, err := mux.Serve(t.Context(), &wechatopen.Message{MsgType: tt.msgType}); reply != nil || err != nil || fmt.Sprint(order) != tt.want {
			t.Errorf("%s: %v, want %s; %v, %v", tt.msgType, order, tt.want, reply, err)
		}
	}
	away := errors.New("not for you")
	mux.Use(func(wechatopen.MessageFunc) wechatopen.MessageFunc {
		return func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) { return nil, away }
	})
	order = nil
	if _, err := mux.Serve(t.Context(), &wechatopen.Message{MsgType: "text"}); err != away || strings.Contains(fmt.Sprint(order), "text") {
		t.Errorf("middleware that does not go on: %v, %v", err, order)
	}
}

func TestMessageMuxPassesContextMessageAndOutcome(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "value")
	m := &wechatopen.Message{MsgType: "text", Content: "a"}
	want := errors.New("database is away")
	var mux wechatopen.MessageMux
	mux.Handle("text/a", func(ctx context.Context, got *wechatopen.Message) (wechatopen.Reply, error) {
		if ctx.Value(key{}) != "value" || got != m {
			t.Error("another context or message")
		}
		return wechatopen.Text("reply"), want
	})
	if reply, err := mux.Serve(ctx, m); reply == nil || err != want {
		t.Errorf("%v, %v", reply, err)
	}
}

func TestZeroMessageMuxAnswersSuccess(t *testing.T) {
	var zero wechatopen.MessageMux
	if reply, err := zero.Serve(t.Context(), &wechatopen.Message{MsgType: "text", Content: "a"}); reply != nil || err != nil {
		t.Errorf("%v, %v", reply, err)
	}
	s := newMessageSite(t, false)
	var mux wechatopen.MessageMux
	s.handler.Handle = mux.Serve
	if got := s.send(t, s.textXML("hello")); got.Status != http.StatusOK || got.Body != "success" {
		t.Errorf("answered %d %q", got.Status, got.Body)
	}
	mux.Handle("text/help*", func(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
		return wechatopen.Text("helping " + m.FromUserName), nil
	})
	res, err := s.deliver(t.Context(), s.textXML("help me"))
	if err != nil || parseTextReply(t, res.Reply).Content != "helping "+s.openID {
		t.Errorf("%v, %v", res, err)
	}
}

func TestMessageMuxServesManyAtOnce(t *testing.T) {
	var mux wechatopen.MessageMux
	mux.Use(func(next wechatopen.MessageFunc) wechatopen.MessageFunc { return next })
	for _, p := range []string{"", "text", "text/a*", "event/CLICK"} {
		mux.Handle(p, func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) { return nil, nil })
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for _, m := range []*wechatopen.Message{{MsgType: "text", Content: "ab"}, {MsgType: "event", Event: "CLICK"}, {MsgType: "x"}} {
				if _, err := mux.Serve(context.Background(), m); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// Messages are routed by what is written down, not by what reflection finds.
func TestMessagesAreRoutedWithoutReflection(t *testing.T) {
	files, err := filepath.Glob("*message*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	seen := false
	for _, name := range append(files, "reply.go", "releasetest.go", "xml.go") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		seen = seen || name == "message_mux.go"
		for _, i := range f.Imports {
			if i.Path.Value == `"reflect"` {
				t.Errorf("%s imports reflect", name)
			}
		}
	}
	if !seen {
		t.Error("message_mux.go is not among the files")
	}
}
