package svg

import "slices"

// element says what an element may have.
type element struct {
	sets     []map[string]values // its attributes; a set before another wins
	children []string
	text     bool
}

// attribute returns the values that an attribute may have.
func (e *element) attribute(name string) (values, bool) {
	for _, set := range e.sets {
		if v, ok := set[name]; ok {
			return v, true
		}
	}
	return "", false
}

func (e *element) holds(name string) bool { return slices.Contains(e.children, name) }

var (
	shapes = words("path rect circle line ellipse polyline polygon solidColor textArea linearGradient radialGradient text g defs use")
	within = words("desc metadata path rect circle line ellipse polyline polygon solidColor textArea linearGradient radialGradient text g defs use")
)

// elements has the elements of the profile. The schema also describes fonts, but allows them nowhere.
var elements = map[string]*element{
	"svg":            {sets: []map[string]values{ofSVG, core, painted}, children: within}, // and a title, first
	"title":          {sets: []map[string]values{core, conditional, shown}, text: true},
	"desc":           {sets: []map[string]values{core, conditional, shown}, text: true},
	"metadata":       {text: true},
	"g":              {sets: []map[string]values{core, conditional, painted, transformed}, children: shapes},
	"defs":           {sets: []map[string]values{core, painted}, children: shapes},
	"use":            {sets: []map[string]values{core, conditional, painted, transformed, {"href": local, "x": drawing, "y": drawing}}},
	"path":           {sets: []map[string]values{core, conditional, painted, transformed, {"d": drawing, "pathLength": drawing}}},
	"rect":           {sets: []map[string]values{core, conditional, painted, transformed, placed, {"rx": drawing, "ry": drawing}}},
	"circle":         {sets: []map[string]values{core, conditional, painted, transformed, {"cx": drawing, "cy": drawing, "r": drawing}}},
	"ellipse":        {sets: []map[string]values{core, conditional, painted, transformed, {"cx": drawing, "cy": drawing, "rx": drawing, "ry": drawing}}},
	"line":           {sets: []map[string]values{core, conditional, painted, transformed, ends}},
	"polyline":       {sets: []map[string]values{core, conditional, painted, transformed, {"points": drawing}}},
	"polygon":        {sets: []map[string]values{core, conditional, painted, transformed, {"points": drawing}}},
	"solidColor":     {sets: []map[string]values{core, painted}},
	"linearGradient": {sets: []map[string]values{core, painted, ends, {"gradientUnits": units}}, children: words("stop")},
	"radialGradient": {sets: []map[string]values{core, painted, {"cx": drawing, "cy": drawing, "r": drawing, "gradientUnits": units}}, children: words("stop")},
	"stop":           {sets: []map[string]values{core, painted, {"offset": drawing}}},
	"text":           {sets: []map[string]values{core, conditional, painted, transformed, {"editable": "none", "x": drawing, "y": drawing, "rotate": drawing}}, text: true},
	"textArea":       {sets: []map[string]values{core, conditional, painted, transformed, placed}, text: true},
}

const units values = "userSpaceOnUse|objectBoundingBox"

// core has the attributes of most elements. Those of RDFa are free: nothing is fetched for them.
var core = map[string]values{
	"id": aName, "xml:id": aName, "xml:lang": language, "class": nmTokens, "xml:space": "default|preserve",
	"role": free, "rel": free, "rev": free, "typeof": free, "content": free, "datatype": free, "resource": free, "about": free, "property": free,
}

var (
	conditional = map[string]values{"systemLanguage": drawing}
	transformed = map[string]values{"transform": drawing}
	placed      = map[string]values{"x": drawing, "y": drawing, "width": drawing, "height": drawing}
	ends        = map[string]values{"x1": drawing, "y1": drawing, "x2": drawing, "y2": drawing}
)

// ofSVG has the attributes of the root.
var ofSVG = map[string]values{
	"version": "1.2", "baseProfile": "tiny-ps", "viewBox": square, "width": length, "height": length, "preserveAspectRatio": ratio,
	"contentScriptType": drawing, "externalResourcesRequired": "false", "focusable": "false", "playbackOrder": "all", "snapshotTime": "none",
	"timelineBegin": "onLoad", "zoomAndPan": "disable",
	"font-weight": "normal|bold|bolder|lighter", // the root has nothing to inherit from
}

// painted has the presentation attributes of everything that is drawn.
var painted = map[string]values{
	"fill": drawing, "fill-opacity": drawing, "fill-rule": "inherit|nonzero|evenodd",
	"stroke": drawing, "stroke-opacity": drawing, "stroke-dasharray": drawing, "stroke-dashoffset": drawing,
	"stroke-linecap": "butt|round|square|inherit", "stroke-linejoin": "miter|round|bevel|inherit",
	"stroke-miterlimit": drawing, "stroke-width": drawing,
	"color": drawing, "color-rendering": "auto|optimizeSpeed|optimizeQuality|inherit",
	"vector-effect": "none|non-scaling-stroke|inherit",
	"direction":     "ltr|rtl|inherit", "unicode-bidi": "normal|embed|bidi-override|inherit",
	"solid-color": drawing, "solid-opacity": drawing, "stop-color": drawing, "stop-opacity": drawing,
	"display-align": "auto|before|center|after|inherit", "line-increment": drawing,
	"font-family": drawing, "font-size": drawing, "font-style": "normal|italic|oblique|inherit", "font-variant": "normal|small-caps|inherit",
	"font-weight": "normal|bold|bolder|lighter|inherit",
	"text-anchor": "start|middle|end|inherit", "text-align": "start|center|end|inherit",
}

// shown has the presentation attributes of title and desc.
var shown = map[string]values{
	"display": "inline|block|list-item|run-in|compact|marker|table|inline-table|table-row-group|table-header-group|table-footer-group|" +
		"table-row|table-column-group|table-column|table-cell|table-caption|none|inherit",
	"visibility":         "visible|hidden|collapse|inherit",
	"image-rendering":    "auto|optimizeSpeed|optimizeQuality|inherit",
	"shape-rendering":    "auto|optimizeSpeed|crispEdges|geometricPrecision|inherit",
	"text-rendering":     "auto|optimizeSpeed|optimizeLegibility|geometricPrecision|inherit",
	"buffered-rendering": "auto|dynamic|static|inherit",
	"viewport-fill":      drawing, "viewport-fill-opacity": drawing,
}

// instead says what to do in place of an element or attribute that is not allowed.
func instead(hints map[string]string, name string) string {
	if hint, ok := hints[name]; ok {
		return hint
	}
	return "remove it"
}

var elementHints = map[string]string{
	"script": "remove it; a mark may run nothing", "style": "write its rules as attributes of the elements, such as fill=\"#c00\"",
	"image": "draw the picture with paths", "a": "keep what is in it, without the link", "foreignObject": "draw what is in it with paths",
	"svg": "use g for what is in it", "symbol": "use g within defs", "clipPath": "cut the paths themselves", "mask": "cut the paths themselves",
	"filter": "remove it, and what refers to it", "pattern": "draw the pattern with paths", "tspan": "use an element text for each line",
	"font": "convert the text to paths", "title": "give only svg a title",
}

var attributeHints = map[string]string{
	"style": "write each of its properties as an attribute, such as fill=\"#c00\"", "xlink:href": "write href=\"#id\" in use, and remove it elsewhere",
	"x": "remove it; viewBox has the place", "y": "remove it; viewBox has the place", "opacity": "use fill-opacity and stroke-opacity",
	"xml:base": "remove it; nothing may refer to the outside", "requiredFonts": "remove it, and convert the text to paths",
	"clip-path": "cut the path itself", "enable-background": "remove it; no viewer needs it",
}
