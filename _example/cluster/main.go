// Command cluster is one shop platform as three processes on one Redis, behind a proxy that takes them in turn, and a
// simulator of WeChat beside it. It shows which process fetched which token: each is fetched once for all of them.
//
//	go run ./_example/cluster -walk    # played by the program; without -walk by hand
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wechatopen/wechatopen/wechattest"
)

const size = 3 // instances

func main() {
	redis.SetLogger(silence{})
	if n := os.Getenv(instanceEnv); n != "" {
		if err := instance(n, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintf(os.Stderr, "instance %s: %v\n", n, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// run plays until ctx ends or the walk is over, and prints who fetched what.
func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stdout)
	walks := flags.Bool("walk", false, "play a merchant and 100 customers, print what was seen, and end")
	redisURL := flags.String("redis", "", "`address` of a Redis, host:port or a redis:// URL; empty: one is started, for this run")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}

	db, err := openDatabase(ctx, *redisURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	if err := db.store().Check(ctx); err != nil {
		fmt.Fprintln(stdout, err) // what to change in its redis.conf
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	baseURL := "http://" + ln.Addr().String()
	wx, err := wechattest.New(wechattest.Config{})
	if err != nil {
		return err
	}
	defer wx.Close()
	component := wx.AddComponent(wechattest.ComponentConfig{EventURL: baseURL + "/wechat/events", Domain: ln.Addr().String()})
	tea := wx.AddAccount(wechattest.AccountConfig{Name: "山间茶铺 Mountain Tea"})

	c, err := startCluster(ctx, wx, newSetup(wx, component, baseURL, db))
	if err != nil {
		return err
	}
	front := newProxy(c)
	srv := &http.Server{Handler: front.handler(), ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(ln)
	w := &walker{cluster: c, proxy: front, wx: wx, component: component, tea: tea, baseURL: baseURL}
	if *walks {
		err = w.walk(ctx, stdout)
	} else {
		err = w.wait(ctx, stdout)
	}
	srv.Close()
	front.transport.CloseIdleConnections() // or the instances wait for those that were never used
	if err := errors.Join(err, c.stop()); err != nil {
		return err
	}
	c.printFetches(stdout)
	if *walks {
		return w.fetches()
	}
	return nil
}

const guide = `授权 · authorize   %s/wechat/authorize   as %s
店铺 · shop        %s/shop/%s/
微信 · WeChat      %s/

Ctrl-C 结束 · ends, and prints who fetched what
`

// wait pushes a verify ticket at once and every ten minutes, as WeChat does, until ctx ends: a person plays.
func (w *walker) wait(ctx context.Context, out io.Writer) error {
	w.wx.AddUser(wechattest.UserConfig{}) // whom a browser opened by hand belongs to
	fmt.Fprintf(out, guide, w.baseURL, w.tea.Name(), w.baseURL, w.tea.AppID(), w.wx.URL())
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	for {
		if _, err := w.component.PushTicket(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// proxy is what a load balancer is to several machines, without any stickiness.
type proxy struct {
	cluster   *cluster
	transport *http.Transport
	turn      atomic.Int64
	served    [size]atomic.Int64 // requests, by instance
}

func newProxy(c *cluster) *proxy {
	return &proxy{cluster: c, transport: &http.Transport{MaxIdleConnsPerHost: customers}}
}

// byHeader tells in a response which instance it is from.
const byHeader = "X-Instance"

func (p *proxy) handler() http.Handler {
	return &httputil.ReverseProxy{
		Transport: p.transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			i := int(p.turn.Add(1)-1) % size
			p.served[i].Add(1)
			r.SetURL(p.cluster.members[i].url)
			r.Out.Header.Set(byHeader, strconv.Itoa(i+1))
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set(byHeader, r.Request.Header.Get(byHeader))
			return nil
		},
	}
}
