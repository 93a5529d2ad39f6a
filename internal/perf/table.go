package main

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cost is a line of the table that TestCostsStayUnderTheirBars prints.
type cost struct{ Name, Floor, Here, Ratio, Bar, Allocs, AllocsBar string }

var costLine = regexp.MustCompile(`^\s*(\S.*?)\s{2,}([\d.]+ ns)\s+([\d.]+ ns)\s+(\d+\.\d+)\s+(\d+\.\d+)\s+(\d+)\s+(\d+)$`)

func readCosts(out string) (costs []cost) {
	for line := range strings.Lines(out) {
		if m := costLine.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			costs = append(costs, cost{m[1], m[2], m[3], m[4], m[5], m[6], m[7]})
		}
	}
	return costs
}

// curve is what something costs at each size.
type curve struct {
	Name   string
	Points []point
}

type point struct {
	Size int
	Cost time.Duration
}

var (
	benchLine  = regexp.MustCompile(`^Benchmark(\w+)/(\d+)(?:/([a-z]+(?:-[a-z]+)?))?(?:-\d+)?\s+\d+\s+([\d.]+) ns/op`)
	memoryLine = regexp.MustCompile(`\s(\d+)(?:\.\d+)? B/account`)
)

// readCurves takes the least of several runs: noise only ever adds.
func readCurves(out string) (curves []curve, cold curve, memory string) {
	cold.Name = "cold token"
	byName := map[string]map[int]time.Duration{}
	for line := range strings.Lines(out) {
		if m := memoryLine.FindStringSubmatch(line); m != nil {
			memory = m[1]
		}
		m := benchLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		name := cmp.Or(m[3], m[1])
		size, _ := strconv.Atoi(m[2])
		ns, _ := strconv.ParseFloat(m[4], 64)
		took := time.Duration(ns)
		if took > time.Millisecond {
			took = took.Round(100 * time.Microsecond)
		}
		if byName[name] == nil {
			byName[name] = map[int]time.Duration{}
		}
		if old, ok := byName[name][size]; !ok || took < old {
			byName[name][size] = took
		}
	}
	for name, sizes := range byName {
		c := curve{Name: name}
		for size, took := range sizes {
			c.Points = append(c.Points, point{size, took})
		}
		slices.SortFunc(c.Points, func(a, b point) int { return cmp.Compare(a.Size, b.Size) })
		if name == "ColdToken" {
			cold.Points = c.Points
		} else {
			curves = append(curves, c)
		}
	}
	slices.SortFunc(curves, func(a, b curve) int { return strings.Compare(a.Name, b.Name) })
	return curves, cold, memory
}

// row is what every curve has at one size.
type row struct {
	Size  int
	Costs []time.Duration
}

func rowsOf(curves []curve) (rows []row) {
	if len(curves) == 0 {
		return nil
	}
	for i, p := range curves[0].Points {
		r := row{Size: p.Size}
		for _, c := range curves {
			if i < len(c.Points) && c.Points[i].Size == p.Size {
				r.Costs = append(r.Costs, c.Points[i].Cost)
			}
		}
		rows = append(rows, r)
	}
	return rows
}
