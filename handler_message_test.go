package wechatopen_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

const authorizerInfoPath = "/cgi-bin/component/api_get_authorizer_info"

// messageSite is a world that receives messages: those of an authorizer of its platform, or of an account of one's own.
type messageSite struct {
	*world
	own     bool
	wx      *wechattest.Account // whose messages come
	openID  string              // Alice's at it
	creds   wechatopen.Credentials
	handler *wechatopen.MessageHandler
	url     string
	opts    []wechatopen.Option // of its platform and account

	mu     sync.Mutex
	got    []*wechatopen.Message // what Handle was called with
	traced []tracedPush
}

// newMessageSite mounts a MessageHandler that answers each message with a text.
func newMessageSite(t *testing.T, own bool, opts ...wechatopen.Option) *messageSite {
	t.Helper()
	s := &messageSite{own: own}
	opts = append([]wechatopen.Option{wechatopen.WithTrace(&wechatopen.Trace{Push: func(_ context.Context, kind string, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.traced = append(s.traced, tracedPush{kind, err})
	}})}, opts...)
	s.world, s.opts = newWorld(t, opts...), opts
	s.handler = &wechatopen.MessageHandler{Handle: s.answering(func(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
		return wechatopen.Text("re: " + m.Content), nil
	})}
	if own {
		s.wx = s.sim.AddAccount(wechattest.AccountConfig{Name: "Own"})
		s.creds = s.wx.Credentials()
		s.url = s.site.URL + "/own"
		s.wx.SetMessageURL(s.url)
		s.handler.Account = s.newOwnAccount(s.creds, opts...)
		s.mux.Handle("/own", s.handler)
	} else {
		s.ready()
		s.wx, s.creds, s.handler.Platform = s.shop, s.comp.Credentials(), s.platform
		s.url = s.site.URL + "/wechat/message/" + s.wx.AppID()
		s.comp.SetMessageURL(s.site.URL + "/wechat/message/$APPID$")
		s.mux.Handle("/wechat/message/{appid}", s.handler)
	}
	s.openID = s.wx.OpenID(s.alice)
	return s
}

// newOwnAccount is an account of one's own beside the platform, with the same Store and log.
func (w *world) newOwnAccount(creds wechatopen.Credentials, opts ...wechatopen.Option) *wechatopen.Account {
	w.t.Helper()
	all := append(w.sim.Options(), wechatopen.WithStore(w.store), wechatopen.WithLogger(w.log.logger()))
	a, err := wechatopen.NewAccount(creds, append(all, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// eachMessageSite runs a test at both kinds of message URL, each of which has had one message.
func eachMessageSite(t *testing.T, f func(t *testing.T, s *messageSite), opts ...wechatopen.Option) {
	for _, own := range []bool{false, true} {
		t.Run(map[bool]string{false: "platform", true: "own account"}[own], func(t *testing.T) {
			s := newMessageSite(t, own, opts...)
			s.takes(t, s.make(t, wechattest.PushSpec{XML: s.textXML("first")})) // who it is to has been asked
			f(t, s)
		})
	}
}

// answering is a Handle that keeps what it is called with.
func (s *messageSite) answering(f wechatopen.MessageFunc) wechatopen.MessageFunc {
	return func(ctx context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
		s.mu.Lock()
		s.got = append(s.got, m)
		s.mu.Unlock()
		return f(ctx, m)
	}
}

// contents are those of the messages that Handle was called with, of events their names.
func (s *messageSite) contents() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, m := range s.got {
		out = append(out, m.Content+m.Event)
	}
	return out
}

func (s *messageSite) handled() int { return len(s.contents()) }

func (s *messageSite) lastMessage(t *testing.T) *wechatopen.Message {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.got) == 0 {
		t.Fatal("Handle was not called")
	}
	return s.got[len(s.got)-1]
}

func (s *messageSite) lastTraced(t *testing.T) tracedPush {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.traced) == 0 {
		t.Fatal("Trace.Push was not called")
	}
	return s.traced[len(s.traced)-1]
}

func (s *messageSite) state() pushState {
	return pushState{s.store.snapshot(), s.contents(), len(s.sim.Calls())}
}

var messageSerial atomic.Int64

// textXML is a text from Alice, never twice the same.
func (s *messageSite) textXML(content string) string {
	return s.wx.TextXML(s.openID, content, 6054768590064710000+messageSerial.Add(1), s.sim.Now())
}

// make makes one push of a message to this site.
func (s *messageSite) make(t *testing.T, spec wechattest.PushSpec) *http.Request {
	t.Helper()
	for _, def := range []struct {
		field *string
		value string
	}{{&spec.URL, s.url}, {&spec.ToUserName, s.wx.UserName()}, {&spec.OpenID, s.openID}} {
		if *def.field == "" {
			*def.field = def.value
		}
	}
	newPush := s.comp.NewPush
	if s.own {
		newPush = s.wx.NewPush
	}
	r, err := newPush(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// send pushes a message once.
func (s *messageSite) send(t *testing.T, message string) answer {
	t.Helper()
	return do(t, nil, s.make(t, wechattest.PushSpec{XML: message}))
}

// deliver pushes a message as WeChat does: until it is answered, three times at most.
func (s *messageSite) deliver(ctx context.Context, message string) (*wechattest.PushResult, error) {
	if s.own {
		return s.wx.PushMessage(ctx, message)
	}
	return s.comp.PushMessage(ctx, s.wx, message)
}

// open is what an encrypted answer holds.
func (s *messageSite) open(t *testing.T, body string) string {
	t.Helper()
	reply, err := wechattest.OpenReply(body, s.creds.Token, s.creds.EncodingAESKey, s.creds.AppID)
	if err != nil {
		t.Fatalf("answer %.200q: %v", body, err)
	}
	return reply
}

// textReply is a passive text reply in the clear.
type textReply struct {
	XMLName                                    xml.Name `xml:"xml"`
	ToUserName, FromUserName, MsgType, Content string
	CreateTime                                 int64
}

func parseTextReply(t *testing.T, reply string) textReply {
	t.Helper()
	var r textReply
	if err := xml.Unmarshal([]byte(reply), &r); err != nil || r.MsgType != "text" {
		t.Fatalf("reply %.300q is no text: %v", reply, err)
	}
	return r
}

// takes sends r and sees that it is handled, once, and its reply opens.
func (s *messageSite) takes(t *testing.T, r *http.Request) textReply {
	t.Helper()
	before := s.handled()
	got := do(t, nil, r)
	if got.Status != http.StatusOK {
		t.Fatalf("answered %d %q; log: %s", got.Status, got.Body, s.log)
	}
	if n := s.handled() - before; n != 1 {
		t.Errorf("Handle was called %d times, want once", n)
	}
	if ct := got.Header.Get("Content-Type"); !strings.Contains(ct, "xml") || got.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("Content-Type %q, X-Content-Type-Options %q", ct, got.Header.Get("X-Content-Type-Options"))
	}
	reply := parseTextReply(t, s.open(t, got.Body))
	if err := s.lastTraced(t).err; err != nil {
		t.Errorf("Trace.Push was told %v", err)
	}
	return reply
}

// refuses sends r and sees that it is refused, nothing changed, and no secret is told.
func (s *messageSite) refuses(t *testing.T, r *http.Request, want refusal) {
	t.Helper()
	secrets := (&eventSite{world: s.world}).secretsOf(t, r) // of the component
	if s.own {
		var envelope struct{ Encrypt string }
		if body := readAll(t, r.Clone(t.Context())); r.GetBody != nil {
			_ = xml.Unmarshal(body, &envelope)
			r.Body, _ = r.GetBody()
		}
		q := r.URL.Query()
		secrets = map[string]string{"AppSecret": s.creds.AppSecret, "Token": s.creds.Token, "EncodingAESKey": s.creds.EncodingAESKey,
			"msg_signature": sortedSHA1(s.creds.Token, q.Get("timestamp"), q.Get("nonce"), envelope.Encrypt),
			"signature":     sortedSHA1(s.creds.Token, q.Get("timestamp"), q.Get("nonce"))}
	}
	before := s.state()
	s.log.reset()
	got := do(t, nil, r)
	if got.Status != want.status || got.Body != http.StatusText(want.status)+"\n" {
		t.Errorf("answered %d %q, want %d and its text alone", got.Status, got.Body, want.status)
	}
	if ct := got.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/plain") || got.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("Content-Type %q, X-Content-Type-Options %q", ct, got.Header.Get("X-Content-Type-Options"))
	}
	if diff := cmp.Diff(before, s.state()); diff != "" {
		t.Errorf("something changed:\n%s", diff)
	}
	line := s.log.String()
	if !strings.Contains(line, "level=WARN") || !strings.Contains(line, want.why) || strings.Count(line, "\n") != 1 {
		t.Errorf("log %q, want one warning with %q", line, want.why)
	}
	said := map[string]string{"answer": got.Body + fmt.Sprint(got.Header), "log": line}
	if !want.noTrace {
		err := s.lastTraced(t).err
		if err == nil {
			t.Fatal("Trace.Push was told of a success")
		}
		said["error"] = fmt.Sprintf("%v %+v %#v", err, err, err)
		if errors.Is(err, wechatopen.ErrSignature) != want.forged || wechatopen.HTTPStatus(err) != want.status {
			t.Errorf("traced %q, of status %d", err, wechatopen.HTTPStatus(err))
		}
	}
	for where, text := range said {
		for what, secret := range secrets {
			if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
				t.Errorf("the %s holds the %s: %s", where, what, text)
			}
		}
	}
}

// messageFrame is the plaintext of a message, without padding.
func messageFrame(message, appID string) []byte {
	p := binary.BigEndian.AppendUint32([]byte("aaaabbbbccccdddd"), uint32(len(message)))
	return append(append(p, message...), appID...)
}

// paddedMessage is the plaintext of a message, which blanks make as long as needed, with pad bytes of padding.
func (s *messageSite) paddedMessage(message string, pad int) []byte {
	size := len(messageFrame(message, s.creds.AppID))
	message += strings.Repeat(" ", (32-(size+pad)%32)%32)
	return append(messageFrame(message, s.creds.AppID), bytes.Repeat([]byte{byte(pad)}, pad)...)
}

// cipherText is the Encrypt element of a push.
func cipherText(t *testing.T, r *http.Request) string {
	t.Helper()
	var envelope struct{ Encrypt string }
	if err := xml.NewDecoder(r.Body).Decode(&envelope); err != nil || envelope.Encrypt == "" {
		t.Fatal("no Encrypt:", err)
	}
	return envelope.Encrypt
}

// attacks.md 1
func TestMessageHandlerRefusesPlainPush(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		const mode = "safe mode" // the log says what to set at the console
		for name, tt := range map[string]struct {
			query func(url.Values)
			why   string
		}{
			"encrypt_type=raw":                      {nil, mode},
			"encrypt_type=AES":                      {setParam("encrypt_type", "AES"), mode},
			"encrypt_type=raw and aes":              {setParam("encrypt_type", "raw", "aes"), mode},
			"encrypt_type=aes and raw":              {setParam("encrypt_type", "aes", "raw"), "msg_signature"},
			"no encrypt_type":                       {dropParams("encrypt_type"), "msg_signature"},
			"empty encrypt_type":                    {setParam("encrypt_type", ""), "msg_signature"},
			"signature also as msg_signature":       {func(q url.Values) { q["msg_signature"] = q["signature"]; q.Del("encrypt_type") }, mode},
			"msg_signature of no Encrypt, no mode":  {func(q url.Values) { signNothing(q, s.creds.Token); q.Del("encrypt_type") }, mode},
			"msg_signature of no Encrypt, mode raw": {func(q url.Values) { signNothing(q, s.creds.Token) }, mode},
			"msg_signature of no Encrypt, mode aes": {func(q url.Values) { signNothing(q, s.creds.Token); q.Set("encrypt_type", "aes") }, mode},
		} {
			t.Run(name, func(t *testing.T) {
				r := s.make(t, wechattest.PushSpec{EncryptType: "raw", XML: s.textXML("forged"), Query: tt.query})
				if q := r.URL.Query(); q.Get("signature") != sortedSHA1(s.creds.Token, q.Get("timestamp"), q.Get("nonce")) {
					t.Fatal("the plain signature is not valid: the test shows nothing")
				}
				s.refuses(t, r, forged(tt.why))
			})
		}
	})
}

// attacks.md 2
func TestMessageHandlerRefusesPushWithoutMsgSignature(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		for name, query := range map[string]func(url.Values){
			"signature right": dropParams("msg_signature"),
			"signature wrong": func(q url.Values) { q.Del("msg_signature"); q.Set("signature", strings.Repeat("0", 40)) },
			"no signature":    dropParams("msg_signature", "signature"),
			"in capitals":     func(q url.Values) { q["Msg_Signature"] = q["msg_signature"]; q.Del("msg_signature") },
		} {
			t.Run(name, func(t *testing.T) {
				s.refuses(t, s.make(t, wechattest.PushSpec{XML: s.textXML("forged"), Query: query}), forged("msg_signature"))
			})
		}
	})
}

// attacks.md 3
func TestMessageHandlerRefusesSignedPlainBody(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		plain := s.textXML("forged")
		inside := strings.TrimSuffix(strings.TrimPrefix(plain, "<xml>"), "</xml>")
		for name, tt := range map[string]struct{ encrypt, body, why string }{
			"no Encrypt":             {"", plain, "not encrypted"},
			"empty Encrypt":          {"", "<xml><Encrypt></Encrypt>" + inside + "</xml>", "not encrypted"},
			"body signed":            {plain, plain, "not encrypted"},
			"Encrypt in another one": {"abcd", "<xml><a><Encrypt>abcd</Encrypt></a>" + inside + "</xml>", "not encrypted"},
			"plain text as Encrypt":  {"forged", "<xml><Encrypt>forged</Encrypt>" + inside + "</xml>", "cannot be decrypted"},
		} {
			t.Run(name, func(t *testing.T) {
				s.refuses(t, s.make(t, wechattest.PushSpec{Encrypt: &tt.encrypt, Body: []byte(tt.body)}), forged(tt.why))
			})
		}
	})
}

// attacks.md 3: in compatible mode (兼容模式) a push says all twice, and one of the two is signed.
func TestMessageHandlerBelievesNoPlainFieldBesideEncrypt(t *testing.T) {
	for _, plainMode := range []bool{false, true} {
		t.Run(fmt.Sprint("Plain ", plainMode), func(t *testing.T) {
			s := newMessageSite(t, true)
			s.handler.Plain = plainMode
			r := s.make(t, wechattest.PushSpec{XML: s.textXML("encrypted")})
			body := readAll(t, r)
			fields := s.wx.TextXML("oMallory", "forged", 1, s.sim.Now())
			fields = strings.TrimSuffix(strings.TrimPrefix(fields, "<xml>"), "</xml>")
			mixed := strings.Replace(string(body), "<xml>", "<xml>"+fields, 1)
			r.Body, r.ContentLength, r.GetBody = io.NopCloser(strings.NewReader(mixed)), int64(len(mixed)), nil
			if reply := s.takes(t, r); reply.ToUserName != s.openID || reply.Content != "re: encrypted" {
				t.Errorf("reply %+v", reply)
			}
			if m := s.lastMessage(t); m.FromUserName != s.openID || m.Content != "encrypted" || bytes.Contains(m.Raw, []byte("forged")) {
				t.Errorf("handled %v, Raw %q", m, m.Raw)
			}
		})
	}
}

// attacks.md 4
func TestMessageHandlerRefusesWrongSignature(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		digit := func(i int) func(url.Values) {
			return func(q url.Values) {
				sig := []byte(q.Get("msg_signature"))
				sig[i] = "123456789abcdef0"[strings.IndexByte("0123456789abcdef", sig[i])]
				q.Set("msg_signature", string(sig))
			}
		}
		for name, tt := range map[string]struct {
			query func(url.Values)
			why   string
		}{
			"first digit":        {digit(0), "does not match"},
			"last digit":         {digit(39), "does not match"},
			"empty":              {setParam("msg_signature", ""), "msg_signature"},
			"upper case":         {func(q url.Values) { q.Set("msg_signature", strings.ToUpper(q.Get("msg_signature"))) }, "does not match"},
			"right twice":        {func(q url.Values) { q.Add("msg_signature", q.Get("msg_signature")) }, "exactly one msg_signature"},
			"right, then wrong":  {func(q url.Values) { q.Add("msg_signature", "0") }, "exactly one msg_signature"},
			"wrong, then right":  {func(q url.Values) { q["msg_signature"] = []string{"0", q.Get("msg_signature")} }, "exactly one msg_signature"},
			"other nonce":        {setParam("nonce", "1"), "does not match"},
			"nonce twice":        {func(q url.Values) { q.Add("nonce", q.Get("nonce")) }, "exactly one nonce"},
			"no nonce":           {dropParams("nonce"), "exactly one nonce"},
			"no timestamp":       {dropParams("timestamp"), "exactly one timestamp"},
			"timestamp twice":    {func(q url.Values) { q.Add("timestamp", q.Get("timestamp")) }, "exactly one timestamp"},
			"signature in place": {func(q url.Values) { q["msg_signature"] = q["signature"] }, "does not match"},
		} {
			t.Run(name, func(t *testing.T) {
				s.refuses(t, s.make(t, wechattest.PushSpec{XML: s.textXML("forged"), Query: tt.query}), forged(tt.why))
			})
		}
		t.Run("another token", func(t *testing.T) {
			s.refuses(t, s.make(t, wechattest.PushSpec{XML: s.textXML("forged"), Token: "another"}), forged("does not match"))
		})
		t.Run("Encrypt of another push", func(t *testing.T) {
			other, r := s.make(t, wechattest.PushSpec{XML: s.textXML("a")}), s.make(t, wechattest.PushSpec{XML: s.textXML("b")})
			r.Body, r.GetBody, r.ContentLength = other.Body, other.GetBody, other.ContentLength
			s.refuses(t, r, forged("does not match"))
		})
		s.takes(t, s.make(t, wechattest.PushSpec{XML: s.textXML("good")}))
	})
}

// attacks.md 5
func TestMessageHandlerRefusesPushForAnotherAppID(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		own := s.creds.AppID
		for name, behind := range map[string]string{
			"another": "wx0123456789abcdef", "none": "", "half": own[:9], "more": own + "0", "a line break": own + "\n",
			"capitals": strings.ToUpper(own), "the other kind of ours": map[bool]string{true: s.comp.AppID(), false: s.wx.AppID()}[s.own],
		} {
			t.Run(name, func(t *testing.T) {
				r := s.make(t, wechattest.PushSpec{Plaintext: messageFrame(s.textXML("forged"), behind)})
				s.refuses(t, r, forged("another appid"))
			})
		}
		s.takes(t, s.make(t, wechattest.PushSpec{Plaintext: messageFrame(s.textXML("good"), own)}))
	})
}

// attacks.md 6
func TestMessageHandlerRefusesBrokenCiphertext(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		whole := cipherText(t, s.make(t, wechattest.PushSpec{XML: s.textXML("hello")}))
		good, err := base64.StdEncoding.DecodeString(whole)
		if err != nil {
			t.Fatal(err)
		}
		b64 := func(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
		altered := bytes.Clone(good)
		altered[len(altered)-1] ^= 0x80
		tests := map[string]struct {
			encrypt string
			want    refusal
		}{
			"empty":              {"", forged("not encrypted")},
			"not base64":         {"你好 <>&", forged("cannot be decrypted")},
			"something behind":   {whole + "!", forged("cannot be decrypted")},
			"last block altered": {b64(altered), forged("")},
			"last block missing": {b64(good[:len(good)-16]), forged("")},
		}
		for _, n := range []int{1, 15, 16, 17, 31, 32} {
			tests[fmt.Sprint(n, " bytes")] = struct {
				encrypt string
				want    refusal
			}{b64(bytes.Repeat([]byte{7}, n)), forged("cannot be decrypted")}
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) { s.refuses(t, s.make(t, wechattest.PushSpec{Encrypt: &tt.encrypt}), tt.want) })
		}
		t.Run("of another key", func(t *testing.T) {
			s.refuses(t, s.make(t, wechattest.PushSpec{XML: s.textXML("forged"), EncodingAESKey: strings.Repeat("Z", 43)}), forged("cannot be decrypted"))
		})
		s.takes(t, s.make(t, wechattest.PushSpec{Encrypt: &whole}))
	})
}

// attacks.md 6
func TestMessageHandlerTakesWeChatsPaddingAndNoOther(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		for pad := 1; pad <= 32; pad++ {
			s.takes(t, s.make(t, wechattest.PushSpec{Plaintext: s.paddedMessage(s.textXML("good"), pad), RawPlaintext: true}))
		}
		const pad = 19
		for last := range 256 {
			plain := s.paddedMessage(s.textXML("forged"), pad)
			if plain[len(plain)-1] = byte(last); last != pad {
				s.refuses(t, s.make(t, wechattest.PushSpec{Plaintext: plain, RawPlaintext: true}), forged(""))
			}
		}
	})
}

// attacks.md 7
func TestMessageHandlerRefusesWrongLength(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		message := s.textXML("forged")
		m, id := uint32(len(message)), uint32(len(s.creds.AppID))
		for name, n := range map[string]uint32{
			"0": 0, "0xffffffff": 0xffffffff, "0x7fffffff": 0x7fffffff, "0xffffffec": 0xffffffec,
			"one more than the rest": m + id + 1, "all the rest": m + id, "one more": m + 1, "one less": m - 1,
		} {
			t.Run(name, func(t *testing.T) {
				plain := messageFrame(message, s.creds.AppID)
				binary.BigEndian.PutUint32(plain[16:], n)
				s.refuses(t, s.make(t, wechattest.PushSpec{Plaintext: plain}), forged(""))
			})
		}
		for _, n := range []int{1, 16, 19} {
			t.Run(fmt.Sprint(n, " bytes in all"), func(t *testing.T) {
				s.refuses(t, s.make(t, wechattest.PushSpec{Plaintext: make([]byte, n)}), forged("cannot be decrypted"))
			})
		}
	})
}

// attacks.md 8
func TestMessageHandlerRefusesTimestampsOutsideTheWindow(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		at := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }
		for _, window := range []time.Duration{0, time.Minute, time.Hour} {
			s.handler.Window = window
			limit := window
			if window == 0 {
				limit = 10 * time.Minute
			}
			for _, d := range []time.Duration{0, limit, -limit} {
				s.takes(t, s.make(t, wechattest.PushSpec{XML: s.textXML("good"), Timestamp: at(d)}))
			}
			for timestamp, why := range map[string]string{
				at(limit + time.Second):         "off our clock, more than " + limit.String(),
				at(-limit - time.Second):        "off our clock, more than " + limit.String(),
				at(365 * 24 * time.Hour):        " 8760h0m0s off our clock",
				"1409304348":                    "off our clock", // 2014
				fmt.Sprint(now.UnixMilli()):     "timestamp",
				"-1760000000":                   "not a time",
				"99999999999999999999":          "not a time",
				at(0) + ".0":                    "not a time",
				" " + at(0):                     "not a time",
				"0x" + fmt.Sprintf("%x", 1<<30): "not a time",
			} {
				t.Run(fmt.Sprint(window, " ", timestamp), func(t *testing.T) {
					s.refuses(t, s.make(t, wechattest.PushSpec{XML: s.textXML("forged"), Timestamp: timestamp}), forged(why))
				})
			}
		}
	}, wechatopen.WithClock(func() time.Time { return now }))
}

// attacks.md 9
func TestRepeatedMessageIsHandledOnceAndAnsweredAlike(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		at := s.sim.Now()
		for kind, message := range map[string]string{
			"text":                 s.textXML("hello"),
			"event without MsgId":  s.wx.EventXML(s.openID, "CLICK", "help", at),
			"event without a key":  s.wx.EventXML(s.openID, "unsubscribe", "", at),
			"message without both": s.wx.MessageXML(s.openID, "text", 0, at, "<Content>no id</Content>"),
		} {
			t.Run(kind, func(t *testing.T) {
				spec := wechattest.PushSpec{XML: message, Timestamp: strconv.FormatInt(s.sim.Now().Unix(), 10), Nonce: "1", Random: []byte("aaaabbbbccccdddd")}
				first := s.takes(t, s.make(t, spec))
				before := s.state()
				again := func(name string, spec wechattest.PushSpec) {
					t.Helper()
					got := do(t, nil, s.make(t, spec))
					if got.Status != http.StatusOK {
						t.Fatalf("%s: answered %d %q", name, got.Status, got.Body)
					}
					// Equal in all, its time too.
					if diff := cmp.Diff(first, parseTextReply(t, s.open(t, got.Body))); diff != "" {
						t.Errorf("%s: another reply:\n%s", name, diff)
					}
					if diff := cmp.Diff(before, s.state()); diff != "" {
						t.Errorf("%s: something changed:\n%s", name, diff)
					}
				}
				again("the same bytes", spec)
				again("sent again by WeChat", wechattest.PushSpec{XML: message})
				s.sim.Advance(time.Minute)
				again("a minute later", wechattest.PushSpec{XML: message})

				// Another process, with the same Store.
				twin := *s.handler
				if s.own {
					twin.Account = s.newOwnAccount(s.creds)
				} else {
					twin.Platform = s.newPlatform()
				}
				path := "/twin/" + url.PathEscape(kind)
				s.mux.Handle("/twin/"+strings.ReplaceAll(kind, " ", "%20")+"/{appid}", &twin)
				again("another process", wechattest.PushSpec{XML: message, URL: s.site.URL + path + "/" + s.wx.AppID()})
			})
		}
	})
}

// attacks.md 9: a reply of nothing is one too.
func TestRepeatedMessageWithoutReplyIsAnsweredSuccessAgain(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		s.handler.Handle = s.answering(func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) { return nil, nil })
		before := s.handled()
		message := s.textXML("hello")
		for range 3 {
			got := s.send(t, message)
			if got.Status != http.StatusOK || got.Body != "success" || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("answered %d %q", got.Status, got.Body)
			}
		}
		if n := s.handled() - before; n != 1 {
			t.Errorf("handled %d times", n)
		}
	})
}

// What is remembered of a message and cannot be read is no reply, and no message that was not handled either.
func TestMessageWhoseRecordCannotBeReadIs5xx(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		message := s.textXML("hello")
		others := s.store.snapshot()
		s.takes(t, s.make(t, wechattest.PushSpec{XML: message}))
		var key string
		for k := range s.store.snapshot() {
			if _, other := others[k]; !other && strings.Contains(k, ":message:") {
				key = k
			}
		}
		good, before := s.store.snapshot()[key], s.handled()
		for _, bad := range []string{"", "1", "1x", "1s ", "1e<xml/>", "1y<xml/>", "2" + good[1:], `{"v":1}`, "s" + good} {
			s.log.reset()
			if err := s.store.Set(t.Context(), key, []byte(bad), 0); err != nil {
				t.Fatal(err)
			}
			if got := s.send(t, message); got.Status != http.StatusInternalServerError || s.handled() != before {
				t.Errorf("with %q in the Store answered %d %q, handled %d times", bad, got.Status, got.Body, s.handled()-before)
			}
			if line := s.log.String(); !strings.Contains(line, key) || !strings.Contains(line, "not readable") {
				t.Errorf("log: %s", line)
			}
		}
		if err := s.store.Set(t.Context(), key, []byte(good), 0); err != nil {
			t.Fatal(err)
		}
		if got := s.send(t, message); got.Status != http.StatusOK || s.handled() != before {
			t.Errorf("with its own record answered %d %q, handled %d times", got.Status, got.Body, s.handled()-before)
		}
	})
}

// attacks.md 9
func TestTwentyEqualMessagesAtOnceAreHandledOnce(t *testing.T) {
	for name, twoProcesses := range map[string]bool{"one process": false, "two processes with a Locker": true} {
		t.Run(name, func(t *testing.T) {
			eachMessageSite(t, func(t *testing.T, s *messageSite) {
				const n = 20
				var arrived atomic.Int32
				all := make(chan struct{})
				s.handler.ReplyTime = time.Minute // the test, not the clock, says when
				s.handler.Handle = s.answering(func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
					<-all // whoever is not kept out comes in while this one is being handled
					return wechatopen.Text("once"), nil
				})
				handlers := []*wechatopen.MessageHandler{s.handler, s.handler}
				if twoProcesses {
					locker := wechatopen.WithLocker(&keyLocker{})
					for i := range handlers {
						h := *s.handler
						if s.own {
							h.Account = s.newOwnAccount(s.creds, locker)
						} else {
							h.Platform = s.newPlatform(locker)
						}
						handlers[i] = &h
					}
				}
				for i, h := range handlers {
					s.mux.HandleFunc(fmt.Sprintf("/p%d/{appid}", i), func(w http.ResponseWriter, r *http.Request) {
						if arrived.Add(1) == n {
							close(all)
						}
						h.ServeHTTP(w, r)
					})
				}
				before := s.handled()
				message := s.textXML("hello")
				requests := make([]*http.Request, n)
				for i := range n {
					requests[i] = s.make(t, wechattest.PushSpec{XML: message, URL: fmt.Sprintf("%s/p%d/%s", s.site.URL, i%2, s.wx.AppID())})
				}
				bodies := make([]string, n)
				var wg sync.WaitGroup
				for i, r := range requests {
					wg.Go(func() {
						resp, err := http.DefaultClient.Do(r)
						if err != nil {
							t.Error(err)
							return
						}
						defer resp.Body.Close()
						b, err := io.ReadAll(resp.Body)
						if err != nil || resp.StatusCode != http.StatusOK {
							t.Errorf("answered %d %q %v", resp.StatusCode, b, err)
						}
						bodies[i] = string(b)
					})
				}
				wg.Wait()
				if got := s.handled() - before; got != 1 {
					t.Errorf("handled %d times", got)
				}
				first := s.open(t, bodies[0])
				for _, b := range bodies {
					if reply := s.open(t, b); reply != first {
						t.Errorf("replies %q and %q", first, reply)
					}
				}
			})
		})
	}
}

// What differs is no copy, however alike it is.
func TestMessagesThatDifferAreEachHandled(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		s.handler.Handle = s.answering(func(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
			return wechatopen.Text(string(m.Raw)), nil
		})
		bob := s.wx.OpenID(s.sim.AddUser(wechattest.UserConfig{Name: "Bob"}))
		at := s.sim.Now()
		event := func(name, rest string) string {
			return s.wx.MessageXML(s.openID, "event", 0, at, "<Event>"+name+"</Event>"+rest)
		}
		for name, messages := range map[string][]string{
			"texts of one second":     {s.wx.TextXML(s.openID, "yes", 101, at), s.wx.TextXML(s.openID, "yes", 102, at)},
			"texts without MsgId":     {s.wx.TextXML(s.openID, "yes", 0, at), s.wx.TextXML(s.openID, "no", 0, at)},
			"events of two users":     {s.wx.EventXML(s.openID, "CLICK", "a", at), s.wx.EventXML(bob, "CLICK", "a", at)},
			"events of two seconds":   {s.wx.EventXML(s.openID, "CLICK", "b", at), s.wx.EventXML(s.openID, "CLICK", "b", at.Add(time.Second))},
			"buttons":                 {s.wx.EventXML(s.openID, "CLICK", "c", at), s.wx.EventXML(s.openID, "CLICK", "d", at)},
			"kinds of event":          {s.wx.EventXML(s.openID, "CLICK", "e", at), s.wx.EventXML(s.openID, "VIEW", "e", at)},
			"name and key moved":      {event("CLI", "<EventKey>CK</EventKey>"), event("CLIC", "<EventKey>K</EventKey>")},
			"MsgIds beyond 64 bits":   {s.wx.MessageXML(s.openID, "text", 0, at, "<MsgId>99999999999999999991</MsgId>"), s.wx.MessageXML(s.openID, "text", 0, at.Add(time.Second), "<MsgId>99999999999999999992</MsgId>")},
			"MsgIds of no number":     {s.wx.MessageXML(s.openID, "text", 0, at.Add(time.Minute), "<MsgId>a</MsgId>"), s.wx.MessageXML(s.openID, "text", 0, at.Add(time.Minute), "<MsgId>b</MsgId>")},
			"template messages":       {event("TEMPLATESENDJOBFINISH", "<MsgID>200163836</MsgID><Status>success</Status>"), event("TEMPLATESENDJOBFINISH", "<MsgID>200163840</MsgID><Status>success</Status>")},
			"cards taken in one go":   {event("user_get_card", "<CardId>p1</CardId><UserCardCode>12312312</UserCardCode>"), event("user_get_card", "<CardId>p1</CardId><UserCardCode>12312313</UserCardCode>")},
			"events without a time":   {strings.Replace(event("CLICK", "<EventKey>f</EventKey>"), fmt.Sprint(at.Unix()), "13800138000 a", 1), strings.Replace(event("CLICK", "<EventKey>f</EventKey>"), fmt.Sprint(at.Unix()), "13800138000 b", 1)},
			"a MsgId in its own hash": {s.wx.TextXML(s.openID, "x", 103, at), event("103", "")},
		} {
			t.Run(name, func(t *testing.T) {
				before := s.handled()
				sender := strings.Map(func(r rune) rune { // of this row alone
					if r == ' ' {
						return '_'
					}
					return r
				}, "o"+name)
				for _, message := range messages {
					message = strings.ReplaceAll(message, s.openID, sender)
					got := s.send(t, message)
					if got.Status != http.StatusOK {
						t.Fatalf("answered %d %q", got.Status, got.Body)
					}
					if reply := parseTextReply(t, s.open(t, got.Body)); reply.Content != message {
						t.Errorf("%s\nis answered with the reply to\n%s", message, reply.Content)
					}
				}
				if n := s.handled() - before; n != len(messages) {
					t.Errorf("%d of %d were handled", n, len(messages))
				}
			})
		}
	})
}

// attacks.md 9: a handled message is remembered as long as its push could be sent again, and not for ever.
func TestMessageIsRememberedAsLongAsItsTimestampIsGood(t *testing.T) {
	for window, good := range map[time.Duration]time.Duration{0: 20 * time.Minute, time.Minute: 2 * time.Minute, 24 * time.Hour: 48 * time.Hour} {
		t.Run(window.String(), func(t *testing.T) {
			store := &ttlStore{Store: wechatopen.NewMemoryStore(), ttls: map[string]time.Duration{}}
			s := newMessageSite(t, true, wechatopen.WithStore(store))
			s.handler.Window = window
			s.takes(t, s.make(t, wechattest.PushSpec{XML: s.textXML("hello")}))
			if len(store.ttls) != 1 {
				t.Fatalf("the message left %v", store.ttls)
			}
			for key, ttl := range store.ttls {
				if ttl < good || ttl > 10*24*time.Hour {
					t.Errorf("%s is kept for %v, its timestamp is good for %v", key, ttl, good)
				}
			}
		})
	}
}

// attacks.md 11
func TestMessageOfUnknownKindIsHandledRaw(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		at := s.sim.Now()
		phone := "<CreateTime>+86 138 0013 8000</CreateTime>"
		for name, tt := range map[string]struct{ message, kind string }{
			"type":                {s.wx.MessageXML(s.openID, "hologram", 201, at, "<Depth><![CDATA[3]]></Depth>"), "hologram"},
			"event":               {s.wx.EventXML(s.openID, "user_teleports", "", at), "event/user_teleports"},
			"element":             {s.wx.MessageXML(s.openID, "text", 202, at, "<Content>a</Content><Mood><Of>me</Of></Mood>"), "text"},
			"event without name":  {s.wx.MessageXML(s.openID, "event", 0, at, ""), "event"},
			"phone for numbers":   {s.wx.MessageXML(s.openID, "location", 0, at, "<MsgId>138 0013 8000</MsgId><Location_X>138-0013</Location_X><Scale>13800138000138001380001380</Scale>"), "location"},
			"phone for a time":    {strings.Replace(s.wx.TextXML(s.openID, "a", 203, at), fmt.Sprintf("<CreateTime>%d</CreateTime>", at.Unix()), phone, 1), "text"},
			"no CreateTime":       {strings.Replace(s.wx.TextXML(s.openID, "a", 204, at), fmt.Sprintf("<CreateTime>%d</CreateTime>", at.Unix()), "", 1), "text"},
			"numbers of no value": {s.wx.MessageXML(s.openID, "location", 205, at, "<Location_X>NaN</Location_X><Location_Y>1e999</Location_Y><Scale>Inf</Scale>"), "location"},
		} {
			t.Run(name, func(t *testing.T) {
				s.takes(t, s.make(t, wechattest.PushSpec{XML: tt.message}))
				m := s.lastMessage(t)
				if string(m.Raw) != tt.message || m.FromUserName != s.openID || s.lastTraced(t).infoType != tt.kind {
					t.Errorf("handled %v as %q, Raw %q", m, s.lastTraced(t).infoType, m.Raw)
				}
				// 0 is what a field has that holds no number.
				if m.Latitude != 0 || m.Longitude != 0 || m.Scale != 0 || m.MsgID > 205 {
					t.Errorf("numbers %v %v %v %v", m.Latitude, m.Longitude, m.Scale, m.MsgID)
				}
				if strings.Contains(name, "time") && !m.CreateTime.IsZero() {
					t.Errorf("time %v", m.CreateTime)
				}
			})
		}
	})
}

// attacks.md 12
func TestMessageHandlerRefusesHostileXML(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		encrypt := cipherText(t, s.make(t, wechattest.PushSpec{XML: s.textXML("hello")}))
		inside := strings.TrimSuffix(strings.TrimPrefix(s.textXML("hello"), "<xml>"), "</xml>")
		deep := strings.Repeat("<a>", 10_000) + strings.Repeat("</a>", 10_000)
		bomb := `<!DOCTYPE xml [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>`
		for name, d := range map[string]struct{ document, why string }{
			"DTD":                {`<!DOCTYPE xml><xml>%s</xml>`, "DTD"},
			"system entity":      {`<!DOCTYPE xml [<!ENTITY x SYSTEM "file:///etc/passwd">]><xml>%s<Content>&x;</Content></xml>`, "DTD"},
			"entities":           {bomb + `<xml>%s<b>&b;</b></xml>`, "DTD"},
			"unknown entity":     {`<xml>%s<b>&x;</b></xml>`, "malformed"},
			"10,000 nested":      {`<xml>` + deep + `%s</xml>`, "too deeply nested"},
			"10,000 elements":    {`<xml>` + strings.Repeat("<a></a>", 10_000) + `%s</xml>`, "too many"},
			"GBK":                {`<?xml version="1.0" encoding="GBK"?><xml>%s</xml>`, "malformed"},
			"invalid UTF-8":      {"<xml>%s<b>\xff\xfe</b></xml>", "malformed"},
			"NUL":                {"<xml>%s<b>\x00</b></xml>", "malformed"},
			"not closed":         {`<xml>%s`, "malformed"},
			"two roots":          {`<xml>%s</xml><xml></xml>`, "root"},
			"another root":       {`<html>%s</html>`, "root"},
			"text behind":        {`<xml>%s</xml>success`, "outside its root"},
			"neither XML nor it": {`{"Encrypt":"%s"}`, ""},
		} {
			t.Run("envelope "+name, func(t *testing.T) {
				body := fmt.Sprintf(d.document, "<Encrypt>"+encrypt+"</Encrypt>")
				s.refuses(t, s.make(t, wechattest.PushSpec{Encrypt: &encrypt, Body: []byte(body)}), malformed(d.why))
			})
			t.Run("content "+name, func(t *testing.T) {
				s.refuses(t, s.make(t, wechattest.PushSpec{XML: fmt.Sprintf(d.document, inside)}), malformed(d.why))
			})
		}
		for name, message := range map[string]string{
			"no MsgType":      strings.Replace(s.textXML("a"), "MsgType", "Type", 2),
			"no FromUserName": strings.Replace(s.textXML("a"), "FromUserName", "From", 2),
			"no ToUserName":   strings.Replace(s.textXML("a"), "ToUserName", "To", 2),
			"empty":           "<xml></xml>",
			// Signed with the same token, and at the wrong URL.
			"ticket":       s.comp.TicketXML("ticket@@@x", s.sim.Now()),
			"unauthorized": s.comp.UnauthorizedXML(s.shop, s.sim.Now()),
		} {
			t.Run(name, func(t *testing.T) {
				s.refuses(t, s.make(t, wechattest.PushSpec{XML: message}), malformed("belongs to the event URL"))
			})
		}
	})
}

// attacks.md 12
func TestMessageHandlerReadsABoundedBody(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		for name, body := range map[string]io.Reader{"without end": &countedReader{}, "10 MiB": io.LimitReader(&countedReader{}, 10<<20)} {
			t.Run(name, func(t *testing.T) {
				r := s.make(t, wechattest.PushSpec{XML: s.textXML("hello")})
				counted := &countedReader{}
				if _, ok := body.(*countedReader); ok {
					body = counted
				} else {
					body = io.LimitReader(counted, 10<<20)
				}
				r.Body, r.ContentLength, r.GetBody = io.NopCloser(body), -1, nil
				r.SetPathValue("appid", s.wx.AppID())
				before := s.state()
				rec := httptest.NewRecorder()
				s.handler.ServeHTTP(rec, r)
				if rec.Code != http.StatusRequestEntityTooLarge || counted.n > 4<<20 {
					t.Errorf("answered %d after %d bytes", rec.Code, counted.n)
				}
				if diff := cmp.Diff(before, s.state()); diff != "" {
					t.Errorf("something changed:\n%s", diff)
				}
			})
		}
		t.Run("cut", func(t *testing.T) {
			r := s.make(t, wechattest.PushSpec{XML: s.textXML("hello")})
			whole := readAll(t, r)
			r.Body, r.ContentLength, r.GetBody = io.NopCloser(io.MultiReader(bytes.NewReader(whole[:len(whole)/2]), errReader{io.ErrUnexpectedEOF})), -1, nil
			r.SetPathValue("appid", s.wx.AppID())
			before := s.state()
			rec := httptest.NewRecorder()
			s.handler.ServeHTTP(rec, r)
			if rec.Code/100 != 4 {
				t.Errorf("answered %d", rec.Code)
			}
			if diff := cmp.Diff(before, s.state()); diff != "" {
				t.Errorf("something changed:\n%s", diff)
			}
		})
	})
}

// attacks.md 12
func TestMessageHandlerDoesNotWaitForABodyThatNeverEnds(t *testing.T) {
	lateBubble(t, func(t *testing.T, s *lateSite) {
		s.h.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) { return nil, nil }
		bodyThatNeverEnds(t, s.h, func() *http.Request { return s.push(s.textXML("hello")) })
	})
}

// attacks.md 12, over a real connection.
func TestAMessageThatNeverEndsIsGivenUp(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		r := s.make(t, wechattest.PushSpec{XML: s.textXML("hello")})
		pr, pw := io.Pipe()
		defer pw.Close()
		go func() { _, _ = io.WriteString(pw, "<xml><Encrypt>") }()
		r.Body, r.ContentLength, r.GetBody = pr, 1000, nil
		before := s.state()
		t.Parallel() // it takes five seconds
		start := time.Now()
		if got := do(t, nil, r); got.Status != http.StatusRequestTimeout {
			t.Errorf("answered %d %q", got.Status, got.Body)
		}
		if took := time.Since(start); took < 4*time.Second {
			t.Errorf("given up after %v, before WeChat does", took)
		}
		if diff := cmp.Diff(before, s.state()); diff != "" {
			t.Errorf("something changed:\n%s", diff)
		}
	})
}

// attacks.md 13
func TestMessageIsAnswered5xxWhileTheStoreIsDownAndHandledAfterwards(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		down := errors.New("connection refused")
		message := s.textXML("hello")
		before := s.state()
		s.store.setFail(down)
		got := s.send(t, message)
		if got.Status != http.StatusInternalServerError || got.Body != "Internal Server Error\n" {
			t.Errorf("answered %d %q", got.Status, got.Body)
		}
		if err := s.lastTraced(t).err; !errors.Is(err, down) || errors.Is(err, wechatopen.ErrSignature) {
			t.Errorf("traced %v", err)
		}
		if line := s.log.String(); !strings.Contains(line, "level=ERROR") || !strings.Contains(line, "connection refused") {
			t.Errorf("log: %s", line)
		}
		if diff := cmp.Diff(before, s.state()); diff != "" {
			t.Errorf("something changed:\n%s", diff)
		}
		s.store.setFail(nil)
		for range 2 {
			if got := s.send(t, message); got.Status != http.StatusOK {
				t.Fatalf("after it is back: answered %d %q", got.Status, got.Body)
			}
		}
		if n := s.handled() - len(before.Events); n != 1 {
			t.Errorf("handled %d times after the Store was back", n)
		}
	})
}

// attacks.md 13: before anything is known of the account, too.
func TestFirstMessageWhileTheStoreIsDownIs5xx(t *testing.T) {
	s := newMessageSite(t, false)
	message := s.textXML("hello")
	calls := len(s.sim.Calls())
	s.store.setFail(errors.New("connection refused"))
	if got := s.send(t, message); got.Status != http.StatusInternalServerError || s.handled() != 0 || len(s.sim.Calls()) != calls {
		t.Errorf("answered %d %q; handled %d; %d calls of WeChat", got.Status, got.Body, s.handled(), len(s.sim.Calls())-calls)
	}
	s.store.setFail(nil)
	if got := s.send(t, message); got.Status != http.StatusOK || s.handled() != 1 {
		t.Errorf("answered %d %q; handled %d", got.Status, got.Body, s.handled())
	}
}

// attacks.md 13: it has been handled; a 5xx would have it handled twice for certain.
func TestHandledMessageIsAnsweredThoughItCannotBeRemembered(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		s.handler.Handle = s.answering(func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
			s.store.setFail(errors.New("connection refused"))
			return wechatopen.Text("handled"), nil
		})
		got := s.send(t, s.textXML("hello"))
		if got.Status != http.StatusOK || parseTextReply(t, s.open(t, got.Body)).Content != "handled" {
			t.Errorf("answered %d %q", got.Status, got.Body)
		}
		if line := s.log.String(); !strings.Contains(line, "could not be remembered") || strings.Contains(line, "hello") {
			t.Errorf("log: %s", line)
		}
	})
}

// A message is not handled without the lock, which keeps its copies out.
func TestMessageIsAnswered5xxWithoutTheLock(t *testing.T) {
	locker := &keyLocker{}
	s := newMessageSite(t, true, wechatopen.WithLocker(locker))
	locker.setFail(errors.New("no lock today"))
	message := s.textXML("hello")
	if got := s.send(t, message); got.Status != http.StatusInternalServerError || s.handled() != 0 {
		t.Errorf("answered %d %q; handled %d times", got.Status, got.Body, s.handled())
	}
	locker.setFail(nil)
	s.takes(t, s.make(t, wechattest.PushSpec{XML: message}))
}

// attacks.md 14
func TestMessageWhoseHandleFailsIs5xxAndHandledAgain(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		away := fmt.Errorf("database is away: %w", wechatopen.ErrNotAuthorized) // whose own status would be 403
		var calls atomic.Int32
		s.handler.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
			if calls.Add(1) == 1 {
				return wechatopen.Text("never sent"), away
			}
			return wechatopen.Text("second try"), nil
		}
		before := s.store.snapshot()
		message := s.textXML("hello")
		got := s.send(t, message)
		if got.Status != http.StatusInternalServerError || got.Body != "Internal Server Error\n" {
			t.Errorf("answered %d %q", got.Status, got.Body)
		}
		if err := s.lastTraced(t).err; !errors.Is(err, away) {
			t.Errorf("traced %v", err)
		}
		if diff := cmp.Diff(before, s.store.snapshot()); diff != "" {
			t.Errorf("the Store changed:\n%s", diff)
		}
		for range 2 {
			if got := s.send(t, message); got.Status != http.StatusOK || parseTextReply(t, s.open(t, got.Body)).Content != "second try" {
				t.Errorf("sent again: answered %d %q", got.Status, got.Body)
			}
		}
		if n := calls.Load(); n != 2 {
			t.Errorf("Handle was called %d times, want 2: the failure and the success", n)
		}

		// As WeChat does it by itself.
		calls.Store(0)
		if res, err := s.deliver(t.Context(), s.textXML("hello")); err != nil || res.Attempts != 2 {
			t.Errorf("delivered in %d attempts, %v", res.Attempts, err)
		}
	})
}

// attacks.md 14
func TestPanicOfHandleIsA5xxOfThisMessageAlone(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		for name, value := range map[string]any{"a string": "boom", "an error": errors.New("boom"), "http.ErrAbortHandler": http.ErrAbortHandler, "nil map": nil} {
			t.Run(name, func(t *testing.T) {
				var panicking atomic.Bool
				panicking.Store(true)
				s.handler.Handle = s.answering(func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
					if panicking.Load() {
						if value == nil {
							nilMap := func() map[string]int { return nil }
							nilMap()["boom"]++
						}
						panic(value)
					}
					return wechatopen.Text("well again"), nil
				})
				s.log.reset()
				message := s.textXML("hello")
				if got := s.send(t, message); got.Status != http.StatusInternalServerError || got.Body != "Internal Server Error\n" {
					t.Errorf("answered %d %q", got.Status, got.Body)
				}
				if line := s.log.String(); !strings.Contains(line, "panics") || !strings.Contains(line, "handler_message_test.go") || !strings.Contains(line, "level=ERROR") {
					t.Errorf("the log does not say where: %s", line)
				}
				panicking.Store(false)
				s.takes(t, s.make(t, wechattest.PushSpec{XML: s.textXML("another")}))
				s.takes(t, s.make(t, wechattest.PushSpec{XML: message})) // it was not handled, so it is now
			})
		}
	})
}

// attacks.md 15
func TestMessageURLIsVerified(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		const nonce, html = "263014780", "<script>alert(1)</script>"
		ts := strconv.FormatInt(s.sim.Now().Unix(), 10)
		old := strconv.FormatInt(s.sim.Now().Add(-11*time.Minute).Unix(), 10)
		sealed := cipherText(t, s.make(t, wechattest.PushSpec{XML: "1616140317555161061"}))
		foreign := cipherText(t, s.make(t, wechattest.PushSpec{XML: "1616140317555161061", AppID: "wx0123456789abcdef"}))
		signature := sortedSHA1(s.creds.Token, ts, nonce)
		msgSignature := sortedSHA1(s.creds.Token, ts, nonce, sealed)
		wrong := strings.Repeat("0", 40)
		request := func(pairs ...string) *http.Request {
			q := url.Values{"timestamp": {ts}, "nonce": {nonce}}
			for i := 0; i < len(pairs); i += 2 {
				q[pairs[i]] = strings.Fields(pairs[i+1])
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"?"+q.Encode(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		check := s.comp.NewURLCheck
		if s.own {
			check = s.wx.NewURLCheck
		}
		weChats, err := check(t.Context(), s.url, "5938472")
		if err != nil {
			t.Fatal(err)
		}
		for name, tt := range map[string]struct {
			r    *http.Request
			want string
		}{
			"as WeChat does it": {weChats, "5938472"},
			"HTML":              {request("signature", signature, "echostr", html), html},
			"encrypted":         {request("msg_signature", msgSignature, "echostr", sealed), "1616140317555161061"},
			"both signatures":   {request("signature", signature, "msg_signature", msgSignature, "echostr", sealed), "1616140317555161061"},
		} {
			t.Run(name, func(t *testing.T) {
				before := s.state()
				got := do(t, nil, tt.r)
				if got.Status != http.StatusOK || got.Body != tt.want {
					t.Errorf("answered %d %q, want %q", got.Status, got.Body, tt.want)
				}
				if ct := got.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/plain") || got.Header.Get("X-Content-Type-Options") != "nosniff" {
					t.Errorf("Content-Type %q, X-Content-Type-Options %q: a browser may take it for a page", ct, got.Header.Get("X-Content-Type-Options"))
				}
				if diff := cmp.Diff(before, s.state()); diff != "" {
					t.Errorf("something changed:\n%s", diff)
				}
			})
		}
		for name, tt := range map[string]struct {
			r    *http.Request
			want refusal
		}{
			"wrong signature":          {request("signature", wrong, "echostr", html), forged("does not match")},
			"signature in capitals":    {request("signature", strings.ToUpper(signature), "echostr", html), forged("does not match")},
			"signature twice":          {request("signature", signature+" "+signature, "echostr", html), forged("signature")},
			"no signature":             {request("echostr", html), forged("signature")},
			"old":                      {request("signature", sortedSHA1(s.creds.Token, old, nonce), "timestamp", old, "echostr", html), forged("off our clock")},
			"no echostr":               {request("signature", signature), malformed("echostr")},
			"echostr of 2,000":         {request("signature", signature, "echostr", strings.Repeat("a", 2000)), malformed("echostr")},
			"wrong msg_signature":      {request("signature", signature, "msg_signature", wrong, "echostr", sealed), forged("does not match")},
			"plain with msg_signature": {request("msg_signature", sortedSHA1(s.creds.Token, ts, nonce, html), "echostr", html), forged("cannot be decrypted")},
			"encrypted for another":    {request("msg_signature", sortedSHA1(s.creds.Token, ts, nonce, foreign), "echostr", foreign), forged("another appid")},
		} {
			t.Run(name, func(t *testing.T) {
				tt.want.noTrace = true
				s.refuses(t, tt.r, tt.want)
				if line := s.log.String(); strings.Contains(line, "script") {
					t.Errorf("the log quotes echostr: %s", line)
				}
			})
		}
	})
}

// attacks.md 16
func TestMessageIsAnsweredWithTheKeyThatOpenedIt(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		old := s.creds
		newToken, newKey := "newtoken", strings.Repeat("n", 42)+"4"
		rolling := old
		rolling.Token, rolling.EncodingAESKey, rolling.PreviousToken, rolling.PreviousEncodingAESKey = newToken, newKey, old.Token, old.EncodingAESKey
		var rotated, after wechatopen.MessageHandler
		done := rolling
		done.PreviousToken, done.PreviousEncodingAESKey = "", ""
		for h, creds := range map[*wechatopen.MessageHandler]wechatopen.Credentials{&rotated: rolling, &after: done} {
			*h = *s.handler
			opts := append(s.sim.Options(), wechatopen.WithStore(s.store), wechatopen.WithLogger(s.log.logger()))
			var err error
			if s.own {
				h.Account, err = wechatopen.NewAccount(creds, opts...)
			} else {
				h.Platform, err = wechatopen.NewPlatform(creds, opts...)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		s.mux.Handle("/rotated/{appid}", &rotated)
		s.mux.Handle("/after/{appid}", &after)
		for _, tt := range []struct {
			name, path, token, key string
			status                 int
		}{
			{"both new", "/rotated/", newToken, newKey, 200},
			{"both old", "/rotated/", old.Token, old.EncodingAESKey, 200},
			{"old token", "/rotated/", old.Token, newKey, 200},
			{"old key", "/rotated/", newToken, old.EncodingAESKey, 200},
			{"a third token", "/rotated/", "third", newKey, 403},
			{"a third key", "/rotated/", newToken, strings.Repeat("Q", 43), 403},
			{"new after the rollout", "/after/", newToken, newKey, 200},
			{"old key after the rollout", "/after/", newToken, old.EncodingAESKey, 403},
			{"old token after the rollout", "/after/", old.Token, newKey, 403},
		} {
			t.Run(tt.name, func(t *testing.T) {
				before := s.handled()
				spec := wechattest.PushSpec{URL: s.site.URL + tt.path + s.wx.AppID(), XML: s.textXML("hello"), Token: tt.token, EncodingAESKey: tt.key}
				got := do(t, nil, s.make(t, spec))
				if got.Status != tt.status || s.handled()-before != map[int]int{200: 1}[tt.status] {
					t.Fatalf("answered %d %q, handled %d times", got.Status, got.Body, s.handled()-before)
				}
				if tt.status != http.StatusOK {
					return
				}
				if _, err := wechattest.OpenReply(got.Body, tt.token, tt.key, s.creds.AppID); err != nil {
					t.Error(err)
				}
			})
		}
		t.Run("a copy after the change", func(t *testing.T) {
			spec := wechattest.PushSpec{URL: s.site.URL + "/rotated/" + s.wx.AppID(), XML: s.textXML("hello"), Token: old.Token, EncodingAESKey: old.EncodingAESKey}
			before := s.handled()
			first := do(t, nil, s.make(t, spec))
			spec.Token, spec.EncodingAESKey = newToken, newKey
			second := do(t, nil, s.make(t, spec))
			one, err1 := wechattest.OpenReply(first.Body, old.Token, old.EncodingAESKey, s.creds.AppID)
			two, err2 := wechattest.OpenReply(second.Body, newToken, newKey, s.creds.AppID)
			if err1 != nil || err2 != nil || one != two || s.handled()-before != 1 {
				t.Errorf("replies %q %v and %q %v, handled %d times", one, err1, two, err2, s.handled()-before)
			}
		})
	})
}

// The official sample of a message that is pushed to a platform.
func TestMessageHandlerTakesWeChatsSampleOfAPlatform(t *testing.T) {
	at := time.Unix(vectorE.unix, 0)
	sim := wechattest.Start(t, wechattest.Config{Now: func() time.Time { return at }})
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	comp := sim.AddComponent(wechattest.ComponentConfig{
		AppID: vectorE.creds.AppID, Token: vectorE.creds.Token, EncodingAESKey: vectorE.creds.EncodingAESKey, EventURL: site.URL + "/events",
	})
	account := sim.AddAccount(wechattest.AccountConfig{AppID: "wxba5fad812f8e6fb9", UserName: vectorE.toUserName})
	p, err := wechatopen.NewPlatform(comp.Credentials(), append(sim.Options(), wechatopen.WithStore(wechatopen.NewMemoryStore()))...)
	if err != nil {
		t.Fatal(err)
	}
	var got *wechatopen.Message
	mux.Handle("/events", &wechatopen.TicketHandler{Platform: p})
	mux.Handle("/message/{appid}", &wechatopen.MessageHandler{Platform: p, Handle: func(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
		got = m
		return nil, nil
	}})
	if _, err := comp.PushTicket(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := comp.Authorize(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, site.URL+"/message/"+account.AppID()+"?"+vectorE.query(), strings.NewReader(vectorE.body()))
	if err != nil {
		t.Fatal(err)
	}
	if a := do(t, nil, r); a.Status != http.StatusOK || a.Body != "success" || got == nil {
		t.Fatalf("answered %d %q", a.Status, a.Body)
	}
	var debug struct {
		Str string `xml:"debug_str"`
	}
	if err := got.Decode(&debug); err != nil || debug.Str != "hello world" || got.AppID != account.AppID() || got.Event != "debug_demo" {
		t.Errorf("handled %v, decoded %+v, %v", got, debug, err)
	}
}

// The official sample of a message that is pushed to an account of one's own.
func TestMessageHandlerTakesWeChatsSampleOfAnAccount(t *testing.T) {
	creds := vectorC.creds
	creds.AppSecret = "0123456789abcdef0123456789abcdef"
	a, err := wechatopen.NewAccount(creds, wechatopen.WithClock(func() time.Time { return time.Unix(vectorC.unix, 0) }))
	if err != nil {
		t.Fatal(err)
	}
	var got *wechatopen.Message
	site := httptest.NewServer(&wechatopen.MessageHandler{Account: a, Handle: func(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
		got = m
		return nil, nil
	}})
	defer site.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, site.URL+"/?"+vectorC.query(), strings.NewReader(vectorC.body()))
	if err != nil {
		t.Fatal(err)
	}
	if a := do(t, nil, r); a.Status != http.StatusOK || a.Body != "success" || got == nil {
		t.Fatalf("answered %d %q", a.Status, a.Body)
	}
	want := &wechatopen.Message{
		AppID: creds.AppID, ToUserName: "gh_10f6c3c3ac5a", FromUserName: "oyORnuP8q7ou2gfYjqLzSIWZf0rs", CreateTime: time.Unix(1409735668, 0),
		MsgType: "text", Content: "abcdteT", MsgID: 6054768590064713728, Raw: got.Raw,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A push is signed, but its path is not: who has one could send it to every account of the platform.
func TestMessageOfOneAccountIsRefusedAtThePathOfAnother(t *testing.T) {
	s := newMessageSite(t, false)
	b := s.sim.AddAccount(wechattest.AccountConfig{Name: "Other"})
	if _, err := s.comp.Authorize(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	urlOf := func(a *wechattest.Account) string { return s.site.URL + "/wechat/message/" + a.AppID() }
	s.takes(t, s.make(t, wechattest.PushSpec{XML: s.textXML("to A")}))
	if m := s.lastMessage(t); m.AppID != s.shop.AppID() || m.ToUserName != s.shop.UserName() {
		t.Errorf("handled %v", m)
	}
	toB := func() string { return b.TextXML(b.OpenID(s.alice), "to B", 600+messageSerial.Add(1), s.sim.Now()) }
	s.takes(t, s.make(t, wechattest.PushSpec{XML: toB(), URL: urlOf(b), ToUserName: b.UserName()}))
	if m := s.lastMessage(t); m.AppID != b.AppID() || m.ToUserName != b.UserName() {
		t.Errorf("handled %v", m)
	}
	noEnvelope := func(message string) *http.Request { // as events have it, with AppId in its place
		r, err := s.comp.NewPush(t.Context(), wechattest.PushSpec{XML: message, URL: urlOf(b)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for name, r := range map[string]*http.Request{
		"as it is":                   s.make(t, wechattest.PushSpec{XML: s.textXML("to A"), URL: urlOf(b)}),
		"with the envelope of B":     s.make(t, wechattest.PushSpec{XML: s.textXML("to A"), URL: urlOf(b), ToUserName: b.UserName()}),
		"without an envelope":        noEnvelope(s.textXML("to A")),
		"to B in an envelope to A":   s.make(t, wechattest.PushSpec{XML: toB(), URL: urlOf(b), ToUserName: s.shop.UserName()}),
		"to A with B's envelope":     s.make(t, wechattest.PushSpec{XML: s.textXML("to A"), ToUserName: b.UserName()}),
		"to B at A's":                s.make(t, wechattest.PushSpec{XML: toB(), ToUserName: b.UserName()}),
		"to A's appid":               s.make(t, wechattest.PushSpec{XML: strings.Replace(s.textXML("to A"), s.shop.UserName(), s.shop.AppID(), 1), ToUserName: s.shop.AppID()}),
		"to A in capitals":           s.make(t, wechattest.PushSpec{XML: strings.Replace(s.textXML("to A"), s.shop.UserName(), strings.ToUpper(s.shop.UserName()), 1), ToUserName: strings.ToUpper(s.shop.UserName())}),
		"to a test account":          s.make(t, wechattest.PushSpec{XML: strings.Replace(s.textXML("to A"), s.shop.UserName(), "gh_3c884a361561", 1), ToUserName: "gh_3c884a361561"}),
		"at a test account's path":   s.make(t, wechattest.PushSpec{XML: s.textXML("to A"), URL: s.site.URL + "/wechat/message/wx570bc396a51b8ff8"}),
		"to A, then B, in a message": s.make(t, wechattest.PushSpec{XML: strings.Replace(s.textXML("to A"), "<xml>", "<xml><ToUserName>"+b.UserName()+"</ToUserName>", 1)}),
	} {
		t.Run(name, func(t *testing.T) { s.refuses(t, r, forged("another account")) })
	}
	if n := s.handled(); n != 2 {
		t.Errorf("handled %d messages", n)
	}
}

// Nor do two accounts of one's own mix, nor one's own and those of a platform.
func TestMessagesOfTwoAccountsWithOneStoreAreEachHandled(t *testing.T) {
	s := newMessageSite(t, true)
	other := s.sim.AddAccount(wechattest.AccountConfig{Name: "Other"})
	h := *s.handler
	h.Account = s.newOwnAccount(other.Credentials(), s.opts...)
	s.mux.Handle("/other", &h)
	other.SetMessageURL(s.site.URL + "/other")
	at := s.sim.Now()
	for i, a := range []*wechattest.Account{s.wx, other, s.wx, other} {
		if res, err := a.PushMessage(t.Context(), a.TextXML(s.openID, "same id", 77, at)); err != nil || res.Attempts != 1 {
			t.Fatal(i, err)
		}
	}
	var to []string
	for _, m := range s.got {
		to = append(to, m.AppID)
	}
	if want := []string{s.wx.AppID(), other.AppID()}; !slices.Equal(to, want) {
		t.Errorf("handled for %v, want %v", to, want)
	}
	r, err := s.wx.NewPush(t.Context(), wechattest.PushSpec{URL: s.site.URL + "/other", XML: s.textXML("astray"), Token: other.Credentials().Token, EncodingAESKey: other.Credentials().EncodingAESKey})
	if err != nil {
		t.Fatal(err)
	}
	s.refuses(t, r, forged("encrypted for another appid"))
	r, err = other.NewPush(t.Context(), wechattest.PushSpec{XML: s.textXML("astray")})
	if err != nil {
		t.Fatal(err)
	}
	s.refuses(t, r, forged("another account"))
}

// Nobody's appid is not worth a call: who has one push could make a thousand of it.
func TestMessageToAnUnknownAppIDIsRefusedWithoutACall(t *testing.T) {
	s := newMessageSite(t, false)
	stranger := s.sim.AddAccount(wechattest.AccountConfig{Name: "Stranger"})
	for appID, want := range map[string]refusal{
		"wx00000000000000ff":    {status: 403, why: "does not authorize this platform"},
		stranger.AppID():        {status: 403, why: "does not authorize this platform"},
		s.comp.AppID():          {status: 403, why: "does not authorize this platform"},
		"wx:grant":              {status: 404, why: "names no account"},
		"%2e%2e%2fgrant":        {status: 404, why: "names no account"},
		"a%20b":                 {status: 404, why: "names no account"},
		strings.Repeat("a", 65): {status: 404, why: "names no account"},
		"%E5%85%AC%E4%BC%97":    {status: 404, why: "names no account"},
		"$APPID$":               {status: 404, why: "names no account"},
	} {
		t.Run(appID, func(t *testing.T) {
			s.refuses(t, s.make(t, wechattest.PushSpec{XML: s.textXML("hello"), URL: s.site.URL + "/wechat/message/" + appID}), want)
			if err := s.lastTraced(t).err; errors.Is(err, wechatopen.ErrNotAuthorized) != (want.status == 403) {
				t.Errorf("traced %v", err)
			}
		})
	}
}

// Who has one push can send it to any path while its timestamp is good: what is not there leaves nothing behind.
func TestMessagesToUnknownAppIDsTakeNoMemory(t *testing.T) {
	s := newMessageSite(t, false)
	p := s.newPlatform(wechatopen.WithLogger(slog.New(slog.DiscardHandler)), wechatopen.WithTrace(&wechatopen.Trace{}))
	h := &wechatopen.MessageHandler{Platform: p, Handle: s.handler.Handle}
	captured := s.make(t, wechattest.PushSpec{XML: s.textXML("hello")})
	serial := 0
	replay := func(times int) uint64 {
		for range times {
			r := captured.Clone(t.Context())
			r.Body, _ = captured.GetBody()
			r.SetPathValue("appid", fmt.Sprintf("wx%016x", serial))
			serial++
			rec := httptest.NewRecorder()
			if h.ServeHTTP(rec, r); rec.Code != http.StatusForbidden {
				t.Fatalf("answered %d", rec.Code)
			}
		}
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const times, each = 3_000, 100 // bytes; an Account has several hundred
	before := replay(100)
	if after := replay(times); after > before+times*each {
		t.Errorf("%d appids left %d bytes", times, after-before)
	}
	runtime.KeepAlive(p)
}

func TestMessageHandlerAsksAppIDWhoseMessageItIs(t *testing.T) {
	s := newMessageSite(t, false)
	h := *s.handler
	h.AppID = func(r *http.Request) string { return r.URL.Query().Get("of") }
	s.mux.Handle("/by-query", &h)
	s.takes(t, s.make(t, wechattest.PushSpec{XML: s.textXML("a"), URL: s.site.URL + "/by-query?of=" + s.wx.AppID()}))
	if m := s.lastMessage(t); m.AppID != s.wx.AppID() {
		t.Errorf("handled %v", m)
	}
	s.refuses(t, s.make(t, wechattest.PushSpec{XML: s.textXML("a"), URL: s.site.URL + "/by-query"}), refusal{status: 404, why: "names no account"})
}

func TestOriginalIDIsAskedOfWeChatOnceAndKept(t *testing.T) {
	s := newMessageSite(t, false)
	for range 3 {
		s.takes(t, s.make(t, wechattest.PushSpec{XML: s.textXML("hello")}))
	}
	if n := s.sim.Count(authorizerInfoPath); n != 1 {
		t.Errorf("asked %d times for three messages", n)
	}
	// Another process finds it in the Store.
	h := *s.handler
	h.Platform = s.newPlatform()
	s.mux.Handle("/twin/{appid}", &h)
	s.takes(t, s.make(t, wechattest.PushSpec{XML: s.textXML("hello"), URL: s.site.URL + "/twin/" + s.wx.AppID()}))
	if n := s.sim.Count(authorizerInfoPath); n != 1 {
		t.Errorf("another process asked again: %d", n)
	}
}

// The messages of an account begin when a post of it is read: many at once.
func TestOriginalIDIsAskedOnceForTwentyFirstMessagesAtOnce(t *testing.T) {
	s := newMessageSite(t, false)
	const n = 20
	gate := make(chan struct{})
	s.sim.Inject(wechattest.Fault{Path: authorizerInfoPath, Gate: gate}) // so that all come while it is asked
	var arrived atomic.Int32
	s.handler.ReplyTime = time.Minute
	s.mux.HandleFunc("/counted/{appid}", func(w http.ResponseWriter, r *http.Request) {
		if arrived.Add(1) == n {
			close(gate)
		}
		s.handler.ServeHTTP(w, r)
	})
	var wg sync.WaitGroup
	for range n {
		r := s.make(t, wechattest.PushSpec{XML: s.textXML("hello"), URL: s.site.URL + "/counted/" + s.wx.AppID()})
		wg.Go(func() {
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("answered %d", resp.StatusCode)
			}
		})
	}
	wg.Wait()
	if got := s.sim.Count(authorizerInfoPath); got != 1 || s.handled() != n {
		t.Errorf("asked %d times; %d of %d handled", got, s.handled(), n)
	}
}

func TestMessageIs5xxWhenTheOriginalIDCannotBeAskedAndAskedAgain(t *testing.T) {
	for name, fault := range map[string]wechattest.Fault{
		"system error": {ErrCode: -1},
		"status 502":   {Status: 502, Body: []byte("<html>")},
		"cut":          {Cut: true, Body: []byte{}},
		"no user_name": {Edit: func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"user_name"`), []byte(`"other_name"`)) }},
		"nothing":      {Body: []byte("{}")},
	} {
		t.Run(name, func(t *testing.T) {
			s := newMessageSite(t, false)
			fault.Path, fault.Times = authorizerInfoPath, 1
			s.sim.Inject(fault)
			before := s.store.snapshot()
			if got := s.send(t, s.textXML("first")); got.Status/100 != 5 {
				t.Errorf("answered %d %q", got.Status, got.Body)
			}
			after := s.store.snapshot()
			for k := range after {
				if _, ok := before[k]; !ok && !strings.HasSuffix(k, ":component_token") {
					t.Errorf("%s is kept: %q", k, after[k])
				}
			}
			if s.handled() != 0 {
				t.Error("Handle was called")
			}
			if got := s.send(t, s.textXML("second")); got.Status != http.StatusOK || s.handled() != 1 {
				t.Errorf("afterwards answered %d %q; log: %s", got.Status, got.Body, s.log)
			}
		})
	}
}

// attacks.md 17
func TestUnauthorizedForgetsTheOriginalID(t *testing.T) {
	s := newMessageSite(t, false)
	s.takes(t, s.make(t, wechattest.PushSpec{XML: s.textXML("hello")}))
	if !strings.Contains(strings.Join(slices.Collect(maps.Values(s.store.snapshot())), "\n"), s.wx.UserName()) {
		t.Fatal("the Store does not hold the original id: the test shows nothing")
	}
	s.sim.Advance(time.Second)
	if err := s.comp.Unauthorize(t.Context(), s.shop); err != nil {
		t.Fatal(err)
	}
	messageKeysOnly(t, s.store.snapshot(), s.wx.AppID())
	s.refuses(t, s.make(t, wechattest.PushSpec{XML: s.textXML("late")}), refusal{status: 403, why: "does not authorize this platform"})

	// When it authorizes the platform again, all is as new.
	s.sim.Advance(time.Second)
	if _, err := s.comp.Authorize(t.Context(), s.shop); err != nil {
		t.Fatal(err)
	}
	s.takes(t, s.make(t, wechattest.PushSpec{XML: s.textXML("back")}))
	if n := s.sim.Count(authorizerInfoPath); n != 2 {
		t.Errorf("asked %d times, want once for each authorization", n)
	}
}

// messageKeysOnly sees that nothing of an account is left but what remembers its messages, which ends by itself.
func messageKeysOnly(t *testing.T, snapshot map[string]string, appID string) {
	t.Helper()
	for k, v := range snapshot {
		if strings.Contains(k, appID) && !strings.Contains(k, ":message:") {
			t.Errorf("%s is left: %q", k, v)
		}
	}
}

// attacks.md 17: while WeChat is being asked who the account is.
func TestUnauthorizedDuringTheFirstMessageLeavesNothing(t *testing.T) {
	locker := &queueLocker{}
	queued := make(chan string, 10)
	locker.waiting = func(key string) { queued <- key }
	gate := &gateTransport{path: authorizerInfoPath, arrived: make(chan struct{}, 10), open: make(chan struct{})}
	s := newMessageSite(t, false, wechatopen.WithLocker(locker), wechatopen.WithHTTPClient(&http.Client{Transport: gate}))
	r := s.make(t, wechattest.PushSpec{XML: s.textXML("hello")})
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if resp, err := http.DefaultClient.Do(r); err == nil {
			resp.Body.Close()
		}
	}()
	<-gate.arrived // WeChat has told the original id
	s.sim.Advance(2 * time.Second)
	pushed := make(chan error, 1)
	go func() { pushed <- s.comp.Unauthorize(context.Background(), s.shop) }()
	var err error
	select {
	case <-queued:
		close(gate.open)
		err = <-pushed
	case err = <-pushed: // it did not wait, so the answer comes last
		close(gate.open)
	}
	if err != nil {
		t.Fatal(err)
	}
	<-answered
	messageKeysOnly(t, s.store.snapshot(), s.wx.AppID())
}

// Plain mode (明文模式) is for an account of one's own that asks for it.
func TestPlainMessageIsTakenWhereItIsAllowed(t *testing.T) {
	s := newMessageSite(t, true)
	s.handler.Plain = true
	for name, query := range map[string]func(url.Values){
		"encrypt_type=raw": nil,
		"no encrypt_type":  dropParams("encrypt_type"),
	} {
		t.Run(name, func(t *testing.T) {
			before := s.handled()
			message := s.textXML("你好")
			for range 2 {
				got := do(t, nil, s.make(t, wechattest.PushSpec{EncryptType: "raw", XML: message, Query: query}))
				if got.Status != http.StatusOK || !strings.Contains(got.Header.Get("Content-Type"), "xml") {
					t.Fatalf("answered %d %q", got.Status, got.Body)
				}
				// In the clear, as it came.
				want := textReply{ToUserName: s.openID, FromUserName: s.wx.UserName(), MsgType: "text", Content: "re: 你好"}
				reply := parseTextReply(t, got.Body)
				reply.XMLName, reply.CreateTime = xml.Name{}, 0
				if diff := cmp.Diff(want, reply); diff != "" {
					t.Error(diff)
				}
			}
			if m := s.lastMessage(t); s.handled()-before != 1 || m.AppID != s.wx.AppID() || string(m.Raw) != message {
				t.Errorf("handled %d times: %v", s.handled()-before, m)
			}
		})
	}
	// What is encrypted still is, and so is its reply.
	s.takes(t, s.make(t, wechattest.PushSpec{XML: s.textXML("encrypted")}))
}

// A message is the handler's to keep: others that come are read into other memory.
func TestMessageStaysAsItWas(t *testing.T) {
	s := newMessageSite(t, true)
	s.handler.Plain = true
	for _, encryptType := range []string{"aes", "raw"} {
		t.Run(encryptType, func(t *testing.T) {
			var sent []string
			var got []*wechatopen.Message
			s.handler.Handle = func(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
				got = append(got, m)
				return nil, nil
			}
			for i := range 20 {
				sent = append(sent, s.textXML(fmt.Sprintf("message %02d", i)))
				r := s.make(t, wechattest.PushSpec{EncryptType: encryptType, XML: sent[i]})
				r.SetPathValue("appid", s.wx.AppID())
				s.handler.ServeHTTP(httptest.NewRecorder(), r)
			}
			for i, m := range got {
				if string(m.Raw) != sent[i] || m.Content != fmt.Sprintf("message %02d", i) {
					t.Errorf("message %d is now %q, %s", i, m.Content, m.Raw)
				}
			}
			if len(got) != len(sent) {
				t.Errorf("%d of %d came", len(got), len(sent))
			}
		})
	}
}

func TestForgedPlainMessageIsRefusedWherePlainIsAllowed(t *testing.T) {
	s := newMessageSite(t, true)
	s.handler.Plain = true
	old := strconv.FormatInt(s.sim.Now().Add(-11*time.Minute).Unix(), 10)
	for name, tt := range map[string]struct {
		spec wechattest.PushSpec
		want refusal
	}{
		"wrong signature":        {wechattest.PushSpec{EncryptType: "raw", Query: setParam("signature", strings.Repeat("0", 40))}, forged("does not match")},
		"signature in capitals":  {wechattest.PushSpec{EncryptType: "raw", Query: func(q url.Values) { q.Set("signature", strings.ToUpper(q.Get("signature"))) }}, forged("does not match")},
		"signature twice":        {wechattest.PushSpec{EncryptType: "raw", Query: func(q url.Values) { q.Add("signature", q.Get("signature")) }}, forged("exactly one signature")},
		"no signature":           {wechattest.PushSpec{EncryptType: "raw", Query: dropParams("signature")}, forged("exactly one signature")},
		"another token":          {wechattest.PushSpec{EncryptType: "raw", Token: "another"}, forged("does not match")},
		"old":                    {wechattest.PushSpec{EncryptType: "raw", Timestamp: old}, forged("off our clock")},
		"no XML":                 {wechattest.PushSpec{EncryptType: "raw", Body: []byte("hello")}, malformed("")},
		"DTD":                    {wechattest.PushSpec{EncryptType: "raw", Body: []byte("<!DOCTYPE xml>" + s.textXML("a"))}, malformed("DTD")},
		"wrong msg_signature":    {wechattest.PushSpec{MsgSignature: strings.Repeat("0", 40)}, forged("does not match")},
		"empty msg_signature":    {wechattest.PushSpec{EncryptType: "raw", Query: setParam("msg_signature", "")}, forged("push refused")},
		"signature for an other": {wechattest.PushSpec{EncryptType: "raw", Query: func(q url.Values) { q["msg_signature"] = q["signature"] }}, forged("encrypt")},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.spec.XML == "" {
				tt.spec.XML = s.textXML("forged")
			}
			s.refuses(t, s.make(t, tt.spec), tt.want)
		})
	}
}

func TestMessageHandlerSaysWhatIsMissing(t *testing.T) {
	s := newMessageSite(t, false)
	handle := s.handler.Handle
	own := s.sim.AddAccount(wechattest.AccountConfig{})
	silent := own.Credentials()
	silent.Token, silent.EncodingAESKey = "", ""
	account := s.newOwnAccount(own.Credentials())
	for name, tt := range map[string]struct {
		h   wechatopen.MessageHandler
		why string
	}{
		"nothing":           {wechatopen.MessageHandler{}, "Handle is nil"},
		"no Handle":         {wechatopen.MessageHandler{Platform: s.platform}, "Handle is nil"},
		"neither":           {wechatopen.MessageHandler{Handle: handle}, "either a Platform or an Account"},
		"both":              {wechatopen.MessageHandler{Handle: handle, Platform: s.platform, Account: account}, "either a Platform or an Account"},
		"plain platform":    {wechatopen.MessageHandler{Handle: handle, Platform: s.platform, Plain: true}, "no plain mode"},
		"an authorizer":     {wechatopen.MessageHandler{Handle: handle, Account: s.platform.Account(s.shop.AppID())}, "set Platform"},
		"account, no Token": {wechatopen.MessageHandler{Handle: handle, Account: s.newOwnAccount(silent)}, "Credentials.Token"},
	} {
		t.Run(name, func(t *testing.T) {
			var told error
			tt.h.OnError = func(w http.ResponseWriter, _ *http.Request, err error) {
				told = err
				w.WriteHeader(wechatopen.HTTPStatus(err))
			}
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				told = nil
				rec := httptest.NewRecorder()
				r := s.make(t, wechattest.PushSpec{XML: s.textXML("hello")})
				r.Method = method
				tt.h.ServeHTTP(rec, r)
				if rec.Code != http.StatusInternalServerError || told == nil || !strings.Contains(told.Error(), tt.why) {
					t.Errorf("%s: answered %d, told %v", method, rec.Code, told)
				}
			}
		})
	}
	if s.handled() != 0 {
		t.Error("Handle was called")
	}
}

func TestMessageHandlerAnswersOtherMethodsWith405(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"} {
			before := s.state()
			r := s.make(t, wechattest.PushSpec{XML: s.textXML("hello")})
			r.Method = method
			got := do(t, nil, r)
			if got.Status != http.StatusMethodNotAllowed || got.Header.Get("Allow") != "GET, POST" {
				t.Errorf("%s: answered %d, Allow %q", method, got.Status, got.Header.Get("Allow"))
			}
			if diff := cmp.Diff(before, s.state()); diff != "" {
				t.Errorf("%s: something changed:\n%s", method, diff)
			}
		}
	})
}

// As the documentation of Trace.Push says.
func TestMessageHandlerTellsTraceAfterItsAnswer(t *testing.T) {
	var rec *httptest.ResponseRecorder
	var answered []int
	s := newMessageSite(t, false, wechatopen.WithTrace(&wechatopen.Trace{Push: func(_ context.Context, kind string, _ error) {
		if rec == nil || strings.Contains(kind, "component") || strings.HasPrefix(kind, "auth") {
			return // of the event URL
		}
		if rec.Body.Len() == 0 {
			t.Error("Trace.Push was called before the push was answered")
		}
		answered = append(answered, rec.Code)
	}}))
	for _, spec := range []wechattest.PushSpec{{XML: s.textXML("hello")}, {MsgSignature: "0"}} {
		rec = httptest.NewRecorder()
		r := s.make(t, spec)
		r.SetPathValue("appid", s.wx.AppID())
		s.handler.ServeHTTP(rec, r)
	}
	if !slices.Equal(answered, []int{200, 403}) {
		t.Errorf("Trace.Push saw the answers %v", answered)
	}
}

func TestMessageHandlerWithOnErrorAnswersNothingItself(t *testing.T) {
	s := newMessageSite(t, true)
	var told []error
	s.handler.OnError = func(w http.ResponseWriter, r *http.Request, err error) {
		told = append(told, err)
		w.WriteHeader(http.StatusTeapot)
	}
	s.log.reset()
	for _, r := range []*http.Request{
		s.make(t, wechattest.PushSpec{MsgSignature: "0"}),
		s.make(t, wechattest.PushSpec{XML: "<xml></xml>"}),
	} {
		if got := do(t, nil, r); got.Status != http.StatusTeapot || got.Body != "" {
			t.Errorf("answered %d %q", got.Status, got.Body)
		}
	}
	if len(told) != 2 || wechatopen.HTTPStatus(told[0]) != 403 || wechatopen.HTTPStatus(told[1]) != 400 || s.log.String() != "" {
		t.Errorf("told %v; log %s", told, s.log)
	}
}

// lateSite is a MessageHandler in a bubble, where time passes when all sleep, and there is no network.
type lateSite struct {
	t    *testing.T
	h    *wechatopen.MessageHandler
	wx   *wechattest.Account
	sim  *wechattest.Server
	log  *logBuffer
	late chan lateReply
}

type lateReply struct {
	m   *wechatopen.Message
	r   wechatopen.Reply
	err error // of the context
}

func lateBubble(t *testing.T, f func(t *testing.T, s *lateSite)) {
	t.Helper()
	sim := wechattest.Start(t)
	wx := sim.AddAccount(wechattest.AccountConfig{})
	synctest.Test(t, func(t *testing.T) {
		s := &lateSite{t: t, wx: wx, sim: sim, log: &logBuffer{}, late: make(chan lateReply, 100)}
		a, err := wechatopen.NewAccount(wx.Credentials(), wechatopen.WithClock(sim.Now), wechatopen.WithLogger(s.log.logger()),
			wechatopen.WithHTTPClient(&http.Client{Transport: noNetwork{}}))
		if err != nil {
			t.Fatal(err)
		}
		s.h = &wechatopen.MessageHandler{Account: a, OnLate: func(ctx context.Context, m *wechatopen.Message, r wechatopen.Reply) {
			s.late <- lateReply{m, r, ctx.Err()}
		}}
		f(t, s)
	})
}

func (s *lateSite) textXML(content string) string {
	return s.wx.TextXML("oAlice", content, 7000+messageSerial.Add(1), s.sim.Now())
}

func (s *lateSite) push(message string) *http.Request {
	s.t.Helper()
	r, err := s.wx.NewPush(s.t.Context(), wechattest.PushSpec{URL: "http://site.example/", XML: message})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// serve pushes a message and tells how it was answered, opened, and after how long.
func (s *lateSite) serve(message string) (status int, body string, took time.Duration) {
	s.t.Helper()
	r := s.push(message)
	rec := httptest.NewRecorder()
	start := time.Now()
	s.h.ServeHTTP(rec, r)
	body = rec.Body.String()
	if strings.Contains(body, "<Encrypt>") {
		var err error
		if body, err = s.wx.OpenReply(body); err != nil {
			s.t.Fatal(err)
		}
		body = parseTextReply(s.t, body).Content
	}
	return rec.Code, body, time.Since(start)
}

// WeChat waits five seconds, and the way there and back takes some of them.
func TestMessageIsAnsweredSuccessBeforeWeChatLeaves(t *testing.T) {
	lateBubble(t, func(t *testing.T, s *lateSite) {
		for _, tt := range []struct{ set, min, max time.Duration }{
			{0, 3 * time.Second, 5*time.Second - 1},
			{time.Second, time.Second, time.Second},
		} {
			s.h.ReplyTime = tt.set
			gate := make(chan struct{})
			s.h.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) { <-gate; return nil, nil }
			status, body, took := s.serve(s.textXML("slow"))
			if status != 200 || body != "success" || took < tt.min || took > tt.max {
				t.Errorf("ReplyTime %v: answered %d %q after %v", tt.set, status, body, took)
			}
			close(gate)
			synctest.Wait()
		}
		// What is in time is not kept waiting.
		s.h.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
			<-time.After(900 * time.Millisecond)
			return wechatopen.Text("in time"), nil
		}
		if status, body, took := s.serve(s.textXML("quick")); status != 200 || body != "in time" || took != 900*time.Millisecond {
			t.Errorf("answered %d %q after %v", status, body, took)
		}
		if len(s.late) != 0 {
			t.Error("OnLate was called for what is in time, or for no reply")
		}
	})
}

// Each message has its own time, whatever else is on its way: those that end at once, in another order, or with another
// handler of the same account.
func TestEachMessageIsGivenItsOwnTime(t *testing.T) {
	lateBubble(t, func(t *testing.T, s *lateSite) {
		start := time.Now()
		var wg sync.WaitGroup
		served := func(begin, replyTime, takes, want time.Duration) {
			h := *s.h
			h.ReplyTime = replyTime
			h.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
				time.Sleep(takes)
				return nil, nil
			}
			message := s.textXML("slow")
			wg.Go(func() {
				time.Sleep(begin - time.Since(start))
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, s.push(message))
				if took := time.Since(start) - begin; rec.Code != 200 || rec.Body.String() != "success" || took != want {
					t.Errorf("begun after %v, with %v, of which Handle takes %v: answered %d %q after %v, want %v",
						begin, replyTime, takes, rec.Code, rec.Body, took, want)
				}
			})
		}
		const ms = time.Millisecond
		for i := range time.Duration(50) {
			served(i*100*ms, 4500*ms, time.Minute, 4500*ms)
			served(i*110*ms, 4500*ms, i*7*ms, i*7*ms)
			served(i*130*ms, 700*ms+i*ms, 2*time.Second, 700*ms+i*ms)
			served(i*170*ms, 3*time.Second-50*i*ms, time.Minute, 3*time.Second-50*i*ms)
		}
		served(20*time.Minute, 4500*ms, time.Minute, 4500*ms) // after a time with none
		wg.Wait()
		time.Sleep(time.Hour)
	})
}

func TestLateReplyGoesToOnLateExactlyOnce(t *testing.T) {
	lateBubble(t, func(t *testing.T, s *lateSite) {
		var calls atomic.Int32
		s.h.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
			calls.Add(1)
			<-time.After(20 * time.Second)
			return wechatopen.Text("late"), nil
		}
		message := s.textXML("slow")
		for range 3 { // as if the answers were lost on their way
			if status, body, _ := s.serve(message); status != 200 || body != "success" {
				t.Errorf("answered %d %q", status, body)
			}
		}
		pass(time.Minute)
		if calls.Load() != 1 || len(s.late) != 1 {
			t.Fatalf("handled %d times, OnLate was called %d times", calls.Load(), len(s.late))
		}
		late := <-s.late
		if late.m.Content != "slow" || late.err != nil {
			t.Errorf("OnLate was given %v and a context with %v", late.m, late.err)
		}
		// A copy that comes now is not answered with what OnLate has sent: the user would get it twice.
		if status, body, _ := s.serve(message); status != 200 || body != "success" {
			t.Errorf("a later copy is answered %d %q", status, body)
		}
		if calls.Load() != 1 || len(s.late) != 0 {
			t.Errorf("a later copy: handled %d times, OnLate called %d times", calls.Load(), 1+len(s.late))
		}
		// It is the reply that Handle returned.
		s.h.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) { return late.r, nil }
		if _, body, _ := s.serve(s.textXML("again")); body != "late" {
			t.Errorf("OnLate was given a reply of %q", body)
		}
	})
}

// A copy that comes while the first is at work waits for it, and is kept waiting no longer than the first was.
func TestCopyWaitsForTheFirstAsLongAsWeChatDoes(t *testing.T) {
	lateBubble(t, func(t *testing.T, s *lateSite) {
		var calls atomic.Int32
		s.h.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
			calls.Add(1)
			<-time.After(4 * time.Second)
			return wechatopen.Text("here"), nil
		}
		// While the first is in time, the copy has its reply at the same time.
		message := s.textXML("quick enough")
		first := make(chan string, 1)
		go func() {
			_, body, _ := s.serve(message)
			first <- body
		}()
		pass(time.Second)
		if _, body, took := s.serve(message); body != "here" || took != 3*time.Second || <-first != "here" || calls.Load() != 1 {
			t.Errorf("the copy is answered %q after %v, handled %d times", body, took, calls.Load())
		}
		// A copy of one that was late ends with it.
		calls.Store(0)
		s.h.ReplyTime = 3 * time.Second
		message = s.textXML("slow")
		for i, want := range []time.Duration{3 * time.Second, time.Second, 0} {
			if status, body, took := s.serve(message); status != 200 || body != "success" || took != want {
				t.Errorf("attempt %d is answered %d %q after %v, want success after %v", i, status, body, took, want)
			}
		}
		synctest.Wait()
		if calls.Load() != 1 || len(s.late) != 1 {
			t.Errorf("handled %d times, OnLate called %d times", calls.Load(), len(s.late))
		}
		// What nobody else sends the copy may have: WeChat sends one if the answer to the first was lost.
		s.h.OnLate = nil
		message = s.textXML("slow again")
		for i, want := range []string{"success", "here", "here"} {
			if status, body, _ := s.serve(message); status != 200 || body != want {
				t.Errorf("without OnLate attempt %d is answered %d %q, want %q", i, status, body, want)
			}
		}
		if calls.Load() != 2 {
			t.Errorf("handled %d times", calls.Load()-1)
		}
	})
}

func TestLateOutcomesWithoutAReplyAreLoggedOrNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		reply  wechatopen.Reply
		err    error
		noLate bool
		log    string
	}{
		"no reply":              {nil, nil, false, ""},
		"an error":              {wechatopen.Text("never"), errors.New("database is away"), false, "level=ERROR"},
		"a reply and no OnLate": {wechatopen.Text("my answer"), nil, true, "set OnLate"},
	} {
		t.Run(name, func(t *testing.T) {
			lateBubble(t, func(t *testing.T, s *lateSite) {
				if tt.noLate {
					s.h.OnLate = nil
				}
				s.h.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
					<-time.After(10 * time.Second)
					return tt.reply, tt.err
				}
				if status, body, _ := s.serve(s.textXML("my secret")); status != 200 || body != "success" {
					t.Errorf("answered %d %q", status, body)
				}
				pass(time.Minute)
				line := s.log.String()
				if len(s.late) != 0 || !strings.Contains(line, tt.log) || (tt.log == "") != (line == "") || strings.Contains(line, "my secret") || strings.Contains(line, "my answer") {
					t.Errorf("OnLate was called %d times; log %q", len(s.late), line)
				}
			})
		})
	}
}

func TestPanicOfOnLateOrOfALateHandleLeavesTheServerUp(t *testing.T) {
	lateBubble(t, func(t *testing.T, s *lateSite) {
		s.h.OnLate = func(context.Context, *wechatopen.Message, wechatopen.Reply) { panic("boom in OnLate") }
		s.h.Handle = func(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
			<-time.After(10 * time.Second)
			if m.Content == "panic" {
				panic("boom in Handle")
			}
			return wechatopen.Text("late"), nil
		}
		for _, content := range []string{"panic", "late"} {
			if status, body, _ := s.serve(s.textXML(content)); status != 200 || body != "success" {
				t.Errorf("answered %d %q", status, body)
			}
			pass(time.Minute)
		}
		if line := s.log.String(); !strings.Contains(line, "boom in OnLate") || !strings.Contains(line, "boom in Handle") {
			t.Errorf("log: %s", line)
		}
	})
}

func TestWorkTimeEndsTheContextOfHandle(t *testing.T) {
	lateBubble(t, func(t *testing.T, s *lateSite) {
		for _, tt := range []struct {
			work, reply, want time.Duration
			status            int
		}{
			{0, 0, time.Minute, 200}, // WeChat was answered long before
			{10 * time.Second, 0, 10 * time.Second, 200},
			{2 * time.Second, 0, 2 * time.Second, 500}, // WeChat is to send it again
		} {
			s.h.WorkTime, s.h.ReplyTime = tt.work, tt.reply
			start, ended := time.Now(), make(chan time.Duration, 3)
			s.h.Handle = func(ctx context.Context, _ *wechatopen.Message) (wechatopen.Reply, error) {
				<-ctx.Done()
				ended <- time.Since(start)
				return wechatopen.Text("never"), ctx.Err()
			}
			if status, body, _ := s.serve(s.textXML("slow")); status != tt.status {
				t.Errorf("WorkTime %v: answered %d %q", tt.work, status, body)
			}
			pass(2 * time.Minute)
			if len(ended) != 1 {
				t.Fatalf("WorkTime %v: %d handlers ended", tt.work, len(ended))
			}
			if got := <-ended; got != tt.want {
				t.Errorf("WorkTime %v: the context ended after %v", tt.work, got)
			}
			if len(s.late) != 0 {
				t.Errorf("WorkTime %v: OnLate was called", tt.work)
			}
		}
	})
}

// A Handle that does not look at its context: it has handled the message all the same.
func TestReplyAfterWorkTimeIsStillTheOnlyOne(t *testing.T) {
	lateBubble(t, func(t *testing.T, s *lateSite) {
		var calls atomic.Int32
		s.h.WorkTime = time.Second
		for _, tt := range []struct {
			takes time.Duration
			body  string
			late  int
		}{{2 * time.Second, "done", 0}, {10 * time.Second, "success", 1}} {
			calls.Store(0)
			s.h.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
				calls.Add(1)
				<-time.After(tt.takes)
				return wechatopen.Text("done"), nil
			}
			message := s.textXML("slow")
			for range 2 {
				if status, body, _ := s.serve(message); status != 200 || body != tt.body {
					t.Errorf("Handle takes %v: answered %d %q, want %q", tt.takes, status, body, tt.body)
				}
				pass(time.Minute)
			}
			if calls.Load() != 1 || len(s.late) != tt.late {
				t.Errorf("Handle takes %v: handled %d times, OnLate called %d times; log %s", tt.takes, calls.Load(), len(s.late), s.log)
			}
			for len(s.late) > 0 {
				if late := <-s.late; late.err != nil {
					t.Errorf("OnLate can send nothing: its context has ended with %v", late.err)
				}
			}
		}
	})
}

// As a failed assertion in a test does it: the message is not handled, and not to be acknowledged.
func TestHandleThatEndsItsGoroutineIsA5xx(t *testing.T) {
	lateBubble(t, func(t *testing.T, s *lateSite) {
		s.h.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
			runtime.Goexit()
			return nil, nil
		}
		message := s.textXML("hello")
		if status, body, took := s.serve(message); status != http.StatusInternalServerError || took != 0 {
			t.Errorf("answered %d %q after %v", status, body, took)
		}
		synctest.Wait()
		s.h.Handle = func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
			return wechatopen.Text("well again"), nil
		}
		if _, body, _ := s.serve(message); body != "well again" {
			t.Errorf("sent again it is answered %q", body)
		}
	})
}

// Over real HTTP.
func TestMessageWhoseHandleOverrunsIsAnsweredSuccess(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		gate, late := make(chan struct{}), make(chan string, 10)
		s.handler.ReplyTime = 20 * time.Millisecond
		s.handler.OnLate = func(ctx context.Context, m *wechatopen.Message, r wechatopen.Reply) {
			late <- fmt.Sprint(m.Content, " ", ctx.Err())
		}
		s.handler.Handle = s.answering(func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
			<-gate
			return wechatopen.Text("late"), nil
		})
		before := s.handled()
		message := s.textXML("slow")
		for range 3 {
			if got := s.send(t, message); got.Status != http.StatusOK || got.Body != "success" {
				t.Errorf("answered %d %q", got.Status, got.Body)
			}
		}
		if len(late) != 0 {
			t.Error("OnLate was called before the reply was there")
		}
		close(gate)
		if got := <-late; got != "slow <nil>" || s.handled()-before != 1 {
			t.Errorf("OnLate was given %q; handled %d times", got, s.handled()-before)
		}
	})
}

// At the very moment when the time is over each reply goes one way: to WeChat, or to OnLate.
func TestReplyAtTheLastMomentGoesOneWay(t *testing.T) {
	s := newMessageSite(t, true)
	const n = 200
	var late sync.Map
	var lateCount atomic.Int32
	all := make(chan struct{}, n)
	s.handler.ReplyTime = 300 * time.Microsecond
	s.handler.OnLate = func(_ context.Context, m *wechatopen.Message, _ wechatopen.Reply) {
		if _, twice := late.LoadOrStore(m.MsgID, true); twice {
			t.Error("OnLate was called twice for a message")
		}
		lateCount.Add(1)
		all <- struct{}{}
	}
	s.handler.Handle = func(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
		return wechatopen.Text("reply"), nil
	}
	passive := 0
	for range n {
		got := s.send(t, s.textXML("x"))
		switch {
		case got.Status != http.StatusOK:
			t.Fatalf("answered %d %q", got.Status, got.Body)
		case got.Body != "success":
			passive++
		}
	}
	for range n - passive {
		<-all
	}
	if got := passive + int(lateCount.Load()); got != n {
		t.Errorf("%d replies to %d messages: %d passive, %d late", got, n, passive, lateCount.Load())
	}
}

// WeChat hangs up after five seconds; the work is not lost by that.
func TestHandleGoesOnWhenWeChatHangsUp(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		begun, gate, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
		s.handler.ReplyTime = time.Minute
		var ended error
		s.handler.Handle = s.answering(func(ctx context.Context, _ *wechatopen.Message) (wechatopen.Reply, error) {
			close(begun)
			<-gate
			ended = ctx.Err()
			return wechatopen.Text("done"), nil
		})
		s.mux.HandleFunc("/left/{appid}", func(w http.ResponseWriter, r *http.Request) {
			context.AfterFunc(r.Context(), func() { close(gone) })
			s.handler.ServeHTTP(w, r)
		})
		message := s.textXML("slow")
		ctx, hangUp := context.WithCancel(t.Context())
		r := s.make(t, wechattest.PushSpec{XML: message, URL: s.site.URL + "/left/" + s.wx.AppID()}).WithContext(ctx)
		left := make(chan struct{})
		go func() {
			defer close(left)
			if resp, err := http.DefaultClient.Do(r); err == nil {
				resp.Body.Close()
				t.Error("answered")
			}
		}()
		<-begun
		hangUp()
		<-left
		<-gone
		close(gate)
		before := s.handled()
		got := s.send(t, message) // its copy waits for the first
		if got.Status != http.StatusOK || parseTextReply(t, s.open(t, got.Body)).Content != "done" || s.handled() != before {
			t.Errorf("the copy is answered %d %q, handled %d times more", got.Status, got.Body, s.handled()-before)
		}
		if ended != nil {
			t.Errorf("the context of Handle ended: %v", ended)
		}
	})
}

// A site with many accounts answers all of them at once.
func TestMessagesOfManyUsersAtOnceAreEachAnswered(t *testing.T) {
	eachMessageSite(t, func(t *testing.T, s *messageSite) {
		const n = 50
		before := s.handled()
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				content := fmt.Sprint("message ", i)
				res, err := s.deliver(context.Background(), s.textXML(content))
				if err != nil || !strings.Contains(res.Reply, "re: "+content+"]]>") || res.Attempts != 1 {
					t.Errorf("%s: %+v, %v", content, res, err)
				}
			})
		}
		wg.Wait()
		if got := s.handled() - before; got != n {
			t.Errorf("handled %d times", got)
		}
	})
}
