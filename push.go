package wechatopen

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
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
	to    string    // ToUserName of the envelope
	sent  time.Time // timestamp of the signed query
	nonce string
	used  msgcrypt.Used
	plain bool // it was not encrypted, and its reply is not
}

// readPush reads a push in safe mode: signature first, then decryption, then the appid. There is no plain mode, and
// nothing that the sender can switch it on with.
func readPush(w http.ResponseWriter, r *http.Request, codec *msgcrypt.Codec, window time.Duration, now time.Time) (*push, error) {
	if t := r.URL.Query().Get("encrypt_type"); t != "" && t != "aes" {
		return nil, refuse("encrypt_type is not aes: set the callback to safe mode (安全模式)")
	}
	q, err := signedQuery(r, "msg_signature", window, now)
	if err != nil {
		return nil, err
	}
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	root, err := parseXML(body)
	if err != nil {
		return nil, withStatus(http.StatusBadRequest, errorf("push: %w", err))
	}
	encrypt := root.get("Encrypt")
	if encrypt == "" {
		return nil, refuse("the body is not encrypted: set the callback to safe mode (安全模式)")
	}
	msg, used, err := codec.Open(q.signature, q.timestamp, q.nonce, encrypt)
	if err != nil {
		return nil, refuse(err.Error())
	}
	return &push{msg: msg, to: root.get("ToUserName"), sent: q.sent, nonce: q.nonce, used: used}, nil
}

// readPlainPush reads a push in plain mode, whose signature covers the token, the time and a nonce, but not the message:
// who has seen one push can send another message with its query, for as long as the window is. Only an account of one's
// own that asks for it by name gets here.
func readPlainPush(w http.ResponseWriter, r *http.Request, codec *msgcrypt.Codec, window time.Duration, now time.Time) (*push, error) {
	q, err := signedQuery(r, "signature", window, now)
	if err != nil {
		return nil, err
	}
	if !codec.Signed(q.signature, q.timestamp, q.nonce) {
		return nil, refuse(msgcrypt.ErrSignature.Error())
	}
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	return &push{msg: body, sent: q.sent, nonce: q.nonce, plain: true}, nil
}

// verifyURL answers WeChat's check of a callback URL: GET with echostr, signed like a plain push, or with msg_signature
// over an encrypted echostr. Source: the access guide for official accounts; whether a third-party platform's URLs are
// checked this way is not documented.
func verifyURL(w http.ResponseWriter, r *http.Request, codec *msgcrypt.Codec, window time.Duration, now time.Time) error {
	echo := r.URL.Query().Get("echostr")
	if echo == "" || len(echo) > 1024 {
		return withStatus(http.StatusBadRequest, errorf("GET without a usable echostr: WeChat posts to this address"))
	}
	name := "signature"
	if r.URL.Query().Has("msg_signature") {
		name = "msg_signature"
	}
	q, err := signedQuery(r, name, window, now)
	if err != nil {
		return err
	}
	answer := []byte(echo)
	if name == "msg_signature" {
		if answer, _, err = codec.Open(q.signature, q.timestamp, q.nonce, echo); err != nil {
			return refuse(err.Error())
		}
	} else if !codec.Signed(q.signature, q.timestamp, q.nonce) {
		return refuse(msgcrypt.ErrSignature.Error())
	}
	writeText(w, http.StatusOK, string(answer))
	return nil
}

// pushQuery is what the query of a push says, each part exactly once.
type pushQuery struct {
	signature, timestamp, nonce string
	sent                        time.Time
}

func signedQuery(r *http.Request, signature string, window time.Duration, now time.Time) (q pushQuery, err error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, withStatus(http.StatusBadRequest, errorf("push: malformed query"))
	}
	for _, p := range []struct {
		name string
		dst  *string
	}{{signature, &q.signature}, {"timestamp", &q.timestamp}, {"nonce", &q.nonce}} {
		v := values[p.name]
		if len(v) != 1 || v[0] == "" {
			return q, refuse("the query has not exactly one " + p.name)
		}
		*p.dst = v[0]
	}
	unix, err := strconv.ParseInt(q.timestamp, 10, 64)
	if err != nil || unix < 0 || unix > 1<<40 {
		return q, refuse("timestamp is not a time")
	}
	q.sent = time.Unix(unix, 0)
	window = cmp.Or(window, defaultPushWindow)
	// A forged timestamp is told from a wrong clock by the signature alone, so the log names both causes.
	if off := q.sent.Sub(now); off > window || off < -window {
		return q, refuse("its timestamp is " + off.Round(time.Second).String() + " off our clock, more than " + window.String() +
			": an old push sent again, or a clock that is wrong")
	}
	return q, nil
}

func refuse(why string) error { return errorf("%w: %s", ErrSignature, why) }

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	// Not every ResponseWriter has deadlines; the server's own ReadTimeout then stands alone.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(pushReadTime))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPushBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, withStatus(http.StatusRequestEntityTooLarge, errorf("push: body of more than %d bytes", maxPushBody))
	case err != nil:
		return nil, withStatus(http.StatusRequestTimeout, errorf("push: body did not arrive: %w", err))
	}
	return body, nil
}

// handleOnce calls handle for a push that has not been handled. Of the same push sent several times at once one is
// handled, and the others wait for it; a push whose handling failed is handled when it is sent again.
func (o *options) handleOnce(ctx context.Context, prefix string, msg []byte, window time.Duration, handle func(context.Context) error) error {
	sum := sha256.Sum256(msg)
	key := prefix + "push:" + base64.RawURLEncoding.EncodeToString(sum[:18])
	held, unlock, err := o.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	switch _, err := o.store.Get(held, key); {
	case err == nil:
		return nil
	case !errors.Is(err, ErrNotFound):
		return errorf("push: store: %w", err)
	}
	if err := handle(held); err != nil {
		return err
	}
	if err := o.store.Set(held, key, []byte{'1'}, rememberFor(window)); err != nil {
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
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(text))) // complete even if the handler ends in a panic
	w.WriteHeader(status)
	io.WriteString(w, text)
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
