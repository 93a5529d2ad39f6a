// Command messages is an echo bot with a menu: bot.go is what one writes with the library; the other files start it
// beside a simulator of WeChat.
//
//	go run ./_example/messages          # the bot and the simulator: open the conversation in a browser
//	go run ./_example/messages -walk    # the same, played by the program, one line for each step
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "messages:", err)
		os.Exit(1)
	}
}

// run serves the bot until ctx ends or the walk is over.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("messages", flag.ContinueOnError)
	flags.SetOutput(stdout)
	addr := flags.String("addr", "127.0.0.1:0", "address of the bot")
	playItself := flags.Bool("walk", false, "play a user's part, print what was seen, and end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	log := slog.Default()
	if *playItself {
		log = slog.New(slog.DiscardHandler)
	}
	wx, err := startWeChat("http://" + ln.Addr().String())
	if err != nil {
		return err
	}
	defer wx.Close()
	platform, err := wechatopen.NewPlatform(wx.component.Credentials(),
		append(wx.Options(), wechatopen.WithStore(wechatopen.NewMemoryStore()), wechatopen.WithLogger(log))...)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/wechat/events", &wechatopen.TicketHandler{Platform: platform})
	mux.Handle("/wechat/message/{appid}", newBot(platform, log))
	return serve(ctx, mux, ln, func(ctx context.Context) error {
		if err := wx.authorize(ctx); err != nil {
			return err
		}
		if err := platform.Account(wx.account.AppID()).CreateMenu(ctx, menu()); err != nil {
			return err
		}
		if *playItself {
			return walk(ctx, wx, stdout)
		}
		fmt.Fprintf(stdout, "对话 · the conversation   %s\nCtrl-C 结束 · ends\n", wx.chatURL())
		<-ctx.Done()
		return nil
	})
}

// wechat is the simulator with the platform, an account and a user.
type wechat struct {
	*wechattest.Server
	component *wechattest.Component
	account   *wechattest.Account
	user      *wechattest.User
}

func startWeChat(botURL string) (*wechat, error) {
	s, err := wechattest.New(wechattest.Config{})
	if err != nil {
		return nil, err
	}
	return &wechat{
		Server: s,
		component: s.AddComponent(wechattest.ComponentConfig{
			EventURL:   botURL + "/wechat/events",
			MessageURL: botURL + "/wechat/message/$APPID$",
		}),
		account: s.AddAccount(wechattest.AccountConfig{Name: "回声机器人 Echo"}),
		user:    s.AddUser(wechattest.UserConfig{Name: "小林 Lin"}),
	}, nil
}

// authorize does what the platform's approval and an administrator do: a ticket comes, the account authorizes.
func (w *wechat) authorize(ctx context.Context) error {
	if _, err := w.component.PushTicket(ctx); err != nil {
		return err
	}
	_, err := w.component.Authorize(ctx, w.account)
	return err
}

// serve answers requests while play runs, and then ends in good order.
func serve(ctx context.Context, h http.Handler, ln net.Listener, play func(context.Context) error) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		err := srv.Serve(ln)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		cancel() // play has nobody to play with
		failed <- err
	}()
	err := play(ctx)
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer done()
	return errors.Join(err, srv.Shutdown(grace), <-failed)
}
