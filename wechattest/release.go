package wechattest

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

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

// ReleaseReport is the outcome of the whole-network release test (全网发布检测).
type ReleaseReport struct {
	AppID  string // of the component
	Group  int
	Checks []ReleaseCheck // in the order in which they were made
}

// ReleaseCheck is one check of the release test.
type ReleaseCheck struct {
	Name, NameZH string
	Account      string        // appid of the test account; "" of the component
	Err          error         // why it failed; nil: passed
	Took         time.Duration // real time
	Optional     bool          // of an older version of the test: it is reported, and fails nothing
}

// Err joins the errors of the checks that failed; nil: the platform may be released.
func (r *ReleaseReport) Err() error {
	var errs []error
	for _, c := range r.Checks {
		if c.Err != nil && !c.Optional {
			errs = append(errs, fmt.Errorf("wechattest: release test: %s: %w", c.Name, c.Err))
		}
	}
	return errors.Join(errs...)
}

// String is the report for people, in English and Chinese.
func (r *ReleaseReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "全网发布检测 Release test of %s, group %d\n", r.AppID, r.Group)
	passed, needed := 0, 0
	for _, c := range r.Checks {
		mark := "通过 PASS"
		switch {
		case c.Err != nil && c.Optional:
			mark = "未过 no  "
		case c.Err != nil:
			mark = "失败 FAIL"
		}
		fmt.Fprintf(&b, "%s  %s %s", mark, c.NameZH, c.Name)
		if c.Account != "" {
			fmt.Fprintf(&b, " (%s)", c.Account)
		}
		if c.Optional {
			b.WriteString(" [可选 optional]")
		}
		fmt.Fprintf(&b, " %v\n", c.Took.Round(time.Millisecond))
		if c.Err != nil {
			fmt.Fprintf(&b, "           %s\n", strings.ReplaceAll(strings.TrimPrefix(c.Err.Error(), "wechattest: "), "\n", "\n           "))
		}
		if !c.Optional {
			needed++
			if c.Err == nil {
				passed++
			}
		}
	}
	result := "可以发布 ready for release"
	if r.Err() != nil {
		result = "不可发布 not ready for release"
	}
	fmt.Fprintf(&b, "%d/%d: %s\n", passed, needed, result)
	return b.String()
}

// WriteTo writes String to w.
func (r *ReleaseReport) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, r.String())
	return int64(n), err
}

// ReleaseTest is the error of [Component.ReleaseReport].
func (c *Component) ReleaseTest(ctx context.Context, group int) error {
	return c.ReleaseReport(ctx, group).Err()
}

// ReleaseReport runs the whole-network release test with one of its five account groups, which WeChat chooses at random:
// a ticket, the text and the customer-service check with the official account, the customer-service check with the mini
// program, and, as an older version of the test did, an event. The accounts are added and authorized, and their
// `authorized` events pushed with the very codes that the checks use. It needs an event URL and a message URL, and
// should not run twice at the same time.
func (c *Component) ReleaseReport(ctx context.Context, group int) *ReleaseReport {
	r := &ReleaseReport{AppID: c.appID, Group: group}
	official, mini, ok := releaseTestAccounts(group)
	if !ok {
		r.Checks = []ReleaseCheck{{Name: "group", NameZH: "测试帐号组", Err: fmt.Errorf("there is no group %d, only 1 to 5", group)}}
		return r
	}
	oa := c.s.testAccount(official, false)
	mp := c.s.testAccount(mini, true)
	check := func(zh, en string, a *Account, optional bool, run func(context.Context, *Account) error) {
		k := ReleaseCheck{Name: en, NameZH: zh, Optional: optional}
		if a != nil {
			k.Account = a.appID
		}
		start := time.Now()
		k.Err = run(ctx, a)
		k.Took = time.Since(start)
		r.Checks = append(r.Checks, k)
	}
	check("推送 ticket", "component_verify_ticket", nil, false, c.releaseTicket)
	check("公众号文本消息", "text message", oa, false, c.releaseText)
	check("公众号客服消息", "customer service of the official account", oa, false, c.releaseCustom)
	check("小程序客服消息", "customer service of the mini program", mp, false, c.releaseCustom)
	check("公众号事件", "event", oa, true, c.releaseEvent)
	return r
}

func (s *Server) testAccount(ids [2]string, mini bool) *Account {
	if a := s.Account(ids[0]); a != nil {
		return a
	}
	return s.AddAccount(AccountConfig{AppID: ids[0], UserName: ids[1], MiniProgram: mini})
}

func (c *Component) releaseTicket(ctx context.Context, _ *Account) error {
	_, err := c.PushTicket(ctx)
	return err
}

// releaseText expects the passive reply TESTCOMPONENT_MSG_TYPE_TEXT_callback.
func (c *Component) releaseText(ctx context.Context, a *Account) error {
	const text = "TESTCOMPONENT_MSG_TYPE_TEXT"
	from := "o" + randomURLSafe(27)
	return c.releaseReply(ctx, a, from, a.TextXML(from, text, newMsgID(), c.s.Now()), text+"_callback")
}

// releaseEvent expects the passive reply LOCATIONfrom_callback.
func (c *Component) releaseEvent(ctx context.Context, a *Account) error {
	from := "o" + randomURLSafe(27)
	return c.releaseReply(ctx, a, from, a.MessageXML(from, "event", 0, c.s.Now(), "<Event>"+cdata("LOCATION")+
		"</Event>\n<Latitude>23.137466</Latitude>\n<Longitude>113.352425</Longitude>\n<Precision>119.385040</Precision>\n"),
		"LOCATIONfrom_callback")
}

// releaseReply pushes a message and expects a text as the passive reply.
func (c *Component) releaseReply(ctx context.Context, a *Account, from, message, want string) error {
	res, err := c.PushMessage(ctx, a, message)
	if err != nil {
		return err
	}
	var r struct{ ToUserName, FromUserName, MsgType, Content string }
	if err := xml.Unmarshal([]byte(res.Reply), &r); err != nil {
		return fmt.Errorf("no XML reply with the text %s: %w", want, err)
	}
	if r.ToUserName != from || r.FromUserName != a.cfg.UserName || r.MsgType != "text" || r.Content != want {
		return fmt.Errorf("wrong reply %.300q, want the text %s", res.Reply, want)
	}
	return nil
}

// releaseCustom expects no passive reply, and a customer-service message that took the code of the message to make.
func (c *Component) releaseCustom(ctx context.Context, a *Account) error {
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
	waiting, cancel := context.WithTimeout(ctx, customSendTime)
	defer cancel()
	defer context.AfterFunc(c.s.ctx, cancel)()
	var got Line
	err = a.waitFor(waiting, func() bool {
		i := slices.IndexFunc(a.conversation.lines, func(l Line) bool { return l.Via == ViaCustom && l.OpenID == from })
		if i >= 0 {
			got = a.conversation.lines[i]
		}
		return i >= 0
	})
	switch {
	case err == nil && (got.MsgType != "text" || got.Text != code+"_from_api"):
		return fmt.Errorf("wrong customer-service message: a %s, text %.120q", got.MsgType, got.Text)
	case err == nil || ctx.Err() != nil:
		return err
	case c.s.ctx.Err() != nil:
		return errors.New("the server is closed")
	}
	return fmt.Errorf("no customer-service message to its sender within %v", customSendTime)
}
