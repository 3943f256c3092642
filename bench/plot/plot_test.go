package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
)

// elements parses a picture, and returns its elements by name. It fails if the
// XML is not well-formed or a coordinate is no number within the picture.
func elements(t *testing.T, svg []byte) map[string][]map[string]string {
	t.Helper()
	found := map[string][]map[string]string{}
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, svg)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		attributes := map[string]string{}
		for _, a := range start.Attr {
			attributes[a.Name.Local] = a.Value
			switch a.Name.Local {
			case "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height":
				within(t, a.Name.Local, a.Value)
			case "points":
				for _, v := range strings.FieldsFunc(a.Value, func(r rune) bool { return r == ' ' || r == ',' }) {
					within(t, "points", v)
				}
			}
		}
		found[start.Name.Local] = append(found[start.Name.Local], attributes)
	}
}

func within(t *testing.T, name, text string) {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0 && v <= width) {
		t.Errorf("%s is %q", name, text)
	}
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func points(ys ...float64) []Point {
	var ps []Point
	for i, y := range ys {
		ps = append(ps, Point{X: math.Pow(10, float64(i)), Y: y, Low: y * 0.8, High: y * 1.3})
	}
	return ps
}

func TestLinesAreDrawnToScale(t *testing.T) {
	svg := Lines{
		Title: `Throughput <&"'> of all`, LogX: true, YLabel: "per second",
		Series: []Series{{Name: "a < b", Points: points(100, 50, 0)}, {Name: "c", Color: 9, Points: points(10, 100, 80)}},
	}.SVG()
	found := elements(t, svg)
	dots := found["circle"]
	if len(dots) != 6 || len(found["polyline"]) != 2 || len(found["polygon"]) != 2 {
		t.Fatalf("%d dots, %d lines, %d bands", len(dots), len(found["polyline"]), len(found["polygon"]))
	}
	x := func(i int) float64 { return number(t, dots[i]["cx"]) }
	y := func(i int) float64 { return number(t, dots[i]["cy"]) }
	if d := (x(1) - x(0)) - (x(2) - x(1)); math.Abs(d) > 0.3 {
		t.Errorf("decades are not alike on the logarithmic axis: %v", d)
	}
	if y(2) != height-low {
		t.Errorf("zero is at %v, not on the axis at %d", y(2), height-low)
	}
	if d := (y(2)-y(0))/(y(2)-y(1)) - 2; math.Abs(d) > 0.02 {
		t.Errorf("100 is not twice as high as 50: off by %v", d)
	}
	if y(0) != y(4) {
		t.Error("100 is at two heights")
	}
}

func TestGapsAreNotDrawn(t *testing.T) {
	nan := math.NaN()
	with := []Point{{1, 5, 4, 6}, {10, nan, nan, nan}, {100, 5, nan, nan}, {1000, 0, 0, 0}, {10000, math.Inf(1), 0, 0}}
	found := elements(t, Lines{LogX: true, LogY: true, Series: []Series{{Points: with}}}.SVG())
	if n := len(found["circle"]); n != 2 {
		t.Errorf("%d dots, want 2: what is not a number, or zero on a logarithmic axis, is none", n)
	}
	if n := len(found["polyline"]); n != 2 {
		t.Errorf("%d lines, want 2: the gap divides them", n)
	}
	bars := elements(t, Bars{Groups: []string{"1", "2", "3", "4", "5"}, Series: []Series{{Points: with}}}.SVG())
	if n := len(bars["rect"]); n != 1+3 { // one is the background
		t.Errorf("%d bars, want 3", n-1)
	}
}

func TestEmptyPicturesAreWellFormed(t *testing.T) {
	elements(t, Lines{}.SVG())
	elements(t, Lines{LogX: true, LogY: true, XNames: []string{"a"}, Series: []Series{{Name: "none"}}}.SVG())
	elements(t, Bars{}.SVG())
	elements(t, Bars{Groups: []string{"a"}, Series: []Series{{Points: points(0)}}}.SVG())
}

func TestBarsStandOnTheAxisInTheirGroups(t *testing.T) {
	found := elements(t, Bars{Groups: []string{"32", "256"}, Series: []Series{{Points: points(10, 20)}, {Points: points(40, 80)}}}.SVG())
	var bars []map[string]string
	for _, r := range found["rect"][1:] {
		if bottom := number(t, r["y"]) + number(t, r["height"]); math.Abs(bottom-(height-low)) > 0.2 {
			t.Errorf("a bar ends at %v", bottom)
		}
		bars = append(bars, r)
	}
	tall := func(i int) float64 { return number(t, bars[i]["height"]) }
	for i := 1; i < 4; i++ {
		if d := tall(i)/tall(i-1) - 2; math.Abs(d) > 0.02 {
			t.Errorf("bar %d is %v high, the one before %v", i, tall(i), tall(i-1))
		}
	}
	if first, second := number(t, bars[1]["x"]), number(t, bars[2]["x"]); !(number(t, bars[0]["x"]) < second && second < first) {
		t.Errorf("the bars of the second series are not beside those of the first: %v, %v", first, second)
	}
}

func TestAxesReachBeyondTheData(t *testing.T) {
	for most, want := range map[float64]float64{1: 1, 1.1: 1.2, 99: 100, 101: 120, 640: 700, 2100: 2500} {
		a := yAxis([]Series{{Points: []Point{{Y: most, Low: most, High: most}}}}, false)
		if math.Abs(a.to-want) > 1e-9 || a.from != 0 {
			t.Errorf("for %v the axis runs from %v to %v, want %v", most, a.from, a.to, want)
		}
		if n := len(a.ticks(value)); n < 4 || n > 12 {
			t.Errorf("for %v there are %d ticks", most, n)
		}
	}
	a := yAxis([]Series{{Points: []Point{{Y: 30, Low: 8, High: 300}}}}, true)
	if a.from != 1 || a.to != 1000 || len(a.ticks(value)) != 4 {
		t.Errorf("the logarithmic axis runs from %v to %v with %v", a.from, a.to, a.ticks(value))
	}
}
