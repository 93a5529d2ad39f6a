package wechatopen_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// Each subject is measured beside its floor: what the standard library alone takes for the same bytes.

// BenchmarkPush is what a push costs from ServeHTTP on, beside its bare cryptography.
func BenchmarkPush(b *testing.B) {
	s := newPushBench(b)
	b.Run("floor", s.floor(s.messages))
	b.Run("message", s.message(nil))
	b.Run("message-repeat", s.messageRepeat(nil))
	b.Run("event-floor", s.floor(s.events))
	b.Run("event", s.event())
	b.Run("ticket-floor", s.floor(s.tickets))
	b.Run("ticket", s.ticket())
	b.Run("ticket-repeat", s.ticketRepeat())
	b.Run("reply-floor", s.replyFloor())
	b.Run("reply", s.message(wechatopen.Text(benchReply)))
	b.Run("reply-repeat", s.messageRepeat(wechatopen.Text(benchReply)))
}

func pushCases(tb testing.TB) []benchCase {
	s := newPushBench(tb)
	reply := wechatopen.Text(benchReply)
	return []benchCase{
		{name: "message", floor: s.floor(s.messages), subject: s.message(nil), ratio: 2.5, allocs: 25},
		{name: "message, reply", floor: s.replyFloor(), subject: s.message(reply), ratio: 2.5, allocs: 30},
		{name: "event", floor: s.floor(s.events), subject: s.event(), ratio: 2.5, allocs: 25},
		{name: "ticket", floor: s.floor(s.tickets), subject: s.ticket(), ratio: 2.5, allocs: 25},
		{name: "ticket, with OnEvent", floor: s.floor(s.tickets), subject: s.ticketTold(), ratio: 2.5, allocs: 25},
	}
}

const (
	benchPushes  = 1024 // all different; then the platform starts anew, so that each is one it has not seen
	benchAccount = "wxba5fad812f8e6fb9"
	benchReply   = "hello to you too"
)

// pushBench is the component of WeChat's sample for platforms, with pushes to it that were sealed beforehand.
type pushBench struct {
	creds wechatopen.Credentials
	block cipher.Block
	iv    []byte

	messages, events, tickets []sealedPush
}

// sealedPush is a push as it comes over HTTP, and as its cryptography sees it.
type sealedPush struct {
	query, body                          string
	signature, timestamp, nonce, encrypt string
}

func newPushBench(tb testing.TB) *pushBench {
	tb.Helper()
	sim := wechattest.Start(tb)
	comp := sim.AddComponent(wechattest.ComponentConfig{AppID: vectorE.creds.AppID, Token: vectorE.creds.Token, EncodingAESKey: vectorE.creds.EncodingAESKey})
	key := make([]byte, 32) // vector E's
	block, err := aes.NewCipher(key)
	if err != nil {
		tb.Fatal(err)
	}
	s := &pushBench{creds: comp.Credentials(), block: block, iv: key[:16]}
	seal := func(spec wechattest.PushSpec) []sealedPush {
		pushes := make([]sealedPush, benchPushes)
		content := spec.XML
		for i := range pushes {
			spec.XML = strings.ReplaceAll(content, "SERIAL", fmt.Sprintf("%010d", 1715943329-i))
			spec.URL = "http://site.example/"
			r, err := comp.NewPush(tb.Context(), spec)
			if err != nil {
				tb.Fatal(err)
			}
			q := r.URL.Query()
			p := sealedPush{query: r.URL.RawQuery, body: string(readAll(tb, r)), signature: q.Get("msg_signature"), timestamp: q.Get("timestamp"), nonce: q.Get("nonce")}
			_, p.encrypt, _ = strings.Cut(p.body, "<Encrypt><![CDATA[")
			p.encrypt, _, _ = strings.Cut(p.encrypt, "]]>")
			pushes[i] = p
		}
		return pushes
	}
	// As vector E, whose ciphertext has 352 bytes.
	s.messages = seal(wechattest.PushSpec{ToUserName: vectorE.toUserName, OpenID: "o9AgO5Kd5ggOC-bXrbNODIiE3bGY", XML: "<xml><ToUserName><![CDATA[gh_97417a04a28d]]></ToUserName>\n" +
		"<FromUserName><![CDATA[o9AgO5Kd5ggOC-bXrbNODIiE3bGY]]></FromUserName>\n<CreateTime>SERIAL</CreateTime>\n<MsgType><![CDATA[event]]></MsgType>\n" +
		"<Event><![CDATA[debug_demo]]></Event>\n<debug_str><![CDATA[hello world]]></debug_str>\n</xml>"})
	if n := len(s.messages[0].encrypt); n != len(vectorE.encrypt) {
		tb.Fatalf("a message of %d bytes, vector E has %d", n, len(vectorE.encrypt))
	}
	s.events = seal(wechattest.PushSpec{XML: "<xml><AppId><![CDATA[" + comp.AppID() + "]]></AppId>\n<CreateTime>SERIAL</CreateTime>\n" +
		"<InfoType><![CDATA[an_event_without_fields]]></InfoType>\n<something><![CDATA[" + strings.Repeat("s", 100) + "]]></something>\n</xml>"})
	s.tickets = seal(wechattest.PushSpec{XML: "<xml><AppId><![CDATA[" + comp.AppID() + "]]></AppId>\n<CreateTime>SERIAL</CreateTime>\n" +
		"<InfoType><![CDATA[component_verify_ticket]]></InfoType>\n<ComponentVerifyTicket><![CDATA[ticket@@@" + strings.Repeat("t", 86) + "]]></ComponentVerifyTicket>\n</xml>"})
	slices.Reverse(s.tickets) // each is newer than the one before
	return s
}

// platform has seen no push, and knows the account.
func (s *pushBench) platform(b *testing.B, store *forgetfulStore) *wechatopen.Platform {
	if err := store.Store.Set(b.Context(), "wechatopen:"+s.creds.AppID+":"+benchAccount+":original_id", []byte(`{"v":1,"id":"`+vectorE.toUserName+`"}`), 0); err != nil {
		b.Fatal(err)
	}
	p, err := wechatopen.NewPlatform(s.creds, wechatopen.WithStore(store), wechatopen.WithLogger(slog.New(slog.DiscardHandler)), wechatopen.WithHTTPClient(&http.Client{Transport: noNetwork{}}))
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// forgetfulStore is the Store of a platform that has run for long: what it held has made place for new, and it grows no
// more.
type forgetfulStore struct {
	wechatopen.Store
	keys []string
}

func (s *forgetfulStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	s.keys = append(s.keys, key)
	return s.Store.Set(ctx, key, value, ttl)
}

func (s *forgetfulStore) forget() {
	for _, key := range s.keys {
		_ = s.Delete(context.Background(), key)
	}
	s.keys = s.keys[:0]
}

// message serves each message once to a MessageHandler that answers it with reply.
func (s *pushBench) message(reply wechatopen.Reply) func(b *testing.B) {
	return s.serve(s.messages, s.messageHandler(reply), false)
}

func (s *pushBench) messageRepeat(reply wechatopen.Reply) func(b *testing.B) {
	return s.serve(s.messages, s.messageHandler(reply), true)
}

// messageAmong is message on a platform that has n more accounts in use.
func (s *pushBench) messageAmong(n int) func(b *testing.B) {
	handler := s.messageHandler(nil)
	return s.serve(s.messages, func(p *wechatopen.Platform) http.Handler {
		for i := range n {
			p.Account(fmt.Sprintf("wx%016x", i))
		}
		return handler(p)
	}, false)
}

func (s *pushBench) messageHandler(reply wechatopen.Reply) func(*wechatopen.Platform) http.Handler {
	return func(p *wechatopen.Platform) http.Handler {
		return &wechatopen.MessageHandler{Platform: p, Handle: func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) { return reply, nil }}
	}
}

// event serves each event, one about which the platform has nothing to do, once to a TicketHandler.
func (s *pushBench) event() func(b *testing.B) {
	return s.serve(s.events, s.ticketHandler, false)
}

// ticket serves each ticket once to a TicketHandler, which stores it.
func (s *pushBench) ticket() func(b *testing.B) {
	return s.serve(s.tickets, s.plainTicketHandler, false)
}

func (s *pushBench) ticketTold() func(b *testing.B) {
	return s.serve(s.tickets, s.ticketHandler, false)
}

func (s *pushBench) ticketRepeat() func(b *testing.B) {
	return s.serve(s.tickets, s.plainTicketHandler, true)
}

func (s *pushBench) plainTicketHandler(p *wechatopen.Platform) http.Handler {
	return &wechatopen.TicketHandler{Platform: p}
}

func (s *pushBench) ticketHandler(p *wechatopen.Platform) http.Handler {
	return &wechatopen.TicketHandler{Platform: p, OnEvent: func(context.Context, *wechatopen.Event) error { return nil }}
}

// serve gives each push once to a handler, whose Store then forgets them all; with repeat it gives the same push over and
// over.
func (s *pushBench) serve(pushes []sealedPush, handler func(*wechatopen.Platform) http.Handler, repeat bool) func(b *testing.B) {
	if repeat {
		pushes = pushes[:1]
	}
	return func(b *testing.B) {
		b.ReportAllocs()
		w := &benchWriter{header: http.Header{}}
		r := httptest.NewRequest(http.MethodPost, "http://site.example/wechat/message/"+benchAccount, nil)
		r.SetPathValue("appid", benchAccount)
		r.Body = &w.body
		store := &forgetfulStore{Store: wechatopen.NewMemoryStore()}
		h := handler(s.platform(b, store))
		serve := func(i int) {
			if i%len(pushes) == 0 && !repeat {
				store.forget() // which is shared by all pushes
			}
			p := &pushes[i%len(pushes)]
			clear(w.header)
			w.body.Reset(p.body)
			w.status, r.URL.RawQuery, r.ContentLength = http.StatusOK, p.query, int64(len(p.body))
			if h.ServeHTTP(w, r); w.status != http.StatusOK {
				b.Fatalf("answered %d", w.status)
			}
		}
		for i := range pushes { // until the Store grows no more
			serve(i)
		}
		for i := 0; b.Loop(); i++ {
			serve(i)
		}
	}
}

// benchWriter is as little of a ResponseWriter as a handler needs. As that of net/http it has deadlines.
type benchWriter struct {
	header http.Header
	body   benchBody
	status int
}

type benchBody struct{ strings.Reader }

func (*benchBody) Close() error { return nil }

func (w *benchWriter) Header() http.Header               { return w.header }
func (w *benchWriter) Write(b []byte) (int, error)       { return len(b), nil }
func (w *benchWriter) WriteString(s string) (int, error) { return len(s), nil }
func (w *benchWriter) WriteHeader(status int)            { w.status = status }
func (w *benchWriter) SetReadDeadline(time.Time) error   { return nil }

// floor is the cryptography of a push alone: its two signatures, base64 and AES-256-CBC, with the cipher made once.
func (s *pushBench) floor(pushes []sealedPush) func(b *testing.B) {
	return func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s.open(b, &pushes[i%len(pushes)])
		}
	}
}

func (s *pushBench) replyFloor() func(b *testing.B) {
	reply := []byte("<xml><ToUserName><![CDATA[o9AgO5Kd5ggOC-bXrbNODIiE3bGY]]></ToUserName><FromUserName><![CDATA[gh_97417a04a28d]]></FromUserName>" +
		"<CreateTime>1715943329</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[" + benchReply + "]]></Content></xml>")
	return func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p := &s.messages[i%len(s.messages)]
			s.open(b, p)
			s.seal(reply, p.timestamp, p.nonce)
		}
	}
}

func (s *pushBench) open(b *testing.B, p *sealedPush) {
	_ = benchSignature(s.creds.Token, p.timestamp, p.nonce) // of which the handlers need only the other
	want := benchSignature(s.creds.Token, p.timestamp, p.nonce, p.encrypt)
	if subtle.ConstantTimeCompare([]byte(want), []byte(p.signature)) != 1 {
		b.Fatal("signature does not match")
	}
	data, err := base64.StdEncoding.DecodeString(p.encrypt)
	if err != nil {
		b.Fatal(err)
	}
	cipher.NewCBCDecrypter(s.block, s.iv).CryptBlocks(data, data)
}

func (s *pushBench) seal(msg []byte, timestamp, nonce string) (encrypt, signature string) {
	size := 20 + len(msg) + len(s.creds.AppID)
	pad := 32 - size%32
	data := make([]byte, size+pad)
	_, _ = rand.Read(data[:16])
	binary.BigEndian.PutUint32(data[16:], uint32(len(msg)))
	copy(data[20+copy(data[20:], msg):], s.creds.AppID)
	for i := range pad {
		data[size+i] = byte(pad)
	}
	cipher.NewCBCEncrypter(s.block, s.iv).CryptBlocks(data, data)
	encrypt = base64.StdEncoding.EncodeToString(data)
	return encrypt, benchSignature(s.creds.Token, timestamp, nonce, encrypt)
}

func benchSignature(parts ...string) string {
	slices.Sort(parts)
	all := make([]byte, 0, 1024)
	for _, p := range parts {
		all = append(all, p...)
	}
	sum := sha1.Sum(all)
	return hex.EncodeToString(sum[:])
}
