package wechatopen

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"
)

// TicketHandler receives what WeChat pushes to the platform's event URL (授权事件接收URL): the verify ticket every ten
// minutes, and who authorizes the platform or no longer does. Mount it there; it does the rest:
//
//   - a ticket goes into the Store, unless a newer one is there;
//   - authorized and updateauthorized: the code is redeemed and the grant stored;
//   - unauthorized: everything of the account is removed.
//
// A push is answered "success" when that is done and OnEvent has returned nil, and 5xx otherwise, so that WeChat sends
// it again. A push that was answered before is answered again and not handled again. What is not encrypted and signed
// with the platform's key and token is refused with 4xx, and so is what was not sent now.
type TicketHandler struct {
	Platform *Platform // required

	// OnEvent is told of every push after the platform has dealt with it, also of kinds that this package does not know;
	// but not of an authorization, or the end of one, that came late and is no longer so. WeChat waits 5 seconds in all.
	// Nil: nobody is told.
	OnEvent func(ctx context.Context, e *Event) error

	// OnError answers in the handler's place; [HTTPStatus] says with what. Nil: the error is logged and the status
	// answered.
	OnError func(w http.ResponseWriter, r *http.Request, err error)

	// Window is how far a push's timestamp may be from the clock. Zero: ten minutes.
	Window time.Duration
}

// ServeHTTP answers a push.
func (h *TicketHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.Platform == nil {
		answerError(w, r, slog.Default(), h.OnError, "wechatopen: TicketHandler", errorf("TicketHandler.Platform is nil"))
		return
	}
	o := &h.Platform.c.options
	switch r.Method {
	case http.MethodGet:
		if err := verifyURL(w, r, h.Platform.codec, h.Window, o.now()); err != nil {
			answerError(w, r, o.logger, h.OnError, "wechatopen: push refused", err)
		}
	case http.MethodPost:
		returned := false
		defer func() {
			if !returned { // OnEvent panics: WeChat is told to send again, and net/http sees the panic
				writeText(w, http.StatusInternalServerError, http.StatusText(http.StatusInternalServerError)+"\n")
				_ = http.NewResponseController(w).Flush()
			}
		}()
		infoType, err := h.handle(w, r)
		returned = true
		if err != nil {
			answerError(w, r, o.logger, h.OnError, "wechatopen: push not handled", err)
		} else {
			answerPush(w, "success")
		}
		if o.trace.Push != nil {
			o.trace.Push(r.Context(), infoType, err)
		}
	default:
		w.Header().Set("Allow", "GET, POST")
		answerError(w, r, o.logger, h.OnError, "wechatopen: push refused", withStatus(http.StatusMethodNotAllowed, errorf("push: method %s", r.Method)))
	}
}

func (h *TicketHandler) handle(w http.ResponseWriter, r *http.Request) (infoType string, err error) {
	p := h.Platform
	q, err := readPushQuery(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	body := p.c.bodies.get()
	defer p.c.bodies.put(body)
	in, err := readPush(w, r, body, &q, p.codec, h.Window, p.c.recent())
	if err != nil {
		return "", err
	}
	e, ticket, err := parseEvent(in.msg)
	if err != nil {
		return "", withStatus(http.StatusBadRequest, errorf("push: decrypted content: %w", err))
	}
	switch {
	case e.InfoType == "":
		return "", withStatus(http.StatusBadRequest, errorf("push: no InfoType: a message of an account belongs to the message URL"))
	case e.AppID != p.creds.AppID:
		return e.InfoType, refuse("its content is for another appid")
	}
	if e.CreateTime.IsZero() || e.CreateTime.After(in.sent.Add(cmp.Or(h.Window, defaultPushWindow))) {
		e.CreateTime = in.sent // signed, and checked: a ticket from the future would keep all later ones out
	}
	if e.InfoType == InfoTicket && h.OnEvent == nil {
		_, err = p.apply(r.Context(), e, ticket) // twice is once: nobody is told, so there is nothing to remember
	} else {
		err = p.c.handleOnce(r.Context(), p.prefix, in.msg, h.Window, func(ctx context.Context) error {
			over, err := p.apply(ctx, e, ticket)
			if err != nil || over || h.OnEvent == nil {
				return err
			}
			if err := h.OnEvent(ctx, e); err != nil {
				return withStatus(http.StatusInternalServerError, errorf("OnEvent: %w", err))
			}
			return nil
		})
	}
	var se *statusError
	if err != nil && !errors.As(err, &se) {
		err = withStatus(http.StatusInternalServerError, err) // whatever the cause: WeChat is to send it again
	}
	return e.InfoType, err
}

// apply changes the Store as an event says. over is true for an authorization that came late and has been revoked since:
// it is no news.
func (p *Platform) apply(ctx context.Context, e *Event, ticket string) (over bool, err error) {
	switch e.InfoType {
	case InfoTicket:
		if ticket == "" {
			return false, withStatus(http.StatusBadRequest, errorf("push: a ticket push without a ticket"))
		}
		return false, p.saveTicket(ctx, ticket, e.CreateTime)
	case InfoAuthorized, InfoUpdateAuthorized, InfoUnauthorized:
		if !validAppID(e.AuthorizerAppID) {
			return false, withStatus(http.StatusBadRequest, errorf("push: %s without a usable AuthorizerAppid", e.InfoType))
		}
	default:
		return false, nil
	}
	if e.InfoType == InfoUnauthorized {
		return p.unauthorized(ctx, e.AuthorizerAppID, e.CreateTime)
	}
	if e.AuthorizationCode == "" {
		return false, withStatus(http.StatusBadRequest, errorf("push: %s without AuthorizationCode", e.InfoType))
	}
	_, err = p.redeem(ctx, e.AuthorizationCode, e.AuthorizerAppID, e.CreateTime)
	if errors.Is(err, ErrNotAuthorized) {
		p.c.logger.Info("wechatopen: an authorized push came late: the account has revoked it since", "account", e.AuthorizerAppID, "error", err.Error())
		return true, nil
	}
	return false, err
}
