package wechatopen

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/wechatopen/wechatopen/internal/msgcrypt"
)

const (
	// WeChat waits five seconds for a reply, counted from its side.
	defaultReplyTime = 4500 * time.Millisecond
	defaultWorkTime  = time.Minute
	// rememberTime bounds writing what was handled into the Store, when WorkTime may be over.
	rememberTime = 10 * time.Second
)

// MessageHandler receives messages and events of accounts and answers them: at the message URL of a platform,
// "/wechat/message/{appid}" for "/wechat/message/$APPID$" at WeChat's console, or at that of an account of one's own.
//
// A message is handled once, though WeChat sends it up to three times: later copies are answered with the same reply. A
// message that reaches the path of another account than its own is refused. What cannot be trusted is answered 4xx, and
// an error of Handle 5xx, so that WeChat sends the message again.
type MessageHandler struct {
	Platform *Platform // or Account, for an account of one's own; one of them is required
	Account  *Account

	// AppID says whose message a request of a platform brings. Nil: r.PathValue("appid").
	AppID func(*http.Request) string

	// Handle answers a message. A nil Reply is answered "success". Its context goes on when WeChat has stopped waiting, for
	// WorkTime in all. Required; a [MessageMux] has one.
	Handle func(ctx context.Context, m *Message) (Reply, error)

	// OnLate is given a reply that came after WeChat was answered "success" in its place, to send it as a customer-service
	// message. Nil: it is logged and dropped.
	OnLate func(ctx context.Context, m *Message, r Reply)

	// OnError answers in the handler's place; [HTTPStatus] says with what. Nil: the error is logged and the status
	// answered.
	OnError func(w http.ResponseWriter, r *http.Request, err error)

	// ReplyTime is how long WeChat is kept waiting before it is answered "success". Zero: 4.5 seconds of its five.
	ReplyTime time.Duration

	// WorkTime is how long Handle may take. Zero: one minute.
	WorkTime time.Duration

	// Window is how far a push's timestamp may be from the clock. Zero: ten minutes.
	Window time.Duration

	// Plain accepts messages in plain mode (明文模式), which anyone who has seen one can forge. For an account of one's own
	// only. False: messages are encrypted, or refused.
	Plain bool
}

// ServeHTTP answers a message.
func (h *MessageHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o, codec, err := h.check()
	if err != nil {
		answerError(w, r, slog.Default(), h.OnError, "wechatopen: MessageHandler", err)
		return
	}
	switch r.Method {
	case http.MethodGet:
		if err := verifyURL(w, r, codec, h.Window, o.now()); err != nil {
			answerError(w, r, o.logger, h.OnError, "wechatopen: message URL not verified", err)
		}
	case http.MethodPost:
		kind, err := h.handle(w, r, o, codec)
		if err != nil {
			answerError(w, r, o.logger, h.OnError, "wechatopen: message not handled", err)
		}
		if o.trace.Push != nil {
			o.trace.Push(r.Context(), kind, err)
		}
	default:
		w.Header().Set("Allow", "GET, POST")
		answerError(w, r, o.logger, h.OnError, "wechatopen: message refused", withStatus(http.StatusMethodNotAllowed, errorf("message: method %s", r.Method)))
	}
}

func (h *MessageHandler) check() (*options, *msgcrypt.Codec, error) {
	switch {
	case h.Handle == nil:
		return nil, nil, errorf("MessageHandler.Handle is nil")
	case (h.Platform == nil) == (h.Account == nil):
		return nil, nil, errorf("MessageHandler needs either a Platform or an Account")
	case h.Platform != nil && h.Plain:
		return nil, nil, errorf("MessageHandler.Plain is for an account of one's own: a platform has no plain mode")
	case h.Platform != nil:
		return &h.Platform.c.options, h.Platform.codec, nil
	case h.Account.platform != nil:
		return nil, nil, errorf("MessageHandler.Account is an authorizer's: set Platform, whose keys its messages are encrypted with")
	case h.Account.codec == nil:
		return nil, nil, errorf("MessageHandler.Account has no Credentials.Token and EncodingAESKey")
	}
	return &h.Account.c.options, h.Account.codec, nil
}

func (h *MessageHandler) handle(w http.ResponseWriter, r *http.Request, o *options, codec *msgcrypt.Codec) (kind string, err error) {
	read := readPush
	if h.Plain && !r.URL.Query().Has("msg_signature") {
		read = readPlainPush
	}
	in, err := read(w, r, codec, h.Window, o.now())
	if err != nil {
		return "", err
	}
	a, err := h.account(r)
	if err != nil {
		return "", err
	}
	m, err := parseMessage(a.appID, in.msg)
	if err != nil {
		return "", withStatus(http.StatusBadRequest, errorf("message: decrypted content: %w", err))
	}
	kind = m.MsgType
	if m.Event != "" {
		kind += "/" + m.Event
	}
	switch {
	case m.MsgType == "" || m.FromUserName == "" || m.ToUserName == "":
		return kind, withStatus(http.StatusBadRequest, errorf("message: no MsgType, FromUserName or ToUserName: an event of the platform belongs to the event URL"))
	case in.to != "" && in.to != m.ToUserName:
		return kind, refuse("its envelope names another account than its content")
	}
	if err := a.checkOriginalID(r.Context(), m.ToUserName); err != nil {
		return kind, err
	}
	if a.platform != nil {
		a = a.platform.share(a)
	}
	rec, err := h.reply(r.Context(), a, m)
	if err != nil {
		return kind, err
	}
	rec.write(w, o, codec, in)
	if rec.after != nil {
		_ = http.NewResponseController(w).Flush() // WeChat has its answer before anything else happens
		work, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), cmp.Or(h.WorkTime, defaultWorkTime))
		defer cancel()
		h.finish(work, a, rec)
	}
	return kind, nil
}

// account is whose message it is by the path. A push is signed, but its path is not.
func (h *MessageHandler) account(r *http.Request) (*Account, error) {
	if h.Account != nil {
		return h.Account, nil
	}
	appID := ""
	if h.AppID != nil {
		appID = h.AppID(r)
	} else {
		appID = r.PathValue("appid")
	}
	if !validAppID(appID) {
		return nil, withStatus(http.StatusNotFound, errorf("message: the path names no account: mount the handler at /…/{appid} and give WeChat /…/$APPID$"))
	}
	// A path can name any account; one that is not in use yet is shared when it is known to authorize the platform.
	return h.Platform.unshared(appID), nil
}

func (a *Account) originalIDKey() string { return a.prefix + "original_id" }

// checkOriginalID refuses a message to another account than the one of the path. What WeChat says of the account is asked
// once and kept with its grant. For an account of one's own the appid in the encryption has told already.
func (a *Account) checkOriginalID(ctx context.Context, to string) error {
	if a.platform == nil {
		return nil
	}
	id, err := a.originalID(ctx)
	if err != nil {
		return err
	}
	if id != to {
		return refuse("it is to another account than the path names")
	}
	return nil
}

func (a *Account) originalID(ctx context.Context) (string, error) {
	if id := a.userName.Load(); id != nil {
		return *id, nil
	}
	if id := releaseTestAccounts()[a.appID]; id != "" {
		return id, nil
	}
	// The lock that ending the authorization takes, too: what that removes is not written again.
	held, unlock, err := a.c.lock(ctx, a.access.key)
	if err != nil {
		return "", err
	}
	defer unlock()
	var rec originalIDRecord
	err = loadRecord(held, a.c.store, a.originalIDKey(), &rec, &rec.V)
	if errors.Is(err, ErrNotFound) {
		rec, err = a.askOriginalID(held)
	}
	if err != nil {
		return "", err
	}
	a.userName.Store(&rec.ID)
	return rec.ID, nil
}

// originalIDRecord is an account's original id in the Store, beside its grant.
type originalIDRecord struct {
	V  int    `json:"v"`
	ID string `json:"id"`
}

func (a *Account) askOriginalID(held context.Context) (rec originalIDRecord, err error) {
	switch _, err := a.loadGrant(held); {
	case errors.Is(err, ErrNotFound): // nobody we know: not worth a call
		return rec, withStatus(http.StatusForbidden, errorf("account %s: %w", a.appID, ErrNotAuthorized))
	case err != nil:
		return rec, err
	}
	info, err := a.platform.AuthorizerInfo(held, a.appID)
	if err != nil {
		return rec, err
	}
	if info.UserName == "" {
		return rec, errorf("account %s: WeChat names no original id (user_name)", a.appID)
	}
	rec = originalIDRecord{V: 1, ID: info.UserName}
	return rec, storeRecord(held, a.c.store, a.originalIDKey(), rec, 0)
}

// replyRecord is the reply to a message, in the Store for the copies of it that WeChat sends.
type replyRecord struct {
	V     int    `json:"v"`
	XML   string `json:"xml,omitempty"`   // in the clear; empty: "success"
	Empty bool   `json:"empty,omitempty"` // no body at all

	after func(context.Context) error // to do when the answer is sent, the first time
}

// outcome is what came of handling a message.
type outcome struct {
	rec   *replyRecord
	reply Reply // of this handling; nil for a copy of a message that was handled before
	err   error

	inTime bool // WeChat waits for it
}

// reply is the reply to m, or one that says "success" when it takes too long. The work then goes on without WeChat.
func (h *MessageHandler) reply(ctx context.Context, a *Account, m *Message) (*replyRecord, error) {
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(h.WorkTime, defaultWorkTime))
	done := make(chan outcome, 1)
	var settled atomic.Bool // by whoever is first: the work with its outcome, or the clock
	go func() {
		defer cancel()
		settle := func() bool { return settled.CompareAndSwap(false, true) }
		ended := true
		defer func() {
			if ended && settle() { // by runtime.Goexit, as a test's FailNow does
				done <- outcome{err: withStatus(http.StatusInternalServerError, errorf("Handle ends its goroutine"))}
			}
		}()
		out := h.once(work, a, m, settle)
		ended = false
		if out.inTime {
			done <- out
		} else {
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(h.WorkTime, defaultWorkTime))
			defer cancel()
			h.tooLate(late, a, m, out)
		}
	}()
	timer := time.NewTimer(cmp.Or(h.ReplyTime, defaultReplyTime))
	defer timer.Stop()
	select {
	case out := <-done:
		return out.rec, out.err
	case <-timer.C:
		if settled.CompareAndSwap(false, true) {
			return &replyRecord{}, nil
		}
		out := <-done
		return out.rec, out.err
	}
}

// tooLate deals with what came of a message after WeChat was answered.
func (h *MessageHandler) tooLate(ctx context.Context, a *Account, m *Message, out outcome) {
	switch {
	case out.err != nil:
		a.c.logger.Error("wechatopen: message handled too late, with an error", "message", *m, "error", out.err.Error())
	case out.reply == nil:
	case out.rec.after != nil:
		h.finish(ctx, a, out.rec)
	case h.OnLate != nil:
		defer func() {
			if v := recover(); v != nil {
				a.c.logger.Error("wechatopen: OnLate panics", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			}
		}()
		h.OnLate(ctx, m, out.reply)
	default:
		a.c.logger.Warn("wechatopen: a reply came after WeChat stopped waiting and is dropped; set OnLate to send it", "message", *m)
	}
}

// once handles a message unless it has been handled; then its reply is that of the first time. Copies that come at the
// same time wait for the first.
//
// settle says, once, whether WeChat still waits. A reply that OnLate sends is not remembered for copies.
func (h *MessageHandler) once(ctx context.Context, a *Account, m *Message, settle func() bool) outcome {
	key := a.prefix + "message:" + messageID(m)
	held, unlock, err := a.c.lock(ctx, key)
	if err != nil {
		return outcome{err: err, inTime: settle()}
	}
	defer unlock()
	rec := &replyRecord{}
	switch err := loadRecord(held, a.c.store, key, rec, &rec.V); {
	case err == nil:
		return outcome{rec: rec, inTime: settle()}
	case !errors.Is(err, ErrNotFound):
		return outcome{err: err, inTime: settle()}
	}
	reply, err := h.call(held, m)
	inTime := settle()
	if err != nil {
		return outcome{err: withStatus(http.StatusInternalServerError, err), inTime: inTime}
	}
	rec = &replyRecord{V: 1}
	switch reply := reply.(type) {
	case nil:
	case emptyReply:
		rec.Empty, rec.after = true, reply.after
	default:
		if inTime || h.OnLate == nil {
			rec.XML = string(replyXML(m, reply, a.c.now()))
		}
	}
	remember, cancel := context.WithTimeout(context.WithoutCancel(held), rememberTime)
	defer cancel()
	if err := storeRecord(remember, a.c.store, key, rec, rememberFor(h.Window)); err != nil {
		// It has been handled: to have WeChat send it again would handle it twice for certain.
		a.c.logger.Error("wechatopen: a handled message could not be remembered; a copy of it will be handled again", "message", *m, "error", err.Error())
	}
	return outcome{rec: rec, reply: reply, inTime: inTime}
}

// messageID tells a message from others to its account: by MsgId, or, for events, which have none, by all that they say,
// sender and time included. WeChat sends the same content again.
func messageID(m *Message) string {
	if m.MsgID != 0 {
		return strconv.FormatInt(m.MsgID, 10)
	}
	sum := sha256.Sum256(m.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

// call runs Handle, whose panic is an error of this message alone: it is on a goroutine that net/http does not watch.
func (h *MessageHandler) call(ctx context.Context, m *Message) (reply Reply, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errorf("Handle panics: %v\n%s", v, debug.Stack())
		}
	}()
	return h.Handle(ctx, m)
}

// write answers a push with a reply, encrypted with what opened it.
func (rec *replyRecord) write(w http.ResponseWriter, o *options, codec *msgcrypt.Codec, in *push) {
	switch {
	case rec.Empty:
		writeText(w, http.StatusOK, "")
		return
	case rec.XML == "":
		writeText(w, http.StatusOK, "success")
		return
	}
	body := []byte(rec.XML)
	if !in.plain {
		timestamp := strconv.FormatInt(o.now().Unix(), 10)
		encrypt, signature := codec.Seal(in.used, body, timestamp, in.nonce)
		x := &replyWriter{}
		x.open("xml")
		x.text("Encrypt", encrypt)
		x.text("MsgSignature", signature)
		x.raw("TimeStamp", timestamp)
		x.text("Nonce", in.nonce)
		x.close("xml")
		body = x.buf.Bytes()
	}
	h := w.Header()
	h.Set("Content-Type", "application/xml; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(body) // WeChat has left, and will send the message again
}

// finish does what a reply left for after its answer.
func (h *MessageHandler) finish(ctx context.Context, a *Account, rec *replyRecord) {
	if err := rec.after(ctx); err != nil {
		a.c.logger.Error("wechatopen: after a message was answered", "account", a.appID, "error", err.Error())
	}
}
