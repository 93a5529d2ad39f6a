package browser

import (
	"bytes"
	"image"
	_ "image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// A desktop browser shows a page that a phone can read: the address as a QR code, in the picture that the browser drew.
func TestQRCodeOutsideWeChatIsReadFromTheScreen(t *testing.T) {
	ctx := newTab(t)
	sim := wechattest.Start(t)
	account, err := wechatopen.NewAccount(sim.AddAccount(wechattest.AccountConfig{}).Credentials(), sim.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	cookies, err := wechatopen.NewCookies(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	cookies.Insecure = true
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	t.Cleanup(site.Close)
	oauth := &wechatopen.OAuth{Account: wechatopen.FixedAccount(account), BaseURL: site.URL, Cookies: cookies}
	mux.Handle("/", oauth.Require(http.NotFoundHandler()))

	for _, target := range []string{"/", "/tea?id=1&q=%E8%8C%B6", "/long?q=" + strings.Repeat("a", 400)} {
		for _, screen := range []struct{ width, height int64 }{{1280, 900}, {390, 844}} {
			var png []byte
			var address, style string
			var fits bool
			if err := chromedp.Run(ctx,
				chromedp.EmulateViewport(screen.width, screen.height, chromedp.EmulateScale(2)),
				chromedp.Navigate(site.URL+target),
				chromedp.WaitVisible("#qr"),
				chromedp.Value("#address", &address),
				chromedp.Evaluate(`getComputedStyle(document.querySelector("#address")).userSelect`, &style),
				chromedp.Evaluate(`document.documentElement.scrollWidth <= innerWidth`, &fits),
				chromedp.Screenshot("#qr", &png),
			); err != nil {
				t.Fatal(err)
			}
			if address != site.URL+target || style != "all" || !fits {
				t.Errorf("%.40s, %d pixels wide: address %.60q, user-select %q, fits: %v", target, screen.width, address, style, fits)
			}
			img, _, err := image.Decode(bytes.NewReader(png))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := readQR(img); err != nil || got != site.URL+target {
				t.Errorf("%.40s, %d pixels wide: the code reads %.60q, %v", target, screen.width, got, err)
			}
		}
	}
}

// readQR reads a picture of a QR code with its quiet zone.
func readQR(img image.Image) (string, error) {
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		return "", err
	}
	res, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
	if err != nil {
		return "", err
	}
	return res.GetText(), nil
}
