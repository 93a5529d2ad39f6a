package wechattest

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"time"
)

// customText is a text sent by message/custom/send.
type customText struct{ to, content string }

// customSendTime is how long WeChat waits for the customer-service message of a release test, in real time.
const customSendTime = 5 * time.Second

// releaseTestAccounts are the appids and original ids of the account groups of the whole-network release test.
func releaseTestAccounts(group int) (official, mini [2]string, ok bool) {
	groups := [...][2][2]string{
		{{"wx570bc396a51b8ff8", "gh_3c884a361561"}, {"wxd101a85aa106f53e", "gh_8dad206e9538"}},
		{{"wx9252c5e0bb1836fc", "gh_c0f28a78b318"}, {"wxc39235c15087f6f3", "gh_905ae9d01059"}},
		{{"wx8e1097c5bc82cde9", "gh_3f222ed8d140"}, {"wx7720d01d4b2a4500", "gh_393666f1fdf4"}},
		{{"wx14550af28c71a144", "gh_26128078e9ab"}, {"wx05d483572dcd5d8b", "gh_39abb5d4e1b7"}},
		{{"wxa35b9c23cfe664eb", "gh_2b3713f184a6"}, {"wx5910277cae6fd970", "gh_7818dcb60240"}},
	}
	if group < 1 || group > len(groups) {
		return official, mini, false
	}
	return groups[group-1][0], groups[group-1][1], true
}

// ReleaseTest runs the whole-network release test with one of its five account groups, which WeChat chooses at random:
// a ticket, the text and the customer-service check with the official account, the customer-service check with the mini
// program. The accounts are added and authorized, and their `authorized` events pushed with the very codes that the
// checks use. The error joins those of all the checks that failed; nil: the platform may be released. It needs an event
// URL and a message URL, and should not run twice at the same time.
func (c *Component) ReleaseTest(ctx context.Context, group int) error {
	official, mini, ok := releaseTestAccounts(group)
	if !ok {
		return fmt.Errorf("wechattest: release test: there is no group %d, only 1 to 5", group)
	}
	oa := c.s.testAccount(official, false)
	mp := c.s.testAccount(mini, true)
	_, ticketErr := c.PushTicket(ctx)
	return errors.Join(
		check("component_verify_ticket", ticketErr),
		check("text message", c.releaseText(ctx, oa)),
		check("customer service of the official account", c.releaseCustom(ctx, oa)),
		check("customer service of the mini program", c.releaseCustom(ctx, mp)),
	)
}

func check(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("wechattest: release test: %s: %w", name, err)
}

func (s *Server) testAccount(ids [2]string, mini bool) *Account {
	if a := s.Account(ids[0]); a != nil {
		return a
	}
	return s.AddAccount(AccountConfig{AppID: ids[0], UserName: ids[1], MiniProgram: mini})
}

// releaseText expects the passive reply TESTCOMPONENT_MSG_TYPE_TEXT_callback.
func (c *Component) releaseText(ctx context.Context, a *Account) error {
	from := "o" + randomURLSafe(27)
	res, err := c.PushMessage(ctx, a, a.TextXML(from, "TESTCOMPONENT_MSG_TYPE_TEXT", newMsgID(), c.s.Now()))
	if err != nil {
		return err
	}
	var r struct{ ToUserName, FromUserName, MsgType, Content string }
	if err := xml.Unmarshal([]byte(res.Reply), &r); err != nil {
		return fmt.Errorf("no XML reply to the text: %w", err)
	}
	if r.ToUserName != from || r.FromUserName != a.cfg.UserName || r.MsgType != "text" ||
		r.Content != "TESTCOMPONENT_MSG_TYPE_TEXT_callback" {
		return fmt.Errorf("wrong reply %.300q", res.Reply)
	}
	return nil
}

// releaseCustom expects no passive reply, and a customer-service message that took the code of the message to make.
func (c *Component) releaseCustom(ctx context.Context, a *Account) error {
	sent := make(chan customText, 1)
	c.s.mu.Lock()
	a.sent = sent
	c.s.mu.Unlock()
	defer func() {
		c.s.mu.Lock()
		a.sent = nil
		c.s.mu.Unlock()
	}()
	code, err := c.Authorize(ctx, a)
	if err != nil {
		return err
	}
	from := "o" + randomURLSafe(27)
	res, err := c.PushMessage(ctx, a, a.TextXML(from, "QUERY_AUTH_CODE:"+code, newMsgID(), c.s.Now()))
	if err != nil {
		return err
	}
	if res.Reply != "" {
		return fmt.Errorf("a passive reply where none is wanted: %.300q", res.Reply)
	}
	timeout := time.NewTimer(customSendTime)
	defer timeout.Stop()
	select {
	case got := <-sent:
		if want := (customText{from, code + "_from_api"}); got != want {
			return fmt.Errorf("wrong customer-service message: to %q, text %.120q", got.to, got.content)
		}
		return nil
	case <-timeout.C:
		return errors.New("no customer-service message within 5 s")
	case <-ctx.Done():
		return ctx.Err()
	case <-c.s.ctx.Done():
		return errors.New("the server is closed")
	}
}
