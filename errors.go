package wechatopen

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Errors that a caller can act on. Test for them with [errors.Is]: what is returned wraps them with detail.
var (
	// ErrNotFound is what a [Store] returns from Get for a key that it does not hold.
	ErrNotFound = errors.New("wechatopen: not found")

	// ErrNoTicket means that WeChat has not pushed a usable component_verify_ticket, without which a platform can do
	// nothing. It comes every ten minutes to the event URL of the platform once that has been approved.
	ErrNoTicket = errors.New("wechatopen: no component_verify_ticket yet: WeChat pushes one every 10 minutes; " +
		"see that TicketHandler is mounted at the platform's event URL, and call Platform.StartPushTicket if none comes")

	// ErrNotAuthorized means that the account does not authorize the platform, no longer does, or grants it no API.
	// Only the account's administrator can mend it, on the page that [AuthorizeHandler] serves.
	ErrNotAuthorized = errors.New("wechatopen: account does not authorize this platform")

	// ErrSignature means that a push was not signed by WeChat with the token at hand, or was not encrypted for us.
	ErrSignature = errors.New("wechatopen: push refused")

	// ErrState means that a browser came back from WeChat with a flow that it did not start, or that is used or over.
	ErrState = errors.New("wechatopen: login or authorization was not started by this browser, or is over")

	// ErrDenied means that the visitor refused, or WeChat granted less than was asked for.
	ErrDenied = errors.New("wechatopen: login denied")

	// ErrSnapshotUser means that the visitor sees a snapshot of the page (is_snapshotuser) and has no real openid.
	// The page comes alive, and the login works, when the visitor taps "use full service" (使用完整服务).
	ErrSnapshotUser = errors.New("wechatopen: snapshot page: its visitor is not a real user")

	// ErrLoginLoop means that a browser was sent to WeChat three times and came back each time without the cookie it
	// was given: it keeps no cookies, or BaseURL is not the address under which it sees the site.
	ErrLoginLoop = errors.New("wechatopen: login does not end: the browser keeps no cookies, or BaseURL is not the site's address")
)

// APIError is WeChat's refusal of a call: an answer with an errcode other than 0.
type APIError struct {
	Op   string // path of the call, without the query: "/cgi-bin/component/api_query_auth"
	Code int    // errcode
	Msg  string // errmsg without the request id; at most 256 bytes
	RID  string // WeChat's id of the request, to ask /cgi-bin/openapi/rid/get about; may be empty
}

// Error names the call, the code, the message and the request.
func (e *APIError) Error() string {
	s := fmt.Sprintf("wechatopen: %s: errcode %d: %s", e.Op, e.Code, e.Msg)
	if e.RID != "" {
		s += " (rid " + e.RID + ")"
	}
	return s
}

// Error codes of WeChat that decide what is done next. Source: the errcode table of the Open Platform documentation.
const (
	codeInvalidCredential   = 40001 // token wrong or not the latest; from a token call: secret wrong
	codeInvalidToken        = 40014
	codeTokenExpired        = 42001
	codeCompTokenExpired    = 42006
	codeInvalidAppID        = 40013
	codeInvalidSecret       = 40125
	codeInvalidCode         = 40029
	codeUsedCode            = 40163
	codeExpiredCode         = 42003
	codeNotInWhitelist      = 40164
	codeNotInWhitelistOld   = 45035
	codeClientIP            = 61004
	codeDailyQuota          = 45009
	codeMinuteQuota         = 45011
	codeNotAuthorizedToComp = 61003
	codeTicketExpired       = 61005
	codeTicketInvalid       = 61006
	codeAuthCodeInvalid     = 61009
	codeAuthCodeExpired     = 61010
	codeInvalidComponent    = 61011
	codeRefreshTokenInvalid = 61023
)

// hasCode reports whether err is WeChat's refusal with one of the codes.
func hasCode(err error, codes ...int) bool {
	var api *APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, c := range codes {
		if api.Code == c {
			return true
		}
	}
	return false
}

// errorf is fmt.Errorf with the package's prefix, once, however often errors wrap each other.
func errorf(format string, args ...any) error {
	return &prefixedError{fmt.Errorf(format, args...)}
}

type prefixedError struct{ err error }

const errorPrefix = "wechatopen: "

func (e *prefixedError) Error() string {
	return errorPrefix + strings.ReplaceAll(e.err.Error(), errorPrefix, "")
}
func (e *prefixedError) Unwrap() error { return e.err }

// redact takes the URL, and with it every token and secret in its query, out of an error of net/http. Transports of
// other packages quote the URL in texts of their own, so what the query holds is taken out of the text too.
func redact(err error, query url.Values) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	text := err.Error()
	clean := text
	for _, values := range query {
		for _, v := range values {
			if len(v) >= minSecret {
				clean = strings.ReplaceAll(clean, v, "…")
				clean = strings.ReplaceAll(clean, url.QueryEscape(v), "…")
			}
		}
	}
	if clean == text {
		return err
	}
	return &redactedError{clean, err}
}

// minSecret is shorter than any secret of WeChat, and longer than the values that make an error readable.
const minSecret = 12

type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string        { return e.text }
func (e *redactedError) Is(target error) bool { return errors.Is(e.err, target) }

// statusError pairs what a client may see, a status, with why it failed, which only the log and OnError learn.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

func withStatus(status int, err error) error { return &statusError{status, err} }

// HTTPStatus is the status with which the handlers of this package answer err when they have no OnError:
// 4xx where the request is at fault, 5xx where it should be sent again or an operator has to look.
func HTTPStatus(err error) int {
	var se *statusError
	switch {
	case errors.As(err, &se):
		return se.status
	case errors.Is(err, ErrSignature), errors.Is(err, ErrState), errors.Is(err, ErrDenied),
		errors.Is(err, ErrSnapshotUser), errors.Is(err, ErrLoginLoop), errors.Is(err, ErrNotAuthorized):
		return http.StatusForbidden
	case errors.Is(err, ErrNoTicket):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
