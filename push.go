package wechatopen

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wechatopen/wechatopen/internal/msgcrypt"
)

const (
	// maxPushBody bounds what is read of a push. The largest that WeChat documents is some kilobytes.
	maxPushBody = 1 << 20
	// pushReadTime bounds how long the body of a push may take to arrive. WeChat itself gives up after 5 seconds.
	pushReadTime = 5 * time.Second
	// defaultPushWindow is how far a push's timestamp may be from our clock.
	defaultPushWindow = 10 * time.Minute
	// pushMemory is how much longer than its timestamp is accepted a handled push is remembered, for a Store whose clock
	// is not ours.
	pushMemory = 10 * time.Minute
)

// push is what WeChat posted, verified and decrypted.
type push struct {
	msg   []byte
	to    []byte    // ToUserName of the envelope, in the buffer
	sent  time.Time // timestamp of the signed query
	nonce string
	used  msgcrypt.Used
	plain bool // it was not encrypted, and its reply is not
}

// readPush reads a push in safe mode: signature first, then decryption, then the appid. There is no plain mode, and
// nothing that the sender can switch it on with.
func readPush(w http.ResponseWriter, r *http.Request, body *pushBody, q *pushQuery, codec *msgcrypt.Codec, window time.Duration, now time.Time) (in push, err error) {
	if t := q.encryptType.value; t != "" && t != "aes" {
		return in, refuse("encrypt_type is not aes: set the callback to safe mode (安全模式)")
	}
	sent, err := q.check("msg_signature", q.msgSignature, window, now)
	if err != nil {
		return in, err
	}
	if err := body.read(w, r); err != nil {
		return in, err
	}
	root, err := parseXML(body.Bytes(), make(element, 0, 4))
	if err != nil {
		return in, withStatus(http.StatusBadRequest, errorf("push: %w", err))
	}
	encrypt := root.bytes("Encrypt")
	if len(encrypt) == 0 {
		return in, refuse("the body is not encrypted: set the callback to safe mode (安全模式)")
	}
	msg, used, err := codec.Open(q.msgSignature.value, q.timestamp.value, q.nonce.value, encrypt)
	if err != nil {
		return in, refuse(err.Error())
	}
	return push{msg: msg, to: root.bytes("ToUserName"), sent: sent, nonce: q.nonce.value, used: used}, nil
}

// readPlainPush reads a push in plain mode, whose signature covers the token, the time and a nonce, but not the message:
// who has seen one push can send another message with its query, for as long as the window is. Only an account of one's
// own that asks for it by name gets here.
func readPlainPush(w http.ResponseWriter, r *http.Request, body *pushBody, q *pushQuery, codec *msgcrypt.Codec, window time.Duration, now time.Time) (in push, err error) {
	sent, err := q.check("signature", q.signature, window, now)
	if err != nil {
		return in, err
	}
	if !codec.Signed(q.signature.value, q.timestamp.value, q.nonce.value) {
		return in, refuse(msgcrypt.ErrSignature.Error())
	}
	if err := body.read(w, r); err != nil {
		return in, err
	}
	return push{msg: bytes.Clone(body.Bytes()), sent: sent, nonce: q.nonce.value, plain: true}, nil
}

// verifyURL answers WeChat's check of a callback URL: GET with echostr, signed like a plain push, or with msg_signature
// over an encrypted echostr. Source: the access guide for official accounts; whether a third-party platform's URLs are
// checked this way is not documented.
func verifyURL(w http.ResponseWriter, r *http.Request, codec *msgcrypt.Codec, window time.Duration, now time.Time) error {
	q, err := readPushQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	echo := q.echostr.value
	if echo == "" || len(echo) > 1024 {
		return withStatus(http.StatusBadRequest, errorf("GET without a usable echostr: WeChat posts to this address"))
	}
	answer := []byte(echo)
	if q.msgSignature.times > 0 {
		if _, err := q.check("msg_signature", q.msgSignature, window, now); err != nil {
			return err
		}
		if answer, _, err = codec.Open(q.msgSignature.value, q.timestamp.value, q.nonce.value, []byte(echo)); err != nil {
			return refuse(err.Error())
		}
	} else {
		if _, err := q.check("signature", q.signature, window, now); err != nil {
			return err
		}
		if !codec.Signed(q.signature.value, q.timestamp.value, q.nonce.value) {
			return refuse(msgcrypt.ErrSignature.Error())
		}
	}
	writeText(w, http.StatusOK, string(answer))
	return nil
}

// pushQuery is what the query of a push says.
type pushQuery struct {
	signature, msgSignature, timestamp, nonce, encryptType, echostr param
}

// param is a parameter of a query: its first value, and how many times it is there.
type param struct {
	value string
	times int
}

func readPushQuery(raw string) (q pushQuery, err error) {
	if strings.Contains(raw, "%") || strings.Contains(raw, "+") || strings.Contains(raw, ";") { // only echostr is escaped
		values, err := url.ParseQuery(raw)
		if err != nil {
			return q, withStatus(http.StatusBadRequest, errorf("push: malformed query"))
		}
		for name, values := range values {
			for _, v := range values {
				q.add(name, v)
			}
		}
		return q, nil
	}
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		name, value, _ := strings.Cut(pair, "=")
		q.add(name, value)
	}
	return q, nil
}

func (q *pushQuery) add(name, value string) {
	var p *param
	switch name {
	case "signature":
		p = &q.signature
	case "msg_signature":
		p = &q.msgSignature
	case "timestamp":
		p = &q.timestamp
	case "nonce":
		p = &q.nonce
	case "encrypt_type":
		p = &q.encryptType
	case "echostr":
		p = &q.echostr
	default:
		return
	}
	if p.times++; p.times == 1 {
		p.value = value
	}
}

// check sees that what is signed is there once, with a time that is now.
func (q *pushQuery) check(name string, signature param, window time.Duration, now time.Time) (sent time.Time, err error) {
	switch {
	case !signature.once():
		return sent, refuse("the query has not exactly one " + name)
	case !q.timestamp.once():
		return sent, refuse("the query has not exactly one timestamp")
	case !q.nonce.once():
		return sent, refuse("the query has not exactly one nonce")
	}
	unix, err := strconv.ParseInt(q.timestamp.value, 10, 64)
	if err != nil || unix < 0 || unix > 1<<40 {
		return sent, refuse("timestamp is not a time")
	}
	sent = time.Unix(unix, 0)
	window = cmp.Or(window, defaultPushWindow)
	// A forged timestamp is told from a wrong clock by the signature alone, so the log names both causes.
	if off := sent.Sub(now); off > window || off < -window {
		return sent, refuse("its timestamp is " + off.Round(time.Second).String() + " off our clock, more than " + window.String() +
			": an old push sent again, or a clock that is wrong")
	}
	return sent, nil
}

func (p param) once() bool { return p.times == 1 && p.value != "" }

func refuse(why string) error { return errorf("%w: %s", ErrSignature, why) }

// pushBody is what the body of a push is read into. What becomes of the push is decoded into memory of its own.
type pushBody struct {
	bytes.Buffer
	limited io.LimitedReader
	watched
	w http.ResponseWriter // of the request that is being read
	p *bodyPool
}

// bodyPool holds what no push is read into now, and sees that a body arrives in time.
type bodyPool struct {
	pool  sync.Pool
	watch watch
}

func (p *bodyPool) get() *pushBody {
	if body, ok := p.pool.Get().(*pushBody); ok {
		return body
	}
	return &pushBody{p: p}
}

// put takes a buffer back, unless it has become much larger than pushes are.
func (p *bodyPool) put(body *pushBody) {
	if body.Cap() <= 32<<10 {
		body.Reset()
		p.pool.Put(body)
	}
}

func (body *pushBody) read(w http.ResponseWriter, r *http.Request) error {
	body.w, body.limited = w, io.LimitedReader{R: r.Body, N: maxPushBody + 1}
	body.p.watch.start(&body.watched, body, time.Now(), pushReadTime)
	defer func() {
		body.p.watch.stop(&body.watched)
		body.w, body.limited.R = nil, nil
	}()
	switch _, err := body.ReadFrom(&body.limited); {
	case body.Len() > maxPushBody:
		w.Header().Set("Connection", "close") // else net/http would wait for the rest
		return withStatus(http.StatusRequestEntityTooLarge, errorf("push: body of more than %d bytes", maxPushBody))
	case err != nil:
		return withStatus(http.StatusRequestTimeout, errorf("push: body did not arrive: %w", err))
	}
	return nil
}

// tooSlow ends the reading of a body. Not every ResponseWriter can; the server's own ReadTimeout then stands alone.
func (body *pushBody) tooSlow() {
	_ = http.NewResponseController(body.w).SetReadDeadline(time.Unix(1, 0))
}

// handleOnce calls handle for a push that has not been handled. Of the same push sent several times at once one is
// handled, and the others wait for it; a push whose handling failed is handled when it is sent again.
func (o *options) handleOnce(ctx context.Context, prefix string, msg []byte, window time.Duration, handle func(context.Context) error) error {
	key := hashKey(prefix, "push:", msg)
	held, unlock, err := o.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	if _, handled, err := getValue(held, o.store, key); err != nil || handled {
		return err
	}
	if err := handle(held); err != nil {
		return err
	}
	err = o.store.Set(held, key, []byte{'1'}, rememberFor(window))
	if err != nil && held.Err() != nil { // it has been handled, though the lock was lost or WeChat has left
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), rememberTime)
		defer cancel()
		err = o.store.Set(last, key, []byte{'1'}, rememberFor(window))
	}
	if err != nil {
		return errorf("push: store: %w", err)
	}
	return nil
}

// rememberFor is how long what came with a timestamp must be remembered: it is accepted from one window before that
// timestamp to one after it.
func rememberFor(window time.Duration) time.Duration {
	return 2*cmp.Or(window, defaultPushWindow) + pushMemory
}

func writeText(w http.ResponseWriter, status int, text string) {
	length := strconv.Itoa(len(text)) // complete even if the handler ends in a panic
	h, v := w.Header(), []string{"text/plain; charset=utf-8", "nosniff", "no-store", length}
	h["Content-Type"], h["X-Content-Type-Options"], h["Cache-Control"], h["Content-Length"] = v[0:1:1], v[1:2:2], v[2:3:3], v[3:4:4]
	w.WriteHeader(status)
	io.WriteString(w, text)
}

// answerPush answers a push that is WeChat's. net/http says that it is text, by looking at it; a header of our own would
// cost more than the decryption of a push.
func answerPush(w http.ResponseWriter, text string) {
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, text) // if it fails, WeChat has left, and will send the push again
}

// answerError hands err to onError, or, if that is nil, logs it and answers with the status text alone: who asks learns
// no cause.
func answerError(w http.ResponseWriter, r *http.Request, log *slog.Logger, onError func(http.ResponseWriter, *http.Request, error), what string, err error) {
	if onError != nil {
		onError(w, r, err)
		return
	}
	status := HTTPStatus(err)
	level := slog.LevelWarn
	if status >= 500 && r.Context().Err() == nil { // else whoever asked has left
		level = slog.LevelError
	}
	log.LogAttrs(r.Context(), level, what, slog.Int("status", status), slog.String("path", r.URL.Path), slog.String("error", err.Error()))
	writeText(w, status, http.StatusText(status)+"\n")
}
