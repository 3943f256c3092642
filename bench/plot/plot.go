// Package plot draws the benchmark's figures as SVG: lines with the spread of
// the rounds around them, and bars. A picture stands on its own: it has its
// title, its axes with their units and its legend, and a viewer shows the value
// of a point under the pointer.
package plot

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strconv"
)

// Point is one value with the least and the greatest of its rounds. A Y that is
// NaN, or not above zero on a logarithmic axis, is a gap.
type Point struct{ X, Y, Low, High float64 }

// Series is one line, or the bars of one colour.
type Series struct {
	Name   string
	Points []Point

	// Color is the number of the series's colour, so that the same contender has
	// the same one in every picture. Above the number of colours it begins anew,
	// dashed.
	Color int
}

// The colours of Okabe and Ito, which people who see few colours can tell
// apart, and two more.
var colors = [...]string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#8c510a"}

// Measures of every picture, in pixels.
const (
	width, height         = 890, 460
	left, right, top, low = 78, 260, 62, 58 // around the plot; the legend stands on the right
)

// canvas writes elements.
type canvas struct {
	bytes.Buffer
	title string
}

func newCanvas(title string) *canvas {
	c := &canvas{title: title}
	c.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui, Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="12" role="img" aria-label="%s">`,
		width, height, width, height, escape(title))
	c.add(`<rect width="%d" height="%d" fill="#ffffff"/>`, width, height)
	c.text(left, 24, "start", `font-size="15" font-weight="600" fill="#111111"`, title)
	return c
}

func (c *canvas) add(format string, args ...any) {
	fmt.Fprintf(&c.Buffer, format+"\n", args...)
}

// text writes a text; more is further attributes.
func (c *canvas) text(x, y float64, anchor, more, text string) {
	c.add(`<text x="%s" y="%s" text-anchor="%s" %s>%s</text>`, px(x), px(y), anchor, more, escape(text))
}

func (c *canvas) finish() []byte {
	c.add("</svg>")
	return c.Bytes()
}

// axes draws the frame: horizontal lines at the ticks of y, texts at those of x.
func (c *canvas) axes(y axis, yLabel string, xs []tick, xLabel string, format func(float64) string) {
	for _, t := range y.ticks(format) {
		at := y.at(t.value)
		c.add(`<line x1="%d" x2="%d" y1="%s" y2="%s" stroke="#dddddd"/>`, left, width-right, px(at), px(at))
		c.text(left-8, at+4, "end", `fill="#444444"`, t.name)
	}
	bottom := float64(height - low)
	c.add(`<line x1="%d" x2="%d" y1="%s" y2="%s" stroke="#444444"/>`, left, width-right, px(bottom), px(bottom))
	for _, t := range xs {
		c.text(t.value, bottom+18, "middle", `fill="#444444"`, t.name)
	}
	c.text(left, 46, "start", `fill="#444444"`, yLabel)
	c.text(float64(left+width-right)/2, bottom+42, "middle", `fill="#444444"`, xLabel)
}

// legend names the series, in their order.
func (c *canvas) legend(series []Series) {
	for i, s := range series {
		y := float64(top + 10 + 20*i)
		x := float64(width - right + 18)
		c.add(`<line x1="%s" x2="%s" y1="%s" y2="%s" stroke="%s" stroke-width="4"%s/>`, px(x), px(x+22), px(y), px(y), s.color(), s.dash())
		c.text(x+30, y+4, "start", `fill="#111111"`, s.Name)
	}
}

func (s Series) color() string { return colors[s.Color%len(colors)] }

func (s Series) dash() string {
	if s.Color < len(colors) {
		return ""
	}
	return ` stroke-dasharray="6 4"`
}

func escape(s string) string { return html.EscapeString(s) }

// px writes a coordinate.
func px(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// or returns value if there is no other way to write numbers.
func or(format func(float64) string) func(float64) string {
	if format == nil {
		return value
	}
	return format
}

// value writes a number as people do.
func value(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + " M"
	case a >= 1e4:
		return strconv.FormatFloat(math.Round(v/100)/10, 'f', -1, 64) + " k"
	case a >= 100:
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
