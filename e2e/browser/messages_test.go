package browser

import (
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// The echo bot, played by hand: follow, say something, tap the menu, send a picture.
func TestMessagesInABrowser(t *testing.T) {
	ctx := newTab(t)
	conversation := startExample(t, "messages")
	picture := filepath.Join(t.TempDir(), "dot.png")
	f, err := os.Create(picture)
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(f, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var greeting, echo, help string
	var pictures []int
	err = chromedp.Run(ctx,
		chromedp.Navigate(conversation),
		chromedp.Click("#follow"),
		chromedp.WaitVisible("#tap-help"),
		chromedp.Text("#chat li:last-child", &greeting),
		chromedp.SendKeys("input[name=text]", "<b>hello</b>"),
		chromedp.Click("#send"),
		chromedp.WaitVisible("#chat li.me + li.them"),
		chromedp.Text("#chat li:last-child", &echo),
		chromedp.Click("#tap-help"),
		chromedp.WaitVisible("#chat li:last-child a"),
		chromedp.Text("#chat li:last-child", &help),
		chromedp.SetUploadFiles("input[name=picture]", []string{picture}),
		chromedp.Click("#send-picture"),
		chromedp.WaitVisible("#chat li:last-child img"),
		chromedp.Poll(`[...document.images].every(i => i.complete)`, nil),
		chromedp.Evaluate(`[...document.querySelectorAll("#chat img")].map(i => i.naturalWidth)`, &pictures),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, seen := range []struct{ text, want string }{{greeting, "Welcome!"}, {echo, "<b>hello</b>"}, {help, "Echo bot"}} {
		if !strings.Contains(seen.text, seen.want) {
			t.Errorf("reads %q, want %q", seen.text, seen.want)
		}
	}
	if len(pictures) != 2 || pictures[0] != 8 || pictures[1] != 8 {
		t.Errorf("pictures are %d pixels wide; want the one sent and the one that came back", pictures)
	}
}
