package plot

import (
	"fmt"
)

// Bars is a picture of groups of bars, with a stroke from the least to the
// greatest of the rounds.
type Bars struct {
	Title          string
	XLabel, YLabel string                 // with units
	Format         func(y float64) string // writes a Y; nil: as a number
	LogY           bool
	Groups         []string // their names, from left to right

	// Series are the bars of one colour. Point i is the bar in group i; its X does
	// not matter.
	Series []Series
}

// SVG returns the picture.
func (b Bars) SVG() []byte {
	c := newCanvas(b.Title)
	y := yAxis(b.Series, b.LogY)
	group := float64(width-right-left) / float64(max(len(b.Groups), 1))
	bar := group * 0.84 / float64(max(len(b.Series), 1))
	var ticks []tick
	for i, name := range b.Groups {
		ticks = append(ticks, tick{left + group*(float64(i)+0.5), name})
	}
	format := or(b.Format)
	c.axes(y, b.YLabel, ticks, b.XLabel, format)
	for k, s := range b.Series {
		for i, p := range s.Points {
			if i >= len(b.Groups) || !shown(p.Y, b.LogY) {
				continue
			}
			x := left + group*(float64(i)+0.08) + bar*float64(k)
			at := y.at(p.Y)
			c.add(`<rect x="%s" y="%s" width="%s" height="%s" fill="%s"><title>%s</title></rect>`,
				px(x), px(at), px(bar*0.92), px(float64(height-low)-at), s.color(),
				escape(fmt.Sprintf("%s, %s: %s (%s–%s)", s.Name, b.Groups[i], format(p.Y), format(p.Low), format(p.High))))
			summit := p.Y
			if shown(p.Low, b.LogY) && shown(p.High, b.LogY) {
				summit = max(p.Y, p.High)
				middle := px(x + bar*0.46)
				c.add(`<line x1="%s" x2="%s" y1="%s" y2="%s" stroke="#111111"/>`, middle, middle, px(y.at(p.Low)), px(y.at(p.High)))
			}
			c.text(x+bar*0.46, y.at(summit)-4, "middle", `font-size="9" fill="#444444"`, format(p.Y))
		}
	}
	c.legend(b.Series)
	return c.finish()
}
