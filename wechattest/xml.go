package wechattest

import (
	"fmt"
	"strings"
	"time"
)

// cdata wraps s so that XML carries it as it is.
func cdata(s string) string {
	return "<![CDATA[" + strings.ReplaceAll(s, "]]>", "]]]]><![CDATA[>") + "]]>"
}

func (c *Component) eventXML(infoType string, at time.Time, rest string) string {
	return fmt.Sprintf("<xml><AppId>%s</AppId>\n<CreateTime>%d</CreateTime>\n<InfoType>%s</InfoType>\n%s</xml>",
		cdata(c.appID), at.Unix(), cdata(infoType), rest)
}

// TicketXML is a component_verify_ticket event.
func (c *Component) TicketXML(ticket string, at time.Time) string {
	return c.eventXML("component_verify_ticket", at,
		"<ComponentVerifyTicket>"+cdata(ticket)+"</ComponentVerifyTicket>\n")
}

// AuthorizedXML is an event of infoType "authorized" or "updateauthorized". The code ends an hour after at.
func (c *Component) AuthorizedXML(infoType string, a *Account, code, preAuthCode string, at time.Time) string {
	return c.eventXML(infoType, at, fmt.Sprintf("<AuthorizerAppid>%s</AuthorizerAppid>\n"+
		"<AuthorizationCode>%s</AuthorizationCode>\n<AuthorizationCodeExpiredTime>%d</AuthorizationCodeExpiredTime>\n"+
		"<PreAuthCode>%s</PreAuthCode>\n",
		cdata(a.appID), cdata(code), at.Add(authCodeLife).Unix(), cdata(preAuthCode)))
}

// UnauthorizedXML is an `unauthorized` event.
func (c *Component) UnauthorizedXML(a *Account, at time.Time) string {
	return c.eventXML("unauthorized", at, "<AuthorizerAppid>"+cdata(a.appID)+"</AuthorizerAppid>\n")
}

// MessageXML is a message of msgType from openID to the account. rest is the XML of its own elements; msgID 0 leaves
// MsgId out, as events do.
func (a *Account) MessageXML(openID, msgType string, msgID int64, at time.Time, rest string) string {
	if msgID != 0 {
		rest += fmt.Sprintf("<MsgId>%d</MsgId>\n", msgID)
	}
	return fmt.Sprintf("<xml><ToUserName>%s</ToUserName>\n<FromUserName>%s</FromUserName>\n<CreateTime>%d</CreateTime>\n"+
		"<MsgType>%s</MsgType>\n%s</xml>", cdata(a.cfg.UserName), cdata(openID), at.Unix(), cdata(msgType), rest)
}

// TextXML is a text message from openID to the account.
func (a *Account) TextXML(openID, content string, msgID int64, at time.Time) string {
	return a.MessageXML(openID, "text", msgID, at, "<Content>"+cdata(content)+"</Content>\n")
}

// EventXML is an event, such as "subscribe", of a user of the account. key may be empty.
func (a *Account) EventXML(openID, event, key string, at time.Time) string {
	return a.MessageXML(openID, "event", 0, at,
		"<Event>"+cdata(event)+"</Event>\n<EventKey>"+cdata(key)+"</EventKey>\n")
}
