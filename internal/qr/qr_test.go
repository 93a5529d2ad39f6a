package qr

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The examples of ISO/IEC 18004. Whole codes are read back by an independent decoder in e2e/qr_test.go.

func TestErrorCorrectionIsTheStandards(t *testing.T) { // annex I: 01234567 in version 1-M
	data := []byte{0x10, 0x20, 0x0c, 0x56, 0x61, 0x80, 0xec, 0x11, 0xec, 0x11, 0xec, 0x11, 0xec, 0x11, 0xec, 0x11}
	want := []byte{0xa5, 0x24, 0xd4, 0xc1, 0xed, 0x36, 0xc7, 0x87, 0x2c, 0x55}
	if got := rsRemainder(data, rsGenerator(10)); !bytes.Equal(got, want) {
		t.Errorf("% x, want % x", got, want)
	}
}

func TestInformationBitsAreTheStandards(t *testing.T) {
	if got := bch(levelM<<3|0b101, formatPoly, 10) ^ formatMask; got != 0b100000011001110 { // annex C
		t.Errorf("format: %015b", got)
	}
	if got := bch(7, versionPoly, 12); got != 0b000111110010010100 { // annex D
		t.Errorf("version: %018b", got)
	}
}

func TestAlignmentIsTheStandards(t *testing.T) { // annex E, in part
	for version, want := range map[int][]int{
		1: nil, 2: {6, 18}, 6: {6, 34}, 7: {6, 22, 38}, 15: {6, 26, 48, 70}, 16: {6, 26, 50, 74}, 22: {6, 26, 50, 74, 98},
		32: {6, 34, 60, 86, 112, 138}, 36: {6, 24, 50, 76, 102, 128, 154}, 40: {6, 30, 58, 86, 114, 142, 170},
	} {
		if got := alignment(version); !slices.Equal(got, want) {
			t.Errorf("version %d: %d, want %d", version, got, want)
		}
	}
}

func TestCapacityIsTheStandards(t *testing.T) { // table 7, byte mode
	for version, want := range map[int]int{1: 14, 2: 26, 7: 122, 9: 180, 10: 213, 26: 1059, 27: 1125, 40: 2331} {
		ec := levelMBlocks()[version-1]
		if got := (spec{version, levelM, ec[0], ec[1]}).capacity(); got != want {
			t.Errorf("version %d-M holds %d, want %d", version, got, want)
		}
	}
	for n, want := range map[int]int{0: 21, 14: 21, 15: 25, 2331: 177, 2332: 177, 2953: 177} {
		c, err := Encode(make([]byte, n))
		if err != nil || c.Size() != want {
			t.Errorf("%d bytes: %v, want %d modules", n, err, want)
		}
	}
	if c, err := Encode(make([]byte, 2954)); c != nil || !errors.Is(err, ErrTooLong) {
		t.Errorf("2954 bytes: %v", err)
	}
}

func TestCodewordsEndInTerminatorAndPadding(t *testing.T) {
	ec := levelMBlocks()[0]
	s := spec{1, levelM, ec[0], ec[1]}
	for data, want := range map[string]string{
		"":               "40 00 ec 11 ec 11 ec 11 ec 11 ec 11 ec 11 ec 11",
		"abc":            "40 36 16 26 30 ec 11 ec 11 ec 11 ec 11 ec 11 ec",
		"abcdefghijklmn": "40 e6 16 26 36 46 56 66 76 86 96 a6 b6 c6 d6 e0", // to the last bit
	} {
		if got := fmt.Sprintf("% x", s.codewords([]byte(data))); got != want {
			t.Errorf("%q:\n%s, want\n%s", data, got, want)
		}
	}
}

// draw is a code of dark X, for tests of what is counted in one.
func draw(rows ...string) *Code {
	c := &Code{size: len(rows), dark: make([]bool, len(rows)*len(rows))}
	for y, row := range rows {
		for x := range row {
			c.dark[y*c.size+x] = row[x] == 'X'
		}
	}
	return c
}

func TestPenaltyCountsWhatTheStandardCounts(t *testing.T) {
	line := func(s string) int {
		var dark []bool
		for _, c := range s {
			dark = append(dark, c == 'X')
		}
		return linePenalty(dark)
	}
	for s, want := range map[string]int{
		"XXXX.": 0, "XXXXX.": 3, "XXXXXX": 4, ".......": 5, "XXXXX.....": 6,
		"X.XXX.X....": 40, "....X.XXX.X": 40, "X.XXX.X...X": 0, "....X.XXX.X....": 80,
	} {
		if got := line(s); got != want {
			t.Errorf("%s: %d, want %d", s, got, want)
		}
	}
	for _, tt := range []struct {
		name string
		code *Code
		want int
	}{
		{"a chessboard, half dark", draw("X.X.", ".X.X", "X.X.", ".X.X"), 0},
		{"one square", draw("XX.X", "XX..", "..X.", ".X.X"), 3},
		{"squares that overlap", draw("XXX.", "XXX.", "...X", "X..."), 2*3 + 3},
		{"all dark: squares, and ten twentieths too many", draw("XX", "XX"), 3 + 100},
		{"all light, likewise", draw("..", ".."), 3 + 100},
		{"three quarters: five twentieths", draw("XX", "X."), 50},
	} {
		if got := tt.code.penalty(); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestMaskIsTheOneOfLeastPenalty(t *testing.T) {
	chosen := map[int]bool{}
	for i := range 40 {
		data := []byte(strings.Repeat("https://shop.example.com/", 1+i%4) + fmt.Sprint(i))
		c, err := Encode(data)
		if err != nil {
			t.Fatal(err)
		}
		s, _ := specFor(len(data))
		blank := newCode(s.version)
		blank.drawFunctionPatterns(s.version)
		blank.drawCodewords(s.interleave(s.codewords(data)))
		found := false
		for mask := range 8 {
			m := blank.masked(s, mask)
			if m.penalty() < c.penalty() {
				t.Errorf("%q: mask %d has penalty %d, the chosen one %d", data, mask, m.penalty(), c.penalty())
			}
			if slices.Equal(m.dark, c.dark) {
				found, chosen[mask] = true, true
			}
		}
		if !found {
			t.Errorf("%q: under no mask", data)
		}
	}
	if len(chosen) < 5 {
		t.Errorf("of forty codes all have one of the masks %v", chosen)
	}
}

func TestOneModuleIsAlwaysDark(t *testing.T) { // 7.9.1; readers do without it
	for n := range 200 {
		c, err := Encode(make([]byte, n))
		if err != nil || !c.Dark(8, c.Size()-8) {
			t.Fatalf("%d bytes: %v, or the module is light", n, err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, n := range []int{60, 300, 2953} {
		data := bytes.Repeat([]byte("a"), n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, err := Encode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
