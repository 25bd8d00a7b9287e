package readiness

import (
	"fmt"
	"regexp"
	"strings"
)

// Language is a language in which a report is written.
type Language string

// The languages.
const (
	English  Language = "en"
	Japanese Language = "ja"
)

// Languages lists every Language.
var Languages = []Language{English, Japanese}

// Reason says why, as a word and as a sentence.
type Reason struct {
	Word string `json:"word"`
	Text string `json:"text"` // in English
	args []any
}

func newReason(word string, args ...any) Reason {
	r := Reason{Word: word, args: args}
	r.Text = r.In(English)
	return r
}

// In returns the sentence in a language.
func (r Reason) In(l Language) string {
	for i := range sentences {
		if s := &sentences[i]; s.word == r.Word {
			if l == Japanese {
				return fmt.Sprintf(s.japanese, r.args...)
			}
			return plural(fmt.Sprintf(s.english, r.args...))
		}
	}
	return r.Word
}

// counted matches a number and the nouns behind it.
var counted = regexp.MustCompile(`[0-9]+( [a-z]+)+\(s\)`)

// plural resolves each "(s)" by the number before it: "1 network(s)" becomes "1 network".
func plural(text string) string {
	return counted.ReplaceAllStringFunc(text, func(s string) string {
		noun := strings.TrimSuffix(s, "(s)")
		if strings.HasPrefix(noun, "1 ") {
			return noun
		}
		return noun + "s"
	})
}

// sentences has the sentence of each word, in both languages. Arguments are numbered where their order differs. An
// English noun in "(s)" follows the number before it.
var sentences = [...]struct{ word, english, japanese string }{
	// verdicts
	{"now", "enforce now: of %[1]d message(s) that would be hit, %[2]d look like spoofs, and %[3]d are honest mail without a rule",
		"今すぐ適用できます。対象となる%[1]d通のうち、%[2]d通はなりすましと見られ、ルールのない正当なメールは%[3]d通です"},
	{"rules", "first %[1]d rule(s), to help %[2]d of the %[3]d honest message(s) that would be hit",
		"先に次の%[1]d件のルールを加えてください。対象となる正当なメール%[3]d通のうち%[2]d通を救います"},
	{"days", "not yet: %d day(s) of %d", "まだ早すぎます。%[2]d日のうち%[1]d日分しかありません"},
	{"no_mail", "not yet: no mail was counted in these days", "まだ早すぎます。この期間に記録されたメールがありません"},
	{"unclear", "not yet: of %[2]d message(s) that would be hit, it is unclear what %[1]d are; look at their examples",
		"まだ早すぎます。対象となる%[2]d通のうち%[1]d通は判断できません。例を確認してください"},
	{"harmed", "not yet: %d message(s) of honest senders would be hit, and no rule can be proposed for them; tell these senders, or write rules",
		"まだ早すぎます。正当な送信者のメール%d通が対象となり、提案できるルールがありません。送信者に知らせるか、ルールを書いてください"},
	// the author's own mail
	{"own_name", "notifications of hosts whose verified names are below %s", "検証済みのホスト名が%s配下にあるホストからの通知メール"},
	{"own_network", "comes from networks from which mail of the domain passes", "このドメインの認証に成功するメールと同じネットワークから届いている"},
	{"own_record", "the domain's SPF record or key is broken, and its mail keeps coming from the same hosts",
		"このドメインのSPFレコードまたは鍵が壊れており、メールは同じホストから届き続けている"},
	{"shared_broken", "comes from networks of the domain, whose mail is in trouble (%s)", "このドメインのネットワークから届いており、送信側に障害がある（%s）"},
	// lists and forwarders
	{"list", "a mailing list with a signature of its own; it changes signed mail of %d domain(s)", "自らの署名を持つメーリングリスト。%dドメインの署名済みメールを書き換えている"},
	{"forwarder", "a forwarder: from its networks mail of at least %d domain(s) arrives unbroken, and signatures of %d domain(s) broken",
		"転送サーバー。%dドメインのメールは署名が有効なまま、%dドメインの署名は壊れて届いている"},
	{"carries", "a forwarder: mail of at least %d domain(s) arrives from there unbroken, and the messages say that they were handed on",
		"転送サーバー。%dドメインのメールが有効なまま届いており、転送された旨の記載がある"},
	// spoofs
	{"many_names", "one host writes in the names of %d domain(s), never signed by them; mail of nobody passes from there",
		"一つのホストが%dドメインを名乗り、署名は一切ない。そこから認証に成功したメールもない（なりすまし）"},
	{"claims_list", "unsigned, though the domain signs all of its mail; from %d network(s) that do not authenticate as a list or forwarder, and from which mail of nobody passes",
		"このドメインは全てのメールに署名するが、署名がない。%dのネットワークから届き、メーリングリストや転送サーバーとしての認証もない（なりすまし）"},
	{"claims_scattered", "says that it came through a list, but is scattered over %d network(s), from which mail of nobody passes, and of which none authenticates",
		"メーリングリスト経由と称するが、認証実績のない%dのネットワークに散らばっており、どれも自らを認証しない（なりすまし）"},
	{"unsigned_scattered", "unsigned, though the domain signs all of its mail; scattered over %d network(s) from which mail of nobody passes",
		"このドメインは全てのメールに署名するが、署名がない。認証に成功したメールのない%dのネットワークに散らばっている（なりすまし）"},
	{"scattered", "scattered over %d network(s) from which mail of nobody passes; the domain sends from %d network(s)",
		"認証に成功したメールのない%dのネットワークに散らばっている。このドメインの送信元は%dネットワークである（なりすまし）"},
	{"spf_scattered", "no mail of the domain passes here, and its SPF forbids most of these %d network(s), from which mail of nobody passes",
		"このドメインの認証に成功したメールはなく、SPFは認証実績のないこの%dネットワークの大半を禁じている（なりすまし）"},
	// unclear
	{"hidden", "the client's address is not known here; see \"Clients that cannot be known\" in policy.md", "接続元のアドレスがここでは分からない（policy.md参照）"},
	{"shared", "comes from a network of the domain, but in the name of another domain: the domain's own mail by a mistake, or another customer of its provider",
		"このドメインのネットワークから別のドメイン名で届いている。設定の誤りか、同じ事業者の他の顧客かは分からない"},
	{"broken_scattered", "the domain's SPF record or key is broken, so its own mail may fail; but this comes from %d network(s)", "このドメインのSPFレコードまたは鍵が壊れているため本物かもしれないが、%dのネットワークから届いている"},
	{"signature_only", "has a broken signature by a key of the domain, which can be copied; nothing else says that the host hands mail on",
		"このドメインの鍵による壊れた署名があるが、署名は写し取れる。転送と言える他の根拠がない"},
	{"carries_others", "from a network from which mail of at least %d other domain(s) passes: a provider, a forwarder, or one of its customers",
		"他の%dドメインのメールが認証に成功しているネットワークから届いている。事業者か転送サーバーか、その顧客か分からない"},
	{"other_name", "only another domain authenticated: a new provider of the domain, a list that removes signatures, or a forger with a domain",
		"別のドメインだけが認証に成功した。新しい配信事業者、署名を除くメーリングリスト、なりすましのいずれか分からない"},
	{"claims", "says that it came through a list or a forwarder, which anybody can write", "メーリングリストまたは転送経由と称しているが、誰でも書けるものである"},
	{"unknown_domain", "too little mail of the domain passes here to know it: %d message(s) on %d day(s)", "このドメインの認証に成功したメールが少なすぎる（%d通、%d日）"},
	{"few_networks", "comes from %d network(s) only, which may be new hosts of the domain", "%dのネットワークだけから届いており、このドメインの新しいホストかもしれない"},
	{"steady", "unlike the domain's usual mail, but it keeps coming from the same %d network(s), which may be new hosts of the domain",
		"このドメインの通常のメールと異なるが、同じ%dのネットワークから届き続けており、新しいホストかもしれない"},
	{"own_host", "nothing authenticates, but the hosts have verified names below %s", "認証には失敗しているが、検証済みのホスト名が%s配下にある"},
	{"unsure", "unlike the domain's usual mail, but not scattered as a botnet's is", "このドメインの通常のメールと異なるが、ボットネットほど散らばってはいない"},
	{"no_samples", "no decision on it is in the history", "この判定の履歴がない"},
	// notes
	{"history_off", "history.what is off, so no message could be looked at", "history.whatがoffのため、個々のメールを調べられない"},
	{"no_history", "the history has no decision on failing mail", "認証に失敗したメールの履歴がない"},
	{"sampled", "%d of %d message(s) were looked at; numbers by looks are estimates", "%[2]d通のうち%[1]d通を調べた。見かけ別の数は推定値である"},
	{"not_by_domain", "author domains that do not exist in DNS, or for which there was no room: %d message(s)", "%d通は、DNSに存在しないか記録しきれなかった作成者ドメインのもの"},
	{"dropped", "the ledger had no room for the domains of %d message(s) (ledger.max_domains)", "%d通のドメインは記録しきれなかった（ledger.max_domains）"},
	{"more", "not judged: %d further domain(s) with %d message(s)", "ほかの%dドメインの%d通は判定していない"},
}
