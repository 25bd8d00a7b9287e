package readiness

import (
	"embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed report.html
var files embed.FS

// HTML writes the report as one file that needs nothing else: no script, no font, no picture. It is legible
// in the dark and on paper.
func (r *Report) HTML(out io.Writer, l Language) error {
	t, err := template.New("report.html").Funcs(template.FuncMap{
		"say":   func(x Reason) string { return x.In(l) },
		"label": func(word string) string { return label(word, l) },
		"looks": func(x Looks) string { return x.In(l) },
		"share": percent,
		"bars":  bars,
		"stack": func(d Domain) []bar { return d.bars() },
		"lang":  func() Language { return l },
		"first": func(n int, all []Domain) []Domain { return all[:min(n, len(all))] },
	}).ParseFS(files, "report.html")
	if err != nil {
		return fmt.Errorf("readiness: %w", err)
	}
	return t.Execute(out, r)
}

// bar is a part of a bar that is 100 wide.
type bar struct {
	Looks    Looks
	X, Width float64
	Messages int64
}

func bars(parts []Part) (all []bar) {
	var sum, x float64
	for _, p := range parts {
		sum += float64(p.Messages)
	}
	for _, p := range parts {
		if p.Messages > 0 {
			w := 100 * float64(p.Messages) / sum
			all = append(all, bar{p.Looks, x, w, p.Messages})
			x += w
		}
	}
	return all
}

// bars returns the parts of a domain's hits by their looks.
func (d *Domain) bars() []bar {
	var parts []Part
	for _, l := range AllLooks {
		p := Part{Looks: l}
		for _, s := range d.Streams {
			if s.Looks == l {
				p.Messages += s.Messages
			}
		}
		parts = append(parts, p)
	}
	return bars(parts)
}

// In returns the looks in words.
func (x Looks) In(l Language) string { return label(string(x), l) }

// label returns a word or phrase of the page.
func label(word string, l Language) string {
	for i := range labels {
		if x := &labels[i]; x.word == word {
			if l == Japanese {
				return x.japanese
			}
			return x.english
		}
	}
	return word
}

// labels has the words of the page. Japanese terms are those that the ministry uses: 送信ドメイン認証, 隔離, 拒否,
// なりすまし.
var labels = [...]struct{ word, english, japanese string }{
	{"title", "May policies be enforced?", "送信ドメイン認証のポリシー適用の準備状況"},
	{"period", "Period", "対象期間"},
	{"days", "days with mail", "日分の記録"},
	{"mode", "Mode", "動作モード"},
	{"messages", "Messages", "メール数"},
	{"fail", "Fail DMARC", "DMARC認証失敗"},
	{"reject", "under p=reject", "p=reject（拒否）の対象"},
	{"quarantine", "under p=quarantine", "p=quarantine（隔離）の対象"},
	{"excepted", "Let through by present rules", "現在のルールで許可"},
	{"harmed", "Honest, without a rule", "正当だがルールのないもの"},
	{"harsher", "Learned signs: more harshly", "学習による兆候で厳しくなるもの"},
	{"milder", "Learned signs: more mildly", "学習による兆候で緩くなるもの"},
	{"what", "What would be hit", "対象となるメールの内訳"},
	{"author", "the author's own mail", "作成者本人のメール"},
	{"forwarded", "through a list or a forwarder", "メーリングリスト・転送"},
	{"spoof", "spoof", "なりすまし"},
	{"unclear", "unclear", "判断不能"},
	{"rules", "Rules to add first", "先に加えるルール"},
	{"confirm", "Look at each: is this a host that you know? They stand under policy.overrides, or in a file of rules.",
		"一件ずつ、知っているホストかどうか確認してください。policy.overridesまたはルールファイルに書きます。"},
	{"domains", "By author domain", "作成者ドメイン別"},
	{"domain", "Domain", "ドメイン"},
	{"hit", "Hit", "対象"},
	{"pass", "Pass", "認証成功"},
	{"why", "Why", "理由"},
	{"looks", "Looks like", "見かけ"},
	{"rejected", "Rejected", "拒否"},
	{"quarantined", "Quarantined", "隔離"},
	{"example", "Example", "例"},
	{"broken", "broken since", "障害発生"},
	{"notes", "Notes", "注記"},
}
