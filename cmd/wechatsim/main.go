// Command wechatsim plays WeChat's side of the Open Platform, so that a service in any language can be developed without
// WeChat. It prints what the service has to be configured with, pushes a ticket at once and every ten minutes, and shows
// what happens at its address in a browser.
//
//	wechatsim -addr 127.0.0.1:8600 -event-url http://localhost:8080/wechat/event -domain localhost:8080
//
// With -release-test it runs WeChat's test of a platform before its release (全网发布检测) against the service instead,
// prints a report and exits with 0 if the platform passed, and with 1 if not. The service has to be running, with the
// platform of -component and this program's address as that of WeChat.
//
//	wechatsim -release-test -addr 127.0.0.1:8600 -component appid:secret:token:key \
//		-event-url http://localhost:8080/wechat/event -message-url 'http://localhost:8080/wechat/message/$APPID$'
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wechatopen/wechatopen/wechattest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "wechatsim:", err)
		os.Exit(1)
	}
}

const (
	ticketEvery = 10 * time.Minute
	retryEvery  = 5 * time.Second // until the service is up and has taken its first ticket
	journalSize = 10_000

	releaseGroups = 5 // groups of accounts of the release test
)

// run simulates WeChat until ctx ends, and writes to out what a service has to know and what is pushed to it.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("wechatsim", flag.ContinueOnError)
	flags.SetOutput(out)
	addr := flags.String("addr", "127.0.0.1:8600", "`address` to listen on")
	eventURL := flags.String("event-url", "", "`URL` of the service that tickets and authorizations are pushed to")
	messageURL := flags.String("message-url", "", "`URL` that messages are pushed to; $APPID$ becomes the account's appid")
	component := flags.String("component", "", "the platform, as `appid:secret:token:key`; made up if empty")
	account := flags.String("account", "", "an official account of one's own, as `appid:secret:token:key`; made up if empty")
	accountURL := flags.String("account-message-url", "", "`URL` that messages of -account are pushed to, unless it authorizes the platform")
	plain := flags.Bool("plain", false, "push messages of -account in plain mode (明文模式)")
	domain := flags.String("domain", "", "`host[:port]` of the service; empty: redirects are not checked")
	releaseTest := flags.Bool("release-test", false, "run the whole-network release test against the service, and exit")
	group := flags.Int("group", 0, "`number` of the release test's group of accounts, 1 to 5; 0: all, one after the other")
	verbose := flags.Bool("v", false, "print every request")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *group < 0 || *group > releaseGroups {
		return fmt.Errorf("-group %d is none of 0 to %d", *group, releaseGroups)
	}
	if *releaseTest && (*component == "" || *eventURL == "" || *messageURL == "") {
		return errors.New("-release-test needs -component, -event-url and -message-url")
	}
	cfg := wechattest.ComponentConfig{EventURL: *eventURL, MessageURL: *messageURL, Domain: *domain}
	official := wechattest.AccountConfig{Name: "示例公众号", Domain: *domain, MessageURL: *accountURL, PlainMode: *plain}
	if err := credentials("-component", *component, &cfg.AppID, &cfg.AppSecret, &cfg.Token, &cfg.EncodingAESKey); err != nil {
		return err
	}
	if err := credentials("-account", *account, &official.AppID, &official.AppSecret, &official.Token, &official.EncodingAESKey); err != nil {
		return err
	}
	if cfg.AppID != "" && cfg.AppID == official.AppID {
		return errors.New("-component and -account have the same appid")
	}

	var mu sync.Mutex // requests are logged from many goroutines
	logf := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out, "# "+format+"\n", args...)
	}
	config := wechattest.Config{Addr: *addr, JournalSize: journalSize}
	if *verbose {
		config.Logf = logf
	}
	s, err := wechattest.New(config)
	if err != nil {
		return err
	}
	defer s.Close()
	comp := s.AddComponent(cfg)
	if *releaseTest {
		mu.Lock()
		fmt.Fprintf(out, "WECHAT_URL=%s\n", s.URL()) // and no secrets: the service has them, and logs of tests are kept
		mu.Unlock()
		return release(ctx, comp, *group, out, &mu)
	}
	mu.Lock()
	describe(out, s, comp, official, *domain)
	mu.Unlock()
	if *eventURL != "" {
		pushTickets(ctx, comp, logf)
	}
	<-ctx.Done()
	return nil
}

// credentials reads what a flag says into the parts; empty leaves them.
func credentials(flag, value string, parts ...*string) error {
	if value == "" {
		return nil
	}
	given := strings.Split(value, ":")
	if len(given) != len(parts) || len(given[len(given)-1]) != 43 {
		return errors.New(flag + " is not appid:secret:token:key with a key of 43 characters")
	}
	for i, p := range parts {
		*p = given[i]
	}
	return nil
}

// describe adds sample accounts and people and prints what a service is configured with.
func describe(out io.Writer, s *wechattest.Server, comp *wechattest.Component, cfg wechattest.AccountConfig, domain string) {
	official := s.AddAccount(cfg)
	site := s.AddAccount(wechattest.AccountConfig{Name: "示例网站", Website: true, Domain: domain})
	mini := s.AddAccount(wechattest.AccountConfig{Name: "示例小程序", MiniProgram: true})
	s.AddUser(wechattest.UserConfig{Name: "小明"})
	s.AddUser(wechattest.UserConfig{Name: "Alice"})
	s.AddUser(wechattest.UserConfig{Name: "快照用户", Snapshot: true})
	for _, kv := range [][2]string{
		{"WECHAT_URL", s.URL()},
		{"COMPONENT_APPID", comp.Credentials().AppID},
		{"COMPONENT_APPSECRET", comp.Credentials().AppSecret},
		{"COMPONENT_TOKEN", comp.Credentials().Token},
		{"COMPONENT_AES_KEY", comp.Credentials().EncodingAESKey},
		{"ACCOUNT_APPID", official.AppID()},
		{"ACCOUNT_APPSECRET", official.Credentials().AppSecret},
		{"ACCOUNT_TOKEN", official.Credentials().Token},
		{"ACCOUNT_AES_KEY", official.Credentials().EncodingAESKey},
		{"MINIPROGRAM_APPID", mini.AppID()},
		{"WEBSITE_APPID", site.AppID()},
		{"WEBSITE_APPSECRET", site.Credentials().AppSecret},
	} {
		fmt.Fprintf(out, "%s=%s\n", kv[0], kv[1])
	}
}

// release runs the release test and writes the reports to out. The error says that the service did not pass.
func release(ctx context.Context, comp *wechattest.Component, group int, out io.Writer, mu *sync.Mutex) error {
	first, last := group, group
	if group == 0 {
		first, last = 1, releaseGroups
	}
	var failed []string
	for g := first; g <= last; g++ {
		report := comp.ReleaseReport(ctx, g)
		mu.Lock()
		_, err := report.WriteTo(out)
		mu.Unlock()
		if err != nil {
			return err
		}
		if report.Err() != nil {
			failed = append(failed, strconv.Itoa(g))
		}
	}
	if len(failed) > 0 {
		return errors.New("the release test failed with group " + strings.Join(failed, ", "))
	}
	return nil
}

// pushTickets pushes at once and then every ten minutes, until ctx ends.
func pushTickets(ctx context.Context, comp *wechattest.Component, logf func(string, ...any)) {
	taken := false
	for {
		wait := ticketEvery
		if _, err := comp.PushTicket(ctx); err == nil {
			taken = true
			logf("ticket pushed")
		} else {
			logf("ticket not taken: %v", err)
			if !taken {
				wait = retryEvery
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
