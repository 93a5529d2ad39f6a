package wechattest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxPushAnswer bounds what is read of the answer to a push.
const maxPushAnswer = 1 << 20

// PushResult is how a push was answered, the last attempt of it.
type PushResult struct {
	Attempts int         // how often it was sent
	Status   int         // HTTP status; 0 if no answer came
	Body     string      // as sent, an encrypted reply too
	Header   http.Header // nil if no answer came
	Reply    string      // what an encrypted reply to a message holds, verified and opened; "" for "success"
}

// PushSpec makes a push that differs from what WeChat would send. Every zero field means the right value.
type PushSpec struct {
	URL            string
	XML            string // the message; "" an event that nobody knows
	Token          string
	EncodingAESKey string
	AppID          string // behind the message; of the component, or of an account of one's own
	Timestamp      string
	Nonce          string
	EncryptType    string // in the query; "raw" sends the XML as it is, without msg_signature
	MsgSignature   string
	ToUserName     string // in the envelope; a message has the original id of its account, an event none
	OpenID         string // in the query of messages

	Random       []byte  // the first 16 bytes of the plaintext
	Plaintext    []byte  // all of it, instead of Random, XML and AppID
	RawPlaintext bool    // Plaintext is encrypted without padding, and has to be whole blocks of 16
	Encrypt      *string // the text of the Encrypt element
	Body         []byte  // the whole body

	Query func(url.Values) // makes the last change of the query
}

// envelope is who a push is from and where it goes.
type envelope struct {
	url, token, aesKey, appID string
	toUserName                string
}

// NewPush makes one signed and encrypted push to the event URL of the component.
func (c *Component) NewPush(ctx context.Context, spec PushSpec) (*http.Request, error) {
	c.s.mu.Lock()
	e := envelope{url: c.eventURL, token: c.token, aesKey: c.aesKey, appID: c.appID}
	c.s.mu.Unlock()
	return c.s.newPush(ctx, e, spec)
}

// NewPush makes one signed and encrypted push to the message URL of an account of one's own.
func (a *Account) NewPush(ctx context.Context, spec PushSpec) (*http.Request, error) {
	a.s.mu.Lock()
	e := envelope{url: a.messageURL, token: a.token, aesKey: a.aesKey, appID: a.appID, toUserName: a.cfg.UserName}
	a.s.mu.Unlock()
	return a.s.newPush(ctx, e, spec)
}

// NewURLCheck makes the request with which WeChat checks a URL that is entered in the console: a GET whose echostr is
// to be answered as it is. url "": the account's message URL.
func (a *Account) NewURLCheck(ctx context.Context, url, echostr string) (*http.Request, error) {
	a.s.mu.Lock()
	target, token := or(url, a.messageURL), a.token
	a.s.mu.Unlock()
	return a.s.newURLCheck(ctx, target, token, echostr)
}

// NewURLCheck is that of [Account.NewURLCheck] for a component. WeChat does not document one. url "": the event URL.
func (c *Component) NewURLCheck(ctx context.Context, url, echostr string) (*http.Request, error) {
	c.s.mu.Lock()
	target, token := or(url, c.eventURL), c.token
	c.s.mu.Unlock()
	return c.s.newURLCheck(ctx, target, token, echostr)
}

func (s *Server) newURLCheck(ctx context.Context, target, token, echostr string) (*http.Request, error) {
	timestamp, nonce := strconv.FormatInt(s.Now().Unix(), 10), newNonce()
	query := "signature=" + sign(token, timestamp, nonce) + "&echostr=" + url.QueryEscape(echostr) +
		"&timestamp=" + timestamp + "&nonce=" + nonce
	return http.NewRequestWithContext(ctx, http.MethodGet, addQuery(target, query), nil)
}

func or(v, def string) string {
	if v == "" {
		return def
	}
	return v
}

func (s *Server) newPush(ctx context.Context, e envelope, p PushSpec) (*http.Request, error) {
	target, err := url.Parse(or(p.URL, e.url))
	if err != nil || target.Host == "" {
		return nil, errors.New("wechattest: push: no URL to push to")
	}
	appID, token := or(p.AppID, e.appID), or(p.Token, e.token)
	timestamp := or(p.Timestamp, strconv.FormatInt(s.Now().Unix(), 10))
	nonce := or(p.Nonce, newNonce())
	message := or(p.XML, `<xml><AppId>`+cdata(appID)+`</AppId><InfoType>`+cdata("wechattest_unknown")+`</InfoType></xml>`)

	query := "signature=" + sign(token, timestamp, nonce) + "&timestamp=" + url.QueryEscape(timestamp) +
		"&nonce=" + url.QueryEscape(nonce)
	if p.OpenID != "" {
		query += "&openid=" + url.QueryEscape(p.OpenID)
	}
	body := []byte(message)
	if p.EncryptType == "raw" {
		query += "&encrypt_type=raw"
	} else {
		encrypted, err := p.encrypted(or(p.EncodingAESKey, e.aesKey), message, appID)
		if err != nil {
			return nil, err
		}
		outer := "<AppId>" + cdata(appID) + "</AppId>"
		if to := or(p.ToUserName, e.toUserName); to != "" {
			outer = "<ToUserName>" + cdata(to) + "</ToUserName>"
		}
		body = []byte("<xml>\n    " + outer + "\n    <Encrypt>" + cdata(encrypted) + "</Encrypt>\n</xml>\n")
		query += "&encrypt_type=" + url.QueryEscape(or(p.EncryptType, "aes")) +
			"&msg_signature=" + url.QueryEscape(or(p.MsgSignature, sign(token, timestamp, nonce, encrypted)))
	}
	if p.Body != nil {
		body = p.Body
	}
	if target.RawQuery != "" {
		query = target.RawQuery + "&" + query
	}
	target.RawQuery = query
	if p.Query != nil {
		q := target.Query()
		p.Query(q)
		target.RawQuery = q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("wechattest: push: %w", err)
	}
	req.Header.Set("Content-Type", "text/xml")
	req.Header.Set("User-Agent", "Mozilla/4.0")
	return req, nil
}

func (p PushSpec) encrypted(aesKey, message, appID string) (string, error) {
	if p.Encrypt != nil {
		return *p.Encrypt, nil
	}
	plain := p.Plaintext
	if plain == nil {
		random := p.Random
		if random == nil {
			random = make([]byte, 16)
			rand.Read(random)
		}
		plain = frame(random, []byte(message), appID)
	}
	if p.Plaintext == nil || !p.RawPlaintext {
		plain = pad(plain)
	}
	return encryptRaw(aesKey, plain)
}

// newNonce is a number in decimal, as WeChat's are.
func newNonce() string {
	var b [4]byte
	rand.Read(b[:])
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(b[:])), 10)
}

// Push encrypts xml and pushes it to the event URL until it is answered "success", each time under a new timestamp and
// nonce, at most Config.PushAttempts times. The result is that of the last attempt; err says why it was no success.
func (c *Component) Push(ctx context.Context, xml string) (*PushResult, error) {
	return c.s.deliver(ctx, func(ctx context.Context) (*http.Request, error) {
		return c.NewPush(ctx, PushSpec{XML: xml})
	}, func(r *PushResult) error {
		if r.Body != "success" {
			return fmt.Errorf("answered %.80q instead of success", r.Body)
		}
		return nil
	})
}

// PushMessage encrypts xml, a message or event of a's users, and pushes it to the message URL of the component until it
// is answered. Good answers are "success", nothing, and a reply that is rightly encrypted and signed.
func (c *Component) PushMessage(ctx context.Context, a *Account, xml string) (*PushResult, error) {
	c.s.mu.Lock()
	target := strings.ReplaceAll(c.messageURL, "$APPID$", a.appID)
	c.s.mu.Unlock()
	if target == "" {
		return nil, errors.New("wechattest: push: the component has no message URL")
	}
	from, shownTo := fromUser(xml), a.heard(xml)
	r, err := c.s.deliver(ctx, func(ctx context.Context) (*http.Request, error) {
		return c.NewPush(ctx, PushSpec{URL: target, XML: xml, ToUserName: a.cfg.UserName, OpenID: from})
	}, func(r *PushResult) (err error) {
		r.Reply, err = replyTo(r.Body, c.OpenReply)
		return err
	})
	a.answered(shownTo, r, err)
	return r, err
}

// PushMessage is that of [Component.PushMessage] for an account of one's own and its message URL. In plain mode xml is
// pushed as it is, and the reply is to be plain as well.
func (a *Account) PushMessage(ctx context.Context, xml string) (*PushResult, error) {
	spec, open := PushSpec{XML: xml, OpenID: fromUser(xml)}, a.OpenReply
	if a.cfg.PlainMode {
		spec.EncryptType, open = "raw", plainReply
	}
	shownTo := a.heard(xml)
	r, err := a.s.deliver(ctx, func(ctx context.Context) (*http.Request, error) {
		return a.NewPush(ctx, spec)
	}, func(r *PushResult) (err error) {
		r.Reply, err = replyTo(r.Body, open)
		return err
	})
	a.answered(shownTo, r, err)
	return r, err
}

// plainReply checks a reply in plain mode: it is XML with a MsgType, which an encrypted one does not show.
func plainReply(body string) (string, error) {
	var r struct {
		XMLName xml.Name `xml:"xml"`
		MsgType string
	}
	if err := xml.Unmarshal([]byte(body), &r); err != nil {
		return "", fmt.Errorf("wechattest: reply is not XML: %w", err)
	}
	if r.MsgType == "" {
		return "", errors.New("wechattest: reply has no MsgType, or is encrypted")
	}
	return body, nil
}

func replyTo(body string, open func(string) (string, error)) (string, error) {
	if body == "" || body == "success" {
		return "", nil
	}
	return open(body)
}

func fromUser(message string) string {
	var m struct{ FromUserName string }
	if xml.Unmarshal([]byte(message), &m) != nil {
		return ""
	}
	return m.FromUserName
}

// deliver sends what make makes until good returns nil for the answer.
func (s *Server) deliver(ctx context.Context, make func(context.Context) (*http.Request, error), good func(*PushResult) error) (*PushResult, error) {
	if !s.begin() {
		return nil, errors.New("wechattest: push: the server is closed")
	}
	defer s.running.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	var result PushResult
	for n := 1; ; n++ {
		err := s.attempt(ctx, make, &result)
		result.Attempts = n
		if err == nil && result.Status != http.StatusOK {
			err = fmt.Errorf("answered HTTP status %d", result.Status)
		}
		if err == nil {
			err = good(&result)
		}
		if err == nil {
			return &result, nil
		}
		s.cfg.Logf("wechattest: push, attempt %d: %v", n, err)
		if n == s.cfg.PushAttempts || ctx.Err() != nil {
			if !strings.HasPrefix(err.Error(), "wechattest:") {
				err = fmt.Errorf("wechattest: push: %w", err)
			}
			return &result, err
		}
	}
}

func (s *Server) attempt(ctx context.Context, make func(context.Context) (*http.Request, error), result *PushResult) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.PushTimeout)
	defer cancel()
	*result = PushResult{}
	req, err := make(ctx)
	if err != nil {
		return err
	}
	resp, err := s.pusher.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPushAnswer))
	result.Status, result.Header, result.Body = resp.StatusCode, resp.Header, string(body)
	return err
}
