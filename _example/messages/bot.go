package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/wechatopen/wechatopen"
)

// newBot answers the messages of all accounts that authorize the platform.
func newBot(platform *wechatopen.Platform, log *slog.Logger) http.Handler {
	var mux wechatopen.MessageMux
	mux.Handle("text", echoText)
	mux.Handle("image", echoImage)
	mux.Handle("event/subscribe", welcome)
	mux.Handle("event/CLICK/help", help)
	mux.Handle("event/CLICK/slow", slow)
	mux.Use(logged(log))
	return &wechatopen.MessageHandler{
		Platform: platform,
		Handle:   wechatopen.ReleaseTest(platform, mux.Serve), // WeChat's test before the release is passed, too
		OnLate: func(ctx context.Context, m *wechatopen.Message, r wechatopen.Reply) {
			// WeChat waits five seconds for a reply. What comes later is sent as a customer-service message.
			if err := platform.Account(m.AppID).Send(ctx, m.FromUserName, r); err != nil {
				log.Error("late reply not sent", "error", err)
			}
		},
	}
}

func echoText(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
	return wechatopen.Text(m.Content), nil
}

func echoImage(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
	return wechatopen.Image(m.MediaID), nil
}

func welcome(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
	return wechatopen.Text("欢迎！说什么，我就答什么。 Welcome! I say what you say."), nil
}

func help(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
	return wechatopen.News(wechatopen.Article{
		Title:       "回声机器人 Echo bot",
		Description: "发文字或图片，原样奉还。 Send a text or a picture: it comes back.",
		URL:         "https://github.com/wechatopen/wechatopen",
	}), nil
}

// slow takes longer than WeChat waits.
func slow(ctx context.Context, _ *wechatopen.Message) (wechatopen.Reply, error) {
	select {
	case <-time.After(6 * time.Second):
		return wechatopen.Text("久等了。 Sorry for the wait."), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// logged is a middleware, as in net/http.
func logged(log *slog.Logger) func(wechatopen.MessageFunc) wechatopen.MessageFunc {
	return func(next wechatopen.MessageFunc) wechatopen.MessageFunc {
		return func(ctx context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
			log.Info("message", "message", m)
			return next(ctx, m)
		}
	}
}

// menu is what the account shows below the conversation.
func menu() wechatopen.Buttons {
	return wechatopen.Buttons{
		{Type: "click", Name: "帮助 Help", Key: "help"},
		{Name: "更多 More", Sub: wechatopen.Buttons{
			{Type: "view", Name: "源码 Source", URL: "https://github.com/wechatopen/wechatopen"},
			{Type: "click", Name: "慢 Slow", Key: "slow"},
		}},
	}
}
