package wechatopen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
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
	// message, as [Account.Send] does; WeChat's documentation wants a cover of a video then, which [CustomVideo] has. Nil:
	// it is logged and dropped.
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
		if err := verifyURL(w, r, codec, h.Window, o.recent()); err != nil {
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

func (h *MessageHandler) replyTime() time.Duration { return cmp.Or(h.ReplyTime, defaultReplyTime) }
func (h *MessageHandler) workTime() time.Duration  { return cmp.Or(h.WorkTime, defaultWorkTime) }

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
	q, err := readPushQuery(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	body := o.bodies.get()
	defer o.bodies.put(body)
	var in push
	if h.Plain && q.msgSignature.times == 0 {
		in, err = readPlainPush(w, r, body, &q, codec, h.Window, o.recent())
	} else {
		in, err = readPush(w, r, body, &q, codec, h.Window, o.recent())
	}
	if err != nil {
		return "", err
	}
	a, known, err := h.account(r)
	if err != nil {
		return "", err
	}
	m, err := parseMessage(a.appID, in.msg)
	if err != nil {
		return "", withStatus(http.StatusBadRequest, errorf("message: decrypted content: %w", err))
	}
	if o.trace.Push != nil {
		kind = m.kind()
	}
	switch {
	case m.MsgType == "" || m.FromUserName == "" || m.ToUserName == "":
		return kind, withStatus(http.StatusBadRequest, errorf("message: no MsgType, FromUserName or ToUserName: an event of the platform belongs to the event URL"))
	case len(in.to) > 0 && string(in.to) != m.ToUserName:
		return kind, refuse("its envelope names another account than its content")
	}
	if err := a.checkOriginalID(r.Context(), m.ToUserName); err != nil {
		return kind, err
	}
	if !known {
		a = a.platform.share(a)
	}
	out := h.reply(r.Context(), a, m)
	if out.err != nil {
		return kind, out.err
	}
	out.rec.write(w, o, codec, &in, body)
	if out.after != nil {
		_ = http.NewResponseController(w).Flush() // WeChat has its answer before anything else happens
		work, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), h.workTime())
		defer cancel()
		out.then(work, a)
	}
	return kind, nil
}

// account is whose message it is by the path. A push is signed, but its path is not. One that is not known yet is shared
// when it is known to authorize the platform.
func (h *MessageHandler) account(r *http.Request) (a *Account, known bool, err error) {
	if h.Account != nil {
		return h.Account, true, nil
	}
	appID := ""
	if h.AppID != nil {
		appID = h.AppID(r)
	} else {
		appID = r.PathValue("appid")
	}
	if a, known := h.Platform.accounts.Load(appID); known {
		return a.(*Account), true, nil
	}
	if !validAppID(appID) {
		return nil, false, withStatus(http.StatusNotFound, errorf("message: the path names no account: mount the handler at /…/{appid} and give WeChat /…/$APPID$"))
	}
	return newAuthorizer(h.Platform, appID), false, nil
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
		a.userName.Store(&id)
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

// replyRecord is the reply to a message, in the Store for the copies of it that WeChat sends: a version, how it is
// answered, and the XML in the clear if it is answered with one.
type replyRecord []byte

const (
	replySuccess = "1s"
	replyEmpty   = "1e" // no body at all
	replyXML     = "1x"
)

func (rec replyRecord) readable() bool {
	return string(rec) == replySuccess || string(rec) == replyEmpty || len(rec) > len(replyXML) && string(rec[:len(replyXML)]) == replyXML
}

// outcome is what came of handling a message.
type outcome struct {
	rec   replyRecord
	reply Reply                       // of this handling; nil for a copy of a message that was handled before
	after func(context.Context) error // to do when the answer is sent, the first time
	err   error
}

// handling is a message on its way: a race between Handle and the time for which WeChat waits. Who waits for it goes on
// with its outcome if Handle wins; else the goroutine of Handle itself does.
type handling struct {
	h *MessageHandler
	a *Account
	m *Message

	key     string      // of what is remembered
	ctx     workContext // of all that is done
	unlock  func()      // nil: the lock was not gained
	handled bool        // now, not before
	out     outcome

	watched
	winner atomic.Int32 // 0: nobody yet
	over   sync.WaitGroup
}

const (
	inTime int32 = 1 + iota
	late
)

// win reports whether the race is over by this call.
func (x *handling) win(as int32) bool {
	first := x.winner.CompareAndSwap(0, as)
	if first {
		x.over.Done()
	}
	return first
}

// reply is the reply to m, or one that says "success" when it takes too long. The work then goes on without WeChat.
func (h *MessageHandler) reply(ctx context.Context, a *Account, m *Message) outcome {
	x := &handling{h: h, a: a, m: m, key: messageKey(a, m)}
	x.over.Add(1)
	now, replies := time.Now(), a.c.replies
	x.ctx.Context, x.ctx.deadline = context.WithoutCancel(ctx), now.Add(h.workTime())
	replies.start(&x.watched, x, now, h.replyTime())
	defer replies.stop(&x.watched)
	if h.workTime() <= h.replyTime() {
		x.ctx.expireAfter(h.workTime())
	}
	go x.work()
	x.over.Wait()
	if x.winner.Load() == late {
		return outcome{rec: replyRecord(replySuccess)}
	}
	x.finish()
	return x.out
}

// tooSlow has WeChat answered without a reply.
func (x *handling) tooSlow() {
	x.win(late)
	x.ctx.expireAfter(x.h.workTime() - x.h.replyTime())
}

// work handles the message, and if nobody waits for that any more, all the rest.
func (x *handling) work() {
	returned := false
	defer func() {
		if !returned { // by runtime.Goexit, as a test's FailNow does
			x.out.err = withStatus(http.StatusInternalServerError, errorf("Handle ends its goroutine"))
		}
		if x.win(inTime) {
			return
		}
		x.finish()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(&x.ctx), x.h.workTime())
		defer cancel()
		x.tooLate(ctx)
	}()
	x.once()
	returned = true
}

// once handles the message unless it has been handled; then its reply is that of the first time. Copies that come at the
// same time wait for the first.
func (x *handling) once() {
	held, unlock, err := x.a.c.lock(&x.ctx, x.key)
	if err != nil {
		x.out.err = err
		return
	}
	x.unlock = unlock
	rec, found, err := getValue(held, x.a.c.store, x.key)
	switch {
	case err != nil:
		x.out.err = err
	case found && !replyRecord(rec).readable():
		x.out.err = unreadable(x.key)
	case found:
		x.out.rec = rec
	default:
		x.out.reply, err = x.h.call(held, x.m)
		if err != nil {
			x.out.err = withStatus(http.StatusInternalServerError, err)
		}
		x.handled = err == nil
	}
}

// finish remembers the reply for copies of the message, which wait until it returns. What OnLate sends is not remembered.
func (x *handling) finish() {
	defer x.ctx.end(context.Canceled)
	if x.unlock == nil {
		return
	}
	defer x.unlock()
	if !x.handled {
		return
	}
	switch reply := x.out.reply.(type) {
	case emptyReply:
		x.out.rec, x.out.after = replyRecord(replyEmpty), reply.after
	case nil:
		x.out.rec = replyRecord(replySuccess)
	default:
		if x.winner.Load() == late && x.h.OnLate != nil {
			x.out.rec = replyRecord(replySuccess)
		} else {
			x.out.rec = appendReply(append(make([]byte, 0, 384), replyXML...), x.m, reply, x.a.c.recent())
		}
	}
	// Not with the lock's context: what was handled is remembered even if the lock was lost.
	var ctx context.Context = &x.ctx
	if x.winner.Load() == late || x.h.workTime()-x.h.replyTime() < rememberTime {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), rememberTime)
		defer cancel()
	}
	if err := setValue(ctx, x.a.c.store, x.key, x.out.rec, rememberFor(x.h.Window)); err != nil {
		// It has been handled: to have WeChat send it again would handle it twice for certain.
		x.a.c.logger.Error("wechatopen: a handled message could not be remembered; a copy of it will be handled again", "message", *x.m, "error", err.Error())
	}
}

// tooLate deals with what came of a message after WeChat was answered.
func (x *handling) tooLate(ctx context.Context) {
	log := x.a.c.logger
	switch out := x.out; {
	case out.err != nil:
		log.Error("wechatopen: message handled too late, with an error", "message", *x.m, "error", out.err.Error())
	case out.reply == nil:
	case out.after != nil:
		out.then(ctx, x.a)
	case x.h.OnLate != nil:
		defer func() {
			if v := recover(); v != nil {
				log.Error("wechatopen: OnLate panics", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			}
		}()
		x.h.OnLate(ctx, x.m, out.reply)
	default:
		log.Warn("wechatopen: a reply came after WeChat stopped waiting and is dropped; set OnLate to send it", "message", *x.m)
	}
}

// messageKey tells a message from others to its account: by MsgId, or, for events, which have none, by all that they
// say, sender and time included. WeChat sends the same content again.
func messageKey(a *Account, m *Message) string {
	if m.MsgID != 0 {
		return a.prefix + "message:" + strconv.FormatInt(m.MsgID, 10)
	}
	return hashKey(a.prefix, "message:", m.Raw)
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

// write answers a push with a reply, encrypted with what opened it, in the memory that its body was read into.
func (rec replyRecord) write(w http.ResponseWriter, o *options, codec *msgcrypt.Codec, in *push, body *pushBody) {
	switch string(rec) {
	case replyEmpty:
		writeText(w, http.StatusOK, "")
		return
	case replySuccess:
		answerPush(w, "success")
		return
	}
	xml := []byte(rec[len(replyXML):])
	if !in.plain {
		timestamp := strconv.FormatInt(o.recent().Unix(), 10)
		body.Reset()
		body.Grow(4*len(xml) + 512)
		x := &replyWriter{buf: body.AvailableBuffer()}
		x.open("xml")
		x.write("<Encrypt><![CDATA[")
		var signature string
		x.buf, signature = codec.Seal(x.buf, in.used, xml, timestamp, in.nonce)
		x.write("]]></Encrypt>")
		x.text("MsgSignature", signature)
		x.raw("TimeStamp", timestamp)
		x.text("Nonce", in.nonce)
		x.close("xml")
		xml = x.buf
	}
	h, v := w.Header(), []string{"application/xml; charset=utf-8", "nosniff"}
	h["Content-Type"], h["X-Content-Type-Options"] = v[0:1:1], v[1:2:2]
	_, _ = w.Write(xml) // WeChat has left, and will send the message again
}

// then does what a reply left for after its answer.
func (out outcome) then(ctx context.Context, a *Account) {
	if err := out.after(ctx); err != nil {
		a.c.logger.Error("wechatopen: after a message was answered", "account", a.appID, "error", err.Error())
	}
}
