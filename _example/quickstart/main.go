// Command quickstart is a shop platform on the WeChat Open Platform, in two halves: shop.go is what one writes with the
// library; the other files start it, and a simulator of WeChat beside it when there are no real credentials.
//
//	go run ./_example/quickstart          # the simulator and the shop platform, to be played by hand
//	go run ./_example/quickstart -walk    # the same, played by the program, one line for each step
package main

import (
	"cmp"
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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run serves the shop platform until ctx ends or the walk is over.
func run(ctx context.Context, args []string, env func(string) string, stdout io.Writer) error {
	c, err := parseConfig(args, env, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	// Listening comes first: the simulator has to know the port.
	ln, err := net.Listen("tcp", c.addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	if c.real {
		return runReal(ctx, c, ln, stdout)
	}
	return runSimulated(ctx, c, ln, stdout)
}

func runReal(ctx context.Context, c *config, ln net.Listener, stdout io.Writer) error {
	log := slog.Default()
	p, err := start(c, log)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "店铺平台 · shop platform   %s/   (listening on %s)\n", c.baseURL, ln.Addr())
	fmt.Fprintf(stdout, "授权事件接收 URL · event URL   %s/wechat/events\n", c.baseURL)
	fmt.Fprintf(stdout, "状态文件 · state               %s\n", c.state)
	err = serve(ctx, p.shop, ln, func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	})
	return errors.Join(err, p.store.Close())
}

func runSimulated(ctx context.Context, c *config, ln net.Listener, stdout io.Writer) error {
	log := slog.Default()
	if c.walk {
		log = slog.New(slog.DiscardHandler) // the walk provokes errors, and says itself what came of them
	}
	dir, err := os.MkdirTemp("", "quickstart-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	baseURL := cmp.Or(c.baseURL, "http://"+ln.Addr().String())
	wx, err := startWeChat(baseURL)
	if err != nil {
		return err
	}
	defer wx.Close()
	site, err := newSite(wx, baseURL, dir, log)
	if err != nil {
		return err
	}
	err = serve(ctx, site, ln, func(ctx context.Context) error {
		if c.walk {
			return walk(ctx, site, stdout)
		}
		fmt.Fprintf(stdout, guide, baseURL, wx.URL(), wx.customer.Name(), wx.merchant.Name())
		wx.pushTickets(ctx, log)
		return nil
	})
	return errors.Join(err, site.Close())
}

const guide = `店铺平台 · shop platform      %s/
微信模拟器 · WeChat simulator  %s/

  商户 · play the merchant: open the shop platform, press "Connect an account", choose one, press "Authorize".
  顾客 · play the customer: press the name of the shop, press "Allow". You are %s there; below you can become %s.

Ctrl-C 结束 · ends
`

// serve answers requests while play runs, and then ends in good order.
func serve(ctx context.Context, h http.Handler, ln net.Listener, play func(context.Context) error) error {
	srv := newServer(h)
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
