package main

import (
	"bytes"
	"fmt"
	"math"
)

// chart draws curves as an SVG, both axes logarithmic: a flat line is a cost that does not grow.
func chart(curves []curve) []byte {
	const width, height, left, right, top, bottom = 720, 360, 70, 130, 20, 50
	minSize, maxSize, minCost, maxCost := math.Inf(1), 1.0, math.Inf(1), 1.0
	for _, c := range curves {
		for _, p := range c.Points {
			minSize, maxSize = min(minSize, float64(p.Size)), max(maxSize, float64(p.Size))
			minCost, maxCost = min(minCost, float64(p.Cost)), max(maxCost, float64(p.Cost))
		}
	}
	floorCost, ceilCost := math.Floor(math.Log10(minCost)), math.Ceil(math.Log10(maxCost))
	scale := func(v, lo, hi, from, to float64) float64 { return from + (v-lo)/max(hi-lo, 1e-9)*(to-from) }
	x := func(size float64) float64 {
		return scale(math.Log10(size), math.Log10(minSize), math.Log10(maxSize), left, width-right)
	}
	y := func(cost float64) float64 { return scale(math.Log10(cost), floorCost, ceilCost, height-bottom, top) }

	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" role="img" aria-label="cost by number of accounts">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	for e := floorCost; e <= ceilCost; e++ {
		at := y(math.Pow(10, e))
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left, at, width-right, left-8, at+4, unit(math.Pow(10, e)))
	}
	for e := math.Ceil(math.Log10(minSize)); e <= math.Log10(maxSize); e++ {
		at := x(math.Pow(10, e))
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#eee"/><text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n", at, top, height-bottom, at, height-bottom+18, math.Pow(10, e))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">accounts</text>`+"\n", (left+width-right)/2, height-12)
	colors := []string{"#07c160", "#1989fa", "#ee0a24", "#7232dd", "#ff976a"}
	for i, c := range curves {
		color := colors[i%len(colors)]
		var path bytes.Buffer
		for j, p := range c.Points {
			command := 'L'
			if j == 0 {
				command = 'M'
			}
			fmt.Fprintf(&path, "%c%.1f %.1f", command, x(float64(p.Size)), y(float64(p.Cost)))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`, x(float64(p.Size)), y(float64(p.Cost)), color)
		}
		last := c.Points[len(c.Points)-1]
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/><text x="%d" y="%.1f" fill="%s">%s</text>`+"\n",
			path.String(), color, width-right+10, y(float64(last.Cost))+4, color, c.Name)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func unit(ns float64) string {
	switch {
	case ns >= 1e6:
		return fmt.Sprintf("%.0f ms", ns/1e6)
	case ns >= 1e3:
		return fmt.Sprintf("%.0f µs", ns/1e3)
	}
	return fmt.Sprintf("%.0f ns", ns)
}
