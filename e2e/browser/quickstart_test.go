package browser

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// chromium is the path of the browser. Without one the test is left out, but in CI it fails.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal("no chromium: install Debian's package of that name")
	}
	t.Skip("left out: what a browser shows, for want of chromium")
	return ""
}

// newTab is an empty page of a browser of its own, for two minutes.
func newTab(t *testing.T) context.Context {
	t.Helper()
	ctx, kill := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)), chromedp.NoSandbox,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-sync", true))...)
	tab, cancelTab := chromedp.NewContext(ctx)
	ctx, cancel := context.WithTimeout(tab, 2*time.Minute)
	t.Cleanup(func() {
		cancel()
		cancelTab()
		kill()
		if a := chromedp.FromContext(tab).Allocator; a != nil {
			a.Wait() // and takes the browser's profile away
		}
	})
	return ctx
}

// startExample builds and starts an example, and returns the first address that it prints.
func startExample(t *testing.T, name string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./"+name)
	build.Dir = "../../_example"
	build.Env = append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), program)
	out, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = run.Process.Signal(os.Interrupt)
		_ = run.Wait()
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("%s prints no address", name)
	}
	address := regexp.MustCompile(`http://\S+`).FindString(lines.Text())
	go func() {
		for lines.Scan() { // so that it never waits for a reader
		}
	}()
	return address
}

func TestQuickstartInABrowser(t *testing.T) {
	ctx := newTab(t)
	shop := startExample(t, "quickstart")

	var authorizePage, home, greeting, signed, second string
	var avatarWidth int
	err := chromedp.Run(ctx,
		// The merchant: the start page's script leads on, and WeChat sees from which site.
		chromedp.Navigate(shop),
		chromedp.Click("#connect"),
		chromedp.WaitVisible("select[name=account]"),
		chromedp.Location(&authorizePage),
		chromedp.Click("#authorize"),
		chromedp.WaitVisible("a[id^=shop-]"),
		chromedp.Location(&home),
		// The customer.
		chromedp.Click("a[id^=shop-]"),
		chromedp.Click("#allow"),
		chromedp.WaitVisible("#greeting"),
		chromedp.Text("#greeting", &greeting),
		chromedp.Poll(`document.querySelector("#jssdk").textContent.includes("Signed")`, nil),
		chromedp.Text("#jssdk", &signed),
		chromedp.Poll(`document.querySelector("#avatar").complete`, nil),
		chromedp.Evaluate(`document.querySelector("#avatar").naturalWidth`, &avatarWidth),
		// Again: the session is there, and WeChat is not asked.
		chromedp.Reload(),
		chromedp.WaitVisible("#greeting"),
		chromedp.Location(&second),
		// And out.
		chromedp.Click("#logout"),
		chromedp.WaitVisible("#connect"),
	)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(authorizePage, "/cgi-bin/componentloginpage?") {
		t.Errorf("the start page led to %s", authorizePage)
	}
	if home != shop {
		t.Errorf("the merchant came back to %s, want %s", home, shop)
	}
	if !strings.Contains(greeting, "Hello, ") || strings.HasSuffix(greeting, "Hello, ") {
		t.Errorf("greeting %q", greeting)
	}
	if !regexp.MustCompile(`[0-9a-f]{40}`).MatchString(signed) {
		t.Errorf("the page shows no signature: %q", signed)
	}
	if avatarWidth == 0 {
		t.Error("the avatar is not shown")
	}
	if strings.Contains(second, "code=") || !strings.HasPrefix(second, shop+"shop/") {
		t.Errorf("the second visit is at %s", second)
	}
}
