package wechatopen_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
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

// eventSite is a world whose event URL is a TicketHandler, with a record of what it told the application.
type eventSite struct {
	*world
	handler *wechatopen.TicketHandler
	url     string

	mu     sync.Mutex
	events []*wechatopen.Event
	traced []tracedPush
}

// tracedPush is what Trace.Push was called with.
type tracedPush struct {
	infoType string
	err      error
}

func newEventSite(t *testing.T, opts ...wechatopen.Option) *eventSite {
	t.Helper()
	s := &eventSite{}
	trace := wechatopen.WithTrace(&wechatopen.Trace{Push: func(_ context.Context, infoType string, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.traced = append(s.traced, tracedPush{infoType, err})
	}})
	s.world = newWorld(t, append([]wechatopen.Option{trace}, opts...)...)
	s.handler = &wechatopen.TicketHandler{Platform: s.platform, OnEvent: func(_ context.Context, e *wechatopen.Event) error {
		s.told(e)
		return nil
	}}
	s.mount("/push", s.handler)
	return s
}

// mount puts h at path, and the event URL there.
func (s *eventSite) mount(path string, h http.Handler) {
	s.mux.Handle(path, h)
	s.url = s.site.URL + path
	s.comp.SetEventURL(s.url)
}

func (s *eventSite) told(e *wechatopen.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

// infoTypes are those that OnEvent was told of, in order.
func (s *eventSite) infoTypes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, e := range s.events {
		out = append(out, e.InfoType)
	}
	return out
}

func (s *eventSite) lastTraced(t *testing.T) tracedPush {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.traced) == 0 {
		t.Fatal("Trace.Push was not called")
	}
	return s.traced[len(s.traced)-1]
}

// pushState is all that a push could have changed.
type pushState struct {
	Store  map[string]string
	Events []string
	Calls  int // of WeChat's API
}

func (s *eventSite) state() pushState {
	return pushState{s.store.snapshot(), s.infoTypes(), len(s.sim.Calls())}
}

// make makes one push for this site.
func (s *eventSite) make(t *testing.T, spec wechattest.PushSpec) *http.Request {
	t.Helper()
	r, err := s.comp.NewPush(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// send makes one push and sends it once.
func (s *eventSite) send(t *testing.T, spec wechattest.PushSpec) answer {
	t.Helper()
	return do(t, nil, s.make(t, spec))
}

// ticketXML is a push that changes the Store: a real new ticket.
func (s *eventSite) ticketXML() string { return s.comp.TicketXML(s.comp.NewTicket(), s.sim.Now()) }

var eventSerial atomic.Int64

// newsXML is a push of an InfoType that nobody knows, never twice the same.
func (s *eventSite) newsXML() string {
	return fmt.Sprintf("<xml><AppId>%s</AppId><InfoType>news</InfoType><CreateTime>%d</CreateTime><Serial>%d</Serial></xml>",
		s.comp.AppID(), s.sim.Now().Unix(), eventSerial.Add(1))
}

// sortedSHA1 is the signature of a push, written a third time.
func sortedSHA1(parts ...string) string {
	slices.Sort(parts)
	sum := sha1.Sum([]byte(strings.Join(parts, "")))
	return hex.EncodeToString(sum[:])
}

// secretsOf is what nobody may learn from the answer to r: the credentials, and every signature that would have been right.
func (s *eventSite) secretsOf(t *testing.T, r *http.Request) map[string]string {
	t.Helper()
	creds := s.comp.Credentials()
	out := map[string]string{"AppSecret": creds.AppSecret, "Token": creds.Token, "EncodingAESKey": creds.EncodingAESKey}
	if ticket := s.comp.Ticket(); ticket != "" {
		out["ticket"] = ticket
	}
	var envelope struct{ Encrypt string }
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(body)
		_ = xml.Unmarshal(b, &envelope) // what is no XML has no expected signature but that of nothing
	}
	q := r.URL.Query()
	for _, ts := range append(q["timestamp"], "") {
		for _, nonce := range append(q["nonce"], "") {
			out["msg_signature for "+ts+" "+nonce] = sortedSHA1(creds.Token, ts, nonce, envelope.Encrypt)
			out["signature for "+ts+" "+nonce] = sortedSHA1(creds.Token, ts, nonce)
			if echo := q.Get("echostr"); echo != "" {
				out["msg_signature of echostr"] = sortedSHA1(creds.Token, ts, nonce, echo)
			}
		}
	}
	return out
}

// refusal is how a request is to be refused.
type refusal struct {
	status  int
	why     string // what the log says
	forged  bool   // errors.Is(err, ErrSignature)
	noTrace bool   // not a push, so Trace.Push is not called
}

// forged is the refusal of what WeChat did not send.
func forged(why string) refusal { return refusal{status: http.StatusForbidden, why: why, forged: true} }

// malformed is the refusal of what WeChat would not send.
func malformed(why string) refusal { return refusal{status: http.StatusBadRequest, why: why} }

// refuses sends r and sees that it is refused and nothing changed.
func (s *eventSite) refuses(t *testing.T, r *http.Request, want refusal) {
	t.Helper()
	secrets := s.secretsOf(t, r)
	before := s.state()
	s.log.reset()
	got := do(t, nil, r)
	if got.Status != want.status || got.Body != http.StatusText(want.status)+"\n" {
		t.Errorf("answered %d %q, want %d and its text alone", got.Status, got.Body, want.status)
	}
	if ct := got.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/plain") || got.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("Content-Type %q, X-Content-Type-Options %q", ct, got.Header.Get("X-Content-Type-Options"))
	}
	if c := got.Header.Values("Set-Cookie"); len(c) > 0 {
		t.Errorf("Set-Cookie %q", c)
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
		if errors.Is(err, wechatopen.ErrSignature) != want.forged {
			t.Errorf("errors.Is(%q, ErrSignature) = %t", err, !want.forged)
		}
		if status := wechatopen.HTTPStatus(err); status != want.status {
			t.Errorf("HTTPStatus(%q) = %d, want %d", err, status, want.status)
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

// takes sends r and sees that it is handled.
func (s *eventSite) takes(t *testing.T, r *http.Request) {
	t.Helper()
	before := len(s.infoTypes())
	got := do(t, nil, r)
	if got.Status != http.StatusOK || got.Body != "success" {
		t.Errorf("answered %d %q, want success; log: %s", got.Status, got.Body, s.log)
	}
	if n := len(s.infoTypes()) - before; n != 1 {
		t.Errorf("OnEvent was called %d times, want once", n)
	}
	if err := s.lastTraced(t).err; err != nil {
		t.Errorf("Trace.Push was told %v", err)
	}
}

func setParam(name string, values ...string) func(url.Values) {
	return func(q url.Values) { q[name] = values }
}

func dropParams(names ...string) func(url.Values) {
	return func(q url.Values) {
		for _, n := range names {
			q.Del(n)
		}
	}
}

// attacks.md 1
func TestTicketHandlerRefusesPlainPush(t *testing.T) {
	s := newEventSite(t)
	token := s.comp.Credentials().Token
	for name, query := range map[string]func(url.Values){
		"encrypt_type=raw":                      nil,
		"no encrypt_type":                       dropParams("encrypt_type"),
		"empty encrypt_type":                    setParam("encrypt_type", ""),
		"encrypt_type=plain":                    setParam("encrypt_type", "plain"),
		"encrypt_type=AES":                      setParam("encrypt_type", "AES"),
		"encrypt_type=aes and raw":              setParam("encrypt_type", "aes", "raw"),
		"encrypt_type=raw and aes":              setParam("encrypt_type", "raw", "aes"),
		"signature also as msg_signature":       func(q url.Values) { q["msg_signature"] = q["signature"] },
		"signature as msg_signature, no mode":   func(q url.Values) { q["msg_signature"] = q["signature"]; q.Del("encrypt_type") },
		"msg_signature of no Encrypt, no mode":  func(q url.Values) { signNothing(q, token); q.Del("encrypt_type") },
		"msg_signature of no Encrypt, mode raw": func(q url.Values) { signNothing(q, token) },
		"msg_signature of no Encrypt, mode twice": func(q url.Values) {
			signNothing(q, token)
			q["encrypt_type"] = []string{"aes", "raw"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.make(t, wechattest.PushSpec{EncryptType: "raw", XML: s.ticketXML(), Query: query})
			if r.URL.Query().Get("signature") != sortedSHA1(token, r.URL.Query().Get("timestamp"), r.URL.Query().Get("nonce")) {
				t.Fatal("the plain signature is not valid: the test shows nothing")
			}
			s.refuses(t, r, forged("push refused"))
		})
	}
	t.Run("encrypted, but says raw", func(t *testing.T) {
		s.refuses(t, s.make(t, wechattest.PushSpec{XML: s.ticketXML(), Query: setParam("encrypt_type", "raw")}), forged("encrypt_type"))
	})
}

// signNothing adds the msg_signature of a push without Encrypt.
func signNothing(q url.Values, token string) {
	q.Set("msg_signature", sortedSHA1(token, q.Get("timestamp"), q.Get("nonce"), ""))
}

// attacks.md 2
func TestTicketHandlerRefusesPushWithoutMsgSignature(t *testing.T) {
	s := newEventSite(t)
	for name, query := range map[string]func(url.Values){
		"signature right": dropParams("msg_signature"),
		"signature wrong": func(q url.Values) { q.Del("msg_signature"); q.Set("signature", strings.Repeat("0", 40)) },
		"no signature":    dropParams("msg_signature", "signature"),
		"its name in capitals": func(q url.Values) {
			q["Msg_Signature"] = q["msg_signature"]
			q.Del("msg_signature")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.refuses(t, s.make(t, wechattest.PushSpec{XML: s.ticketXML(), Query: query}), forged("msg_signature"))
		})
	}
}

// attacks.md 3
func TestTicketHandlerRefusesSignedPlainBody(t *testing.T) {
	s := newEventSite(t)
	plain := s.ticketXML()
	inside := strings.TrimSuffix(strings.TrimPrefix(plain, "<xml>"), "</xml>")
	for name, tt := range map[string]struct{ encrypt, body string }{
		"no Encrypt":             {"", plain},
		"empty Encrypt":          {"", "<xml><Encrypt></Encrypt>" + inside + "</xml>"},
		"body signed":            {plain, plain},
		"blank Encrypt":          {"", "<xml><Encrypt> \n </Encrypt>" + inside + "</xml>"},
		"Encrypt in another one": {"abcd", "<xml><a><Encrypt>abcd</Encrypt></a>" + inside + "</xml>"},
	} {
		t.Run(name, func(t *testing.T) {
			s.refuses(t, s.make(t, wechattest.PushSpec{Encrypt: &tt.encrypt, Body: []byte(tt.body)}), forged("not encrypted"))
		})
	}
	t.Run("plain text as Encrypt", func(t *testing.T) {
		s.refuses(t, s.make(t, wechattest.PushSpec{Encrypt: &plain}), forged("cannot be decrypted"))
	})
}

// attacks.md 3: what stands beside Encrypt, as in compatibility mode, is not signed and not looked at.
func TestTicketHandlerIgnoresPlainFieldsBesideEncrypt(t *testing.T) {
	s := newEventSite(t)
	r := s.make(t, wechattest.PushSpec{XML: s.newsXML()})
	body, _ := io.ReadAll(r.Body)
	inside := strings.TrimSuffix(strings.TrimPrefix(s.comp.TicketXML("ticket@@@forged", s.sim.Now()), "<xml>"), "</xml>")
	mixed := strings.Replace(string(body), "<xml>", "<xml>"+inside, 1)
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(mixed)), int64(len(mixed))
	s.takes(t, r)
	if got := s.infoTypes(); !slices.Equal(got, []string{"news"}) {
		t.Errorf("OnEvent was told of %q", got)
	}
	for k, v := range s.store.snapshot() {
		if strings.Contains(v, "forged") {
			t.Errorf("the Store holds the plain ticket under %s", k)
		}
	}
}

// attacks.md 4
func TestTicketHandlerRefusesWrongSignature(t *testing.T) {
	s := newEventSite(t)
	digit := func(i int) func(url.Values) {
		return func(q url.Values) {
			sig := []byte(q.Get("msg_signature"))
			if sig[i]++; sig[i] == '9'+1 || sig[i] == 'f'+1 {
				sig[i] = '0'
			}
			q.Set("msg_signature", string(sig))
		}
	}
	with := func(change func(string) string) func(url.Values) {
		return func(q url.Values) { q.Set("msg_signature", change(q.Get("msg_signature"))) }
	}
	for name, tt := range map[string]struct {
		query func(url.Values)
		why   string
	}{
		"first digit":         {digit(0), "does not match"},
		"middle digit":        {digit(20), "does not match"},
		"last digit":          {digit(39), "does not match"},
		"empty":               {setParam("msg_signature", ""), "msg_signature"},
		"upper case":          {with(strings.ToUpper), "does not match"},
		"a blank behind":      {with(func(v string) string { return v + " " }), "does not match"},
		"cut":                 {with(func(v string) string { return v[:39] }), "does not match"},
		"with a NUL":          {with(func(v string) string { return v + "\x00" }), "does not match"},
		"in base64":           {with(func(v string) string { b, _ := hex.DecodeString(v); return base64.StdEncoding.EncodeToString(b) }), "does not match"},
		"right twice":         {func(q url.Values) { q.Add("msg_signature", q.Get("msg_signature")) }, "exactly one msg_signature"},
		"right, then wrong":   {func(q url.Values) { q.Add("msg_signature", "0") }, "exactly one msg_signature"},
		"wrong, then right":   {func(q url.Values) { q["msg_signature"] = []string{"0", q.Get("msg_signature")} }, "exactly one msg_signature"},
		"other nonce":         {setParam("nonce", "1"), "does not match"},
		"nonce twice":         {func(q url.Values) { q.Add("nonce", q.Get("nonce")) }, "exactly one nonce"},
		"no nonce":            {dropParams("nonce"), "exactly one nonce"},
		"other timestamp":     {func(q url.Values) { q.Set("timestamp", "0"+q.Get("timestamp")) }, "does not match"},
		"timestamp twice":     {func(q url.Values) { q.Add("timestamp", q.Get("timestamp")) }, "exactly one timestamp"},
		"no timestamp":        {dropParams("timestamp"), "exactly one timestamp"},
		"parts moved about":   {func(q url.Values) { q.Set("nonce", q.Get("timestamp")+q.Get("nonce")); q.Set("timestamp", "") }, "exactly one timestamp"},
		"signature in place":  {func(q url.Values) { q["msg_signature"] = q["signature"] }, "does not match"},
		"of the empty string": {setParam("msg_signature", sortedSHA1("")), "does not match"},
	} {
		t.Run(name, func(t *testing.T) {
			s.refuses(t, s.make(t, wechattest.PushSpec{XML: s.ticketXML(), Query: tt.query}), forged(tt.why))
		})
	}
	t.Run("another token", func(t *testing.T) {
		s.refuses(t, s.make(t, wechattest.PushSpec{XML: s.ticketXML(), Token: "another"}), forged("does not match"))
	})
	t.Run("Encrypt of another push", func(t *testing.T) {
		other := s.make(t, wechattest.PushSpec{XML: s.ticketXML()})
		r := s.make(t, wechattest.PushSpec{XML: s.ticketXML()})
		r.Body, r.GetBody, r.ContentLength = other.Body, other.GetBody, other.ContentLength
		s.refuses(t, r, forged("does not match"))
	})
	t.Run("malformed query", func(t *testing.T) {
		r := s.make(t, wechattest.PushSpec{XML: s.ticketXML()})
		r.URL.RawQuery += "&msg_signature=%zz"
		s.refuses(t, r, malformed("query"))
	})
	// The same push unaltered is taken: nothing else was wrong with it.
	s.takes(t, s.make(t, wechattest.PushSpec{XML: s.ticketXML()}))
}

// attacks.md 5
func TestTicketHandlerRefusesPushForAnotherAppID(t *testing.T) {
	s := newEventSite(t)
	own, other := s.comp.AppID(), "wx0123456789abcdef"
	frame := func(message, appID string) []byte {
		p := binary.BigEndian.AppendUint32([]byte("aaaabbbbccccdddd"), uint32(len(message)))
		return append(append(p, message...), appID...)
	}
	foreign := strings.ReplaceAll(s.ticketXML(), own, other)
	for name, tt := range map[string]struct {
		spec wechattest.PushSpec
		why  string
	}{
		"behind the message":      {wechattest.PushSpec{XML: s.ticketXML(), AppID: other}, "encrypted for another appid"},
		"behind and inside":       {wechattest.PushSpec{XML: foreign, AppID: other}, "encrypted for another appid"},
		"inside the message":      {wechattest.PushSpec{XML: foreign}, "another appid"},
		"none inside":             {wechattest.PushSpec{XML: "<xml><InfoType>authorized</InfoType></xml>"}, "another appid"},
		"nothing behind":          {wechattest.PushSpec{Plaintext: frame(s.ticketXML(), "")}, "another appid"},
		"half of ours behind":     {wechattest.PushSpec{Plaintext: frame(s.ticketXML(), own[:9])}, "another appid"},
		"ours and more behind":    {wechattest.PushSpec{Plaintext: frame(s.ticketXML(), own+"0")}, "another appid"},
		"ours and blanks behind":  {wechattest.PushSpec{Plaintext: frame(s.ticketXML(), own+"\n")}, "another appid"},
		"ours in capitals behind": {wechattest.PushSpec{Plaintext: frame(s.ticketXML(), strings.ToUpper(own))}, "another appid"},
	} {
		t.Run(name, func(t *testing.T) { s.refuses(t, s.make(t, tt.spec), forged(tt.why)) })
	}
	s.takes(t, s.make(t, wechattest.PushSpec{Plaintext: frame(s.ticketXML(), own)}))
}

// attacks.md 6
func TestTicketHandlerRefusesBrokenCiphertext(t *testing.T) {
	s := newEventSite(t)
	good := s.cipherOf(t, s.ticketXML())
	alter := func(at int) string {
		b := bytes.Clone(good)
		b[at] ^= 0x80
		return base64.StdEncoding.EncodeToString(b)
	}
	b64 := func(n int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, n)) }
	whole := base64.StdEncoding.EncodeToString(good)
	for name, tt := range map[string]struct {
		encrypt string
		want    refusal
	}{
		"empty":                         {"", forged("not encrypted")},
		"1 byte":                        {b64(1), forged("cannot be decrypted")},
		"15 bytes":                      {b64(15), forged("cannot be decrypted")},
		"16 bytes":                      {b64(16), forged("cannot be decrypted")},
		"17 bytes":                      {b64(17), forged("cannot be decrypted")},
		"31 bytes":                      {b64(31), forged("cannot be decrypted")},
		"32 bytes":                      {b64(32), forged("cannot be decrypted")},
		"padding only":                  {"====", forged("cannot be decrypted")},
		"not base64":                    {"你好 <>&", forged("cannot be decrypted")},
		"url-safe base64":               {strings.NewReplacer("+", "-", "/", "_").Replace(whole) + "-_", forged("cannot be decrypted")},
		"base64 without its padding":    {strings.TrimRight(b64(64), "="), forged("cannot be decrypted")},
		"base64 and something behind":   {whole + "!", forged("cannot be decrypted")},
		"last block altered, end":       {alter(len(good) - 1), forged("")},
		"last block altered, begin":     {alter(len(good) - 16), forged("")},
		"last block missing":            {base64.StdEncoding.EncodeToString(good[:len(good)-16]), forged("")},
		"first block missing":           {base64.StdEncoding.EncodeToString(good[16:]), forged("cannot be decrypted")},
		"last block alone":              {base64.StdEncoding.EncodeToString(good[len(good)-16:]), forged("cannot be decrypted")},
		"length altered (first block)":  {alter(0), forged("cannot be decrypted")},
		"message altered (first block)": {alter(5), malformed("malformed XML")},
	} {
		t.Run(name, func(t *testing.T) {
			s.refuses(t, s.make(t, wechattest.PushSpec{Encrypt: &tt.encrypt}), tt.want)
		})
	}
	t.Run("of another key", func(t *testing.T) {
		s.refuses(t, s.make(t, wechattest.PushSpec{XML: s.ticketXML(), EncodingAESKey: strings.Repeat("Z", 43)}), forged("cannot be decrypted"))
	})
	s.takes(t, s.make(t, wechattest.PushSpec{Encrypt: &whole}))
}

// cipherOf is the ciphertext of a push.
func (s *eventSite) cipherOf(t *testing.T, message string) []byte {
	t.Helper()
	var envelope struct{ Encrypt string }
	if err := xml.NewDecoder(s.make(t, wechattest.PushSpec{XML: message}).Body).Decode(&envelope); err != nil {
		t.Fatal(err)
	}
	b, err := base64.StdEncoding.DecodeString(envelope.Encrypt)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// paddedFrame is the plaintext of a message, which blanks make as long as needed, with pad bytes of padding.
func (s *eventSite) paddedFrame(message string, pad int) []byte {
	size := 16 + 4 + len(message) + len(s.comp.AppID())
	blanks := strings.Repeat(" ", (32-(size+pad)%32)%32)
	p := binary.BigEndian.AppendUint32([]byte("aaaabbbbccccdddd"), uint32(len(message)+len(blanks)))
	p = append(append(append(p, message...), blanks...), s.comp.AppID()...)
	return append(p, bytes.Repeat([]byte{byte(pad)}, pad)...)
}

// attacks.md 6
func TestTicketHandlerTakesWeChatsPaddingAndNoOther(t *testing.T) {
	s := newEventSite(t)
	for pad := 1; pad <= 32; pad++ {
		s.takes(t, s.make(t, wechattest.PushSpec{Plaintext: s.paddedFrame(s.newsXML(), pad), RawPlaintext: true}))
	}
	const pad = 19
	for last := range 256 {
		plain := s.paddedFrame(s.ticketXML(), pad)
		plain[len(plain)-1] = byte(last)
		if last != pad {
			s.refuses(t, s.make(t, wechattest.PushSpec{Plaintext: plain, RawPlaintext: true}), forged(""))
		}
	}
	for i := range pad {
		plain := s.paddedFrame(s.ticketXML(), pad)
		plain[len(plain)-1-i] ^= 0x40
		s.refuses(t, s.make(t, wechattest.PushSpec{Plaintext: plain, RawPlaintext: true}), forged(""))
	}
	for b := range 256 { // more padding than there is
		s.refuses(t, s.make(t, wechattest.PushSpec{Plaintext: bytes.Repeat([]byte{byte(b)}, 16), RawPlaintext: true}), forged("cannot be decrypted"))
	}
	for _, pad := range []byte{0, 33, 48, 64, 255} {
		plain := append(s.paddedFrame(s.ticketXML(), 32), bytes.Repeat([]byte{pad}, 64)...)
		s.refuses(t, s.make(t, wechattest.PushSpec{Plaintext: plain, RawPlaintext: true}), forged("cannot be decrypted"))
	}
}

// attacks.md 7
func TestTicketHandlerRefusesWrongLength(t *testing.T) {
	s := newEventSite(t)
	message := s.ticketXML()
	m, id := uint32(len(message)), uint32(len(s.comp.AppID()))
	for name, n := range map[string]uint32{
		"0": 0, "0xffffffff": 0xffffffff, "0x80000000": 0x80000000, "0x7fffffff": 0x7fffffff, "0xffffffec": 0xffffffec,
		"one more than the rest": m + id + 1, "all the rest": m + id, "into the padding": m + id + 20, "one more": m + 1, "one less": m - 1,
	} {
		t.Run(name, func(t *testing.T) {
			plain := s.paddedFrame(message, 32)
			binary.BigEndian.PutUint32(plain[16:], n)
			s.refuses(t, s.make(t, wechattest.PushSpec{Plaintext: plain, RawPlaintext: true}), forged(""))
		})
	}
	t.Run("0, and no message", func(t *testing.T) {
		s.refuses(t, s.make(t, wechattest.PushSpec{Plaintext: append(make([]byte, 20), s.comp.AppID()...)}), forged("cannot be decrypted"))
	})
	for n := range 20 {
		t.Run(fmt.Sprint(n, " bytes in all"), func(t *testing.T) {
			s.refuses(t, s.make(t, wechattest.PushSpec{Plaintext: bytes.Repeat([]byte{0}, n)}), forged("cannot be decrypted"))
		})
	}
}

// attacks.md 8
func TestTicketHandlerRefusesTimestampsOutsideTheWindow(t *testing.T) {
	now := time.Unix(1_760_000_000, 0)
	clock := wechatopen.WithClock(func() time.Time { return now })
	s := newEventSite(t, clock)
	at := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }
	type bad struct{ timestamp, why string }
	check := func(t *testing.T, window time.Duration, good []time.Duration, refused []bad) {
		s.handler.Window = window
		for _, d := range good {
			s.takes(t, s.make(t, wechattest.PushSpec{XML: s.newsXML(), Timestamp: at(d)}))
		}
		for _, b := range refused {
			t.Run(b.timestamp, func(t *testing.T) {
				s.refuses(t, s.make(t, wechattest.PushSpec{XML: s.ticketXML(), Timestamp: b.timestamp}), forged(b.why))
			})
		}
	}
	t.Run("ten minutes unless set", func(t *testing.T) {
		check(t, 0, []time.Duration{0, -time.Second, -10 * time.Minute, 10 * time.Minute}, []bad{
			// The log says by how much the clocks differ.
			{at(-10*time.Minute - time.Second), "-10m1s off our clock"},
			{at(10*time.Minute + time.Second), " 10m1s off our clock"},
			{at(365 * 24 * time.Hour), " 8760h0m0s off our clock"},
			{"1409304348", "off our clock"}, // 2014
			{"0", "off our clock"},
			{"1099511627776", "off our clock"},
			{strconv.FormatInt(now.UnixMilli(), 10), "timestamp"},
			{"-1760000000", "not a time"},
			{"99999999999999999999999", "not a time"},
			{"1.76e9", "not a time"},
			{at(0) + ".0", "not a time"},
			{" " + at(0), "not a time"},
			{"now", "not a time"},
			{"0x68e77800", "not a time"},
		})
	})
	t.Run("Window set", func(t *testing.T) {
		check(t, time.Minute, []time.Duration{-time.Minute, time.Minute}, []bad{
			{at(-61 * time.Second), "-1m1s off our clock, more than 1m0s"},
			{at(61 * time.Second), " 1m1s off our clock"},
		})
	})
	t.Run("Window wider", func(t *testing.T) {
		check(t, time.Hour, []time.Duration{-time.Hour, time.Hour}, []bad{{at(-time.Hour - time.Second), "-1h0m1s"}})
	})
}

// attacks.md 9
func TestTicketHandlerHandlesARepeatedPushOnce(t *testing.T) {
	s := newEventSite(t)
	message := s.ticketXML()
	spec := wechattest.PushSpec{XML: message, Timestamp: strconv.FormatInt(s.sim.Now().Unix(), 10), Nonce: "1", Random: []byte("aaaabbbbccccdddd")}
	s.takes(t, s.make(t, spec))
	before := s.state()
	again := func(name string, spec wechattest.PushSpec) {
		t.Helper()
		if got := s.send(t, spec); got.Status != 200 || got.Body != "success" {
			t.Errorf("%s: answered %d %q", name, got.Status, got.Body)
		}
		if diff := cmp.Diff(before, s.state()); diff != "" {
			t.Errorf("%s: something changed:\n%s", name, diff)
		}
		if err := s.lastTraced(t).err; err != nil {
			t.Errorf("%s: traced %v", name, err)
		}
	}
	again("the same bytes", spec)
	again("sent again by WeChat", wechattest.PushSpec{XML: message})
	s.sim.Advance(30 * time.Minute)
	again("half an hour later", wechattest.PushSpec{XML: message})

	// Another process of the platform, with the same Store.
	s.mount("/push2", &wechatopen.TicketHandler{Platform: s.newPlatform(), OnEvent: s.handler.OnEvent})
	if got := s.send(t, wechattest.PushSpec{XML: message}); got.Body != "success" {
		t.Errorf("another process answered %d %q", got.Status, got.Body)
	}
	if diff := cmp.Diff(before, s.state()); diff != "" {
		t.Errorf("another process handled it again:\n%s", diff)
	}
}

// attacks.md 9
func TestTicketHandlerHandlesTwentyEqualPushesAtOnceOnce(t *testing.T) {
	s := newEventSite(t)
	const n = 20
	var arrived, handled atomic.Int32
	all := make(chan struct{})
	h := &wechatopen.TicketHandler{Platform: s.platform, OnEvent: func(context.Context, *wechatopen.Event) error {
		handled.Add(1)
		<-all // whoever is not kept out comes in while this one is being handled
		return nil
	}}
	s.mount("/slow", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if arrived.Add(1) == n {
			close(all)
		}
		h.ServeHTTP(w, r)
	}))
	message := s.ticketXML()
	same := wechattest.PushSpec{XML: message, Timestamp: strconv.FormatInt(s.sim.Now().Unix(), 10), Nonce: "1", Random: []byte("aaaabbbbccccdddd")}
	var wg sync.WaitGroup
	for i := range n {
		spec := same
		if i%2 == 1 {
			spec = wechattest.PushSpec{XML: message} // as WeChat sends it again: under a new nonce
		}
		r := s.make(t, spec)
		wg.Go(func() {
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || string(body) != "success" {
				t.Errorf("answered %d %q %v", resp.StatusCode, body, err)
			}
		})
	}
	wg.Wait()
	if got := handled.Load(); got != 1 {
		t.Errorf("handled %d times", got)
	}
}

// attacks.md 9: a push whose handling failed was not handled, and the one that waited for it is.
func TestTicketHandlerHandlesARepeatAfterAFailure(t *testing.T) {
	s := newEventSite(t)
	var calls atomic.Int32
	s.handler.OnEvent = func(context.Context, *wechatopen.Event) error {
		if calls.Add(1) == 1 {
			return errors.New("database is away")
		}
		return nil
	}
	message := s.ticketXML()
	for i, want := range []answer{{Status: 500, Body: "Internal Server Error\n"}, {Status: 200, Body: "success"}, {Status: 200, Body: "success"}} {
		got := s.send(t, wechattest.PushSpec{XML: message})
		if got.Status != want.Status || got.Body != want.Body {
			t.Errorf("attempt %d: answered %d %q, want %d %q", i, got.Status, got.Body, want.Status, want.Body)
		}
	}
	if got := calls.Load(); got != 2 {
		t.Errorf("OnEvent was called %d times, want 2: the failure and the success", got)
	}
}

// ttlStore keeps the ttl of every key that was set.
type ttlStore struct {
	wechatopen.Store
	mu   sync.Mutex
	ttls map[string]time.Duration
}

func (s *ttlStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ttls[key] = ttl
	return s.Store.Set(ctx, key, value, ttl)
}

// attacks.md 9: a handled push is remembered as long as it could be sent again, and not for ever.
func TestTicketHandlerRemembersAPushAsLongAsItsTimestampIsGood(t *testing.T) {
	// A timestamp that lies a window ahead of our clock is good until it lies a window behind.
	for window, good := range map[time.Duration]time.Duration{0: 20 * time.Minute, time.Minute: 2 * time.Minute, time.Hour: 2 * time.Hour, 24 * time.Hour: 48 * time.Hour} {
		t.Run(window.String(), func(t *testing.T) {
			store := &ttlStore{Store: wechatopen.NewMemoryStore(), ttls: map[string]time.Duration{}}
			s := newEventSite(t, wechatopen.WithStore(store))
			s.handler.Window = window
			s.takes(t, s.make(t, wechattest.PushSpec{XML: s.newsXML()}))
			if len(store.ttls) != 1 {
				t.Fatalf("the push left %v", store.ttls)
			}
			for key, ttl := range store.ttls {
				if ttl < good || ttl > 10*24*time.Hour {
					t.Errorf("%s is kept for %v, its timestamp is good for %v", key, ttl, good)
				}
			}
		})
	}
}

// attacks.md 10
func TestTicketHandlerKeepsTheNewerTicket(t *testing.T) {
	s := newEventSite(t)
	old, at := s.comp.NewTicket(), s.sim.Now()
	s.sim.Advance(10 * time.Minute)
	newer := s.comp.NewTicket()
	s.takes(t, s.make(t, wechattest.PushSpec{XML: s.comp.TicketXML(newer, s.sim.Now())}))
	s.takes(t, s.make(t, wechattest.PushSpec{XML: s.comp.TicketXML(old, at)})) // late, so with a timestamp of now
	all := strings.Join(slices.Collect(maps.Values(s.store.snapshot())), "\n")
	if !strings.Contains(all, newer) || strings.Contains(all, old) {
		t.Errorf("the Store does not hold the newer ticket and only that:\n%s", all)
	}
	if _, err := s.platform.ComponentToken().Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	calls := s.sim.Calls("/cgi-bin/component/api_component_token")
	if len(calls) != 1 || !bytes.Contains(calls[0].Body, []byte(newer)) {
		t.Errorf("the token was fetched with another ticket: %d calls", len(calls))
	}
	// One that is newer still replaces it.
	s.sim.Advance(10 * time.Minute)
	newest := s.comp.NewTicket()
	s.takes(t, s.make(t, wechattest.PushSpec{XML: s.comp.TicketXML(newest, s.sim.Now())}))
	if all := strings.Join(slices.Collect(maps.Values(s.store.snapshot())), "\n"); !strings.Contains(all, newest) || strings.Contains(all, newer) {
		t.Errorf("the newest ticket did not replace the one before:\n%s", all)
	}
}

// attacks.md 12
func TestTicketHandlerRefusesHostileXML(t *testing.T) {
	s := newEventSite(t)
	encrypt := base64.StdEncoding.EncodeToString(s.cipherOf(t, s.ticketXML()))
	deep := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	bomb := `<!DOCTYPE xml [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>`
	// %s stands where the elements of a good push would.
	documents := map[string]struct{ document, why string }{
		"DTD":                      {`<!DOCTYPE xml><xml>%s</xml>`, "DTD"},
		"DTD with a system entity": {`<!DOCTYPE xml [<!ENTITY x SYSTEM "file:///etc/passwd">]><xml>%s<b>&x;</b></xml>`, "DTD"},
		"entities":                 {bomb + `<xml>%s<b>&c;</b></xml>`, "DTD"},
		"DTD behind the root":      {`<xml>%s</xml><!DOCTYPE xml>`, "DTD"},
		"directive inside":         {`<xml>%s<!ELEMENT b ANY></xml>`, "DTD"},
		"unknown entity":           {`<xml>%s<b>&x;</b></xml>`, "malformed"},
		"10,000 nested":            {`<xml>` + deep(10_000) + `%s</xml>`, "too deeply nested"},
		"100 nested":               {`<xml>` + deep(100) + `%s</xml>`, "too deeply nested"},
		"10,000 nested, open":      {`<xml>%s` + strings.Repeat("<a>", 10_000), "too deeply nested"},
		"10,000 elements":          {`<xml>` + strings.Repeat("<a></a>", 10_000) + `%s</xml>`, "too many"},
		"GBK":                      {`<?xml version="1.0" encoding="GBK"?><xml>%s</xml>`, "malformed"},
		"ISO-8859-1":               {`<?xml version="1.0" encoding="ISO-8859-1"?><xml>%s</xml>`, "malformed"},
		"UTF-16":                   {"\xff\xfe<\x00x\x00m\x00l\x00>\x00%s</xml>", ""},
		"invalid UTF-8":            {"<xml>%s<b>\xff\xfe</b></xml>", "malformed"},
		"NUL":                      {"<xml>%s<b>\x00</b></xml>", "malformed"},
		"XML 1.1":                  {`<?xml version="1.1"?><xml>%s</xml>`, "malformed"},
		"not closed":               {`<xml>%s`, "malformed"},
		"closed wrongly":           {`<xml>%s</XML>`, "malformed"},
		"two roots":                {`<xml>%s</xml><xml>%[1]s</xml>`, "root"},
		"another root":             {`<html>%s</html>`, "root"},
		"text before":              {`success<xml>%s</xml>`, "outside its root"},
		"text behind":              {`<xml>%s</xml>success`, "outside its root"},
		"JSON":                     {`{"Encrypt":"%s"}`, ""},
	}
	inside := strings.TrimSuffix(strings.TrimPrefix(s.ticketXML(), "<xml>"), "</xml>")
	for name, d := range documents {
		t.Run("envelope "+name, func(t *testing.T) {
			body := fmt.Sprintf(d.document, "<Encrypt>"+encrypt+"</Encrypt>")
			s.refuses(t, s.make(t, wechattest.PushSpec{Encrypt: &encrypt, Body: []byte(body)}), malformed(d.why))
		})
		t.Run("content "+name, func(t *testing.T) {
			s.refuses(t, s.make(t, wechattest.PushSpec{XML: fmt.Sprintf(d.document, inside)}), malformed(d.why))
		})
	}
	t.Run("empty body", func(t *testing.T) {
		s.refuses(t, s.make(t, wechattest.PushSpec{Encrypt: &encrypt, Body: []byte{}}), malformed("no XML"))
	})
	t.Run("blank content", func(t *testing.T) {
		s.refuses(t, s.make(t, wechattest.PushSpec{XML: "  \n"}), malformed("no XML"))
	})
	// What WeChat could send, it may: a declaration, comments, an order of its own.
	good := fmt.Sprintf("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- c --><xml a=\"b\">\n<b/>%s</xml>\n<!-- c -->\n", "<Encrypt><![CDATA["+encrypt+"]]></Encrypt>")
	s.takes(t, s.make(t, wechattest.PushSpec{Encrypt: &encrypt, Body: []byte(good)}))
}

// countedReader counts what is read of an endless document.
type countedReader struct{ n int64 }

func (c *countedReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = " <a></a>"[i%8]
	}
	c.n += int64(len(p))
	return len(p), nil
}

// attacks.md 12
func TestTicketHandlerReadsABoundedBody(t *testing.T) {
	s := newEventSite(t)
	r := s.make(t, wechattest.PushSpec{XML: s.ticketXML()})
	endless := &countedReader{}
	r.Body, r.ContentLength = io.NopCloser(endless), -1
	before := s.state()
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(rec, r)
	if rec.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("answered %d, want 413", rec.Code)
	}
	if endless.n > 4<<20 {
		t.Errorf("%d bytes were read of an endless body", endless.n)
	}
	if diff := cmp.Diff(before, s.state()); diff != "" {
		t.Errorf("something changed:\n%s", diff)
	}
	if err := s.lastTraced(t).err; wechatopen.HTTPStatus(err) != http.StatusRequestEntityTooLarge {
		t.Errorf("traced %v", err)
	}
}

// rawPush begins a push on a connection of its own: its head and what body writes until the server has had enough.
func (s *eventSite) rawPush(t *testing.T, length string, body func(io.Writer) error) *http.Response {
	t.Helper()
	r := s.make(t, wechattest.PushSpec{XML: s.ticketXML()})
	conn, err := net.Dial("tcp", r.URL.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second)) // a server that waits for ever fails the test
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/xml\r\n%s\r\n\r\n", r.URL.RequestURI(), r.URL.Host, length)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = body(conn) // ends when the server closes
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	t.Cleanup(func() { resp.Body.Close(); conn.Close(); <-done })
	return resp
}

// attacks.md 12
func TestTicketHandlerRefusesLargeBodies(t *testing.T) {
	s := newEventSite(t)
	line := []byte(strings.Repeat("<a></a> ", 1024))
	for name, tt := range map[string]struct {
		length string
		write  func(io.Writer) error
	}{
		"10 MiB": {fmt.Sprint("Content-Length: ", 10<<20), func(w io.Writer) (err error) {
			for n := 0; n < 10<<20 && err == nil; n += len(line) {
				_, err = w.Write(line)
			}
			return err
		}},
		"chunks without end": {"Transfer-Encoding: chunked", func(w io.Writer) (err error) {
			for err == nil {
				_, err = fmt.Fprintf(w, "%x\r\n%s\r\n", len(line), line)
			}
			return err
		}},
		"a little more than 1 MiB, whose end never comes": {fmt.Sprint("Content-Length: ", 1<<20+100<<10), func(w io.Writer) error {
			_, err := w.Write(bytes.Repeat([]byte("a"), 1<<20+1))
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.state()
			if resp := s.rawPush(t, tt.length, tt.write); resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
				t.Errorf("answered %s, Connection: close %t", resp.Status, resp.Close)
			}
			if diff := cmp.Diff(before, s.state()); diff != "" {
				t.Errorf("something changed:\n%s", diff)
			}
		})
	}
}

// slowBody is a body whose end comes only when the handler has the ResponseWriter give up reading it.
type slowBody struct {
	http.ResponseWriter
	given chan time.Time
}

func newSlowBody(w http.ResponseWriter) slowBody { return slowBody{w, make(chan time.Time, 10)} }

func (s slowBody) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s slowBody) SetReadDeadline(deadline time.Time) error {
	s.given <- deadline
	return nil
}

func (s slowBody) Read([]byte) (int, error) {
	time.Sleep(time.Until(<-s.given))
	return 0, os.ErrDeadlineExceeded
}

func (slowBody) Close() error { return nil }

// bodyThatNeverEnds serves pushes with such a body, in a bubble, and sees that it is given up after the five seconds for
// which WeChat waits. A quick body is given no deadline, which it would not need.
func bodyThatNeverEnds(t *testing.T, h http.Handler, push func() *http.Request) {
	t.Helper()
	rec := httptest.NewRecorder()
	w := newSlowBody(rec)
	h.ServeHTTP(w, push())
	if time.Sleep(time.Minute); rec.Code != http.StatusOK || len(w.given) != 0 {
		t.Errorf("a quick body is answered %d, with %d deadlines", rec.Code, len(w.given))
	}
	for range 2 {
		rec = httptest.NewRecorder()
		w = newSlowBody(rec)
		r := push()
		r.Body = w
		start := time.Now()
		h.ServeHTTP(w, r)
		if took := time.Since(start); rec.Code != http.StatusRequestTimeout || took != 5*time.Second {
			t.Errorf("answered %d after %v, want 408 after 5 s", rec.Code, took)
		}
		time.Sleep(time.Second)
	}
}

// attacks.md 12
func TestTicketHandlerDoesNotWaitForABodyThatNeverEnds(t *testing.T) {
	sim := wechattest.Start(t)
	comp := sim.AddComponent(wechattest.ComponentConfig{})
	synctest.Test(t, func(t *testing.T) {
		p, err := wechatopen.NewPlatform(comp.Credentials(), wechatopen.WithStore(wechatopen.NewMemoryStore()), wechatopen.WithClock(sim.Now),
			wechatopen.WithLogger(slog.New(slog.DiscardHandler)), wechatopen.WithHTTPClient(&http.Client{Transport: noNetwork{}}))
		if err != nil {
			t.Fatal(err)
		}
		push := func() *http.Request {
			r, err := comp.NewPush(t.Context(), wechattest.PushSpec{URL: "http://site.example/", XML: comp.TicketXML(comp.NewTicket(), sim.Now())})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		bodyThatNeverEnds(t, &wechatopen.TicketHandler{Platform: p}, push)
	})
}

// attacks.md 12, over a real connection.
func TestABodyThatNeverEndsIsGivenUp(t *testing.T) {
	s := newEventSite(t)
	before := s.state()
	t.Parallel() // it takes five seconds
	resp := s.rawPush(t, "Content-Length: 1000", func(w io.Writer) error {
		_, err := io.WriteString(w, "<xml><Encrypt>")
		return err
	})
	if resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("answered %s, want 408", resp.Status)
	}
	if diff := cmp.Diff(before, s.state()); diff != "" {
		t.Errorf("something changed:\n%s", diff)
	}
	if err := s.lastTraced(t).err; wechatopen.HTTPStatus(err) != http.StatusRequestTimeout || errors.Is(err, wechatopen.ErrSignature) {
		t.Errorf("traced %v", err)
	}
}

// obedientStore does nothing for a context that has ended.
type obedientStore struct{ wechatopen.Store }

func (s obedientStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Store.Set(ctx, key, value, ttl)
}

// What was handled is remembered though WeChat has left, or the lock was lost: it will be sent again.
func TestPushIsHandledOnceThoughItsContextEnds(t *testing.T) {
	s := newEventSite(t, wechatopen.WithStore(obedientStore{wechatopen.NewMemoryStore()}))
	calls := 0
	leave := func() {}
	s.handler.OnEvent = func(context.Context, *wechatopen.Event) error {
		calls++
		leave()
		return nil
	}
	xml := s.ticketXML()
	for i := range 2 {
		r := s.make(t, wechattest.PushSpec{XML: xml})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		leave = cancel
		rec := httptest.NewRecorder()
		s.handler.ServeHTTP(rec, r.WithContext(ctx))
		if rec.Code != http.StatusOK || calls != 1 {
			t.Errorf("time %d: answered %d; OnEvent was called %d times", i+1, rec.Code, calls)
		}
	}
}

// attacks.md 12: the sender leaves in the middle.
func TestTicketHandlerSurvivesACutBody(t *testing.T) {
	s := newEventSite(t)
	before := s.state()
	r := s.make(t, wechattest.PushSpec{XML: s.ticketXML()})
	whole, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(whole[:len(whole)/2]), errReader{io.ErrUnexpectedEOF}))
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(rec, r)
	if rec.Code/100 != 4 {
		t.Errorf("answered %d", rec.Code)
	}
	if diff := cmp.Diff(before, s.state()); diff != "" {
		t.Errorf("something changed:\n%s", diff)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// attacks.md 13
func TestTicketHandlerAnswers5xxWhileTheStoreIsDown(t *testing.T) {
	s := newEventSite(t)
	down := errors.New("connection refused")
	message := s.ticketXML()
	s.store.setFail(down)
	got := s.send(t, wechattest.PushSpec{XML: message})
	if got.Status != http.StatusInternalServerError || got.Body != "Internal Server Error\n" {
		t.Errorf("answered %d %q", got.Status, got.Body)
	}
	if err := s.lastTraced(t).err; !errors.Is(err, down) || errors.Is(err, wechatopen.ErrSignature) {
		t.Errorf("traced %v", err)
	}
	if line := s.log.String(); !strings.Contains(line, "level=ERROR") || !strings.Contains(line, "connection refused") || strings.Contains(line, s.comp.Ticket()) {
		t.Errorf("log: %s", line)
	}
	if n := s.infoTypes(); len(n) != 0 {
		t.Errorf("OnEvent was told of %v, which is not stored", n)
	}
	s.store.setFail(nil)
	if len(s.store.snapshot()) != 0 {
		t.Errorf("the Store holds %v", s.store.snapshot())
	}
	s.takes(t, s.make(t, wechattest.PushSpec{XML: message}))
	if _, err := s.newPlatform().ComponentToken().Token(t.Context()); err != nil {
		t.Errorf("another process has no ticket: %v", err)
	}
}

// attacks.md 13: at once, whatever failed meanwhile. WeChat does not send an authorization again for long.
func TestTicketHandlerHandlesTheFirstPushAfterTheStoreIsBack(t *testing.T) {
	s := newEventSite(t)
	s.takes(t, s.make(t, wechattest.PushSpec{XML: s.ticketXML()}))
	message := s.comp.AuthorizedXML("authorized", s.shop, s.comp.NewAuthCode(s.shop), "preauthcode@@@x", s.sim.Now())
	s.store.setFail(errors.New("connection refused"))
	for range 3 {
		if got := s.send(t, wechattest.PushSpec{XML: message}); got.Status/100 != 5 {
			t.Errorf("while the Store is down: answered %d %q", got.Status, got.Body)
		}
		if _, err := s.platform.ComponentToken().Token(t.Context()); err == nil {
			t.Error("a token without a Store")
		}
	}
	s.store.setFail(nil)
	s.takes(t, s.make(t, wechattest.PushSpec{XML: message}))
	if _, err := s.platform.Account(s.shop.AppID()).AccessToken().Token(t.Context()); err != nil {
		t.Error(err)
	}
}

// shakyStore fails its nth call, once.
type shakyStore struct {
	wechatopen.Store
	mu   sync.Mutex
	n    int
	what string // the call that failed; empty if none did
}

func (s *shakyStore) fails(op, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n--; s.n != 0 {
		return nil
	}
	s.what = op + " " + key
	return errors.New("connection reset")
}

func (s *shakyStore) Get(ctx context.Context, key string) ([]byte, error) {
	if err := s.fails("Get", key); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, key)
}

func (s *shakyStore) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := s.fails("Set", key); err != nil {
		return err
	}
	return s.Store.Set(ctx, key, value, ttl)
}

func (s *shakyStore) Delete(ctx context.Context, key string) error {
	if err := s.fails("Delete", key); err != nil {
		return err
	}
	return s.Store.Delete(ctx, key)
}

// attacks.md 13: whichever access to the Store fails, what was answered "success" is in it, and the rest is kept when it
// is sent again.
func TestTicketHandlerAnswersSuccessOnlyForWhatIsStored(t *testing.T) {
	holds := func(s *eventSite, secret string) bool {
		return secret != "" && strings.Contains(strings.Join(slices.Collect(maps.Values(s.store.snapshot())), "\n"), secret)
	}
	for name, tt := range map[string]struct {
		prepare func(*testing.T, *eventSite) (message string)
		stored  func(*eventSite) bool
	}{
		"ticket": {
			func(_ *testing.T, s *eventSite) string { return s.ticketXML() },
			func(s *eventSite) bool { return holds(s, s.comp.Ticket()) },
		},
		"authorized": {
			func(t *testing.T, s *eventSite) string {
				if _, err := s.comp.PushTicket(t.Context()); err != nil {
					t.Fatal(err)
				}
				return s.comp.AuthorizedXML("authorized", s.shop, s.comp.NewAuthCode(s.shop), "preauthcode@@@x", s.sim.Now())
			},
			func(s *eventSite) bool { return holds(s, s.comp.RefreshToken(s.shop)) },
		},
		"unauthorized": {
			func(t *testing.T, s *eventSite) string {
				s.ready()
				s.sim.Advance(time.Minute)
				s.comp.SetEventURL("")
				if err := s.comp.Unauthorize(t.Context(), s.shop); err != nil {
					t.Fatal(err)
				}
				s.comp.SetEventURL(s.url)
				return s.comp.UnauthorizedXML(s.shop, s.sim.Now())
			},
			func(s *eventSite) bool { return !holdsKeyOf(s.store.snapshot(), s.shop.AppID()) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			failures := 0
			for n := 1; ; n++ {
				s := newEventSite(t)
				message := tt.prepare(t, s)
				shaky := &shakyStore{Store: s.store, n: n}
				h := &wechatopen.TicketHandler{Platform: s.newPlatform(wechatopen.WithStore(shaky))}
				s.mount("/shaky", h)
				first := s.send(t, wechattest.PushSpec{XML: message})
				if shaky.what == "" {
					break
				}
				switch {
				case first.Status == http.StatusOK && first.Body == "success":
					if !tt.stored(s) {
						t.Errorf("%s failed: success was answered and nothing is stored", shaky.what)
					}
				case first.Status/100 == 5:
					failures++
				default:
					t.Errorf("%s failed: answered %d %q", shaky.what, first.Status, first.Body)
				}
				s.sim.Advance(2 * time.Minute) // past what is remembered of a failed token
				again := s.send(t, wechattest.PushSpec{XML: message})
				if again.Body != "success" || !tt.stored(s) {
					t.Errorf("%s failed: sent again, answered %d %q, stored %t", shaky.what, again.Status, again.Body, tt.stored(s))
				}
			}
			if failures == 0 {
				t.Error("no access to the Store could fail: the test shows nothing")
			}
		})
	}
}

// attacks.md 13: that the Store cannot say whether a push was handled does not mean that it was not.
func TestTicketHandlerHandlesNothingTwiceWhileTheStoreIsDown(t *testing.T) {
	s := newEventSite(t)
	message := s.newsXML()
	s.takes(t, s.make(t, wechattest.PushSpec{XML: message}))
	shaky := &shakyStore{Store: s.store, n: 1}
	s.mount("/shaky", &wechatopen.TicketHandler{Platform: s.newPlatform(wechatopen.WithStore(shaky)), OnEvent: s.handler.OnEvent})
	if got := s.send(t, wechattest.PushSpec{XML: message}); got.Status/100 != 5 || len(s.infoTypes()) != 1 {
		t.Errorf("answered %d %q, OnEvent was called %d times", got.Status, got.Body, len(s.infoTypes()))
	}
	if got := s.send(t, wechattest.PushSpec{XML: message}); got.Body != "success" || len(s.infoTypes()) != 1 {
		t.Errorf("sent again: answered %d %q, OnEvent was called %d times", got.Status, got.Body, len(s.infoTypes()))
	}
}

// holdsKeyOf reports whether a Store holds anything of an account but what remembers pushes and codes.
func holdsKeyOf(snapshot map[string]string, appID string) bool {
	for key := range snapshot {
		if strings.Contains(key, ":"+appID+":") {
			return true
		}
	}
	return false
}

// attacks.md 14
func TestTicketHandlerAnswers5xxWhenOnEventFails(t *testing.T) {
	full := errors.New("disk full")
	for name, fail := range map[string]func(*eventSite) error{
		"its own error": func(*eventSite) error { return full },
		// Errors of this package, whose status is 4xx where a visitor is at fault.
		"ErrSignature":     func(*eventSite) error { return fmt.Errorf("%w: %w", full, wechatopen.ErrSignature) },
		"ErrNotAuthorized": func(*eventSite) error { return fmt.Errorf("%w: %w", full, wechatopen.ErrNotAuthorized) },
		"of JSConfig": func(s *eventSite) error {
			_, err := s.platform.Account(s.shop.AppID()).JSConfig(context.Background(), "no address")
			return fmt.Errorf("%w: %w", full, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newEventSite(t)
			s.handler.OnEvent = func(context.Context, *wechatopen.Event) error { return fail(s) }
			got := s.send(t, wechattest.PushSpec{XML: s.ticketXML()})
			if got.Status/100 != 5 || strings.Contains(got.Body, "disk") || strings.Contains(got.Body, "success") {
				t.Errorf("answered %d %q, want 5xx, so that WeChat sends it again", got.Status, got.Body)
			}
			if tr := s.lastTraced(t); !errors.Is(tr.err, full) || tr.infoType != "component_verify_ticket" {
				t.Errorf("traced %+v", tr)
			}
			if line := s.log.String(); !strings.Contains(line, "level=ERROR") || !strings.Contains(line, "disk full") {
				t.Errorf("log: %s", line)
			}
		})
	}
}

// panicSite serves h with an error log that can be read after close.
func panicSite(t *testing.T, h http.Handler) (address string, logAfterClose func() string) {
	t.Helper()
	errorLog := &logBuffer{}
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(errorLog, "", 0)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL, func() string { srv.Close(); return errorLog.String() }
}

// attacks.md 14
func TestTicketHandlerAnswers5xxWhenOnEventPanics(t *testing.T) {
	s := newEventSite(t)
	var calls atomic.Int32
	s.handler.OnEvent = func(context.Context, *wechatopen.Event) error {
		if calls.Add(1) == 1 {
			panic("out of cheese")
		}
		return nil
	}
	address, errorLog := panicSite(t, s.handler)
	message := s.ticketXML()
	resp, err := http.DefaultClient.Do(s.make(t, wechattest.PushSpec{URL: address, XML: message}))
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("answered %s", resp.Status)
	}
	// Sent again, it is handled: neither is the lock held still, nor is the push remembered.
	if got := s.send(t, wechattest.PushSpec{URL: address, XML: message}); got.Body != "success" || calls.Load() != 2 {
		t.Errorf("sent again: answered %d %q, OnEvent called %d times", got.Status, got.Body, calls.Load())
	}
	if l := errorLog(); strings.Count(l, "panic serving") != 1 || !strings.Contains(l, "out of cheese") || !strings.Contains(l, "goroutine") {
		t.Errorf("net/http logged %q, want the panic and its stack", l)
	}
}

// attacks.md 14: a proxy in between would make what it likes of half an answer.
func TestTicketHandlerAnswersInFullWhenOnEventPanics(t *testing.T) {
	s := newEventSite(t)
	s.handler.OnEvent = func(context.Context, *wechatopen.Event) error { panic("out of cheese") }
	address, _ := panicSite(t, s.handler)
	resp, err := http.DefaultClient.Do(s.make(t, wechattest.PushSpec{URL: address, XML: s.ticketXML()}))
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "Internal Server Error\n" {
		t.Errorf("answered %d %q, %v", resp.StatusCode, body, err)
	}
}

// attacks.md 14: what means "end without a word" to net/http goes on meaning it.
func TestTicketHandlerLetsErrAbortHandlerThrough(t *testing.T) {
	s := newEventSite(t)
	s.handler.OnEvent = func(context.Context, *wechatopen.Event) error { panic(http.ErrAbortHandler) }
	address, errorLog := panicSite(t, s.handler)
	resp, err := http.DefaultClient.Do(s.make(t, wechattest.PushSpec{URL: address, XML: s.ticketXML()}))
	if err == nil {
		defer resp.Body.Close()
		if resp.StatusCode/100 != 5 {
			t.Errorf("answered %s", resp.Status)
		}
	}
	if l := errorLog(); l != "" {
		t.Errorf("net/http logged %q", l)
	}
}

// attacks.md 15
func TestTicketHandlerAnswersURLCheck(t *testing.T) {
	s := newEventSite(t)
	creds := s.comp.Credentials()
	const nonce, html = "263014780", "<script>alert(1)</script>"
	ts := strconv.FormatInt(s.sim.Now().Unix(), 10)
	old := strconv.FormatInt(s.sim.Now().Add(-11*time.Minute).Unix(), 10)
	sealed := base64.StdEncoding.EncodeToString(s.cipherOf(t, "1616140317555161061"))
	foreignReq := s.make(t, wechattest.PushSpec{XML: "1616140317555161061", AppID: "wx0123456789abcdef"})
	var foreign struct{ Encrypt string }
	if err := xml.NewDecoder(foreignReq.Body).Decode(&foreign); err != nil {
		t.Fatal(err)
	}
	query := func(pairs ...string) string {
		q := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			q.Add(pairs[i], pairs[i+1])
		}
		return q.Encode()
	}
	signature := sortedSHA1(creds.Token, ts, nonce)
	msgSignature := sortedSHA1(creds.Token, ts, nonce, sealed)
	wrong := strings.Repeat("0", 40)

	for name, tt := range map[string]struct{ query, want string }{
		"plain":     {query("signature", signature, "timestamp", ts, "nonce", nonce, "echostr", "5938472"), "5938472"},
		"HTML":      {query("signature", signature, "timestamp", ts, "nonce", nonce, "echostr", html), html},
		"encrypted": {query("msg_signature", msgSignature, "timestamp", ts, "nonce", nonce, "echostr", sealed), "1616140317555161061"},
		"encrypted, with both signatures": {query("signature", signature, "msg_signature", msgSignature, "timestamp", ts, "nonce", nonce, "echostr", sealed),
			"1616140317555161061"},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.state()
			got := get(t, nil, s.url+"?"+tt.query)
			if got.Status != 200 || got.Body != tt.want {
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
		query string
		want  refusal
	}{
		"wrong signature":       {query("signature", wrong, "timestamp", ts, "nonce", nonce, "echostr", html), forged("does not match")},
		"signature in capitals": {query("signature", strings.ToUpper(signature), "timestamp", ts, "nonce", nonce, "echostr", html), forged("does not match")},
		"signature twice":       {query("signature", signature, "signature", signature, "timestamp", ts, "nonce", nonce, "echostr", html), forged("signature")},
		"no signature":          {query("timestamp", ts, "nonce", nonce, "echostr", html), forged("signature")},
		"echostr only":          {query("echostr", html), forged("exactly one")},
		"old":                   {query("signature", sortedSHA1(creds.Token, old, nonce), "timestamp", old, "nonce", nonce, "echostr", html), forged("off our clock")},
		"no echostr":            {query("signature", signature, "timestamp", ts, "nonce", nonce), malformed("echostr")},
		"nothing":               {"", malformed("echostr")},
		"echostr of 2,000":      {query("signature", signature, "timestamp", ts, "nonce", nonce, "echostr", strings.Repeat("a", 2000)), malformed("echostr")},
		"wrong msg_signature":   {query("msg_signature", wrong, "timestamp", ts, "nonce", nonce, "echostr", sealed), forged("does not match")},
		"empty msg_signature":   {query("signature", signature, "msg_signature", "", "timestamp", ts, "nonce", nonce, "echostr", html), forged("msg_signature")},
		"signature cannot stand in for msg_signature": {query("signature", signature, "msg_signature", wrong, "timestamp", ts, "nonce", nonce, "echostr", html), forged("does not match")},
		"plain with msg_signature":                    {query("msg_signature", sortedSHA1(creds.Token, ts, nonce, html), "timestamp", ts, "nonce", nonce, "echostr", html), forged("cannot be decrypted")},
		"encrypted for another":                       {query("msg_signature", sortedSHA1(creds.Token, ts, nonce, foreign.Encrypt), "timestamp", ts, "nonce", nonce, "echostr", foreign.Encrypt), forged("another appid")},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"?"+tt.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.noTrace = true
			s.refuses(t, r, tt.want)
			if line := s.log.String(); strings.Contains(line, "script") {
				t.Errorf("the log quotes echostr: %s", line)
			}
		})
	}
}

// officialVector is a platform with the credentials of one of WeChat's samples, at their time.
func officialVector(t testing.TB, creds wechatopen.Credentials, unix int64, opts ...wechatopen.Option) *wechatopen.Platform {
	t.Helper()
	creds.AppSecret = "0123456789abcdef0123456789abcdef"
	opts = append([]wechatopen.Option{
		wechatopen.WithStore(wechatopen.NewMemoryStore()),
		wechatopen.WithClock(func() time.Time { return time.Unix(unix, 0) }),
	}, opts...)
	p, err := wechatopen.NewPlatform(creds, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// attacks.md 15
func TestTicketHandlerAnswersWeChatsSampleURLCheck(t *testing.T) {
	p := officialVector(t, wechatopen.Credentials{
		AppID: "wx5823bf96d3bd56c7", Token: "QDG6eK", EncodingAESKey: "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C",
	}, 1409659589)
	srv := httptest.NewServer(&wechatopen.TicketHandler{Platform: p})
	defer srv.Close()
	got := get(t, nil, srv.URL+"/?msg_signature=5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3&timestamp=1409659589&nonce=263014780"+
		"&echostr=P9nAzCzyDtyTWESHep1vC5X9xho%2FqYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp%2B4RPcs8TgAE7OaBO%2BFZXvnaqQ%3D%3D")
	if got.Status != 200 || got.Body != "1616140317555161061" {
		t.Errorf("answered %d %q", got.Status, got.Body)
	}
}

// vectorE is WeChat's sample of a message pushed to a third-party platform, vectorC one to an account of one's own.
var (
	vectorE = sampleMessage{
		creds: wechatopen.Credentials{AppID: "wx134c8103faa5a59e", Token: "AAAAA", EncodingAESKey: strings.Repeat("A", 43)},
		unix:  1715943329, nonce: "1590219412", signature: "6c12a4205838198b8fa631b3220723bb07f1015c", toUserName: "gh_97417a04a28d",
		encrypt: "D7yzvUNAL930rd28wf21s4hvXhz0L6Uit/p2Di6C5DHyYGpEgdBRnKjBec34JwoQXicwaZC7fOVihW80F4VtsdvE//1vr7oAbqjDv8KenVp+ajKYpJnyQ4zMRhIC+a31fCVOMC03FfzV/QuC94kBP55a+Za3sJgvAn+ZbsNqZI5DkyuzkhQN8OBqCzFhizGmy0xpM0MEA4agpvE+RuNO1rhHTtuJB5yltw1FiYzecSXJ+y/D2r81VkRn2eYjh2ltsoyfbDR7Is6ookXIFxTfyeNyeHxMeT4KN5WpCDmSbTcUYrbBUlkGLJ9n/rU8YOywma6G7aTb7KZKOqCxgfoUlYEZPk4FUL/TK7ShriFDMVCLyjQJ15Ob++agDWtcxhfUfe6HIoIpRW8mKNBQiY/Jd1svvuskA1wLef1RTtzKfMpagSCX/laZINmdnX4zrF6kIaR9P4xQrWXbsTFHTYe0Mg==",
	}
	vectorC = sampleMessage{
		creds: wechatopen.Credentials{AppID: "wx2c2769f8efd9abc2", Token: "spamtest", EncodingAESKey: "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"},
		unix:  1409735669, nonce: "1320562132", signature: "5d197aaffba7e9b25a30732f161a50dee96bd5fa", toUserName: "gh_10f6c3c3ac5a",
		encrypt: "hyzAe4OzmOMbd6TvGdIOO6uBmdJoD0Fk53REIHvxYtJlE2B655HuD0m8KUePWB3+LrPXo87wzQ1QLvbeUgmBM4x6F8PGHQHFVAFmOD2LdJF9FrXpbUAh0B5GIItb52sn896wVsMSHGuPE328HnRGBcrS7C41IzDWyWNlZkyyXwon8T332jisa+h6tEDYsVticbSnyU8dKOIbgU6ux5VTjg3yt+WGzjlpKn6NPhRjpA912xMezR4kw6KWwMrCVKSVCZciVGCgavjIQ6X8tCOp3yZbGpy0VxpAe+77TszTfRd5RJSVO/HTnifJpXgCSUdUue1v6h0EIBYYI1BD1DlD+C0CR8e6OewpusjZ4uBl9FyJvnhvQl+q5rv1ixrcpCumEPo5MJSgM9ehVsNPfUM669WuMyVWQLCzpu9GhglF2PE=",
	}
)

type sampleMessage struct {
	creds                                 wechatopen.Credentials
	unix                                  int64
	nonce, signature, toUserName, encrypt string
}

func (m sampleMessage) query() string {
	return "signature=cc0c594499c1634947d5b502f158ee518947db27&timestamp=" + strconv.FormatInt(m.unix, 10) + "&nonce=" + m.nonce +
		"&openid=o9AgO5Kd5ggOC-bXrbNODIiE3bGY&encrypt_type=aes&msg_signature=" + m.signature
}

func (m sampleMessage) body() string {
	return "<xml>\n    <ToUserName><![CDATA[" + m.toUserName + "]]></ToUserName>\n    <Encrypt><![CDATA[" + m.encrypt + "]]></Encrypt>\n</xml>\n"
}

// A message of an account that arrives at the event URL is WeChat's all right, but mounted wrongly.
func TestTicketHandlerRefusesMessages(t *testing.T) {
	for name, m := range map[string]sampleMessage{"vector E": vectorE, "vector C": vectorC} {
		t.Run(name, func(t *testing.T) {
			log := &logBuffer{}
			store := &faultyStore{Store: wechatopen.NewMemoryStore()}
			p := officialVector(t, m.creds, m.unix, wechatopen.WithLogger(log.logger()), wechatopen.WithStore(store))
			var told []error
			h := &wechatopen.TicketHandler{Platform: p, OnEvent: func(_ context.Context, e *wechatopen.Event) error {
				t.Errorf("OnEvent was told of %v", e)
				return nil
			}}
			srv := httptest.NewServer(http.HandlerFunc(h.ServeHTTP))
			defer srv.Close()
			post := func(query string) answer {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/events?"+query, strings.NewReader(m.body()))
				if err != nil {
					t.Fatal(err)
				}
				return do(t, nil, r)
			}
			if got := post(m.query()); got.Status != http.StatusBadRequest || got.Body != "Bad Request\n" {
				t.Errorf("answered %d %q", got.Status, got.Body)
			}
			if line := log.String(); !strings.Contains(line, "no InfoType") || strings.Contains(line, "abcdteT") || strings.Contains(line, "hello world") {
				t.Errorf("log: %s", line)
			}
			h.OnError = func(w http.ResponseWriter, _ *http.Request, err error) {
				told = append(told, err)
				w.WriteHeader(wechatopen.HTTPStatus(err))
			}
			post(m.query())
			post(strings.Replace(m.query(), "msg_signature="+m.signature[:1], "msg_signature=x", 1))
			if len(told) != 2 || errors.Is(told[0], wechatopen.ErrSignature) || !errors.Is(told[1], wechatopen.ErrSignature) {
				t.Errorf("OnError was told %v; the first is signed well, the second is not", told)
			}
			if got := store.snapshot(); len(got) != 0 {
				t.Errorf("the Store holds %v", got)
			}
		})
	}
}

// attacks.md 16
func TestTicketHandlerTakesThePreviousTokenAndKey(t *testing.T) {
	s := newEventSite(t)
	old := s.comp.Credentials()
	s.comp.SetKeys("newtoken", strings.Repeat("n", 42)+"4")
	creds := s.comp.Credentials()
	both := creds
	both.PreviousToken, both.PreviousEncodingAESKey = old.Token, old.EncodingAESKey
	opts := append(s.sim.Options(), wechatopen.WithStore(s.store), wechatopen.WithLogger(s.log.logger()))
	rolling, err := wechatopen.NewPlatform(both, opts...)
	if err != nil {
		t.Fatal(err)
	}
	after, err := wechatopen.NewPlatform(creds, opts...)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name            string
		p               *wechatopen.Platform
		token, key      string
		status, statusE int // of a push, of an encrypted URL check
	}{
		{"both new", rolling, creds.Token, creds.EncodingAESKey, 200, 200},
		{"both old", rolling, old.Token, old.EncodingAESKey, 200, 200},
		{"old token", rolling, old.Token, creds.EncodingAESKey, 200, 200},
		{"old key", rolling, creds.Token, old.EncodingAESKey, 200, 200},
		{"a third token", rolling, "third", creds.EncodingAESKey, 403, 403},
		{"a third key", rolling, creds.Token, strings.Repeat("Q", 43), 403, 403},
		{"new after the rollout", after, creds.Token, creds.EncodingAESKey, 200, 200},
		{"old key after the rollout", after, creds.Token, old.EncodingAESKey, 403, 403},
		{"old token after the rollout", after, old.Token, creds.EncodingAESKey, 403, 403},
		{"empty token", after, "\x00", creds.EncodingAESKey, 403, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var events []string
			srv := httptest.NewServer(&wechatopen.TicketHandler{Platform: tt.p, OnEvent: func(_ context.Context, e *wechatopen.Event) error {
				events = append(events, e.InfoType)
				return nil
			}})
			defer srv.Close()
			got := s.send(t, wechattest.PushSpec{URL: srv.URL, XML: s.ticketXML(), Token: tt.token, EncodingAESKey: tt.key})
			if got.Status != tt.status || (got.Body == "success") != (tt.status == 200) || len(events) != map[int]int{200: 1}[tt.status] {
				t.Errorf("answered %d %q, OnEvent was told of %v", got.Status, got.Body, events)
			}
			r := s.make(t, wechattest.PushSpec{URL: srv.URL, XML: "echo", Token: tt.token, EncodingAESKey: tt.key})
			var envelope struct{ Encrypt string }
			if err := xml.NewDecoder(r.Body).Decode(&envelope); err != nil {
				t.Fatal(err)
			}
			if got := get(t, nil, r.URL.String()+"&echostr="+url.QueryEscape(envelope.Encrypt)); got.Status != tt.statusE || (got.Body == "echo") != (tt.statusE == 200) {
				t.Errorf("URL check answered %d %q", got.Status, got.Body)
			}
		})
	}
}

// queueLocker is a Locker that says who has to wait.
type queueLocker struct {
	mu      sync.Mutex
	free    map[string]chan struct{}
	waiting func(key string)
}

func (l *queueLocker) Lock(ctx context.Context, key string) (context.Context, func(), error) {
	l.mu.Lock()
	if l.free == nil {
		l.free = map[string]chan struct{}{}
	}
	c := l.free[key]
	if c == nil {
		c = make(chan struct{}, 1)
		c <- struct{}{}
		l.free[key] = c
	}
	waiting := l.waiting
	l.mu.Unlock()
	select {
	case <-c:
	default:
		if waiting != nil {
			waiting(key)
		}
		select {
		case <-c:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	held, cancel := context.WithCancel(ctx)
	return held, sync.OnceFunc(func() { cancel(); c <- struct{}{} }), nil
}

// gateTransport holds back the answers to one path.
type gateTransport struct {
	path    string
	arrived chan struct{} // one value for each answer held back
	open    chan struct{}
}

func (g *gateTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if r.URL.Path == g.path {
		g.arrived <- struct{}{}
		<-g.open
	}
	return resp, err
}

// attacks.md 17
func TestTicketHandlerRemovesAnAccountWhoseTokenIsBeingRefreshed(t *testing.T) {
	for name, locker := range map[string]*queueLocker{"the Locker of one process": nil, "a Locker of one's own": {}} {
		t.Run(name, func(t *testing.T) {
			gate := &gateTransport{path: "/cgi-bin/component/api_authorizer_token", arrived: make(chan struct{}, 10), open: make(chan struct{})}
			opts := []wechatopen.Option{wechatopen.WithHTTPClient(&http.Client{Transport: gate})}
			queued := make(chan string, 10)
			if locker != nil {
				opts = append(opts, wechatopen.WithLocker(locker))
				locker.waiting = func(key string) { queued <- key }
			} else {
				close(queued) // nobody says when the push waits: let the two race
			}
			s := newEventSite(t, opts...)
			shop := s.ready()
			if _, err := shop.JSAPITicket().Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.sim.Advance(3 * time.Hour) // the token's life and more, not the ticket's

			refreshed := make(chan struct{})
			go func() {
				defer close(refreshed)
				_, _ = shop.AccessToken().Token(context.Background()) // whether the last caller gets it is not the point
			}()
			<-gate.arrived // WeChat has made a new token and a new refresh token, which we do not know yet
			pushed := make(chan error, 1)
			go func() { pushed <- s.comp.Unauthorize(context.Background(), s.shop) }()
			var err error
			select {
			case <-queued:
				close(gate.open)
				err = <-pushed
			case err = <-pushed: // it did not wait, so the refresh comes last
				close(gate.open)
			}
			if err != nil {
				t.Fatal(err)
			}
			<-refreshed

			if snapshot := s.store.snapshot(); holdsKeyOf(snapshot, s.shop.AppID()) {
				t.Errorf("the Store holds something of the account still: %v", slices.Sorted(maps.Keys(snapshot)))
			}
			calls := len(s.sim.Calls())
			for name, a := range map[string]*wechatopen.Account{"as held": shop, "asked for again": s.platform.Account(s.shop.AppID()), "in another process": s.newPlatform().Account(s.shop.AppID())} {
				for kind, src := range map[string]*wechatopen.CachedTokenSource{"access token": a.AccessToken(), "JSAPI ticket": a.JSAPITicket()} {
					if tok, err := src.Token(t.Context()); !errors.Is(err, wechatopen.ErrNotAuthorized) {
						t.Errorf("%s, %s: %v, %v; want ErrNotAuthorized", name, kind, tok, err)
					}
				}
			}
			if n := len(s.sim.Calls()) - calls; n != 0 {
				t.Errorf("%d calls of WeChat were made to learn it", n)
			}
			if got := s.infoTypes(); got[len(got)-1] != "unauthorized" {
				t.Errorf("OnEvent was told of %v", got)
			}
		})
	}
}

func TestTicketHandlerAnswersOtherMethodsWith405(t *testing.T) {
	s := newEventSite(t)
	for _, method := range []string{"HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} {
		t.Run(method, func(t *testing.T) {
			r := s.make(t, wechattest.PushSpec{XML: s.ticketXML()})
			r.Method = method
			before := s.state()
			s.log.reset()
			got := do(t, nil, r)
			if got.Status != http.StatusMethodNotAllowed || got.Header.Get("Allow") != "GET, POST" {
				t.Errorf("answered %d, Allow %q", got.Status, got.Header.Get("Allow"))
			}
			if diff := cmp.Diff(before, s.state()); diff != "" {
				t.Errorf("something changed:\n%s", diff)
			}
			if line := s.log.String(); !strings.Contains(line, "method "+method) {
				t.Errorf("log: %s", line)
			}
		})
	}
}

func TestTicketHandlerTellsOnErrorWhy(t *testing.T) {
	s := newEventSite(t)
	down, full := errors.New("store is down"), errors.New("disk full")
	var told []error
	s.handler.OnError = func(w http.ResponseWriter, r *http.Request, err error) {
		told = append(told, err)
		w.Header().Set("X-Status", strconv.Itoa(wechatopen.HTTPStatus(err)))
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "answered by OnError")
	}
	xmlOf := func(body string) wechattest.PushSpec { return wechattest.PushSpec{Body: []byte(body)} }
	for _, tt := range []struct {
		name   string
		method string // empty: POST
		spec   wechattest.PushSpec
		status int
		is     error // nil: none of the sentinels
		before func()
	}{
		{name: "wrong signature", spec: wechattest.PushSpec{MsgSignature: "0"}, status: 403, is: wechatopen.ErrSignature},
		{name: "no msg_signature", spec: wechattest.PushSpec{Query: dropParams("msg_signature")}, status: 403, is: wechatopen.ErrSignature},
		{name: "plain", spec: wechattest.PushSpec{EncryptType: "raw"}, status: 403, is: wechatopen.ErrSignature},
		{name: "old", spec: wechattest.PushSpec{Timestamp: "1409304348"}, status: 403, is: wechatopen.ErrSignature},
		{name: "another key", spec: wechattest.PushSpec{EncodingAESKey: strings.Repeat("Z", 43)}, status: 403, is: wechatopen.ErrSignature},
		{name: "another appid", spec: wechattest.PushSpec{AppID: "wx0123456789abcdef"}, status: 403, is: wechatopen.ErrSignature},
		{name: "another appid inside", spec: wechattest.PushSpec{XML: "<xml><AppId>wx0</AppId><InfoType>x</InfoType></xml>"}, status: 403, is: wechatopen.ErrSignature},
		{name: "no XML", spec: xmlOf("hello"), status: 400},
		{name: "no XML inside", spec: wechattest.PushSpec{XML: "hello"}, status: 400},
		{name: "no InfoType", spec: wechattest.PushSpec{XML: s.shop.TextXML("o1", "hello", 1, s.sim.Now())}, status: 400},
		{name: "no ticket", spec: wechattest.PushSpec{XML: s.comp.TicketXML("", s.sim.Now())}, status: 400},
		{name: "too large", spec: xmlOf("<xml>" + strings.Repeat(" ", 1<<20+1) + "</xml>"), status: 413},
		{name: "method", method: "PUT", status: 405},
		{name: "GET", method: "GET", status: 400},
		{name: "GET unsigned", method: "GET", spec: wechattest.PushSpec{Query: func(q url.Values) {
			q.Set("echostr", "x")
			q.Set("msg_signature", "0")
		}}, status: 403, is: wechatopen.ErrSignature},
		{name: "Store", spec: wechattest.PushSpec{XML: s.newsXML()}, status: 500, is: down, before: func() { s.store.setFail(down) }},
		{name: "OnEvent", spec: wechattest.PushSpec{XML: s.newsXML()}, status: 500, is: full, before: func() {
			s.handler.OnEvent = func(context.Context, *wechatopen.Event) error { return full }
		}},
		{name: "authorized before the first ticket", status: 500, is: wechatopen.ErrNoTicket,
			spec: wechattest.PushSpec{XML: s.comp.AuthorizedXML("authorized", s.shop, "queryauthcode@@@x", "preauthcode@@@x", s.sim.Now())}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			told = nil
			s.log.reset()
			if tt.before != nil {
				tt.before()
				defer s.store.setFail(nil)
			}
			r := s.make(t, tt.spec)
			if tt.method != "" {
				r.Method = tt.method
			}
			rec := httptest.NewRecorder()
			s.handler.ServeHTTP(rec, r)
			if rec.Code != http.StatusTeapot || rec.Body.String() != "answered by OnError" {
				t.Errorf("answered %d %q: OnError does not answer alone", rec.Code, rec.Body)
			}
			if got := rec.Header().Get("X-Status"); got != strconv.Itoa(tt.status) {
				t.Errorf("HTTPStatus is %s, want %d", got, tt.status)
			}
			if len(told) != 1 {
				t.Fatalf("OnError was called %d times", len(told))
			}
			if !strings.HasPrefix(told[0].Error(), "wechatopen: ") && tt.is != full {
				t.Errorf("the error does not say where it is from: %v", told[0])
			}
			for _, sentinel := range []error{wechatopen.ErrSignature, wechatopen.ErrNoTicket, down, full} {
				if errors.Is(told[0], sentinel) != (sentinel == tt.is) {
					t.Errorf("errors.Is(%q, %q) = %t", told[0], sentinel, sentinel != tt.is)
				}
			}
			if tt.method == "PUT" && rec.Header().Get("Allow") == "" {
				t.Error("no Allow for OnError to send")
			}
			if line := s.log.String(); line != "" {
				t.Errorf("logged besides: %s", line)
			}
		})
	}
}

func TestTicketHandlerWithoutPlatformSaysSo(t *testing.T) {
	var told error
	h := &wechatopen.TicketHandler{OnError: func(w http.ResponseWriter, _ *http.Request, err error) {
		told = err
		w.WriteHeader(wechatopen.HTTPStatus(err))
	}}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("POST", "/", nil))
	if rec.Code != 500 || told == nil || !strings.Contains(told.Error(), "Platform") {
		t.Errorf("answered %d, told %v", rec.Code, told)
	}
}

func TestTicketHandlerTellsTraceOfEachPush(t *testing.T) {
	s := newEventSite(t)
	full := errors.New("disk full")
	s.handler.OnEvent = func(_ context.Context, e *wechatopen.Event) error {
		if e.InfoType == "news" {
			return full
		}
		return nil
	}
	ticket := s.ticketXML()
	s.send(t, wechattest.PushSpec{XML: ticket})
	s.send(t, wechattest.PushSpec{XML: ticket})
	s.send(t, wechattest.PushSpec{XML: s.newsXML()})
	s.send(t, wechattest.PushSpec{XML: ticket, MsgSignature: "0"})
	get(t, nil, s.url)
	want := []tracedPush{{"component_verify_ticket", nil}, {"component_verify_ticket", nil}, {"news", full}, {"", wechatopen.ErrSignature}}
	if len(s.traced) != len(want) {
		t.Fatalf("Trace.Push was called with %v", s.traced)
	}
	for i, w := range want {
		if got := s.traced[i]; got.infoType != w.infoType || !errors.Is(got.err, w.err) {
			t.Errorf("call %d of Trace.Push: %q, %v; want %q, %v", i, got.infoType, got.err, w.infoType, w.err)
		}
	}
}

// As the documentation of Trace.Push says.
func TestTicketHandlerTellsTraceAfterItsAnswer(t *testing.T) {
	var rec *httptest.ResponseRecorder
	var answered []int
	s := newEventSite(t, wechatopen.WithTrace(&wechatopen.Trace{Push: func(context.Context, string, error) {
		if rec.Body.Len() == 0 {
			t.Error("Trace.Push was called before the push was answered")
		}
		answered = append(answered, rec.Code)
	}}))
	for _, spec := range []wechattest.PushSpec{{XML: s.newsXML()}, {MsgSignature: "0"}} {
		rec = httptest.NewRecorder()
		s.handler.ServeHTTP(rec, s.make(t, spec))
	}
	if !slices.Equal(answered, []int{200, 403}) {
		t.Errorf("Trace.Push saw the answers %v", answered)
	}
}

func TestComponentTokenWorksFromTheFirstTicketOn(t *testing.T) {
	s := newEventSite(t)
	_, err := s.platform.ComponentToken().Token(t.Context())
	if !errors.Is(err, wechatopen.ErrNoTicket) {
		t.Fatalf("before the first ticket: %v, want ErrNoTicket", err)
	}
	for _, advice := range []string{"TicketHandler", "StartPushTicket", "event URL"} {
		if !strings.Contains(err.Error(), advice) {
			t.Errorf("the error does not say what to do (%s): %v", advice, err)
		}
	}
	if n := len(s.sim.Calls()); n != 0 {
		t.Errorf("%d calls of WeChat without a ticket", n)
	}
	if _, err := s.comp.PushTicket(t.Context()); err != nil {
		t.Fatal(err)
	}
	// At once: that it failed a moment ago is forgotten.
	if _, err := s.platform.ComponentToken().Token(t.Context()); err != nil {
		t.Fatalf("after the ticket: %v", err)
	}

	// And after a ticket that has grown too old: a new one mends it at once, too.
	s.sim.Advance(13 * time.Hour)
	_, err = s.platform.ComponentToken().Token(t.Context())
	var refusal *wechatopen.APIError
	if !errors.Is(err, wechatopen.ErrNoTicket) || !errors.As(err, &refusal) || refusal.Code != 61005 {
		t.Errorf("with a ticket of 13 hours ago: %v, want ErrNoTicket and errcode 61005", err)
	}
	if _, err := s.comp.PushTicket(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.platform.ComponentToken().Token(t.Context()); err != nil {
		t.Errorf("after the new ticket: %v", err)
	}
}

func TestStartPushTicketBringsATicket(t *testing.T) {
	s := newEventSite(t)
	came := make(chan string, 1)
	s.handler.OnEvent = func(_ context.Context, e *wechatopen.Event) error {
		came <- e.InfoType
		return nil
	}
	s.comp.StopPushes()
	if _, err := s.comp.PushTicket(t.Context()); err == nil {
		t.Fatal("pushes are not stopped: the test shows nothing")
	}
	if err := s.platform.StartPushTicket(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-came; got != "component_verify_ticket" {
		t.Errorf("pushed %s", got)
	}
	if _, err := s.platform.ComponentToken().Token(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.platform.StartPushTicket(t.Context()); err != nil {
		t.Errorf("in a normal state: %v", err)
	}
	if n := s.sim.Count("/cgi-bin/component/api_start_push_ticket"); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}

func TestStartPushTicketTellsWrongCredentials(t *testing.T) {
	w := newWorld(t)
	creds := w.comp.Credentials()
	creds.AppSecret = strings.Repeat("0", 32)
	log := &logBuffer{}
	p, err := wechatopen.NewPlatform(creds, append(w.sim.Options(), wechatopen.WithStore(w.store), wechatopen.WithLogger(log.logger()))...)
	if err != nil {
		t.Fatal(err)
	}
	err = p.StartPushTicket(t.Context())
	var refusal *wechatopen.APIError
	if !errors.As(err, &refusal) || refusal.Op != "/cgi-bin/component/api_start_push_ticket" {
		t.Fatalf("got %v, want an *APIError of the call", err)
	}
	if strings.Contains(err.Error()+log.String(), creds.AppSecret) {
		t.Errorf("the secret is in the error or the log: %v", err)
	}
}
