package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wechatopen/wechatopen/wechattest"
)

// chatURL is the conversation of the first user with the bot, at the simulator.
func (w *wechat) chatURL() string {
	return w.URL() + "/wechatsim/chat?appid=" + url.QueryEscape(w.account.AppID())
}

// walk plays the user's part on the simulator's page, and prints a line for each step. It returns an error at the first
// step that does not see what it expects.
func walk(ctx context.Context, wx *wechat, out io.Writer) error {
	page, err := wx.NewBrowser(wx.user).Open(ctx, wx.chatURL())
	if err != nil {
		return err
	}
	// press does something and returns the lines that it added to the conversation.
	press := func(button string) ([]wechattest.Line, error) {
		before := len(wx.account.Conversation(wx.user))
		if page, err = page.Click(ctx, button); err != nil {
			return nil, err
		}
		if page.Status != 200 {
			return nil, fmt.Errorf("the page answers %d: %s", page.Status, page.Text())
		}
		return wx.account.Conversation(wx.user)[before:], nil
	}
	// last presses and wants the last line to come from the bot in a certain way.
	last := func(button string, via wechattest.Via, msgType string) (l wechattest.Line, err error) {
		lines, err := press(button)
		if err != nil {
			return l, err
		}
		if len(lines) == 0 || lines[len(lines)-1].Via != via || lines[len(lines)-1].MsgType != msgType {
			return l, fmt.Errorf("the conversation goes on with %+v; want %s by %s", lines, msgType, via)
		}
		return lines[len(lines)-1], nil
	}
	steps := []struct {
		name string
		do   func() (saw string, err error)
	}{
		{"follow", func() (string, error) {
			l, err := last("follow", wechattest.ViaReply, "text")
			if err == nil && !page.Has("tap-help") {
				err = fmt.Errorf("the follower sees no menu: %s", page.Text())
			}
			return fmt.Sprintf("greeted with %q, sees the menu", l.Text), err
		}},
		{"text", func() (string, error) {
			page.Fill("text", "你好 <Echo> & co.")
			l, err := last("send", wechattest.ViaReply, "text")
			if err == nil && l.Text != "你好 <Echo> & co." {
				err = fmt.Errorf("the bot answers %q", l.Text)
			}
			return fmt.Sprintf("answered with %q, encrypted on the way", l.Text), err
		}},
		{"picture", func() (string, error) {
			var dot bytes.Buffer
			if err := png.Encode(&dot, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
				return "", err
			}
			page.Attach("picture", "dot.png", dot.Bytes())
			lines, err := press("send-picture")
			if err == nil && (len(lines) != 2 || lines[0].MediaID == "" || lines[1].MediaID != lines[0].MediaID) {
				err = fmt.Errorf("the picture does not come back: %+v", lines)
			}
			return "the same picture came back", err
		}},
		{"menu", func() (string, error) {
			l, err := last("tap-help", wechattest.ViaReply, "news")
			if err == nil && (len(l.Articles) != 1 || l.Articles[0].URL == "") {
				err = fmt.Errorf("the bot answers %+v", l)
			}
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("the button brings the article %q", l.Articles[0].Title), nil
		}},
		{"slow", func() (string, error) {
			begin, sent := time.Now(), len(wx.account.Sent())
			lines, err := press("tap-slow")
			if err != nil {
				return "", err
			}
			answered := time.Since(begin)
			if slices.ContainsFunc(lines, func(l wechattest.Line) bool { return l.Via == wechattest.ViaReply || l.Via == wechattest.ViaWeChat }) {
				return "", fmt.Errorf("WeChat was not answered in time: %+v", lines)
			}
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			if err := wx.account.WaitSent(ctx, sent+1); err != nil {
				return "", err
			}
			if page, err = page.Click(ctx, "refresh"); err != nil {
				return "", err
			}
			if !strings.Contains(page.Text(), "久等了") {
				return "", fmt.Errorf("the late reply is not on the page: %s", page.Text())
			}
			return fmt.Sprintf("WeChat was answered after %.1f s, the reply came as a customer-service message after %.1f s", answered.Seconds(), time.Since(begin).Seconds()), nil
		}},
		{"release test", func() (string, error) {
			report := wx.component.ReleaseReport(ctx, 1)
			return fmt.Sprintf("%d checks passed", len(report.Checks)), report.Err()
		}},
	}
	for i, s := range steps {
		saw, err := s.do()
		if err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, s.name, err)
		}
		fmt.Fprintf(out, "%d  %-13s %s\n", i+1, s.name, saw)
	}
	return nil
}
