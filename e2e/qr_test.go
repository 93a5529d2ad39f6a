package e2e

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/wechatopen/wechatopen/internal/qr"
)

// picture draws a code with its quiet zone, three pixels a module.
func picture(c *qr.Code) image.Image {
	const scale, quiet = 3, 4
	side := (c.Size() + 2*quiet) * scale
	img := image.NewGray(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			mx, my := x/scale-quiet, y/scale-quiet
			dark := mx >= 0 && my >= 0 && mx < c.Size() && my < c.Size() && c.Dark(mx, my)
			if !dark {
				img.SetGray(x, y, color.Gray{Y: 0xff})
			}
		}
	}
	return img
}

// readCode is what ZXing reads in a picture: the bytes, and the level of error correction.
func readCode(img image.Image) (data []byte, level string, err error) {
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		return nil, "", err
	}
	res, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{
		gozxing.DecodeHintType_PURE_BARCODE: true,
	})
	if err != nil {
		return nil, "", err
	}
	meta := res.GetResultMetadata()
	segments, _ := meta[gozxing.ResultMetadataType_BYTE_SEGMENTS].([][]byte)
	return bytes.Join(segments, nil), fmt.Sprint(meta[gozxing.ResultMetadataType_ERROR_CORRECTION_LEVEL]), nil
}

func TestQRCodesOfEveryVersionAreRead(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	sizes := map[int]int{} // by version, how many were read
	check := func(data []byte) {
		t.Helper()
		c, err := qr.Encode(data)
		if err != nil {
			t.Fatalf("%d bytes: %v", len(data), err)
		}
		got, level, err := readCode(picture(c))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, version %d: read %.40q, %v; want %.40q", len(data), (c.Size()-17)/4, got, err, data)
		}
		if want := map[bool]string{true: "M", false: "L"}[len(data) <= 2331]; level != want {
			t.Errorf("%d bytes: level %s, want %s", len(data), level, want)
		}
		sizes[(c.Size()-17)/4]++
	}
	random := func(n int) []byte {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		return data
	}
	const most = 2953
	for n := 1; n <= most; n += 1 + n/40 { // every version several times
		check(random(n))
	}
	check(random(most))
	for version := 1; version <= 40; version++ {
		if sizes[version] < 2 {
			t.Errorf("version %d was read %d times", version, sizes[version])
		}
	}
	for _, text := range []string{
		"https://shop.example.com/", "https://shop.example.com/a?b=c&d=%E8%8C%B6", "山间茶铺 · 你好，世界 🍵", "\x00\xff\x80",
		strings.Repeat("茶", 700), strings.Repeat("\x00", 500), strings.Repeat("\xff", 500), strings.Repeat("0", 2953),
	} {
		check([]byte(text))
	}
	for range 100 {
		check(random(1 + rng.IntN(200)))
	}
}
