package plot

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Lines is a picture of lines, each with a band from the least to the greatest
// of the rounds.
type Lines struct {
	Title          string
	XLabel, YLabel string // with units

	Format func(y float64) string // writes a Y; nil: as a number

	LogX bool // X must be above zero
	LogY bool

	// XNames names the values 0, 1, 2… of X, if they are no numbers. Empty: every
	// X that a point has is a tick.
	XNames []string

	Series []Series
}

// SVG returns the picture.
func (l Lines) SVG() []byte {
	c := newCanvas(l.Title)
	y := yAxis(l.Series, l.LogY)
	xs, at := l.xAxis()
	c.axes(y, l.YLabel, xs, l.XLabel, or(l.Format))
	for _, s := range l.Series {
		l.band(c, s, at, y)
	}
	for _, s := range l.Series {
		l.line(c, s, at, y)
	}
	c.legend(l.Series)
	return c.finish()
}

// xAxis returns the ticks, in pixels, and what maps an X to a pixel.
func (l Lines) xAxis() ([]tick, func(float64) float64) {
	var values []float64
	for i := range l.XNames {
		values = append(values, float64(i))
	}
	for _, s := range l.Series {
		for _, p := range s.Points {
			if l.XNames == nil && shown(p.X, l.LogX) {
				values = append(values, p.X)
			}
		}
	}
	slices.Sort(values)
	values = slices.Compact(values)
	if len(values) == 0 {
		return nil, func(float64) float64 { return left }
	}
	scale := func(x float64) float64 { return x }
	if l.LogX {
		scale = math.Log
	}
	const margin = 24
	first, last := scale(values[0]), scale(values[len(values)-1])
	at := func(x float64) float64 {
		if first == last {
			return float64(left+width-right) / 2
		}
		return left + margin + (scale(x)-first)/(last-first)*float64(width-right-left-2*margin)
	}
	var ticks []tick
	for i, v := range values {
		name := value(v)
		if l.XNames != nil {
			name = l.XNames[i]
		}
		if n := len(ticks); n == 0 || at(v)-ticks[n-1].value >= 30 { // else the texts would touch
			ticks = append(ticks, tick{at(v), name})
		}
	}
	return ticks, at
}

// runs splits the points at gaps.
func (l Lines) runs(s Series) [][]Point {
	var runs [][]Point
	open := false
	for _, p := range s.Points {
		if !shown(p.Y, l.LogY) || !shown(p.X, l.LogX) {
			open = false
			continue
		}
		if !open {
			runs, open = append(runs, nil), true
		}
		runs[len(runs)-1] = append(runs[len(runs)-1], p)
	}
	return runs
}

func (l Lines) band(c *canvas, s Series, at func(float64) float64, y axis) {
	edge := func(v, instead float64) float64 {
		if !shown(v, l.LogY) {
			v = instead
		}
		return y.at(v)
	}
	for _, run := range l.runs(s) {
		var corners []string
		for _, p := range run {
			corners = append(corners, px(at(p.X))+","+px(edge(p.High, p.Y)))
		}
		for _, p := range slices.Backward(run) {
			corners = append(corners, px(at(p.X))+","+px(edge(p.Low, p.Y)))
		}
		c.add(`<polygon points="%s" fill="%s" fill-opacity="0.14"/>`, strings.Join(corners, " "), s.color())
		for _, p := range run { // a lone point has no band
			c.add(`<line x1="%s" x2="%s" y1="%s" y2="%s" stroke="%s" stroke-opacity="0.5"/>`,
				px(at(p.X)), px(at(p.X)), px(edge(p.Low, p.Y)), px(edge(p.High, p.Y)), s.color())
		}
	}
}

func (l Lines) line(c *canvas, s Series, at func(float64) float64, y axis) {
	format := or(l.Format)
	for _, run := range l.runs(s) {
		var corners []string
		for _, p := range run {
			corners = append(corners, px(at(p.X))+","+px(y.at(p.Y)))
		}
		c.add(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"%s/>`, strings.Join(corners, " "), s.color(), s.dash())
		for _, p := range run {
			x := value(p.X)
			if i := int(p.X); l.XNames != nil && i >= 0 && i < len(l.XNames) {
				x = l.XNames[i]
			}
			c.add(`<circle cx="%s" cy="%s" r="3.5" fill="%s"><title>%s</title></circle>`, px(at(p.X)), px(y.at(p.Y)), s.color(),
				escape(fmt.Sprintf("%s, %s: %s (%s–%s)", s.Name, x, format(p.Y), format(p.Low), format(p.High))))
		}
	}
}
