package deploy

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

var shots = flag.String("shots", "", "directory to which TestStatsPage writes pictures, for a person to look at")

// statsPages are pages of "sekimori stats --format html", which a test of package stats keeps up to date.
var statsPages = map[string]string{"/en": "../internal/stats/testdata/month.html", "/ja": "../internal/stats/testdata/month.ja.html"}

// apart is a JavaScript expression: the texts above a bar that run into each other or out of the chart.
const apart = `[...document.querySelectorAll('.chart svg[role=img]')].flatMap(svg => {
  const texts = [...svg.querySelectorAll('text')].map(t => [t, t.getBoundingClientRect()]), edge = svg.getBoundingClientRect(), bad = [];
  for (const [t, r] of texts) {
    if (r.right > edge.right + 12 || r.left < edge.left - 12) bad.push(t.textContent + ' runs out');
    for (const [o, q] of texts)
      if (o !== t && Math.abs(q.top - r.top) < 4 && r.left < q.left && r.right > q.left) bad.push(t.textContent + ' runs into ' + o.textContent);
  }
  return bad;
})`

// TestStatsPage opens the page of the monthly statistics in Chromium: on a telephone and on a desk, light, dark
// and for paper, in both languages.
func TestStatsPage(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := statsPages[r.URL.Path]
		if path == "" {
			w.WriteHeader(http.StatusNoContent) // the picture of the tab
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		http.ServeFile(w, r, path)
	}))
	defer server.Close()
	b := newBrowser(t, server.URL)
	for page := range statsPages {
		b.open(t, page)
		for _, media := range []string{"screen", "print"} {
			for _, scheme := range []string{"light", "dark"} {
				for _, width := range []int64{320, 390, 1280} {
					if media == "print" && width < 1280 {
						continue
					}
					b.show(t, media, scheme, width)
					where := fmt.Sprintf("%s, %s, %s, %d px", page, media, scheme, width)
					if wide := eval[int](t, b, "document.documentElement.scrollWidth"); wide > int(width) {
						t.Errorf("%s: the page is %d px wide", where, wide)
					}
					if bad := eval[[]string](t, b, faint); len(bad) > 0 {
						t.Errorf("%s: too little contrast: %q", where, bad)
					}
					if bad := eval[[]string](t, b, apart); len(bad) > 0 {
						t.Errorf("%s: %q", where, bad)
					}
					dark := eval[bool](t, b, "getComputedStyle(document.body).backgroundColor === 'rgb(21, 23, 26)'")
					ink := eval[string](t, b, "getComputedStyle(document.querySelector('.chart text')).fill")
					if want := media == "screen" && scheme == "dark"; dark != want || (ink == "rgb(232, 234, 237)") != want {
						t.Errorf("%s: dark is %t, the ink of the charts is %s", where, dark, ink)
					}
					b.shoot(t, strings.Trim(page, "/")+"-"+media+"-"+scheme+fmt.Sprint("-", width))
				}
			}
		}
		if n := eval[int](t, b, "document.querySelectorAll('.chart svg[role=img] rect[class^=k-]').length"); n < 100 {
			t.Errorf("%s: %d rectangles", page, n)
		}
		if eval[bool](t, b, "[...document.querySelectorAll('.chart rect')].some(r => getComputedStyle(r).fill === 'rgb(0, 0, 0)')") {
			t.Errorf("%s: a part of a chart has no colour", page)
		}
		if lang := eval[string](t, b, "document.documentElement.lang"); "/"+lang != page {
			t.Errorf("%s: the language is %q", page, lang)
		}
		for _, trouble := range b.noted() {
			t.Errorf("%s: %s", page, trouble)
		}
		// The page's own policy forbids scripts and pictures.
		eval[any](t, b, "document.body.insertAdjacentHTML('beforeend', '<img src=/x onerror=x()>'); null")
		b.until(t, "document.images.length === 1")
		if trouble := strings.Join(b.noted(), "\n"); !strings.Contains(trouble, "Content Security Policy") {
			t.Errorf("%s: a picture is loaded: %s", page, trouble)
		}
	}
	t.Run("axe-core", func(t *testing.T) { newBrowser(t, server.URL).checkStatsAxe(t) }) // with time of its own
}

// show sets the medium (screen or print), the colours and the width.
func (b *browser) show(t *testing.T, media, scheme string, width int64) {
	t.Helper()
	b.do(t, chromedp.EmulateViewport(width, 900))
	send(t, b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: media, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
}

// shoot writes a picture of the page, if the flag -shots asks for it.
func (b *browser) shoot(t *testing.T, name string) {
	t.Helper()
	if *shots == "" {
		return
	}
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), picture, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (b *browser) checkStatsAxe(t *testing.T) {
	if !isThere(axe) && os.Getenv("CI") == "true" {
		t.Fatalf("%s is not here, although CI installs it", axe)
	} else if !isThere(axe) {
		t.Skipf("%s is not here", axe)
	}
	script := readFile(t, axe)
	for page := range statsPages {
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{390, 1280} {
				b.show(t, "screen", scheme, width)
				b.open(t, page)
				eval[any](t, b, script+";null")
				eval[any](t, b, "window.found = null; axe.run().then(r => { window.found = r; }); null")
				b.until(t, "window.found !== null")
				if bad := eval[[]string](t, b, "window.found.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html).join(' ').slice(0, 300))"); len(bad) > 0 {
					t.Errorf("%s, %d px, %s: %q", page, width, scheme, bad)
				}
			}
		}
	}
}
