// Package qr draws QR codes (ISO/IEC 18004) of bytes: byte mode, error correction level M, and level L for what does not
// fit otherwise. It is pure: bytes in, modules out. Section numbers are those of the 2015 edition.
package qr

import "errors"

// ErrTooLong means that no QR code holds that much.
var ErrTooLong = errors.New("qr: more than 2953 bytes")

// Code is a QR code, without the quiet zone of four light modules that belongs around it.
type Code struct {
	size     int
	dark     []bool
	function []bool // finders, timing and the like, which carry no data and are not masked
}

// Encode draws data with the smallest version that holds it.
func Encode(data []byte) (*Code, error) {
	s, ok := specFor(len(data))
	if !ok {
		return nil, ErrTooLong
	}
	blank := newCode(s.version)
	blank.drawFunctionPatterns(s.version)
	blank.drawCodewords(s.interleave(s.codewords(data)))
	var best *Code
	least := 0
	for mask := range 8 {
		c := blank.masked(s, mask)
		if p := c.penalty(); best == nil || p < least {
			best, least = c, p
		}
	}
	return best, nil
}

// Size is the number of modules on a side.
func (c *Code) Size() int { return c.size }

// Dark reports whether the module in column x and row y is dark, counted from the upper left.
func (c *Code) Dark(x, y int) bool { return c.dark[y*c.size+x] }

const (
	versions    = 40
	finder      = 7 // modules on a side
	byteMode    = 0b0100
	padOdd      = 0b11101100 // 7.4.10: pad codewords
	padEven     = 0b00010001
	timingLine  = 6    // row and column
	versionFrom = 7    // the first version that says which it is
	levelL      = 0b01 // 7.9.1: how the format information says it
	levelM      = 0b00
	formatPoly  = 0x537 // annex C: BCH(15,5)
	formatMask  = 0x5412
	versionPoly = 0x1f25 // annex D: BCH(18,6)
	fieldPoly   = 0x11d  // 7.5.2: x⁸+x⁴+x³+x²+1
)

// spec is what the version and the level decide.
type spec struct {
	version, level   int
	blocks, ecLength int // error correction blocks, and codewords of error correction in each
}

// specFor is the smallest version of level M that holds n bytes, else the largest of level L.
func specFor(n int) (spec, bool) {
	for v, ec := range levelMBlocks() {
		if s := (spec{v + 1, levelM, ec[0], ec[1]}); n <= s.capacity() {
			return s, true
		}
	}
	s := spec{versions, levelL, 25, 30}
	return s, n <= s.capacity()
}

// levelMBlocks are blocks and error correction codewords a block of level M, by version from 1. Source: table 9.
func levelMBlocks() [versions][2]int {
	return [versions][2]int{
		{1, 10}, {1, 16}, {1, 26}, {2, 18}, {2, 24}, {4, 16}, {4, 18}, {4, 22}, {5, 22}, {5, 26},
		{5, 30}, {8, 22}, {9, 22}, {9, 24}, {10, 24}, {10, 28}, {11, 28}, {13, 26}, {14, 26}, {16, 26},
		{17, 26}, {17, 28}, {18, 28}, {20, 28}, {21, 28}, {23, 28}, {25, 28}, {26, 28}, {28, 28}, {29, 28},
		{31, 28}, {33, 28}, {35, 28}, {37, 28}, {38, 28}, {40, 28}, {43, 28}, {45, 28}, {47, 28}, {49, 28},
	}
}

// countBits is the length of the character count indicator of byte mode. Source: table 3.
func (s spec) countBits() int {
	if s.version < 10 {
		return 8
	}
	return 16
}

// total is all codewords: the modules that no function pattern takes, in eights.
func (s spec) total() int {
	side := sideOf(s.version)
	n := side*side - 3*(finder+1)*(finder+1) - 2*(side-2*(finder+1)) // finders with separators, timing
	n -= 2*15 + 1                                                    // format information, the one module that is always dark
	if a := len(alignment(s.version)); a > 0 {
		n -= 25*(a*a-3) - 2*5*(a-2) // those on the timing lines share five modules with them
	}
	if s.version >= versionFrom {
		n -= 2 * 18
	}
	return n / 8
}

func (s spec) dataLength() int { return s.total() - s.blocks*s.ecLength }

// capacity is how many bytes fit.
func (s spec) capacity() int { return (8*s.dataLength() - 4 - s.countBits()) / 8 }

func sideOf(version int) int { return 17 + 4*version }

// alignment are the coordinates at which alignment patterns are centred, wherever there is no finder. They divide the
// way from the first to the last into even steps, with what is left over at the beginning. Source: annex E.
func alignment(version int) []int {
	if version == 1 {
		return nil
	}
	first, last := timingLine, sideOf(version)-finder
	gaps := version/7 + 1
	step := (last - first + gaps - 1) / gaps
	step += step % 2
	if version == 32 {
		step = 26 // the table's own exception
	}
	at := make([]int, gaps+1)
	at[0] = first
	for i := gaps; i > 0; i-- {
		at[i] = last - (gaps-i)*step
	}
	return at
}

// codewords is data in byte mode, with its length before it and padding behind it. Source: 7.4.
func (s spec) codewords(data []byte) []byte {
	var bits bitBuffer
	bits.add(byteMode, 4)
	bits.add(len(data), s.countBits())
	for _, b := range data {
		bits.add(int(b), 8)
	}
	bits.add(0, min(4, 8*s.dataLength()-bits.n)) // terminator
	for pad := byte(padOdd); len(bits.bytes) < s.dataLength(); pad ^= padOdd ^ padEven {
		bits.bytes = append(bits.bytes, pad)
	}
	return bits.bytes
}

// bitBuffer is bits in bytes, the first bit highest.
type bitBuffer struct {
	bytes []byte
	n     int
}

func (b *bitBuffer) add(value, count int) {
	for i := count - 1; i >= 0; i-- {
		if b.n%8 == 0 {
			b.bytes = append(b.bytes, 0)
		}
		b.bytes[b.n/8] |= byte(value>>i&1) << (7 - b.n%8)
		b.n++
	}
}

// interleave adds error correction and orders the codewords: the first of each block, the second of each, and so on.
// The last blocks are one codeword longer if the data does not divide. Source: 7.6.
func (s spec) interleave(data []byte) []byte {
	generator := rsGenerator(s.ecLength)
	short, long := len(data)/s.blocks, len(data)%s.blocks
	blocks, corrections := make([][]byte, s.blocks), make([][]byte, s.blocks)
	for i := range blocks {
		n := short
		if i >= s.blocks-long {
			n++
		}
		blocks[i], data = data[:n], data[n:]
		corrections[i] = rsRemainder(blocks[i], generator)
	}
	var out []byte
	for _, part := range [][][]byte{blocks, corrections} {
		for i := range len(part[len(part)-1]) {
			for _, block := range part {
				if i < len(block) {
					out = append(out, block[i])
				}
			}
		}
	}
	return out
}

// multiply is the product in the field of 256 elements.
func multiply(a, b byte) byte {
	var p int
	for i := 7; i >= 0; i-- {
		p <<= 1
		if p&0x100 != 0 {
			p ^= fieldPoly
		}
		if b>>i&1 == 1 {
			p ^= int(a)
		}
	}
	return byte(p)
}

// rsGenerator is (x-α⁰)(x-α¹)…, n factors, without its leading 1. Source: annex A.
func rsGenerator(n int) []byte {
	g := make([]byte, n)
	g[n-1] = 1
	root := byte(1)
	for range n {
		for i := range g {
			g[i] = multiply(g[i], root)
			if i+1 < n {
				g[i] ^= g[i+1]
			}
		}
		root = multiply(root, 2)
	}
	return g
}

// rsRemainder is what is left of the data, shifted by the generator's length, after division by it.
func rsRemainder(data, generator []byte) []byte {
	rest := make([]byte, len(generator))
	for _, b := range data {
		factor := b ^ rest[0]
		copy(rest, rest[1:])
		rest[len(rest)-1] = 0
		for i, g := range generator {
			rest[i] ^= multiply(g, factor)
		}
	}
	return rest
}

// bch is value with its check bits behind it, of a generator of that many bits and one.
func bch(value, generator, bits int) int {
	rest := value << bits
	for i := 17; i >= bits; i-- {
		if rest>>i&1 == 1 {
			rest ^= generator << (i - bits)
		}
	}
	return value<<bits | rest
}

func newCode(version int) *Code {
	n := sideOf(version)
	return &Code{size: n, dark: make([]bool, n*n), function: make([]bool, n*n)}
}

func (c *Code) set(x, y int, dark bool) {
	c.dark[y*c.size+x], c.function[y*c.size+x] = dark, true
}

// drawFunctionPatterns draws what is the same in every code of a version, and keeps the place of the format
// information. Source: 6.3.
func (c *Code) drawFunctionPatterns(version int) {
	for i := range c.size {
		c.set(i, timingLine, i%2 == 0)
		c.set(timingLine, i, i%2 == 0)
	}
	for _, center := range [][2]int{{3, 3}, {c.size - 4, 3}, {3, c.size - 4}} {
		c.drawRings(center[0], center[1], 4, 2) // the outermost ring is the separator
	}
	at := alignment(version)
	for i, x := range at {
		for j, y := range at {
			last := len(at) - 1
			if i == 0 && j == 0 || i == 0 && j == last || i == last && j == 0 {
				continue // a finder is there
			}
			c.drawRings(x, y, 2, 1)
		}
	}
	c.drawFormat(0)
	if version >= versionFrom {
		c.drawVersion(version)
	}
}

// drawRings draws squares around a center out to a distance: all dark but the ones at light and, for the separator, 4.
func (c *Code) drawRings(x, y, out, light int) {
	for dy := -out; dy <= out; dy++ {
		for dx := -out; dx <= out; dx++ {
			if x+dx < 0 || x+dx >= c.size || y+dy < 0 || y+dy >= c.size {
				continue
			}
			ring := max(dx, -dx, dy, -dy)
			c.set(x+dx, y+dy, ring != light && ring != 4)
		}
	}
}

// drawFormat draws the 15 bits of the format information twice, the lowest bit first. Source: 7.9.1.
func (c *Code) drawFormat(bits int) {
	for i := range 15 {
		dark := bits>>i&1 == 1
		switch { // down beside the upper left finder, around its corner, and to the left
		case i < 6:
			c.set(8, i, dark)
		case i < 8:
			c.set(8, i+1, dark)
		case i == 8:
			c.set(7, 8, dark)
		default:
			c.set(14-i, 8, dark)
		}
		if i < 8 { // below the upper right finder, and beside the lower left one
			c.set(c.size-1-i, 8, dark)
		} else {
			c.set(8, c.size-15+i, dark)
		}
	}
	c.set(8, c.size-8, true)
}

// drawVersion draws the 18 bits of the version information twice. Source: 7.10.
func (c *Code) drawVersion(version int) {
	bits := bch(version, versionPoly, 12)
	for i := range 18 {
		dark := bits>>i&1 == 1
		far, near := c.size-11+i%3, i/3
		c.set(far, near, dark)
		c.set(near, far, dark)
	}
}

// drawCodewords fills columns in pairs from the right, up and down in turns, and passes over what is a function
// pattern. A few modules may be left light at the end. Source: 7.7.3.
func (c *Code) drawCodewords(words []byte) {
	n, up := 0, true
	for right := c.size - 1; right > 0; right -= 2 {
		if right == timingLine {
			right--
		}
		for i := range c.size {
			y := i
			if up {
				y = c.size - 1 - i
			}
			for _, x := range [2]int{right, right - 1} {
				if at := y*c.size + x; !c.function[at] && n < 8*len(words) {
					c.dark[at] = words[n/8]>>(7-n%8)&1 == 1
					n++
				}
			}
		}
		up = !up
	}
}

// masked is a copy under a mask, with its format information.
func (c *Code) masked(s spec, mask int) *Code {
	m := &Code{size: c.size, dark: append([]bool(nil), c.dark...), function: c.function}
	for y := range c.size {
		for x := range c.size {
			if at := y*c.size + x; !c.function[at] && flips(mask, x, y) {
				m.dark[at] = !m.dark[at]
			}
		}
	}
	m.drawFormat(bch(s.level<<3|mask, formatPoly, 10) ^ formatMask)
	return m
}

// flips reports whether a mask turns a module over. Source: table 10, where i is the row and j the column.
func flips(mask, j, i int) bool {
	switch mask {
	case 0:
		return (i+j)%2 == 0
	case 1:
		return i%2 == 0
	case 2:
		return j%3 == 0
	case 3:
		return (i+j)%3 == 0
	case 4:
		return (i/2+j/3)%2 == 0
	case 5:
		return i*j%2+i*j%3 == 0
	case 6:
		return (i*j%2+i*j%3)%2 == 0
	}
	return ((i+j)%2+i*j%3)%2 == 0
}

// penalty is how much in a code would confuse a reader. Source: 7.8.3, table 11.
func (c *Code) penalty() int {
	p, dark := 0, 0
	column := make([]bool, c.size)
	for a := range c.size {
		row := c.dark[a*c.size:][:c.size]
		for b := range c.size {
			column[b] = c.Dark(a, b)
			if row[b] {
				dark++
			}
			if a > 0 && b > 0 && row[b] == row[b-1] && row[b] == c.Dark(b, a-1) && row[b] == c.Dark(b-1, a-1) {
				p += 3 // a square of two by two
			}
		}
		p += linePenalty(row) + linePenalty(column)
	}
	all := c.size * c.size
	off := max(20*dark-10*all, 10*all-20*dark) // from half, in twentieths of all
	return p + 10*(off/all)
}

// linePenalty counts runs of one color in a row or column, five at least, and what looks like a finder with four light
// modules on one side.
func linePenalty(line []bool) int {
	const window, before, after = 1<<11 - 1, 0b00001011101, 0b10111010000
	p, run, seen := 0, 0, 0
	for i, dark := range line {
		if i > 0 && dark == line[i-1] {
			run++
		} else {
			run = 1
		}
		switch {
		case run == 5:
			p += 3
		case run > 5:
			p++
		}
		seen = seen << 1 & window
		if dark {
			seen |= 1
		}
		if i >= 10 && (seen == before || seen == after) {
			p += 40
		}
	}
	return p
}
